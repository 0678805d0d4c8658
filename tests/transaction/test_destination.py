"""What a conversion replaces, refuses, removes and takes for done."""

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from thorough import amount
from unprivileged import bound_by_permissions

import ngcore
from ngcore.cli import run
from ngcore.errors import DestinationError, StorageError
from ngcore.meshing.fragments import mesh_to_precomputed
from ngcore.storage import LocalStore, sync
from ngcore.storage.base import TEMPORARY_SUFFIX
from ngcore.transaction.destination import Destination
from ngcore.transaction.journal import PLAN

OPTIONS = {"resolution": (8, 8, 8), "type": "image", "chunk_size": 16, "fsync": False}
LABELS = OPTIONS | {"type": "segmentation"}


@pytest.fixture
def voxels():
    return np.random.default_rng(0).integers(0, 255, (40, 36, 50), np.uint8)


def all_bytes(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def can_mount():
    """Whether folders can be bound to other paths here, in a name space of our own."""
    probe = ["unshare", "--mount", "true"]
    return (
        sys.platform.startswith("linux")
        and shutil.which("unshare") is not None
        and subprocess.run(probe, check=False, capture_output=True).returncode == 0
    )


# One folder under two paths


@pytest.mark.skipif(not can_mount(), reason="needs the right to mount")
@pytest.mark.parametrize(
    ("command", "bound", "source", "dest"),
    [
        ("repair", "a", "a", "b"),
        ("convert", "a", "a/volume", "b"),
        ("convert", "a", "a", "b/volume"),
        ("convert", "a/volume", "a", "b"),
    ][: amount(2, 4)],
)
def test_a_source_under_another_path_is_not_replaced(
    voxels, tmp_path, command, bound, source, dest
):
    for name in ("a", "a/volume"):
        ngcore.convert(voxels, tmp_path / "made", **OPTIONS, overwrite=True)
        shutil.copytree(tmp_path / "made", tmp_path / name, dirs_exist_ok=True)
    (tmp_path / "b").mkdir()
    before = all_bytes(tmp_path / "a")
    words = [sys.executable, "-m", "ngcore", command, source, dest, "--overwrite"]
    script = f"mount --bind {bound} b && {' '.join(words)}"
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 2, done.stderr
    assert "overlaps the source" in done.stderr
    assert all_bytes(tmp_path / "a") == before


def test_a_folder_that_the_system_takes_for_two_is_known_by_a_mark(voxels, tmp_path, monkeypatch):
    """As of a network file system that is mounted twice."""
    ngcore.convert(voxels, tmp_path / "a", **OPTIONS)
    (tmp_path / "b").symlink_to("a")
    before = all_bytes(tmp_path / "a")
    monkeypatch.setattr("ngcore.transaction.places._identities", lambda *_: set())
    monkeypatch.setattr(Path, "resolve", lambda self: self)
    plan = {"source": {}, "options": {}}
    for name in ("a", "a/8_8_8/x.npy"):
        with (
            pytest.raises(DestinationError, match="overlaps the source"),
            Destination(tmp_path / "b", overwrite=True, sources=[tmp_path / name]) as destination,
        ):
            destination.begin(ngcore.open(tmp_path / "a").info, plan, fsync=False)
    assert all_bytes(tmp_path / "a") == before


def test_arrays_of_the_volume_that_would_be_replaced_are_refused(voxels, tmp_path):
    ngcore.convert(voxels, tmp_path / "a", **OPTIONS)
    np.save(tmp_path / "a" / "8_8_8" / "voxels.npy", voxels)
    before = all_bytes(tmp_path / "a")
    for source in (
        ngcore.open(tmp_path / "a").scales[0],
        np.load(tmp_path / "a" / "8_8_8" / "voxels.npy", mmap_mode="r"),
    ):
        with pytest.raises(DestinationError, match="overlaps the source"):
            ngcore.convert(source, tmp_path / "a", **OPTIONS, overwrite=True)
    assert all_bytes(tmp_path / "a") == before


# What is removed


def make_meshed(folder, voxels, tmp_path):
    ngcore.convert(voxels.astype(np.uint32), folder, **LABELS)
    stl = tmp_path / "a.stl"
    lines = ["solid", "facet normal 0 0 0", "outer loop", "vertex 0 0 0", "vertex 1 0 0"]
    stl.write_text("\n".join([*lines, "vertex 0 1 0", "endloop", "endfacet", "endsolid", ""]))
    mesh_to_precomputed(stl, folder)
    (folder / "links.csv").write_text("1,a\n")
    assert run(["link-mesh-fragments", str(folder / "links.csv"), str(folder)]) == 0
    (folder / "links.csv").write_text("id,name\n1,one\n")
    assert run(["labels", str(folder), str(folder / "links.csv")]) == 0
    (folder / "links.csv").unlink()


def test_overwrite_removes_the_old_meshes_and_names_and_nothing_else(voxels, tmp_path):
    out, whole = tmp_path / "out", tmp_path / "whole"
    make_meshed(out, voxels, tmp_path)
    mine = {
        "notes.txt": b"mine",
        "mesh/notes.txt": b"mine",
        "mesh/picture.png": b"\x89PNG\r\n",
        "segment_properties/notes": b"mine",
        "8_8_8/notes": b"mine",
        "8_8_8/ffff.shard": b"not of this volume",
    }
    for name, content in mine.items():
        (out / name).write_bytes(content)
    ngcore.convert(voxels, whole, **OPTIONS)
    ngcore.convert(voxels, out, **OPTIONS, overwrite=True)
    assert all_bytes(out) == all_bytes(whole) | mine


def test_overwrite_of_a_volume_whose_mesh_folder_is_a_scale_keeps_to_the_rules(voxels, tmp_path):
    out = tmp_path / "out"
    ngcore.convert(voxels, out, **OPTIONS)
    members = json.loads((out / "info").read_text())
    (out / "keep").mkdir()
    (out / "keep" / "notes").write_text("mine")
    (out / "info").write_text(json.dumps(members | {"mesh": ".", "skeletons": "keep"}))
    ngcore.convert(voxels, out, **OPTIONS, overwrite=True)
    assert (out / "keep" / "notes").read_text() == "mine"


def test_a_file_of_the_old_volume_that_can_not_be_removed_is_an_error(voxels, tmp_path):
    out = tmp_path / "out"
    make_meshed(out, voxels, tmp_path)
    (out / "mesh").chmod(0o555)
    try:
        with bound_by_permissions(), pytest.raises(DestinationError, match="can't be removed"):
            ngcore.convert(voxels, out, **OPTIONS, overwrite=True)
    finally:
        (out / "mesh").chmod(0o755)
    assert not (out / "info").exists()
    ngcore.convert(voxels, out, **OPTIONS, overwrite=True)
    assert not (out / "mesh").exists()


# What is taken for done


@pytest.mark.parametrize("sharding", [True, False])
def test_a_finished_volume_of_which_files_are_gone_is_made_whole(voxels, tmp_path, sharding):
    source, out = tmp_path / "a.npy", tmp_path / "out"
    np.save(source, voxels)
    ngcore.convert(source, out, **OPTIONS, sharding=sharding)
    members = json.loads((out / "info").read_text())
    (out / "info").write_text(json.dumps(members | {"mesh": "mesh"}))
    whole = all_bytes(out)
    next(path for path in (out / "16_16_16").rglob("*") if path.is_file()).unlink()
    ngcore.convert(source, out, **OPTIONS, sharding=sharding, resume=True)
    assert all_bytes(out) == whole
    shutil.rmtree(out / "8_8_8")
    ngcore.convert(source, out, **OPTIONS, sharding=sharding, resume=True)
    assert all_bytes(out) == whole


def test_another_subject_is_not_taken_for_done_nor_continued(tmp_path, monkeypatch):
    one, other = tmp_path / "sub-01" / "a.npy", tmp_path / "sub-02" / "a.npy"
    for path in (one, other):
        path.parent.mkdir()
    background = np.zeros((60, 60, 60), np.uint8)
    np.save(one, background)
    background[30, 31, 32] = 1
    np.save(other, background)
    status = one.stat()
    os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
    ngcore.convert(one, tmp_path / "out", **OPTIONS)
    with pytest.raises(DestinationError, match="another source"):
        ngcore.convert(other, tmp_path / "out", **OPTIONS, resume=True)
    interrupt(monkeypatch, one, tmp_path / "begun")
    with pytest.raises(DestinationError, match="begun with another source: content was"):
        ngcore.convert(other, tmp_path / "begun", **OPTIONS, resume=True)


def test_an_array_is_known_by_its_content(voxels, tmp_path):
    out = tmp_path / "out"
    ngcore.convert(voxels, out, **OPTIONS)
    before = all_bytes(out)
    ngcore.convert(np.asfortranarray(voxels), out, **OPTIONS, resume=True)
    assert all_bytes(out) == before
    other = voxels.copy()
    other[20, 20, 20] ^= 1
    with pytest.raises(DestinationError, match="another source"):
        ngcore.convert(other, out, **OPTIONS, resume=True)


def test_a_change_whose_time_was_set_back_is_seen(tmp_path):
    source, out = tmp_path / "a.npy", tmp_path / "out"
    np.save(source, np.zeros((300, 400, 300), np.uint8))
    status = source.stat()
    ngcore.convert(source, out, **OPTIONS | {"chunk_size": 128})
    ngcore.convert(source, out, **OPTIONS | {"chunk_size": 128}, resume=True)
    with source.open("r+b") as file:
        file.seek(128 + 20_000_001)
        file.write(b"a lesion")
    os.utime(source, ns=(status.st_atime_ns, status.st_mtime_ns))
    with pytest.raises(DestinationError, match="source"):
        ngcore.convert(source, out, **OPTIONS | {"chunk_size": 128}, resume=True)


def test_a_source_dated_in_the_future_is_done_and_is_continued(voxels, tmp_path, monkeypatch):
    source, out = tmp_path / "a.npy", tmp_path / "out"
    np.save(source, voxels)
    os.utime(source, (2**32, 2**32))
    interrupt(monkeypatch, source, out)
    ngcore.convert(source, out, **OPTIONS, resume=True)
    ngcore.convert(source, out, **OPTIONS, resume=True)


# What happens to the folder meanwhile


def interrupt(monkeypatch, source, out, **options):
    real = LocalStore.put_parts

    def fail(store, name, parts):
        if not name.startswith(".ngcore"):
            raise StorageError("the disk is full")
        real(store, name, parts)

    with monkeypatch.context() as patch:
        patch.setattr(LocalStore, "put_parts", fail)
        with pytest.raises(StorageError, match="resume=True"):
            ngcore.convert(source, out, **OPTIONS | options)


@pytest.mark.parametrize("what", [".", "8_8_8", "8_8_8/0-16_0-16_0-16"])
@pytest.mark.parametrize("how", ["move", "remove"])
def test_a_folder_that_goes_while_it_is_written_gets_no_info(
    voxels, tmp_path, monkeypatch, what, how
):
    source, out = tmp_path / "a.npy", tmp_path / "out"
    np.save(source, voxels)
    ngcore.convert(source, tmp_path / "whole", **OPTIONS, sharding=False)
    done = []
    real = LocalStore.put_parts

    def lose(store, name, parts):
        path = (out / what).resolve()
        if not done and name.startswith("16_16_16/") and path.exists():
            done.append(name)
            if how == "move":
                path.rename(tmp_path / "moved")
            elif path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
        real(store, name, parts)

    with monkeypatch.context() as patch:
        patch.setattr(LocalStore, "put_parts", lose)
        with pytest.raises(StorageError, match=r"moved or removed|have disappeared|went"):
            ngcore.convert(source, out, **OPTIONS | {"workers": 1}, sharding=False)
    assert done
    assert not (out / "info").exists()
    if what != ".":
        ngcore.convert(source, out, **OPTIONS, sharding=False, resume=True)
        assert all_bytes(out) == all_bytes(tmp_path / "whole")


# What the disk says


@pytest.mark.parametrize("kind", ["_syncfs", "_sync"])
def test_after_a_failed_sync_nothing_of_that_boot_is_trusted(voxels, tmp_path, monkeypatch, kind):
    source, out = tmp_path / "a.npy", tmp_path / "out"
    np.save(source, voxels)
    options = OPTIONS | {"fsync": True, "sharding": False}
    ngcore.convert(source, tmp_path / "whole", **options)

    out.mkdir()

    def fail(*_):
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(sync, "_sync_file_system" if kind == "_syncfs" else "_sync", fail)
        if kind == "_sync":
            patch.setattr(sync, "_syncfs", lambda: None)
            patch.setattr(LocalStore, "put_durably", LocalStore.put)
            patch.setattr("ngcore.transaction.journal.Journal._put_plan", put_plan)
        with pytest.raises(StorageError, match="could not be synced"):
            ngcore.convert(source, out, **options)
    assert not (out / "info").exists()
    assert (out / PLAN).exists()
    lost = [path for path in (out / "8_8_8").iterdir() if path.is_file()]
    assert lost
    for path in lost:  # what the page cache held is not on the disk
        path.write_bytes(bytes(path.stat().st_size))
    ngcore.convert(source, out, **options, resume=True)
    assert all_bytes(out) == all_bytes(tmp_path / "whole")


def put_plan(journal, plan):
    journal._store.put(PLAN, json.dumps(plan).encode())


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP, errno.ENOSYS])
def test_file_systems_that_can_not_sync_folders_are_no_failure(
    voxels, tmp_path, monkeypatch, number
):
    real = os.fsync

    def fsync(descriptor):
        if Path(f"/proc/self/fd/{descriptor}").is_dir():
            raise OSError(number, os.strerror(number))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(sync, "_syncfs", lambda: None)
    ngcore.convert(voxels, tmp_path / "out", **OPTIONS | {"fsync": True})


def test_a_resumed_run_removes_what_a_killed_one_left_half_written(voxels, tmp_path, monkeypatch):
    source, out = tmp_path / "a.npy", tmp_path / "out"
    np.save(source, voxels)
    interrupt(monkeypatch, source, out)
    (out / "8_8_8").mkdir(exist_ok=True)
    left = [out / f".a{TEMPORARY_SUFFIX}", out / "8_8_8" / f".b{TEMPORARY_SUFFIX}"]
    for path in left:
        path.write_bytes(b"half")
    ngcore.convert(source, out, **OPTIONS, resume=True)
    assert not any(path.exists() for path in left)
