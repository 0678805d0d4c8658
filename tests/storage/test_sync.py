"""Durability where the system has no call for a whole file system, as on macOS and Windows."""

import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

import ngcore
from ngcore.errors import StorageError
from ngcore.storage import sync
from ngcore.transaction import journal


@pytest.fixture
def synced(monkeypatch):
    """Sync file by file, and tell what was synced, in order."""
    paths = []
    real = sync._sync

    def note(path):
        real(path)
        paths.append(Path(path))

    monkeypatch.setattr(sync, "_syncfs", lambda: None)
    monkeypatch.setattr(sync, "_sync", note)
    return paths


def test_a_folder_is_synced_while_others_write_there(synced, monkeypatch, tmp_path):
    folder = tmp_path / "volume"
    (folder / "8_8_8").mkdir(parents=True)
    for name in (".1.ngcore-tmp", "gone", "stays"):
        (folder / "8_8_8" / name).write_bytes(b"chunk")
    walk = os.walk

    def walk_and_lose(*arguments, **options):
        for parent, folders, names in walk(*arguments, **options):
            if "gone" in names:
                (folder / "8_8_8/gone").unlink()
                (folder / "8_8_8/.1.ngcore-tmp").rename(folder / "8_8_8/whole")
            yield parent, folders, names

    monkeypatch.setattr(os, "walk", walk_and_lose)
    sync.sync_folder(folder)
    assert synced == [folder / "8_8_8/stays", folder / "8_8_8", folder, tmp_path]


def test_named_files_are_synced_before_the_folders_that_name_them(synced, tmp_path):
    names = ["8_8_8/0-1/2-3", "8_8_8/0-1/4-5", "info"]
    (tmp_path / "8_8_8/0-1").mkdir(parents=True)
    for name in (*names, "other"):
        (tmp_path / name).write_bytes(b"chunk")
    sync.sync_files(tmp_path, names)
    folders = [tmp_path / "8_8_8/0-1", tmp_path / "8_8_8", tmp_path, tmp_path.parent]
    assert synced == [*(tmp_path / name for name in names), *folders]
    with pytest.raises(StorageError, match=r"lost could not be synced: No such file"):
        sync.sync_files(tmp_path, ["lost"])


def test_each_checkpoint_syncs_the_new_files_and_no_others(synced, monkeypatch, tmp_path):
    monkeypatch.setattr(journal, "_SECONDS_BETWEEN_CHECKPOINTS", 0)
    voxels = np.random.default_rng(0).integers(0, 255, (32, 32, 64), np.uint8)
    out = tmp_path / "out"
    options = {"resolution": (1, 1, 1), "chunk_size": 16, "sharding": False, "workers": 2}
    ngcore.convert(voxels, out, type="image", **options)
    times = Counter(path for path in synced if path.is_file())
    chunks = [path for path in out.rglob("*-*") if path.is_file()]
    assert len(chunks) == 19  # 16, 2 and 1
    # Once more at the end, when all that is in the folder is.
    assert {times[path] for path in chunks} <= {1, 2}
    assert sum(times[path] for path in chunks) > len(chunks)
