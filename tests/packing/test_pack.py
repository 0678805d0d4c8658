"""A volume in one file: what other readers find in it, and that nothing else shapes it."""

from __future__ import annotations

import os
import shutil
import zipfile

import numpy as np
import pytest

import ngcore
from ngcore.cli import run
from ngcore.storage import LocalStore

VOXELS = np.random.default_rng(0).integers(0, 9, (40, 30, 20)).astype(np.uint32)
OPTIONS = {"resolution": (8, 8, 8), "chunk_size": 16, "fsync": False, "type": "segmentation"}
LAYOUTS = {
    "sharded": {},
    "flat": {"sharding": False},
    "nested": {"sharding": False, "layout": "nested", "gzip": True},
}


@pytest.fixture(scope="module")
def volumes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("volumes")
    for name, options in LAYOUTS.items():
        ngcore.convert(VOXELS, folder / name, **OPTIONS, **options)
    return folder


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_packed_volume_is_read_by_us_and_by_tensorstore(volumes, tmp_path, layout):
    ts = pytest.importorskip("tensorstore")
    ngcore.pack(volumes / layout, tmp_path / "v.zip")
    with zipfile.ZipFile(tmp_path / "v.zip") as file:
        names = file.namelist()
        assert {entry.compress_type for entry in file.infolist()} == {zipfile.ZIP_STORED}
    assert names[:3] == ["info", "transform.json", "provenance"]
    keys = list(dict.fromkeys(name.split("/")[0] for name in names[3:]))
    assert keys == ["32_32_32", "16_16_16", "8_8_8"]
    assert np.array_equal(ngcore.open(tmp_path / "v.zip").scales[0][..., 0], VOXELS)
    spec = {
        "driver": "neuroglancer_precomputed",
        "kvstore": f"file://{tmp_path}/v.zip|zip:",
    }
    read = ts.open(spec).result().read().result()
    assert np.array_equal(np.asarray(read)[..., 0], VOXELS)


def test_the_bytes_depend_on_the_volume_alone(volumes, tmp_path):
    shutil.copytree(volumes / "nested", tmp_path / "copy")
    (tmp_path / "copy" / "notes.txt").write_text("of a user")
    for path in (tmp_path / "copy").rglob("*"):
        os.utime(path, (1, 1))
    (tmp_path / "copy" / "info").chmod(0o600)
    ngcore.pack(volumes / "nested", tmp_path / "a.zip")
    ngcore.pack(tmp_path / "copy", tmp_path / "b.zip")
    ngcore.pack(tmp_path / "a.zip", tmp_path / "c.zip")
    first = (tmp_path / "a.zip").read_bytes()
    assert (tmp_path / "b.zip").read_bytes() == first
    assert (tmp_path / "c.zip").read_bytes() == first


def test_a_volume_that_grows_meanwhile_is_not_packed(volumes, tmp_path, monkeypatch, capsys):
    shutil.copytree(volumes / "sharded", tmp_path / "v")
    shard = next((tmp_path / "v" / "8_8_8").iterdir())
    sizes = LocalStore.size

    def size_before_somebody_wrote(self, name):
        size = sizes(self, name)
        if name.endswith(shard.name) and name.startswith("8_8_8"):
            with shard.open("ab") as file:
                file.write(b"more")
        return size

    monkeypatch.setattr(LocalStore, "size", size_before_somebody_wrote)
    assert run(["pack", str(tmp_path / "v"), str(tmp_path / "v.zip")]) == 3
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert f"8_8_8/{shard.name} was changed while" in error
    assert sorted(path.name for path in tmp_path.iterdir()) == ["v"]


def test_every_command_that_reads_takes_it(volumes, tmp_path, capsys):
    packed = str(tmp_path / "v.zip")
    assert run(["pack", str(volumes / "flat"), packed]) == 0
    for command in (
        ["info", packed],
        ["info", f"{packed}|zip:"],
        ["validate", packed],
        ["scale-stats", packed],
        ["export", packed, str(tmp_path / "v.nii")],
        ["preview", packed, str(tmp_path / "v.png")],
        ["convert", packed, str(tmp_path / "copy"), "--chunk-size", "16", "--no-sharding"],
    ):
        assert run(command) == 0, capsys.readouterr().err
    for path in (volumes / "flat" / "8_8_8").iterdir():
        assert (tmp_path / "copy" / "8_8_8" / path.name).read_bytes() == path.read_bytes()


def test_refusals_are_one_line(volumes, tmp_path, capsys):
    packed = str(tmp_path / "v.zip")
    assert run(["pack", str(tmp_path / "nothing"), packed]) == 2
    assert run(["pack", str(volumes / "flat"), str(tmp_path / "v.tar")]) == 2
    assert run(["pack", str(volumes / "flat"), packed]) == 0
    assert run(["pack", str(volumes / "flat"), packed]) == 2
    assert run(["pack", packed, packed, "--overwrite"]) == 2
    assert run(["labels", packed, str(volumes / "flat" / "info")]) == 2
    assert run(["mesh", packed]) == 2
    assert run(["pack", str(volumes / "flat"), packed, "--overwrite"]) == 0
    err = capsys.readouterr().err
    assert err.count("\n") == err.count("ngcore: error: ") == 6


def test_a_deflated_zip_is_refused_with_the_reason(volumes, tmp_path, capsys):
    packed = tmp_path / "v.zip"
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as file:
        for path in sorted((volumes / "flat").rglob("*")):
            file.write(path, path.relative_to(volumes / "flat"))
    for command in ("validate", "info"):
        assert run([command, str(packed)]) in (1, 2)
        err = capsys.readouterr().err
        assert "compressed, and Neuroglancer reads parts of stored entries only" in err
        assert err.count("\n") == 1


def test_many_files_are_warned_of(volumes, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("ngcore.codecs.zip_file.MOST_ENTRIES", 5)
    assert run(["pack", str(volumes / "flat"), str(tmp_path / "v.zip")]) == 0
    assert "only newer Neuroglancers open it (zip64)" in capsys.readouterr().err
