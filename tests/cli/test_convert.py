"""`ngcore convert` and `ngcore info` as processes of a pipeline see them."""

import gzip
import json
import os
import re
import signal
import subprocess
import sys
import time

import nibabel
import numpy as np
import pytest
from PIL import Image
from thorough import amount
from unprivileged import bound_by_permissions

import ngcore
from ngcore.cli import run
from ngcore.errors import StorageError

NGCORE = [sys.executable, "-c", "from ngcore.cli import main; main()"]


@pytest.fixture
def brain(tmp_path):
    """A small NIfTI image with an affine."""
    path = tmp_path / "sub-01_T1w.nii.gz"
    voxels = np.random.default_rng(0).integers(0, 255, (40, 50, 30), np.uint8)
    nibabel.save(nibabel.Nifti1Image(voxels, np.diag([1, 1, 2, 1])), path)
    return path


def one_error_line(capsys):
    out, err = capsys.readouterr()
    assert out == ""
    lines = err.splitlines()
    assert len(lines) == 1, err
    assert lines[0].startswith("ngcore: error: ")
    assert "Traceback" not in err
    return lines[0].removeprefix("ngcore: error: ")


def test_conversion_is_silent_in_a_pipe(brain, tmp_path, capfd):
    assert run(["convert", str(brain), str(tmp_path / "out")]) == 0
    assert capfd.readouterr() == ("", "")
    assert ngcore.open(tmp_path / "out").scales[0].shape == (40, 50, 30, 1)


def test_warning_of_clipped_values_is_not_silent_in_a_pipe(tmp_path, capfd):
    np.save(tmp_path / "a.npy", np.array([[[-5, 3, 999]]], np.int16))
    arguments = ["convert", str(tmp_path / "a.npy"), str(tmp_path / "out")]
    arguments += ["--resolution", "1,1,1", "--data-type", "uint8"]
    assert run(arguments) == 0
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith("ngcore: warning: ")
    assert "2 voxels were clipped to the range of uint8" in err
    assert len(err.splitlines()) == 1


def test_quiet_silences_warnings(tmp_path, capfd):
    np.save(tmp_path / "a.npy", np.array([[[-5, 3, 999]]], np.int16))
    arguments = ["convert", str(tmp_path / "a.npy"), str(tmp_path / "out"), "--quiet"]
    arguments += ["--resolution", "1,1,1", "--data-type", "uint8"]
    assert run(arguments) == 0
    assert capfd.readouterr() == ("", "")


def damaged(brain, how):
    """Write a damaged copy of a .nii.gz file and return its path."""
    content = brain.read_bytes()
    path = brain.with_name(f"{how}.nii.gz")
    if how == "empty":
        content = b""
    elif how == "truncated":
        content = content[: len(content) // 2]
    elif how == "cut in its trailer":
        content = content[:-3]
    elif how == "with a wrong checksum":
        content = content[:-8] + bytes([content[-8] ^ 1]) + content[-7:]
    elif how == "with bytes behind it":
        content += b"junk"
    elif how == "no gzip":
        content = b"\0" + gzip.decompress(content)
    elif how == "with a flipped byte":
        middle = len(content) // 2
        content = content[:middle] + bytes([content[middle] ^ 0x10]) + content[middle + 1 :]
    elif how == "a text":
        content = b"These are not the voxels you are looking for.\n" * 50
    elif how == "shorter than its header says":
        content = gzip.compress(gzip.decompress(content)[:20000])
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    "how",
    [
        "empty",
        "truncated",
        "cut in its trailer",
        "with a wrong checksum",
        "with bytes behind it",
        "no gzip",
        "with a flipped byte",
        "a text",
        "shorter than its header says",
    ],
)
def test_damaged_source_is_one_line_and_leaves_nothing(brain, how, tmp_path, capsys):
    path = damaged(brain, how)
    assert run(["convert", str(path), str(tmp_path / "out")]) == 2
    assert path.name in one_error_line(capsys)
    assert not (tmp_path / "out").exists()


def test_missing_source_is_one_line(tmp_path, capsys):
    assert run(["convert", str(tmp_path / "nope.nii"), str(tmp_path / "out")]) == 2
    assert "nope.nii" in one_error_line(capsys)
    assert not (tmp_path / "out").exists()


