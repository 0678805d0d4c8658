"""Volumes that are checked by other processes: what is found is what threads find here."""

from __future__ import annotations

import damage
import numpy as np
import pytest
from elsewhere import ElsewhereExecutor
from serving import plainly_served
from thorough import amount

import ngcore
from ngcore.cli import run
from ngcore.errors import InputError, StorageError
from ngcore.validating.spread import SpreadWork
from ngcore.validating.validate import inspect


@pytest.mark.parametrize("seed", range(amount(12, 200)))
def test_findings_are_those_of_threads(made, tmp_path, seed):
    rng = np.random.default_rng(seed)
    name = list(damage.VOLUMES)[seed % len(damage.VOLUMES)]
    folder = damage.copy(made(name), tmp_path / "volume")
    for _ in range(seed % 4):
        damage.KINDS[rng.integers(len(damage.KINDS))](folder, made(name, 1), rng)
    quick = seed % 5 == 4
    try:
        expected = inspect(folder, quick=quick, workers=2)
    except InputError as error:
        with pytest.raises(type(error), match=r"info|volume"):
            inspect(folder, quick=quick, dask=ElsewhereExecutor())
        return
    assert inspect(folder, quick=quick, workers=2, dask=ElsewhereExecutor()) == expected


@pytest.mark.parametrize("name", ["sharded labels", "files"])
def test_a_volume_on_a_web_server_is_checked_by_others_too(made, name, tmp_path):
    folder = damage.copy(made(name), tmp_path / "volume")
    some = next(path for path in sorted(folder.rglob("*")) if path.parent.name == "8_8_8")
    some.write_bytes(some.read_bytes()[:-3])
    with plainly_served(folder) as url:
        expected = ngcore.validate(url)
        assert ngcore.validate(url, dask=ElsewhereExecutor()) == expected
    assert not expected.is_sound


def test_many_parts_are_not_held_at_once(made, monkeypatch):
    monkeypatch.setattr("ngcore.validating.spread._MOST_QUEUED", 2)
    monkeypatch.setattr(SpreadWork, "grain", 2)
    folder = made("files")
    assert ngcore.validate(folder, dask=ElsewhereExecutor()) == ngcore.validate(folder)


def test_a_worker_that_reads_another_volume_is_named(made, tmp_path, monkeypatch):
    folder = damage.copy(made("sharded"), tmp_path / "volume")
    executor = ElsewhereExecutor()

    def hide(*_):
        (folder / "info").rename(tmp_path / "info")
        return {}

    with monkeypatch.context() as patch:
        patch.setattr(executor, "everywhere", hide)
        with pytest.raises(StorageError, match=r"the worker on .* can't check .*volume"):
            ngcore.validate(folder, dask=executor)
    (tmp_path / "info").rename(folder / "info")

    def elsewhere(function, assignment):
        (folder / "info").rename(tmp_path / "info")
        return function(assignment)

    monkeypatch.setattr(executor, "everywhere", elsewhere)
    with pytest.raises(InputError, match=r"the worker on .* can't check .*volume"):
        ngcore.validate(folder, dask=executor)


def test_local_processes_check_a_volume(made, tmp_path, capsys):
    pytest.importorskip("distributed", reason="the extra dask is not installed")
    folder = damage.copy(made("sharded"), tmp_path / "volume")
    shard = next((folder / "8_8_8").iterdir())
    shard.write_bytes(shard.read_bytes()[:-100])
    assert run(["validate", str(folder)]) == 1
    expected = capsys.readouterr().out
    assert run(["validate", str(folder), "--dask", "local", "--workers", "1"]) == 1
    assert capsys.readouterr().out == expected
