"""The classic commands as users type them, old names and options included."""

import json

import numpy as np
import pytest
from classic_peer import decompressed_chunks
from volume_files import save_nifti, voxels

import ngcore
from ngcore.cli import run

AFFINE = np.diag([0.5, 0.5, 1.25, 1])


@pytest.fixture
def source(tmp_path):
    return save_nifti(tmp_path / "t1.nii", voxels((75, 50, 31), "uint16"), AFFINE)


@pytest.fixture
def ngcore_runs():
    """Return a function that runs a command that must succeed."""

    def run_it(*arguments):
        assert run(list(map(str, arguments))) == 0

    return run_it


@pytest.fixture
def fails(capsys):
    """Return a function that runs a command and returns its one line of error."""

    def run_it(*arguments):
        assert run(list(map(str, arguments))) == 2
        done = capsys.readouterr()
        assert done.out == ""
        (line,) = done.err.splitlines()
        assert line.startswith("ngcore: error: ")
        return line

    return run_it


def steps(run_it, source, dest, *, small=("--target-chunk-size", 32), **names):
    """Run the chain under the names given, or the usual ones."""
    volume = names.get("volume", "volume-to-raw-chunks")
    run_it(volume, source, dest, "--generate-info")
    run_it(names.get("info", "generate-scales-info"), dest / "info_fullres.json", dest, *small)
    run_it(volume, source, dest)
    run_it(names.get("scales", "compute-scales"), dest)


@pytest.mark.parametrize(
    "names",
    [
        {
            "volume": "volume_to_raw_chunks.py",
            "info": "generate_scales_info.py",
            "scales": "compute_scales.py",
        },
        {"volume": "volume-to-precomputed"},
    ],
)
def test_old_names_do_what_the_new_ones_do(tmp_path, source, ngcore_runs, names):
    steps(ngcore_runs, source, tmp_path / "new")
    steps(ngcore_runs, source, tmp_path / "old", **names)
    assert decompressed_chunks(tmp_path / "new") == decompressed_chunks(tmp_path / "old")


def test_dest_is_the_current_folder_if_left_out(
    tmp_path, source, ngcore_runs, monkeypatch, capsys
):
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    ngcore_runs("volume-to-raw-chunks", source, "--generate-info")
    ngcore_runs("generate-scales-info", "info_fullres.json")
    ngcore_runs("volume-to-raw-chunks", source)
    ngcore_runs("compute-scales")
    ngcore_runs("scale-stats")
    last = capsys.readouterr().out.splitlines()[-1].split()
    assert last[0] == "total"
    assert np.array_equal(ngcore.open(work).scales[0][..., 0], voxels((75, 50, 31), "uint16"))


def test_stats_as_json_hold_the_sums(tmp_path, source, ngcore_runs, capsys):
    steps(ngcore_runs, source, tmp_path / "out")
    capsys.readouterr()
    ngcore_runs("scale-stats", tmp_path / "out", "--json")
    stats = json.loads(capsys.readouterr().out)
    assert stats["bytes"] == sum(scale["bytes"] for scale in stats["scales"])
    assert stats["scales"][0] == {
        "key": "500000_500000_1250000",
        "chunks": 12,
        "folders": 9,
        "files": 12,
        "bytes": 75 * 50 * 31 * 2,
    }


def test_steps_write_jpeg_of_the_quality_asked_for(tmp_path, ngcore_runs):
    source = tmp_path / "a.npy"
    np.save(source, voxels((90, 60, 50), "uint8"))
    sizes = []
    for quality in (30, 90):
        out = tmp_path / str(quality)
        ngcore_runs("volume-to-raw-chunks", source, out, "--generate-info", "--resolution=8,8,8")
        ngcore_runs("generate-scales-info", out / "info_fullres.json", out, "--encoding=jpeg")
        ngcore_runs("volume-to-raw-chunks", source, out, "--jpeg-quality", quality)
        ngcore_runs("compute-scales", out, "--jpeg-quality", quality)
        steps = [s["method"] for s in json.loads((out / "provenance").read_text())["processing"]]
        assert [s["jpeg_quality"] for s in steps if "jpeg_quality" in s] == [quality] * 2
        folders = [out / scale.key for scale in ngcore.open(out).scales]
        sizes.append(
            [sum(path.stat().st_size for path in folder.rglob("*.gz")) for folder in folders]
        )
    assert len(sizes[0]) == 2
    assert all(2 * small < large for small, large in zip(*sizes, strict=True))


@pytest.mark.parametrize("option", ["--flat", "--no-compression", "--compresslevel=3"])
@pytest.mark.parametrize("command", ["generate-scales-info", "scale-stats", "link-mesh-fragments"])
def test_commands_without_chunks_take_the_options_about_them(tmp_path, capsys, command, option):
    missing = str(tmp_path / "nope")
    dest = [] if command == "scale-stats" else [str(tmp_path)]
    assert run([command, missing, *dest, option]) == 2
    *warnings, error = capsys.readouterr().err.splitlines()
    is_quiet = (command, option) == ("link-mesh-fragments", "--no-compression")
    assert [("has no effect" in line) for line in warnings] == ([] if is_quiet else [True])
    assert error.startswith("ngcore: error: ")
    assert "option" not in error