def test_unknown_format_is_one_line(tmp_path, capsys):
    (tmp_path / "a.xyz").write_bytes(b"what is this?")
    assert run(["convert", str(tmp_path / "a.xyz"), str(tmp_path / "out")]) == 2
    assert "a.xyz" in one_error_line(capsys)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--encoding", "compressed_segmentation"], "compressed_segmentation"),
        (["--encoding", "jpeg", "--data-type", "uint16"], "jpeg"),
        (["--type", "banana"], "banana"),
        (["--chunk-size", "0"], "--chunk-size"),
        (["--chunk-size", "1,2"], "--chunk-size"),
        (["--max-scales", "0"], "--max-scales"),
        (["--jpeg-quality", "101"], "--jpeg-quality"),
        (["--resolution", "1,1"], "--resolution"),
        (["--resolution", "1,0,1"], "--resolution"),
        (["--resolution", "1e300,1,1"], "from 1e-30 to 1e+30"),
        (["--resolution", "1,1e-300,1"], "from 1e-30 to 1e+30"),
        (["--voxel-offset", "a,b,c"], "--voxel-offset"),
        (["--input-min", "3"], "--input-max"),
        (["--input-min", "3", "--input-max", "2"], "--input-max"),
        (["--layout", "nested"], "--no-sharding"),
        (["--memory", "2X"], "--memory"),
        (["--memory", "1M"], "--memory"),
        (["--workers", "0"], "--workers"),
        (["--orient", "RAX"], "RAX"),
        (["--outside-value", "1", "--downsampling", "min"], "--outside-value"),
        (["--outside-value", "300", "--data-type", "uint8", "--dry-run"], "a value of uint8"),
        (["--outside-value", "300", "--data-type", "uint8"], "--outside-value must be a value"),
        (["--outside-value", "nan", "--data-type", "float32"], "--outside-value must be"),
        (["--outside-value=-inf", "--data-type", "float32"], "--outside-value must be"),
        (["--outside-value", "1e39", "--data-type", "float32"], "--outside-value must be"),
        (["--tmp", "/nowhere/at/all"], "/nowhere/at/all"),
        (["--frobnicate"], "--frobnicate"),
        (["--shape", "1,2,3"], "--dry-run"),
        (["--shape", "1,2,3", "--dry-run"], "pass DEST alone"),
    ],
)
def test_impossible_option_is_one_line_and_leaves_nothing(
    brain, options, message, tmp_path, capsys
):
    assert run(["convert", str(brain), str(tmp_path / "out"), *options]) == 2
    assert message in one_error_line(capsys)
    assert not (tmp_path / "out").exists()


def test_existing_volume_is_kept_unless_overwritten(brain, tmp_path, capsys):
    out = str(tmp_path / "out")
    assert run(["convert", str(brain), out]) == 0
    before = (tmp_path / "out/info").read_bytes()
    assert run(["convert", str(brain), out, "--type", "segmentation"]) == 2
    assert "--overwrite" in one_error_line(capsys)
    assert (tmp_path / "out/info").read_bytes() == before
    (tmp_path / "out/notes.txt").write_text("mine")
    options = ["--type", "segmentation", "--no-sharding", "--overwrite"]
    assert run(["convert", str(brain), out, *options]) == 0
    assert ngcore.open(out).info.type == "segmentation"
    assert (tmp_path / "out/notes.txt").read_text() == "mine"
    assert not list((tmp_path / "out").rglob("*.shard"))


def test_folder_with_other_files_is_refused(brain, tmp_path, capsys):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/thesis.tex").write_text("mine")
    for options in ([], ["--overwrite"]):
        assert run(["convert", str(brain), str(tmp_path / "out"), *options]) == 2
        assert "not empty" in one_error_line(capsys)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["thesis.tex"]


def test_file_as_destination_is_refused(brain, capsys):
    assert run(["convert", str(brain), str(brain)]) == 2
    assert "is a file" in one_error_line(capsys)


