"""Repairs that were interrupted, and what goes on from where they stopped."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from mended import files_of, mend

import ngcore
from faults.repairs import SmallRepair
from ngcore.errors import (
    DestinationError,
    InputError,
    StorageError,
)
from ngcore.repairing.repair import repair
from ngcore.storage import LocalStore
from ngcore.transaction.journal import NOTES
from ngcore.validating.validate import validate

if TYPE_CHECKING:
    from collections.abc import Callable


def fail_after(count: int, write: Callable[..., None], start: str = "") -> Callable[..., None]:
    left = iter(range(count))

    def put_parts(store: LocalStore, name: str, parts: Any) -> None:
        if name.startswith(start) and next(left, None) is None:
            raise StorageError(f"can't write {name}: no space left on device")
        write(store, name, parts)

    return put_parts


@pytest.mark.parametrize(
    ("kind", "count", "start"), [("sharded", 0, "names/"), ("files, nested, gzip", 20, "8_8_8/")]
)
def test_an_interrupted_repair_goes_on_and_tells_of_all_that_was_mended(
    kind, count, start, tmp_path, monkeypatch
):
    small = SmallRepair(kind)
    small.make_source(tmp_path)
    source, dest = tmp_path / "source", tmp_path / "repaired"
    whole = repair(source, tmp_path / "whole")
    with monkeypatch.context() as patch:
        patch.setattr(LocalStore, "put_parts", fail_after(count, LocalStore.put_parts, start))
        with pytest.raises(StorageError, match="continue with --resume"):
            repair(source, dest, workers=1)
    kept = {path: path.stat().st_mtime_ns for path in dest.glob("*_*_*/**/*") if path.is_file()}
    assert kept
    with pytest.raises(DestinationError, match=r"begun with another options: flat was False"):
        repair(source, dest, resume=True, flat=True)
    with pytest.raises(DestinationError, match="begun with another"):
        ngcore.convert(source, dest, resume=True)
    with pytest.raises(InputError, match="repaired is unfinished"):
        repair(dest, tmp_path / "another")
    report = repair(source, dest, resume=True)
    assert files_of(dest) == files_of(tmp_path / "whole")
    assert report.changes == whole.changes
    assert not (dest / ".ngcore").exists()
    if kind == "sharded":  # of chunk files, some of a batch of 16 are written anew
        assert {path: path.stat().st_mtime_ns for path in kept} == kept


def test_what_could_not_be_mended_is_told_of_by_a_resumed_repair_too(tmp_path, monkeypatch):
    SmallRepair("sharded").make_source(tmp_path)
    source, dest = tmp_path / "source", tmp_path / "repaired"
    shard = sorted((source / "8_8_8").iterdir())[0]
    shard.write_bytes(shard.read_bytes()[:-7])
    whole = repair(source, tmp_path / "whole")
    assert whole.failure_count
    with monkeypatch.context() as patch:
        patch.setattr(LocalStore, "put_parts", fail_after(0, LocalStore.put_parts, "names/"))
        with pytest.raises(StorageError):
            repair(source, dest)
    report = repair(source, dest, resume=True)
    assert (report.failures, report.changes) == (whole.failures, whole.changes)
    assert files_of(dest) == files_of(tmp_path / "whole")


def test_a_source_that_changed_is_not_resumed_and_what_was_done_is_kept(tmp_path, monkeypatch):
    SmallRepair("sharded").make_source(tmp_path)
    source, dest = tmp_path / "source", tmp_path / "repaired"
    with monkeypatch.context() as patch:
        patch.setattr(LocalStore, "put_parts", fail_after(0, LocalStore.put_parts, "names/"))
        with pytest.raises(StorageError):
            repair(source, dest)
    before = files_of(dest)
    shard = sorted((source / "8_8_8").iterdir())[0]
    shard.write_bytes(shard.read_bytes() + b"more")
    with pytest.raises(DestinationError, match="another source: content was"):
        repair(source, dest, resume=True)
    assert files_of(dest) == before
    repair(source, dest, overwrite=True)


def test_a_damaged_ledger_counts_for_nothing(tmp_path, monkeypatch):
    SmallRepair("sharded").make_source(tmp_path)
    source, dest = tmp_path / "source", tmp_path / "repaired"
    whole = repair(source, tmp_path / "whole")
    with monkeypatch.context() as patch:
        patch.setattr(LocalStore, "put_parts", fail_after(0, LocalStore.put_parts, "names/"))
        with pytest.raises(StorageError):
            repair(source, dest)
    ledger = dest / NOTES
    lines = ledger.read_bytes().splitlines()
    spoilt = [b'["other run", "8_8_8/0.shard", [], {}]', b"\0\0", b"[1, 2", lines[1][:9], b"[]"]
    ledger.write_bytes(b"\n".join(spoilt))
    report = repair(source, dest, resume=True)
    assert report.changes == whole.changes
    assert files_of(dest) == files_of(tmp_path / "whole")


def test_a_finished_repair_is_not_resumed(volume, tmp_path):
    folder, dest = volume("files"), tmp_path / "repaired"
    repair(folder, dest, resume=True)
    with pytest.raises(DestinationError, match="nothing to resume"):
        repair(folder, dest, resume=True)
    assert validate(dest).is_sound
    with pytest.raises(InputError, match="contradict"):
        repair(folder, dest, resume=True, overwrite=True)


def test_a_full_disk_leaves_no_info_and_overwrite_starts_again(volume, tmp_path, monkeypatch):
    folder, dest = volume("files"), tmp_path / "repaired"
    with monkeypatch.context() as patch:
        patch.setattr(LocalStore, "put_parts", fail_after(20, LocalStore.put_parts))
        with pytest.raises(StorageError, match="continue with --resume"):
            repair(folder, dest, fsync=False)
    assert not (dest / "info").exists()
    with pytest.raises(DestinationError, match=r"unfinished; pass --resume .* --overwrite"):
        repair(folder, dest)
    mend(folder, overwrite=True)
    assert files_of(folder) == files_of(dest)