@pytest.mark.parametrize(
    "option", ["--mmap", "--load-full-volume", "--compresslevel=3", "--jpeg-plane=xz"]
)
@pytest.mark.parametrize("command", ["volume-to-precomputed", "volume-to-precomputed-pyramid"])
def test_options_that_change_nothing_say_so(
    tmp_path, source, ngcore_runs, capsys, command, option
):
    if command == "volume-to-precomputed":
        steps(ngcore_runs, source, tmp_path / "out")
    capsys.readouterr()
    ngcore_runs(command, source, tmp_path / "out", option, "--no-compression")
    (warning,) = capsys.readouterr().err.splitlines()
    assert warning.startswith("ngcore: warning: ")
    assert "has no effect" in warning
    assert not list((tmp_path / "out" / "500000_500000_1250000").rglob("*.gz"))


@pytest.mark.parametrize("command", ["convert-chunks", "slices-to-precomputed"])
def test_aliases_that_load_nothing_take_the_options_that_change_nothing(tmp_path, capsys, command):
    missing = str(tmp_path / "nope")
    assert run([command, missing, str(tmp_path), "--mmap", "--load-full-volume"]) == 2
    *warnings, error = capsys.readouterr().err.splitlines()
    assert [line.split()[2] for line in warnings] == ["--mmap", "--load-full-volume"]
    assert error.startswith("ngcore: error: ")


def test_pyramid_is_nested_and_gzipped_and_equals_the_steps(tmp_path, source, ngcore_runs):
    ngcore_runs("volume-to-precomputed-pyramid", source, tmp_path / "whole")
    steps(ngcore_runs, source, tmp_path / "steps", small=())
    assert decompressed_chunks(tmp_path / "whole") == decompressed_chunks(tmp_path / "steps")
    names = [
        sorted(path.relative_to(tmp_path / name) for path in (tmp_path / name).rglob("*.gz"))
        for name in ("whole", "steps")
    ]
    assert names[0] == names[1]


def test_sharding_is_given_as_minishard_shard_and_preshift_bits(tmp_path, source, ngcore_runs):
    sharding = ("--sharding", "1,2,3")
    dest = tmp_path / "steps"
    ngcore_runs("volume-to-precomputed", source, dest, "--generate-info", *sharding)
    ngcore_runs("generate-scales-info", dest / "info_fullres.json", dest)
    ngcore_runs("volume-to-precomputed", source, dest, *sharding)
    ngcore_runs("compute-scales", dest)
    ngcore_runs("volume-to-precomputed-pyramid", source, tmp_path / "whole", *sharding)
    volumes = [ngcore.open(dest), ngcore.open(tmp_path / "whole")]
    assert volumes[0].info == volumes[1].info
    spec = volumes[0].scales[0].info.sharding
    assert (spec.minishard_bits, spec.shard_bits, spec.preshift_bits) == (1, 2, 3)
    assert spec.data_encoding == "gzip"
    for ours, theirs in zip(volumes[0].scales, volumes[1].scales, strict=True):
        assert np.array_equal(ours[...], theirs[...])


def test_pyramid_of_compressed_labels_is_a_segmentation(tmp_path, ngcore_runs):
    source = save_nifti(tmp_path / "v.nii", voxels((20, 20, 20), "uint8"), AFFINE)
    encoding = ("--encoding", "compressed_segmentation")
    ngcore_runs("volume-to-precomputed-pyramid", source, tmp_path / "out", *encoding)
    info = ngcore.open(tmp_path / "out").info
    assert (info.type, info.data_type) == ("segmentation", "uint32")


def test_chunks_become_jpeg_and_compressed_labels(tmp_path, ngcore_runs, fails):
    source = save_nifti(tmp_path / "v.nii", voxels((40, 40, 20), "uint8") // 50, AFFINE)
    steps(ngcore_runs, source, tmp_path / "raw")
    fullres = tmp_path / "raw" / "info_fullres.json"
    small = ("--target-chunk-size", 32)
    for encoding, command, options in (
        ("jpeg", "convert-chunks-to-jpeg", ("--jpeg-quality", 100, "--jpeg-plane", "xz")),
        ("compressed_segmentation", "compress-segmentation-chunks", ()),
    ):
        dest = tmp_path / encoding
        ngcore_runs("generate-scales-info", fullres, dest, "--encoding", encoding, *small)
        ngcore_runs(command, tmp_path / "raw", dest, *options)
        before, after = ngcore.open(tmp_path / "raw"), ngcore.open(dest)
        for raw, recoded in zip(before.scales, after.scales, strict=True):
            assert abs(raw[...].astype(int) - recoded[...].astype(int)).max() <= 2
        other = {"jpeg": "compress-segmentation-chunks"}.get(encoding, "convert-chunks-to-jpeg")
        assert "encoding is" in fails(other, tmp_path / "raw", dest)
    ngcore_runs("convert-chunks", tmp_path / "jpeg", tmp_path / "copy", "--copy-info", "--flat")
    assert decompressed_chunks(tmp_path / "jpeg") == decompressed_chunks(tmp_path / "copy")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("compute-scales", "."), "not a precomputed volume"),
        (("generate-scales-info", "nope.json"), "no file nope.json"),
        (("generate-scales-info", "x.json", "--target-chunk-size", "48"), "x.json"),
        (("volume-to-raw-chunks", "nope.nii", "."), "generate-scales-info first"),
        (("volume-to-raw-chunks", "x", "--type", "image"), "--type is for --generate-info"),
        (("volume-to-raw-chunks", "x", "--sharding", "1,2"), "expected M,S,P"),
        (("volume-to-raw-chunks", "x", "--sharding", "70,1,1"), "--sharding: minishard_bits"),
        (("slices-to-raw-chunks", "only"), "Missing argument"),
        (("slices-to-raw-chunks", "folder", "."), "generate-scales-info first"),
        (("convert-chunks", "a", "b"), "not a precomputed volume"),
    ],
)
def test_errors_are_one_line(tmp_path, fails, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    assert message in fails(*arguments)
