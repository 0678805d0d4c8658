"""Every command that writes, to S3: the same keys and bytes as in a folder."""

from __future__ import annotations

import json
import pickle
import shutil
import struct
from pathlib import Path

import nibabel
import nibabel.streamlines
import numpy as np
import pytest
from bucket_servers import content_of

import ngcore
from ngcore.cli import run

LABELS = np.zeros((30, 30, 30), np.uint32)
LABELS[5:15, 5:15, 5:15] = 7
LABELS[20:28, 20:28, 20:28] = 300


def stl(path):
    corners = [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)]
    faces = [(0, 2, 1), (0, 1, 3), (1, 2, 3), (0, 3, 2)]
    body = b"".join(
        struct.pack("<3f", 0, 0, 0)
        + b"".join(struct.pack("<3f", *corners[corner]) for corner in face)
        + b"\0\0"
        for face in faces
    )
    path.write_bytes(bytes(80) + struct.pack("<I", len(faces)) + body)


@pytest.fixture
def both(place, tmp_path):
    """Return a volume in a bucket and the same in a folder, and run commands on both."""
    options = {"resolution": (8, 8, 8), "chunk_size": 16, "type": "segmentation"}
    ngcore.convert(LABELS, f"{place.url}/v", **options)
    ngcore.convert(LABELS, tmp_path / "v", **options)
    places = (f"{place.url}/v", str(tmp_path / "v"))

    def run_on_both(*arguments, status=0):
        for volume in places:
            assert run([str(a).replace("DEST", volume) for a in arguments]) == status

    return run_on_both


def test_labels_and_single_meshes(both, place, tmp_path):
    (tmp_path / "lut.txt").write_text("7 Seven 255 0 0 0\n300 Many 0 255 0 0\n")
    (tmp_path / "rows.csv").write_text("7,seven\n")
    stl(tmp_path / "seven.stl")
    both("labels", "DEST", tmp_path / "lut.txt")
    both("stl-to-precomputed", tmp_path / "seven.stl", "DEST", "--no-gzip")
    both("link-mesh-fragments", tmp_path / "rows.csv", "DEST")
    both("validate", "DEST")
    assert place.objects("v") == content_of(tmp_path / "v")


def test_meshes_of_labels(both, place, tmp_path, capsys):
    pytest.importorskip("zmesh", reason="the extra mesh is not installed")
    pytest.importorskip("DracoPy", reason="the extra mesh is not installed")
    both("mesh", "DEST", "--labels", "7,300", "--label", "7=Seven")
    both("validate", "DEST")
    assert place.objects("v") == content_of(tmp_path / "v")
    capsys.readouterr()
    both("mesh", "DEST", "--labels", "7", status=2)
    assert f"{place.url}/v already has meshes" in capsys.readouterr().err
    both("mesh", "DEST", "--labels", "7", "--no-sharding", "--overwrite")
    assert place.objects("v") == content_of(tmp_path / "v")
    assert place.uploads() == []


def test_classic_steps(place, tmp_path):
    np.save(tmp_path / "a.npy", LABELS.astype(np.uint16))
    for dest in (f"{place.url}/v", str(tmp_path / "v")):
        assert run(["volume-to-raw-chunks", str(tmp_path / "a.npy"), dest, "--generate-info"]) in (
            0,
            2,
        )
    ngcore.convert(LABELS, tmp_path / "source", resolution=(8, 8, 8), chunk_size=16)
    shutil.rmtree(tmp_path / "v", ignore_errors=True)
    for dest in (f"{place.url}/v", str(tmp_path / "v")):
        source = str(tmp_path / "source")
        assert run(["volume-to-raw-chunks", source, dest, "--generate-info"]) == 0
        fullres = f"{dest}/info_fullres.json"
        assert run(["generate-scales-info", fullres, dest, "--target-chunk-size", "16"]) == 0
        assert run(["volume-to-raw-chunks", source, dest]) == 0
        assert run(["compute-scales", dest]) == 0
        assert run(["scale-stats", dest]) == 0
        assert run(["compress-segmentation-chunks", source, dest]) == 2
    assert place.objects("v") == content_of(tmp_path / "v")


