"""Runs that fail midway: nothing looks finished, and `resume` makes the same bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import ngcore
from ngcore.errors import DestinationError, StorageError
from ngcore.storage.local import LocalStore

if TYPE_CHECKING:
    from pathlib import Path

WORDS = np.array(["a", "b", "c"])


def table(count: int = 3000) -> dict[str, Any]:
    random = np.random.default_rng(4)
    points = dict(zip("xyz", random.normal(size=(3, count)), strict=True))
    return {**points, "word": random.choice(WORDS, count), "cell": random.integers(0, 9, count)}


def content(folder: Path) -> dict[str, bytes]:
    return {
        p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()
    }


@pytest.mark.parametrize("after", [0, 1, 3, 6])
def test_a_run_that_failed_goes_on_to_the_same_bytes(tmp_path, monkeypatch, after):
    options: Any = {"relations": {"cell": "cell"}, "max_per_cell": 100}
    ngcore.annotations(table(), tmp_path / "whole", **options)
    plain, written = LocalStore.put_parts, []

    def put_parts(self: LocalStore, name: str, parts: Any) -> None:
        if name.endswith(".shard"):
            if len(written) == after:
                raise StorageError(f"can't write {name}: the disk is full")
            written.append(name)
        plain(self, name, parts)

    with monkeypatch.context() as patch:
        patch.setattr(LocalStore, "put_parts", put_parts)
        with pytest.raises(StorageError, match="the disk is full"):
            ngcore.annotations(table(), tmp_path / "out", **options)
    assert not (tmp_path / "out" / "info").exists()
    with pytest.raises(DestinationError, match="unfinished"):
        ngcore.annotations(table(), tmp_path / "out", **options)
    with pytest.raises(DestinationError, match="another options: max_per_cell"):
        ngcore.annotations(table(), tmp_path / "out", resume=True, max_per_cell=7)
    again = []
    monkeypatch.setattr(
        LocalStore,
        "put_parts",
        lambda self, name, parts: (again.append(name), plain(self, name, parts))[1],
    )
    ngcore.annotations(table(), tmp_path / "out", resume=True, **options)
    assert not set(written) & set(again)
    assert content(tmp_path / "out") == content(tmp_path / "whole")
    report = ngcore.validate(tmp_path / "out")
    assert report.is_sound
    assert not report.findings


@pytest.mark.parametrize("kind", ["line", "box", "ellipsoid", "polyline"])
@pytest.mark.parametrize("sharding", [True, False])
def test_every_kind_is_found_sound(tmp_path, kind, sharding):
    random = np.random.default_rng(1)
    names = ("x", "y", "z", "rx", "ry", "rz") if kind == "ellipsoid" else ("x1", "y1", "z1")
    names = (*names, "x2", "y2", "z2")[:6]
    group = None
    if kind == "polyline":
        names, group = ("x", "y", "z"), "of"
    made = dict(zip(names, random.uniform(0, 9, (len(names), 120)), strict=True))
    if group:
        made[group] = np.repeat(np.arange(30), 4)
    ngcore.annotations(
        made,
        tmp_path / "out",
        kind=kind,
        group=group,
        sharding=sharding,
        max_per_cell=9,
        fsync=False,
    )
    report = ngcore.validate(tmp_path / "out")
    assert report.is_sound
    assert not report.findings
