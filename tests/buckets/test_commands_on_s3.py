"""Every command that writes, to S3: the same keys and bytes as in a folder."""

from __future__ import annotations

import json
import shutil
import struct

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
    assert f"{place.url}/v has meshes already" in capsys.readouterr().err
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


@pytest.mark.parametrize("sharding", [True, False])
def test_a_repaired_copy(place, tmp_path, sharding):
    options = {"resolution": (8, 8, 8), "chunk_size": 16, "sharding": sharding}
    ngcore.convert(LABELS, tmp_path / "v", gzip=True, **options)
    for dest in (f"{place.url}/r", str(tmp_path / "r")):
        rest = [] if sharding else ["--no-gzip"]
        assert run(["repair", str(tmp_path / "v"), dest, *rest]) == 0
        assert run(["repair", str(tmp_path / "v"), dest]) == 2
    assert place.objects("r") == content_of(tmp_path / "r")


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