def test_files_and_layers(place, tmp_path):
    (tmp_path / "points.csv").write_text("x,y,z,score\n1,2,3,0.5\n4,5,6,1\n")
    (tmp_path / "7.swc").write_text("1 0 0 0 0 1 -1\n2 0 1 0 0 1 1\n")
    lines = [np.arange(12, dtype=np.float32).reshape(4, 3)]
    tractogram = nibabel.streamlines.Tractogram(lines, affine_to_rasmm=np.eye(4))
    nibabel.streamlines.save(tractogram, tmp_path / "left.tck")
    ngcore.convert(LABELS, tmp_path / "v", resolution=(8, 8, 8), chunk_size=16)
    (tmp_path / "out").mkdir()
    for out in (f"{place.url}/out", str(tmp_path / "out")):
        volume = str(tmp_path / "v")
        assert run(["export", volume, f"{out}/v.nii.gz"]) == 0
        assert run(["export", volume, f"{out}/v.nii.gz"]) == 2
        assert run(["preview", volume, f"{out}/v.png"]) == 0
        assert run(["annotations", str(tmp_path / "points.csv"), f"{out}/points"]) == 0
        assert run(["validate", f"{out}/points"]) == 0
        assert run(["skeletons", str(tmp_path / "7.swc"), f"{out}/neurons"]) == 0
        assert run(["validate", f"{out}/neurons"]) == 0
        tracts = ["tracts", str(tmp_path / "left.tck"), f"{out}/tracts", "--density", "2mm"]
        assert run(tracts) == 0
        assert run(["validate", f"{out}/tracts/streamlines"]) == 0
        assert run(tracts) == 2
        assert run([*tracts, "--resume"]) == 0
        assert run(["pack", volume, f"{out}/v.zip"]) == 0
        assert run(["info", f"{out}/v.zip"]) == 0
    assert place.objects("out") == {
        path.relative_to(tmp_path / "out").as_posix(): path.read_bytes()
        for path in (tmp_path / "out").rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("layout", [{}, {"sharding": False, "gzip": True}])
def test_a_repaired_copy_to_and_from_a_bucket(place, tmp_path, layout):
    options = {"resolution": (8, 8, 8), "chunk_size": 16, **layout}
    ngcore.convert(LABELS, tmp_path / "v", **options)
    rest = ["--no-gzip"] if layout else []
    for dest in (f"{place.url}/r", str(tmp_path / "r")):
        assert run(["repair", str(tmp_path / "v"), dest, *rest]) == 0
        assert run(["repair", str(tmp_path / "v"), dest]) == 2
    assert place.objects("r") == content_of(tmp_path / "r")
    ngcore.convert(LABELS, f"{place.url}/v", **options)
    assert run(["pack", f"{place.url}/v", f"{place.url}/v.zip"]) == 0
    for source in (f"{place.url}/v", f"{place.url}/v.zip"):
        assert run(["repair", source, str(tmp_path / "back"), "--overwrite"]) == 0
        assert content_of(tmp_path / "back") == content_of(tmp_path / "r")
    assert run(["repair", f"{place.url}/v", f"{place.url}/v", "--overwrite"]) == 2


def test_a_broken_volume_in_a_bucket_is_repaired_there(place, tmp_path, capsys):
    ngcore.convert(LABELS, tmp_path / "v", resolution=(8, 8, 8), chunk_size=16, gzip=False)
    info = json.loads((tmp_path / "v" / "info").read_text())
    info["scales"][0]["sharding"]["data_encoding"] = "gzip"  # and no chunk is
    (tmp_path / "v" / "info").write_text(json.dumps(info))
    for name, data in content_of(tmp_path / "v").items():
        place.client.put_object(Bucket=place.bucket, Key=f"v/{name}", Body=data)
    assert run(["validate", f"{place.url}/v"]) == 1
    for source, dest in (
        (f"{place.url}/v", f"{place.url}/r"),
        (str(tmp_path / "v"), str(tmp_path / "r")),
    ):
        assert run(["repair", source, dest, "--accept-changes"]) == 0
        assert "fixed: 2" in capsys.readouterr().out
    assert run(["validate", f"{place.url}/r"]) == 0
    assert place.objects("r") == content_of(tmp_path / "r")


def test_a_volume_that_is_created_block_by_block(place, tmp_path):
    options = {"resolution": (8, 8, 8), "chunk_size": 16, "type": "segmentation"}
    shape = {"shape": LABELS.shape, "data_type": "uint32"}
    spool = tmp_path / "spool"
    spool.mkdir()

    def fill(dest, **rest):
        with ngcore.create(dest, **shape, **options, **rest) as volume:
            other = pickle.loads(pickle.dumps(volume))
            other.scales[0][:15] = LABELS[:15]
            volume.scales[0][15:] = LABELS[15:]

    fill(f"{place.url}/v", tmp=spool)
    fill(tmp_path / "v")
    assert place.objects("v") == content_of(tmp_path / "v")
    assert list(spool.iterdir()) == []
    with pytest.raises(ngcore.DestinationError, match="already holds a volume"):
        fill(f"{place.url}/v", tmp=spool)
    fill(f"{place.url}/v", tmp=spool, resume=True)
    assert list(spool.iterdir()) == []
    assert place.uploads() == []


def test_what_was_assigned_to_a_bucket_goes_on_where_it_was_begun(place, tmp_path):
    options = {"resolution": (8, 8, 8), "chunk_size": 16, "type": "segmentation"}
    shape = {"shape": LABELS.shape, "data_type": "uint32"}
    for name in ("here", "elsewhere"):
        (tmp_path / name).mkdir()
    url, here = f"{place.url}/v", {"tmp": tmp_path / "here", "resume": True}
    volume = ngcore.create(url, **shape, **options, **here)
    volume.__enter__()
    volume.scales[0][:15] = LABELS[:15]
    volume.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)
    with (
        pytest.raises(ngcore.DestinationError, match="resume where it was begun"),
        ngcore.create(url, **shape, **options, tmp=tmp_path / "elsewhere", resume=True),
    ):
        pass
    assert list((tmp_path / "elsewhere").iterdir()) == []
    with ngcore.create(url, **shape, **options, **here) as volume:
        assert np.array_equal(volume.scales[0][:15, ..., 0], LABELS[:15])
        volume.scales[0][15:] = LABELS[15:]
    ngcore.convert(LABELS, tmp_path / "v", **options)
    assert place.objects("v") == content_of(tmp_path / "v")
    assert list((tmp_path / "here").iterdir()) == []


