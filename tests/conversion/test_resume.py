import errno
import json
import os
import shutil
import signal
import subprocess
import sys

import nibabel
import numpy as np
import pytest
from thorough import amount

import ngcore
from ngcore.errors import DestinationError, StorageError
from ngcore.labelling.labels import write_labels
from ngcore.storage.local import LocalStore
from ngcore.transaction import destination, removal, work_folder
from ngcore.transaction.changes import Transaction
from ngcore.transaction.journal import JOURNAL, PLAN

SHAPE = tuple(amount(1, 2) * length for length in (75, 80, 85))


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    path = tmp_path_factory.mktemp("source") / "voxels.npy"
    rng = np.random.default_rng(0)
    np.save(path, rng.integers(0, 255, SHAPE, np.uint8))
    return path


def all_bytes(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


OPTIONS = {"resolution": (8, 8, 8), "type": "image", "chunk_size": 16, "fsync": False}


def fail_after(monkeypatch, puts, error):
    """Let the local store fail at a certain file, as a full disk does."""
    real = LocalStore.put_parts
    left = [puts]

    def put_parts(self, name, parts):
        if not name.startswith((".ngcore", "info")):
            left[0] -= 1
            if left[0] < 0:
                raise error
        real(self, name, parts)

    monkeypatch.setattr(LocalStore, "put_parts", put_parts)


def interrupt(monkeypatch, source, dest, puts=2, **options):
    with monkeypatch.context() as patch:
        fail_after(patch, puts, StorageError("the disk is full"))
        with pytest.raises(StorageError, match="resume=True"):
            ngcore.convert(source, dest, **OPTIONS, **options)
    assert not (dest / "info").exists()
    assert (dest / PLAN).exists()


@pytest.mark.parametrize("sharding", [True, False])
def test_resumed_conversion_is_like_an_undisturbed_one(monkeypatch, source, tmp_path, sharding):
    ngcore.convert(source, tmp_path / "whole", sharding=sharding, **OPTIONS)
    interrupt(monkeypatch, source, tmp_path / "out", puts=2 if sharding else 99, sharding=sharding)
    before = {
        path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*_*") if path.is_file()
    }
    ngcore.convert(source, tmp_path / "out", sharding=sharding, resume=True, **OPTIONS)
    assert all_bytes(tmp_path / "out") == all_bytes(tmp_path / "whole")
    # What was complete was not made again.
    assert all(path.stat().st_mtime_ns == changed for path, changed in before.items())


def test_resumed_shards_of_jpeg_chunks_are_digested_like_undisturbed_ones(monkeypatch, tmp_path):
    voxels = np.zeros((32, 32, 64), np.uint8)
    voxels[:8, :8, :8], voxels[16:, 16:, 40:] = 100, 200  # most chunks are in no shard
    np.save(tmp_path / "voxels.npy", voxels)
    options = {"encoding": "jpeg", "workers": 1, **OPTIONS, "chunk_size": 4}
    ngcore.convert(tmp_path / "voxels.npy", tmp_path / "whole", **options)
    with monkeypatch.context() as patch:
        fail_after(patch, 1, StorageError("the disk is full"))
        with pytest.raises(StorageError, match="resume=True"):
            ngcore.convert(tmp_path / "voxels.npy", tmp_path / "out", **options)
    ngcore.convert(tmp_path / "voxels.npy", tmp_path / "out", resume=True, **options)
    assert all_bytes(tmp_path / "out") == all_bytes(tmp_path / "whole")


def test_after_a_loss_of_power_only_the_journal_is_trusted(monkeypatch, source, tmp_path):
    out = tmp_path / "out"
    ngcore.convert(source, tmp_path / "whole", sharding=False, **OPTIONS)
    interrupt(monkeypatch, source, out, puts=99, sharding=False)
    plan = (out / PLAN).read_text()
    (out / PLAN).write_text(plan.replace('"boot": "', '"boot": "another '))
    chunks = sorted(path for path in out.rglob("*_*-*") if path.is_file())
    kept, lost = chunks[:10], chunks[10:]
    names = [path.relative_to(out).as_posix() for path in kept]
    run = json.loads(plan)["run"]
    (out / JOURNAL).write_text("".join(f"{run} {name}\n" for name in names) + f"{run} 8_8_8/cut")
    for path in lost:
        path.write_bytes(b"")  # such files a loss of power leaves
    times = [path.stat().st_mtime_ns for path in kept]
    ngcore.convert(source, out, sharding=False, resume=True, **OPTIONS)
    assert all_bytes(out) == all_bytes(tmp_path / "whole")
    assert [path.stat().st_mtime_ns for path in kept] == times


def test_unfinished_conversion_is_refused_and_both_ways_on_are_named(
    monkeypatch, source, tmp_path
):
    interrupt(monkeypatch, source, tmp_path / "out")
    with pytest.raises(DestinationError, match=r"resume=True .* overwrite=True"):
        ngcore.convert(source, tmp_path / "out", **OPTIONS)
    ngcore.convert(source, tmp_path / "out", overwrite=True, **OPTIONS)
    assert not (tmp_path / "out/.ngcore").exists()


def test_resume_with_other_options_is_refused_by_name(monkeypatch, source, tmp_path):
    interrupt(monkeypatch, source, tmp_path / "out")
    with pytest.raises(DestinationError, match="downsampling was average, but is now min"):
        ngcore.convert(source, tmp_path / "out", resume=True, downsampling="min", **OPTIONS)
    # One option that was left out is the default of another.
    with pytest.raises(
        DestinationError,
        match="gzip was True, but is now False, sharding was True, but is now False",
    ):
        ngcore.convert(source, tmp_path / "out", resume=True, sharding=False, **OPTIONS)
    with pytest.raises(
        ngcore.NgcoreError, match="is unfinished; continue the command that writes it"
    ):
        ngcore.open(tmp_path / "out")
    # What was done is not lost by that.
    assert (tmp_path / "out" / PLAN).exists()
    ngcore.convert(source, tmp_path / "out", resume=True, **OPTIONS)


def test_overwriting_that_is_interrupted_is_resumed(monkeypatch, source, tmp_path):
    out = tmp_path / "out"
    ngcore.convert(source, out, sharding=False, downsampling="min", **OPTIONS)
    ngcore.convert(source, tmp_path / "whole", **OPTIONS)
    interrupt(monkeypatch, source, out, overwrite=True)
    ngcore.convert(source, out, resume=True, **OPTIONS)
    assert all_bytes(out) == all_bytes(tmp_path / "whole")


def test_clearing_that_is_interrupted_leaves_nothing_of_the_old_volume(
    monkeypatch, source, tmp_path
):
    out = tmp_path / "out"
    ngcore.convert(source, tmp_path / "whole", **OPTIONS)
    for resume in (True, False):
        ngcore.convert(source, out, sharding=False, overwrite=True, **OPTIONS)
        with monkeypatch.context() as patch:
            patch.setattr(removal, "remove_layer", lambda *_: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                ngcore.convert(source, out, overwrite=True, **OPTIONS)
        assert not (out / "info").exists()
        with pytest.raises(DestinationError, match=r"resume=True .* overwrite=True"):
            ngcore.convert(source, out, **OPTIONS)
        ngcore.convert(source, out, overwrite=not resume, resume=resume, **OPTIONS)
        assert all_bytes(out) == all_bytes(tmp_path / "whole")


def test_file_that_is_gone_when_it_is_to_be_removed_is_removed(monkeypatch, source, tmp_path):
    walk = os.walk

    def walk_beside_a_worker(*arguments, **options):
        for parent, folders, names in walk(*arguments, **options):
            yield parent, folders, [*names, ".put-in-place-meanwhile.ngcore-tmp"]

    out = tmp_path / "out"
    ngcore.convert(source, out, **OPTIONS)
    with monkeypatch.context() as patch:
        patch.setattr(os, "walk", walk_beside_a_worker)
        ngcore.convert(source, out, overwrite=True, downsampling="min", **OPTIONS)
    ngcore.convert(source, tmp_path / "whole", downsampling="min", **OPTIONS)
    assert all_bytes(out) == all_bytes(tmp_path / "whole")


def test_full_disk_at_the_start_of_a_resumed_run_costs_nothing(monkeypatch, source, tmp_path):
    out = tmp_path / "out"
    interrupt(monkeypatch, source, out)
    before = all_bytes(out)
    with monkeypatch.context() as patch:

        class Full(type(tmp_path)):
            def mkdir(self, *_, **__):
                raise OSError(errno.ENOSPC, "No space left on device")

        def choose(work_folder, _tmp):
            return Full(work_folder.absolute() / "full")

        patch.setattr(work_folder, "choose_temporary_folder", choose)
        with pytest.raises(StorageError, match="No space left on device; free some space there"):
            ngcore.convert(source, out, resume=True, **OPTIONS)
    assert all_bytes(out) == before


def kill_at_work(source, out, tmp, *options):
    """Kill a conversion at its first shard, while its temporary files are there."""
    code = """
import os, signal, sys
from ngcore.cli import run
from ngcore.storage.local import LocalStore
put_parts = LocalStore.put_parts
def kill(self, name, parts):
    if name.endswith(".shard"):
        os.kill(os.getpid(), signal.SIGKILL)
    put_parts(self, name, parts)
LocalStore.put_parts = kill
run(sys.argv[1:])
"""
    arguments = ["convert", source, out, "--tmp", tmp, "--resolution", "8,8,8", "--chunk-size"]
    arguments += ["16", "--no-fsync", *options]
    done = subprocess.run([sys.executable, "-c", code, *map(str, arguments)], check=False)
    assert done.returncode == -signal.SIGKILL


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
@pytest.mark.parametrize("again", ["resume", "overwrite"][: amount(1, 2)])
def test_what_a_killed_run_left_in_another_folder_goes_with_the_next_one(tmp_path, again):
    source, out, tmp = tmp_path / "voxels.nii.gz", tmp_path / "out", tmp_path / "tmp"
    voxels = np.random.default_rng(0).integers(0, 255, (90, 80, 30, 2), np.uint8)
    nibabel.save(nibabel.Nifti1Image(voxels, np.eye(4)), source)
    tmp.mkdir()
    (tmp / ".ngcore-of-somebody-else").mkdir()
    kill_at_work(source, out, tmp)
    left = [path.name for path in tmp.glob(".ngcore-*/*")]
    assert "source" in left  # unpacked, as channels lie one after another in it
    # A copy of the folder must not touch what the original may still work with.
    shutil.copytree(out, tmp_path / "copy")
    ngcore.convert(source, tmp_path / "copy", **OPTIONS, **{again: True})
    assert [path.name for path in tmp.glob(".ngcore-*/*")] == left
    ngcore.convert(source, out, **OPTIONS, **{again: True})
    assert [path.name for path in tmp.iterdir()] == [".ngcore-of-somebody-else"]
    assert all_bytes(out) == all_bytes(tmp_path / "copy")


def test_resume_with_another_source_is_refused_by_name(monkeypatch, source, tmp_path):
    interrupt(monkeypatch, source, tmp_path / "out")
    status = source.stat()
    os.utime(source, ns=(status.st_atime_ns, status.st_mtime_ns + 10**9))
    try:
        with pytest.raises(DestinationError, match="another source: time was"):
            ngcore.convert(source, tmp_path / "out", resume=True, **OPTIONS)
    finally:
        os.utime(source, ns=(status.st_atime_ns, status.st_mtime_ns))


@pytest.mark.parametrize(
    ("given", "changed"),
    [
        ("p.img", "p.hdr"),
        ("p.hdr.gz", "p.img.gz"),
        ("P.HDR", "P.IMG"),
        ("a+orig.HEAD", "a+orig.BRIK"),
    ],
)
def test_resume_with_another_file_of_a_pair_is_refused(monkeypatch, tmp_path, given, changed):
    voxels = np.arange(32**3, dtype=np.int16).reshape(32, 32, 32)
    if given.startswith("a"):
        write_afni(tmp_path / given, voxels)
    else:
        pair = tmp_path / given.lower()
        nibabel.save(nibabel.Nifti1Pair(voxels, np.eye(4)), pair)
        for name in (given, changed):
            (tmp_path / name.lower()).rename(tmp_path / name)
    options = {"chunk_size": 8, "sharding": False, "workers": 1, "fsync": False}
    with monkeypatch.context() as patch:
        fail_after(patch, 4, StorageError("the disk is full"))
        with pytest.raises(StorageError, match="resume=True"):
            ngcore.convert(tmp_path / given, tmp_path / "out", **options)
    status = (tmp_path / changed).stat()
    os.utime(tmp_path / changed, ns=(status.st_atime_ns, status.st_mtime_ns + 10**9))
    with pytest.raises(DestinationError, match="begun with another source: files was"):
        ngcore.convert(tmp_path / given, tmp_path / "out", resume=True, **options)


def write_afni(path, voxels):
    """Write a data set of AFNI, header and voxels."""
    x, y, z = voxels.shape
    attributes = {
        "DATASET_RANK": ("integer", "3 1"),
        "DATASET_DIMENSIONS": ("integer", f"{x} {y} {z}"),
        "ORIENT_SPECIFIC": ("integer", "0 3 4"),
        "ORIGIN": ("float", "0 0 0"),
        "DELTA": ("float", "1 1 1"),
        "IJK_TO_DICOM_REAL": ("float", "1 0 0 0 0 1 0 0 0 0 1 0"),
        "BRICK_TYPES": ("integer", "1"),
        "BRICK_FLOAT_FACS": ("float", "0"),
        "SCENE_DATA": ("integer", "0 0 0"),
        "TYPESTRING": ("string", "'3DIM_HEAD_ANAT~"),
        "BYTEORDER_STRING": ("string", "'LSB_FIRST~"),
        "TEMPLATE_SPACE": ("string", "'ORIG~"),
    }
    text = ""
    for name, (kind, value) in attributes.items():
        count = len(value) - 1 if kind == "string" else len(value.split())
        text += f"\ntype = {kind}-attribute\nname = {name}\ncount = {count}\n{value}\n"
    path.write_text(text)
    path.with_suffix(".BRIK").write_bytes(voxels.tobytes(order="F"))


def test_resume_starts_where_there_is_nothing(source, tmp_path):
    (tmp_path / "empty").mkdir()
    for name in ("absent", "empty"):
        volume = ngcore.convert(source, tmp_path / name, resume=True, **OPTIONS)
        assert volume.scales[0].shape == (*SHAPE, 1)


def test_resume_of_a_complete_volume_is_done_at_once(source, tmp_path):
    ngcore.convert(source, tmp_path / "out", **OPTIONS)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")}
    ngcore.convert(source, tmp_path / "out", resume=True, **OPTIONS)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")} == before


def test_resume_of_another_complete_volume_is_refused(source, tmp_path):
    ngcore.convert(source, tmp_path / "out", **OPTIONS)
    with pytest.raises(DestinationError, match="another source or other options"):
        ngcore.convert(source, tmp_path / "out", resume=True, downsampling="min", **OPTIONS)


SMALL = {"chunk_size": 8, "workers": 1, "fsync": False}
REFUSED = "another source or other options; pass overwrite=True"


def test_resume_of_a_complete_volume_knows_another_source_of_the_same_name(tmp_path):
    source, out, copy = tmp_path / "a.nii", tmp_path / "out", tmp_path / "copy" / "a.nii"
    voxels = np.full((16, 16, 16), 7, np.uint8)
    nibabel.save(nibabel.Nifti1Image(voxels, np.eye(4)), source)
    ngcore.convert(source, out, **SMALL)
    before = all_bytes(out)
    copy.parent.mkdir()
    shutil.copy2(source, copy)  # with its time
    ngcore.convert(copy, out, resume=True, **SMALL)
    status = source.stat()
    for other in (
        nibabel.Nifti1Image(voxels + 1, np.eye(4)),
        nibabel.Nifti1Image(voxels, np.diag([1, 1, 1, 1]) + np.eye(4, k=3)),
    ):
        nibabel.save(other, source)
        os.utime(source, ns=(status.st_atime_ns, status.st_mtime_ns))
        with pytest.raises(DestinationError, match=REFUSED):
            ngcore.convert(source, out, resume=True, **SMALL)
    # Where the bytes that are compared are the same, the time tells, but not one in the future.
    later = (out / "info").stat().st_mtime_ns + 10**15
    os.utime(copy, ns=(later, later))
    ngcore.convert(copy, out, resume=True, **SMALL)
    os.utime(out / "transform.json", ns=(0, 0))
    os.utime(copy)
    with pytest.raises(DestinationError, match=r"has changed since .* pass overwrite=True"):
        ngcore.convert(copy, out, resume=True, **SMALL)
    assert all_bytes(out) == before


def test_resume_of_a_complete_volume_knows_other_slices(tmp_path):
    from PIL import Image

    folder, out = tmp_path / "slices", tmp_path / "out"
    folder.mkdir()
    for number in range(3):
        Image.fromarray(np.full((9, 9), number, np.uint8)).save(folder / f"{number}.png")
    options = SMALL | {"resolution": (1, 1, 1)}
    ngcore.convert(folder, out, **options)
    ngcore.convert(folder, out, resume=True, **options)
    changed = folder / "1.png"
    status = changed.stat()
    Image.fromarray(np.full((9, 9), 77, np.uint8)).save(changed)
    os.utime(changed, ns=(status.st_atime_ns, status.st_mtime_ns))
    with pytest.raises(DestinationError, match=REFUSED):
        ngcore.convert(folder, out, resume=True, **options)


def test_resume_of_a_complete_volume_knows_another_volume_at_the_same_place(tmp_path):
    voxels = np.full((16, 16, 16), 7, np.uint8)
    source, out = tmp_path / "source", tmp_path / "out"
    options = SMALL | {"resolution": (1, 1, 1), "type": "image"}
    ngcore.convert(voxels, source, **options)
    ngcore.convert(source, out, **SMALL)
    ngcore.convert(source, out, resume=True, **SMALL)
    ngcore.convert(voxels + 1, source, overwrite=True, **options)
    for path in source.iterdir():
        if path.is_file():
            os.utime(path, ns=(0, 0))
    with pytest.raises(DestinationError, match=REFUSED):
        ngcore.convert(source, out, resume=True, **SMALL)


def test_what_other_commands_add_to_a_volume_does_not_make_it_another(tmp_path):
    labels, out, table = tmp_path / "labels.npy", tmp_path / "out", tmp_path / "names.csv"
    np.save(labels, np.full((16, 16, 16), 3, np.uint32))
    options = SMALL | {"resolution": (1, 1, 1), "type": "segmentation"}
    ngcore.convert(labels, out, **options)
    table.write_text("id,name\n3,thalamus\n")
    write_labels(out, table)
    info = json.loads((out / "info").read_text())
    assert "segment_properties" in info
    (out / "info").write_text(json.dumps(info | {"mesh": "mesh", "of_another_tool": [1]}))
    with Transaction(out) as change:
        change.record("mesh-to-precomputed", {"mesh": "a.stl"})
    before = all_bytes(out)
    ngcore.convert(labels, out, resume=True, **options)
    assert all_bytes(out) == before
    with pytest.raises(DestinationError, match=REFUSED):
        ngcore.convert(labels, out, resume=True, **options | {"voxel_offset": (1, 0, 0)})


def test_source_that_changed_before_other_commands_wrote_info_anew_is_another(tmp_path):
    labels, out, table = tmp_path / "labels.npy", tmp_path / "out", tmp_path / "names.csv"
    voxels = np.full((64, 64, 64), 3, np.uint32)
    np.save(labels, voxels)
    options = SMALL | {"resolution": (1, 1, 1), "type": "segmentation"}
    ngcore.convert(labels, out, **options)
    voxels[-1] = 4
    np.save(labels, voxels)
    finished = (out / "info").stat().st_mtime_ns
    os.utime(labels, ns=(finished + 1, finished + 1))
    table.write_text("id,name\n3,thalamus\n")
    write_labels(out, table)
    assert (out / "info").stat().st_mtime_ns > labels.stat().st_mtime_ns
    with pytest.raises(DestinationError, match=REFUSED):
        ngcore.convert(labels, out, resume=True, **options)


@pytest.mark.parametrize("name", ["info", "provenance", "transform.json"])
@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"processing": [1]}'])
def test_resume_of_a_complete_volume_with_damaged_files_beside_it_is_refused(
    tmp_path, name, content
):
    voxels = np.zeros((8, 8, 8), np.uint8)
    options = SMALL | {"resolution": (1, 1, 1), "type": "image"}
    ngcore.convert(voxels, tmp_path, **options)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DestinationError, match=REFUSED):
        ngcore.convert(voxels, tmp_path, resume=True, **options)


