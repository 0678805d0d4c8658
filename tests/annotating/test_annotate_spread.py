"""Collections whose indexes other processes write: the bytes that one process writes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from elsewhere import ElsewhereExecutor

import ngcore
from ngcore.annotating import index_files
from ngcore.cli import run
from ngcore.errors import InputError, StorageError
from ngcore.sources.points import arrays
from ngcore.validating.validate import validate

if TYPE_CHECKING:
    from pathlib import Path

WORDS = np.array(["a", "b", "c"])


def content(folder: Path) -> dict[str, bytes]:
    return {
        p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()
    }


def points(count: int = 1500) -> dict[str, Any]:
    random = np.random.default_rng(4)
    found = dict(zip("xyz", random.normal(size=(3, count)), strict=True))
    segments = random.integers(0, 90, count)
    return {**found, "word": random.choice(WORDS, count), "cell": segments, "other": segments % 7}


def lines(count: int = 700) -> dict[str, Any]:
    random = np.random.default_rng(5)
    names = ("x1", "y1", "z1", "x2", "y2", "z2")
    return dict(zip(names, random.normal(size=(6, count)), strict=True))


def polylines(count: int = 900) -> dict[str, Any]:
    random = np.random.default_rng(6)
    found = dict(zip("xyz", random.normal(size=(3, count)), strict=True))
    return {**found, "line": np.arange(count) // 5}


CASES: list[tuple[Any, dict[str, Any]]] = [
    (points, {"relations": {"cell": "cell", "other": "other"}}),
    (lambda: points(150), {"relations": {"cell": "cell"}, "sharding": False}),
    (lines, {"kind": "line"}),
    (polylines, {"kind": "polyline", "group": "line"}),
]


@pytest.fixture(autouse=True)
def many_small_shards_and_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_files, "_SHARD_ENTRIES", 150)
    monkeypatch.setattr(index_files, "_SHARD_CELL_BITS", 1)
    monkeypatch.setattr(arrays, "_ROWS", 500)


@pytest.mark.parametrize(("make", "options"), CASES)
def test_others_write_the_same_bytes(tmp_path: Path, make: Any, options: dict[str, Any]) -> None:
    options = {"max_per_cell": 60, "fsync": False, **options}
    ngcore.annotations(make(), tmp_path / "here", **options)
    ngcore.annotations(make(), tmp_path / "there", dask=ElsewhereExecutor(), **options)
    assert content(tmp_path / "there") == content(tmp_path / "here")
    assert validate(tmp_path / "there").is_sound
    if "sharding" not in options:
        sharding = json.loads((tmp_path / "here/info").read_text())["by_id"]["sharding"]
        assert sharding["shard_bits"] > 0


def test_a_run_that_failed_on_a_worker_goes_on_to_the_same_bytes(tmp_path: Path) -> None:
    options: dict[str, Any] = {"max_per_cell": 60, "relations": {"cell": "cell"}}
    ngcore.annotations(points(), tmp_path / "whole", **options)

    class Stops(ElsewhereExecutor):
        is_local = True  # what workers elsewhere had not synced is made again

        def results(self, function: Any, items: Any) -> Any:
            for number, result in enumerate(super().results(function, items)):
                if number == 5 and function.__name__ == "write_part":
                    raise StorageError("the disk is full")
                yield result

    with pytest.raises(StorageError, match="the disk is full"):
        ngcore.annotations(points(), tmp_path / "out", dask=Stops(), **options)
    assert not (tmp_path / "out/info").exists()
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("out/*/*.shard")}
    assert before
    ngcore.annotations(
        points(), tmp_path / "out", dask=ElsewhereExecutor(), resume=True, **options
    )
    assert content(tmp_path / "out") == content(tmp_path / "whole")
    assert all(path.stat().st_mtime_ns == time for path, time in before.items())


def test_ids_that_occur_twice_are_refused_by_whoever_finds_them(tmp_path: Path) -> None:
    table = {**points(), "id": np.append(np.arange(1, 1500), 77)}
    with pytest.raises(InputError, match="the id 77"):
        ngcore.annotations(table, tmp_path / "out", id="id", dask=ElsewhereExecutor())
    assert not (tmp_path / "out").exists()


def test_local_processes_write_a_table(tmp_path: Path) -> None:
    pytest.importorskip("distributed", reason="the extra dask is not installed")
    np.save(tmp_path / "points.npy", np.random.default_rng(0).normal(size=(500, 3)))
    table = str(tmp_path / "points.npy")
    assert run(["annotations", table, str(tmp_path / "here")]) == 0
    assert run(["annotations", table, str(tmp_path / "there"), "--dask", "local"]) == 0
    assert content(tmp_path / "there") == content(tmp_path / "here")