def test_a_gallery_and_a_state_beside_the_data(place, tmp_path, capsys):
    options = {"resolution": (8, 8, 8), "chunk_size": 16, "type": "segmentation"}
    base = "https://example.org/data"
    for folder in (f"{place.url}/data", str(tmp_path / "data")):
        ngcore.convert(LABELS, f"{folder}/brain", **options)
        assert run(["pack", f"{folder}/brain", f"{folder}/packed.zip"]) == 0
        assert run(["gallery", folder, "--url", base]) == 0
        assert run(["gallery", folder, "--url", base]) == 0
        state = ["link", f"{folder}/brain", "--url", base, "--state", f"{folder}/state.json"]
        assert run(state) == 0
        assert "#!https://example.org/data/state.json" in capsys.readouterr().out
        assert run(state) == 2
    found = place.objects("data")
    expected = {
        path.relative_to(tmp_path / "data").as_posix(): path.read_bytes()
        for path in (tmp_path / "data").rglob("*")
        if path.is_file()
    }
    assert {name: data for name, data in found.items() if name != "state.json"} == {
        name: data for name, data in expected.items() if name != "state.json"
    }
    assert {"index.html", "index-files/packed.zip/state.json"} <= set(found)
    head = place.client.head_object(Bucket=place.bucket, Key="data/index.html")
    assert head["ContentType"].startswith("text/html")
    place.client.delete_object(Bucket=place.bucket, Key="data/packed.zip")
    assert run(["gallery", f"{place.url}/data", "--url", base]) == 0
    assert not [name for name in place.objects("data") if "packed" in name]


def test_ome_zarr_in_a_bucket(place, tmp_path):
    pytest.importorskip("zarr", reason="the extra formats is not installed")
    ngcore.convert(LABELS, tmp_path / "v", resolution=(8, 8, 8), chunk_size=16)
    for out in (f"{place.url}/v.ome.zarr", str(tmp_path / "v.ome.zarr")):
        assert run(["export", str(tmp_path / "v"), out]) == 0
        assert run(["export", str(tmp_path / "v"), out]) == 2
        assert run(["export", str(tmp_path / "v"), out, "--scale", "1", "--overwrite"]) == 0
    here = tmp_path / "v.ome.zarr"
    files = {
        path.relative_to(here).as_posix(): path.read_bytes()
        for path in here.rglob("*")
        if path.is_file()
    }
    assert place.objects("v.ome.zarr") == files
    place.client.put_object(Bucket=place.bucket, Key="v.ome.zarr/notes.txt", Body=b"of a user")
    assert run(["export", str(tmp_path / "v"), f"{place.url}/v.ome.zarr", "--overwrite"]) == 2