def test_resume_of_a_complete_volume_leaves_the_lock_of_a_run_that_will_replace_it(tmp_path):
    voxels, out = np.zeros((8, 8, 8), np.uint8), tmp_path / "out"
    options = SMALL | {"resolution": (1, 1, 1), "type": "image"}
    ngcore.convert(voxels, out, **options)
    before = all_bytes(out)
    with destination.Destination(out, overwrite=True):
        lock = (out / ".ngcore" / "lock").stat()
        with pytest.raises(DestinationError, match="in use"):
            ngcore.convert(voxels, out, resume=True, **options)
        assert os.path.samestat((out / ".ngcore" / "lock").stat(), lock)
    (out / ".ngcore").mkdir(exist_ok=True)
    ngcore.convert(voxels, out, resume=True, **options)
    assert all_bytes(out) == before


def test_a_volume_that_is_gone_when_the_lock_is_taken_is_made_again(monkeypatch, tmp_path):
    voxels, out = np.arange(16**3, dtype=np.uint16).reshape(16, 16, 16), tmp_path / "out"
    options = SMALL | {"resolution": (1, 1, 1), "type": "image", "sharding": False}
    ngcore.convert(voxels, tmp_path / "whole", **options)
    with monkeypatch.context() as patch:
        fail_after(patch, 2, StorageError("the disk is full"))
        with pytest.raises(StorageError, match="resume=True"):
            ngcore.convert(voxels, out, **options)
    for name in ("info", "provenance", "transform.json"):
        shutil.copy(tmp_path / "whole" / name, out)
    lock = destination.lock_folder

    def lock_late(*where, **how):
        (out / "info").unlink(missing_ok=True)
        return lock(*where, **how)

    monkeypatch.setattr(destination, "lock_folder", lock_late)
    ngcore.convert(voxels, out, resume=True, **options)
    assert all_bytes(out) == all_bytes(tmp_path / "whole")


def test_lock_goes_even_where_what_was_written_can_not_be_removed(tmp_path, monkeypatch):
    def fail(_path, _info):
        raise StorageError("can't be removed")

    monkeypatch.setattr(removal, "remove_layer", fail)
    voxels = np.full((8, 8, 8), np.nan, np.float32)
    options = SMALL | {"resolution": (1, 1, 1), "type": "image", "data_type": "uint8"}
    with pytest.raises(StorageError, match="can't be removed"):
        ngcore.convert(voxels, tmp_path / "out", **options)
    with destination.Destination(tmp_path / "out", resume=True, overwrite=False):
        assert (tmp_path / "out" / ".ngcore" / "lock").exists()