def test_overwriting_the_source_is_refused(brain, tmp_path, capsys):
    out = str(tmp_path / "out")
    assert run(["convert", str(brain), out]) == 0
    before = sorted(path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*"))
    for dest in (out, str(tmp_path), f"{out}/1000000_1000000_2000000"):
        assert run(["convert", out, dest, "--overwrite"]) == 2
        assert "source" in one_error_line(capsys)
    assert sorted(path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")) == before


@pytest.mark.parametrize("options", [[], ["--dry-run"]])
def test_unwritable_destination_is_one_line(brain, tmp_path, capsys, options):
    (tmp_path / "locked").mkdir(mode=0o555)
    with bound_by_permissions():
        assert run(["convert", str(brain), str(tmp_path / "locked/out"), *options]) == 2
    assert "can't be written" in one_error_line(capsys)


def test_unwritable_folder_for_temporary_files_is_one_line(tmp_path, capsys):
    np.save(tmp_path / "a.npy", np.ones((8, 8, 8), np.uint8))
    (tmp_path / "locked").mkdir(mode=0o555)
    arguments = ["convert", str(tmp_path / "a.npy"), str(tmp_path / "open/out")]
    arguments += ["--resolution", "1,1,1", "--tmp", str(tmp_path / "locked")]
    with bound_by_permissions():
        assert run(arguments) == 2
    assert "locked" in one_error_line(capsys)
    assert not (tmp_path / "open").exists() or not any((tmp_path / "open").iterdir())


def test_volume_that_can_not_be_removed_is_one_line(tmp_path, capsys):
    np.save(tmp_path / "a.npy", np.ones((8, 8, 8), np.uint8))
    out = tmp_path / "out"
    arguments = ["convert", str(tmp_path / "a.npy"), str(out), "--resolution", "1,1,1"]
    assert run(arguments) == 0
    (out / "1_1_1").chmod(0o555)
    with bound_by_permissions():
        assert run([*arguments, "--overwrite"]) == 2
    assert "can't be removed" in one_error_line(capsys)
    assert not (out / "info").exists()
    (out / "1_1_1").chmod(0o755)


def test_a_pattern_that_the_shell_expanded_is_told_to_be_quoted(tmp_path, capsys):
    slices = [str(tmp_path / f"{number}.png") for number in range(3)]
    assert run(["convert", *slices, str(tmp_path / "out")]) == 2
    assert "quote a pattern" in one_error_line(capsys)


def test_a_quality_that_changes_nothing_is_told_of(brain, tmp_path, capsys):
    command = ["convert", str(brain), "--jpeg-quality", "50"]
    assert run([*command, str(tmp_path / "raw")]) == 0
    assert "--jpeg-quality has no effect" in capsys.readouterr().err
    jpeg = ["--encoding", "jpeg", "--data-type", "uint8", "--input-max", "1000"]
    assert run([*command, *jpeg, str(tmp_path / "jpeg")]) == 0
    assert "--jpeg-quality" not in capsys.readouterr().err


@pytest.mark.parametrize("command", ["convert", "repair"])
def test_an_unfinished_destination_that_is_in_use_is_said_to_be(command, brain, tmp_path, capsys):
    from ngcore.transaction.destination import Destination

    source, out = tmp_path / "volume", tmp_path / "out"
    assert run(["convert", str(brain), str(source)]) == 0
    info = ngcore.open(source).info
    with Destination(out) as destination:
        destination.begin(info, {"source": {}, "options": {}}, fsync=False)
        assert run([command, str(source), str(out)]) == 2
        assert "in use" in one_error_line(capsys)
        assert run(["convert", str(source), str(out), "--dry-run"]) == 2
        assert "in use" in one_error_line(capsys)
        with pytest.raises(StorageError, match=r"files of 1000000_.* have disappeared"):
            destination.finish({}, fsync=False)


def test_destination_in_use_is_refused(brain, tmp_path, capsys):
    from ngcore.transaction.destination import Destination

    with Destination(tmp_path / "out", overwrite=False):
        (tmp_path / "out/info").write_text("{}")
        assert run(["convert", str(brain), str(tmp_path / "out"), "--overwrite"]) == 2
        assert "in use" in one_error_line(capsys)


def test_debug_shows_where_an_error_arose(tmp_path):
    arguments = [*NGCORE, "convert", str(tmp_path / "nope.nii"), str(tmp_path / "out"), "--debug"]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert "Traceback" in done.stderr
    assert done.stderr.splitlines()[-1].startswith("ngcore: error: ")
    assert done.returncode == 2


def test_type_is_chosen_by_name_and_said_on_a_terminal(tmp_path, caplog):
    path = tmp_path / "sub-01_dseg.nii.gz"
    nibabel.save(nibabel.Nifti1Image(np.ones((5, 6, 7), np.uint8), np.eye(4)), path)
    with caplog.at_level("INFO", "ngcore"):
        volume = ngcore.convert(path, tmp_path / "out")
    assert volume.info.type == "segmentation"
    assert volume.info.data_type == "uint32"
    assert volume.info.scales[0].encoding == "compressed_segmentation"
    assert any("_dseg" in record.getMessage() for record in caplog.records)


def test_info_prints_a_table_or_json(brain, tmp_path, capsys):
    assert run(["convert", str(brain), str(tmp_path / "out")]) == 0
    assert run(["info", str(tmp_path / "out")]) == 0
    assert "1000000 x 1000000 x 2000000" in capsys.readouterr().out
    assert run(["info", str(tmp_path / "out"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["type"] == "image"


def test_info_of_no_volume_is_one_line(tmp_path, capsys):
    assert run(["info", str(tmp_path)]) == 2
    assert "info" in one_error_line(capsys)


def test_dry_run_says_what_would_be_written_and_writes_nothing(brain, tmp_path, capsys):
    arguments = ["convert", str(brain), str(tmp_path / "out"), "--dry-run"]
    assert run(arguments) == 0
    assert "memory:" in capsys.readouterr().out
    assert run([*arguments, "--json"]) == 0
    planned = json.loads(capsys.readouterr().out)
    assert not (tmp_path / "out").exists()
    assert run(["convert", str(brain), str(tmp_path / "out")]) == 0
    assert run(arguments) == 2  # as the conversion would be refused
    assert "already holds a volume; pass --overwrite" in one_error_line(capsys)
    assert run([*arguments, "--overwrite"]) == 0
    shape = ["--shape", "9,9,9", "--resolution", "1,1,1", "--data-type", "uint8"]
    assert run(["convert", "--dry-run", *shape, str(tmp_path / "out")]) == 2
    volume = ngcore.open(tmp_path / "out")
    assert [scale["key"] for scale in planned["scales"]] == [s.key for s in volume.info.scales]
    assert planned["files"] == len(list((tmp_path / "out").rglob("*.shard")))


@pytest.mark.parametrize("packing", ["--sharding", "--no-sharding"])
def test_memory_that_is_said_to_do_does(packing, capsys):
    arguments = ["convert", "--dry-run", "--shape", "9000,9000,9000", "--resolution", "8,8,8"]
    arguments += ["--data-type", "uint64", "--chunk-size", "256", "--workers", "1", packing]
    assert run([*arguments, "--memory", "150M"]) == 2
    enough = re.search(r"pass at least --memory (\d+)M", one_error_line(capsys))[1]
    assert run([*arguments, "--memory", f"{int(enough) - 1}M"]) == 2
    assert run([*arguments, "--memory", f"{enough}M"]) == 0


def test_plane_that_is_unpacked_whole_counts_towards_the_memory(tmp_path, capsys):
    Image.new("1", (9000, 8000)).save(tmp_path / "only.png")
    arguments = ["convert", str(tmp_path / "only.png"), "--dry-run", "--resolution", "8,8,8"]
    arguments += ["--workers", "1", "--no-sharding"]
    assert run([*arguments, "--memory", "190M"]) == 2
    line = one_error_line(capsys)
    assert "a plane must be unpacked whole, but does not fit in --memory 190M" in line
    enough = re.search(r"pass at least --memory (\d+)M", line)[1]
    assert run([*arguments, "--memory", f"{enough}M"]) == 0


def test_dry_run_of_a_petavoxel_needs_no_source(capsys):
    arguments = ["convert", "--dry-run", "--shape", "100000,100000,100000", "--json"]
    assert run([*arguments, "--resolution", "8,8,8", "--data-type", "uint16"]) == 0
    planned = json.loads(capsys.readouterr().out)
    assert planned["scales"][0]["bytes"] == 2 * 10**15
    assert planned["memory_bytes"] < 1 << 30


@pytest.mark.parametrize("shape", ["100,0,100", "-1,5,5", f"5,5,{2**53}"])
def test_dry_run_of_an_impossible_shape_names_the_option(shape, capsys):
    arguments = ["convert", "--dry-run", f"--shape={shape}"]
    assert run([*arguments, "--resolution", "8,8,8", "--data-type", "uint16"]) == 2
    assert (
        f"--shape must be three sizes in voxels, each at least 1 and below 2^53, got {shape}"
        in (one_error_line(capsys))
    )


HEAVY = {"nibabel", "tifffile", "trimesh", "rich", "PIL", "scipy", "email", "concurrent.futures"}


def test_plain_conversion_loads_none_of_the_packages_that_others_need(tmp_path):
    nibabel.save(nibabel.Nifti1Image(np.zeros((4, 5, 6), np.uint8), np.eye(4)), tmp_path / "a.nii")
    np.save(tmp_path / "a.npy", np.zeros((4, 5, 6), np.uint8))
    for name in ("a.nii", "a.npy"):
        arguments = ["convert", str(tmp_path / name), str(tmp_path / f"{name}-out")]
        code = (
            "import sys; from ngcore.cli import run; status = run(sys.argv[1:]); "
            f"print(status, *({HEAVY} & set(sys.modules)))"
        )
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments, "--resolution", "1,1,1"],
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.strip() == "0", done.stderr


@pytest.mark.parametrize(
    "name", ["with space", "100%25 done", "\u00fcml\u00e4ut", "link", "y" * 255]
)
def test_odd_names_are_names(tmp_path, name):
    np.save(tmp_path / "a%41 b.npy", np.ones((9, 9, 9), np.uint8))
    if name == "link":
        (tmp_path / "elsewhere").mkdir()
        (tmp_path / name).symlink_to("elsewhere", target_is_directory=True)
    arguments = ["convert", str(tmp_path / "a%41 b.npy"), str(tmp_path / name)]
    assert run([*arguments, "--resolution", "1,1,1", "--no-fsync"]) == 0
    assert run(["validate", str(tmp_path / name)]) == 0


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have text for names")
def test_names_that_are_no_text_are_names(tmp_path):
    source, dest = (os.fsdecode(name) for name in (b"a\xff.npy", b"out\xfe"))
    np.save(tmp_path / source, np.ones((9, 9, 9), np.uint8))
    arguments = ["convert", str(tmp_path / source), str(tmp_path / dest), "--resolution", "1,1,1"]
    assert run(arguments) == 0
    assert run([*arguments, "--resume"]) == 0
    assert json.loads((tmp_path / dest / "provenance").read_text())["sources"] == [source]


@pytest.mark.parametrize("name", ["x" * 300, "a.npy/out", "loop", "dangling"])
def test_impossible_destination_is_one_line(tmp_path, capsys, name):
    np.save(tmp_path / "a.npy", np.ones((9, 9, 9), np.uint8))
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "dangling").symlink_to("nowhere")
    arguments = ["convert", str(tmp_path / "a.npy"), f"{tmp_path}/{name}"]
    assert run([*arguments, "--resolution", "1,1,1"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert "choose another" in lines[0]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has other signals")
@pytest.mark.parametrize(
    ("number", "status", "word"),
    [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")],
)
def test_stopped_conversion_ends_soon_and_says_how_to_go_on(tmp_path, number, status, word):
    path = tmp_path / "big.npy"
    np.lib.format.open_memmap(path, "w+", np.uint8, (400, 400, 400), fortran_order=True).flush()
    with path.open("r+b") as file:
        file.seek(200)
        file.write(np.random.default_rng(0).bytes(60_000_000))
    arguments = [*NGCORE, "convert", str(path), str(tmp_path / "out")]
    arguments += ["--resolution", "1,1,1", "--encoding", "png", "--workers", "1"]
    process = subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True)
    while not (tmp_path / "out/.ngcore/plan.json").exists():
        assert process.poll() is None
        time.sleep(0.01)
    time.sleep(0.3)
    asked = time.monotonic()
    process.send_signal(number)
    _, err = process.communicate(timeout=20)
    assert process.returncode == status
    assert time.monotonic() - asked < amount(10, 2)  # other tests run beside this one
    assert err == f"ngcore: error: {word}; add --resume to the same command to continue\n"
    assert not (tmp_path / "out/info").exists()
    # Only what is needed to go on is kept: no temporary files.
    assert {path.name for path in (tmp_path / "out/.ngcore").iterdir()} <= {"lock", "plan.json"}
    assert run(["convert", str(path), str(tmp_path / "out"), "--resolution", "1,1,1"]) == 2