def test_layers_come_back_from_buckets_and_zips(place, tmp_path):
    (tmp_path / "points.csv").write_text("x,y,z,score\n1,2,3,0.5\n4,5,6,1\n")
    (tmp_path / "7.swc").write_text("1 0 0 0 0 1 -1\n2 0 1 0 0 1 1\n")
    for kind, source, ending in (
        ("annotations", "points.csv", "csv"),
        ("skeletons", "7.swc", "swc"),
    ):
        layer = f"{place.url}/{kind}"
        assert run([kind, str(tmp_path / source), layer]) == 0
        assert run(["pack", layer, f"{layer}.zip"]) == 0
        for number, where in enumerate((layer, f"{layer}.zip")):
            assert run(["export", where, f"{place.url}/out/{kind}-{number}.{ending}"]) == 0
        texts = [place.objects("out")[f"{kind}-{number}.{ending}"] for number in range(2)]
        assert texts[0] == texts[1] != b""


def test_a_url_that_lost_a_slash_is_told(capsys, tmp_path):
    ngcore.convert(LABELS, tmp_path / "v", resolution=(8, 8, 8), chunk_size=16)
    for command in (["info", "s3:/b/v"], ["export", str(tmp_path / "v"), "gs:/b/v.nii"]):
        assert run(command) == 2
        assert "has one slash too few; pass" in capsys.readouterr().err
    with pytest.raises(ngcore.InputError, match="as text and not as a path"):
        ngcore.convert(LABELS, Path("s3://b/v"), resolution=(8, 8, 8))


@pytest.mark.parametrize("ending", [".nii.gz", ".npy"])
def test_a_file_in_a_bucket_is_a_source(place, tmp_path, ending):
    path = tmp_path / f"brain{ending}"
    if ending == ".npy":
        np.save(path, LABELS)
    else:
        nibabel.save(nibabel.Nifti1Image(LABELS.astype(np.uint8), np.eye(4)), path)
    place.client.upload_file(str(path), place.bucket, f"raw/brain{ending}")
    url = f"{place.url}/raw/brain{ending}"
    options = ["--resolution", "8,8,8", "--type", "image", "--tmp", str(tmp_path)]
    options += ["--data-type", "uint8"]
    for more in ([], ["--resume"]):
        assert run(["convert", url, f"{place.url}/v", *options, *more]) == 0
    assert run(["convert", str(path), str(tmp_path / "v"), *options]) == 0
    found, expected = place.objects("v"), content_of(tmp_path / "v")
    assert json.loads(found.pop("provenance"))["sources"] == [url]
    expected.pop("provenance")
    assert found == expected
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(("ngcore", "."))]


@pytest.mark.parametrize("gzip", [True, False])
def test_a_nested_volume_is_told_and_repaired(place, capsys, gzip):
    url = f"{place.url}/v"
    with pytest.warns(ngcore.NgcoreWarning, match="a bucket can't answer with nested ones"):
        ngcore.convert(
            LABELS, url, resolution=(8, 8, 8), sharding=False, layout="nested", gzip=gzip
        )
    assert run(["validate", url]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert "clients ask for 0-30_0-30_0-30: run ngcore repair --flat" in lines[0]
    assert lines[1:] == [f"{url}: damaged; 1 chunk, 1 error, 0 warnings; digests agree in 1 scale"]
    assert run(["repair", url, f"{place.url}/r", "--flat", "--no-gzip"]) == 0
    assert "8_8_8/0-30_0-30_0-30" in place.objects("r")


def test_an_unfinished_volume_is_told_as_unfinished(place, tmp_path, capsys):
    url = f"{place.url}/v"
    ngcore.convert(LABELS, url, resolution=(8, 8, 8), chunk_size=16)
    place.client.delete_object(Bucket=place.bucket, Key="v/info")
    place.client.put_object(Bucket=place.bucket, Key="v/.ngcore/plan.json", Body=b"{}")
    for command in (
        ["validate", url],
        ["info", url],
        ["repair", url, str(tmp_path / "r")],
        ["pack", url, str(tmp_path / "v.zip")],
        ["preview", url, str(tmp_path / "v.png")],
    ):
        assert run(command) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert f"{url} is unfinished; continue the command that writes it with --resume" in line
