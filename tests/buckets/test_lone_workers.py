"""Dask workers that share nothing but a bucket: the bytes of a local run, whatever they suffer."""

from __future__ import annotations

import itertools
import re
import signal

import nibabel
import numpy as np
import pytest
from bucket_servers import content_of
from lone_workers import lone_workers, with_access, without_access
from thorough import amount

import ngcore
from ngcore.cli import run
from ngcore.errors import InputError, NgcoreError
from ngcore.work import dask as work_dask
from ngcore.work import dask_workers

LABELS = np.random.default_rng(0).integers(0, 3, (10, 9, 8)).astype(np.uint32)
LABELS = LABELS.repeat(6, 0).repeat(6, 1).repeat(6, 2)
VOLUME = {"resolution": (8, 8, 8), "chunk_size": 8, "type": "segmentation"}


@pytest.fixture(scope="module")
def workers(s3_endpoint, tmp_path_factory):
    with lone_workers(tmp_path_factory.mktemp("workers")) as workers:
        for name in ("one", "two"):
            workers.start(name, with_access(s3_endpoint))
        workers.wait(2)
        yield workers


def source(folder):
    path = folder / "labels.nii.gz"
    nibabel.save(nibabel.Nifti1Image(LABELS, np.diag([8e-6, 8e-6, 8e-6, 1])), path)
    return str(path)


def test_commands_write_the_bytes_of_a_local_run(place, workers, tmp_path):
    there, here = f"{place.url}/v", str(tmp_path / "v")
    dask = ["--dask", workers.address]
    options = ["--chunk-size", "8", "--type", "segmentation"]
    assert run(["convert", source(tmp_path), here, *options]) == 0
    assert run(["convert", source(tmp_path), there, *options, *dask]) == 0
    assert run(["mesh", here, "--workers", "1"]) == 0
    assert run(["mesh", there, *dask]) == 0
    assert place.objects("v") == content_of(tmp_path / "v")
    points = np.random.default_rng(1).normal(size=(400, 3))
    ngcore.annotations(points, tmp_path / "points", max_per_cell=50)
    ngcore.annotations(points, f"{place.url}/points", max_per_cell=50, dask=workers.address)
    assert place.objects("points") == content_of(tmp_path / "points")
    assert ngcore.validate(there, dask=workers.address).is_sound
    assert place.uploads() == []
    assert not [name for name in place.objects() if "/." in name]
    assert not any(workers.folders().values())


def test_workers_that_are_killed_and_stopped_on_the_way_are_made_up_for(
    place, s3_endpoint, workers, tmp_path, monkeypatch
):
    monkeypatch.setattr(work_dask, "LOOK_SECONDS", 0.2)
    monkeypatch.setattr(dask_workers, "FROZEN_SECONDS", 2)
    ngcore.convert(LABELS, tmp_path / "v", **VOLUME)
    ngcore.convert(LABELS, f"{place.url}/v", **VOLUME)
    ngcore.mesh(tmp_path / "v", workers=1, block_side=16)
    for name in ("killed", "stopped"):
        workers.start(name, with_access(s3_endpoint))
    workers.wait(4)
    todo = [("killed", signal.SIGKILL), ("stopped", signal.SIGSTOP)]

    def strike(_done, _total):
        if todo:
            workers.end(*todo.pop())

    ngcore.mesh(f"{place.url}/v", dask=workers.client, block_side=16, progress=strike)
    workers.end("stopped")
    assert place.objects("v") == content_of(tmp_path / "v")


def test_a_worker_without_credentials_is_one_line_and_the_run_goes_on_without_it(
    place, s3_endpoint, workers, tmp_path
):
    ngcore.convert(LABELS, tmp_path / "v", **VOLUME)
    ngcore.convert(LABELS, f"{place.url}/v", **VOLUME)
    ngcore.mesh(tmp_path / "v", workers=1, block_side=16)

    def let_it_come(_done, _total):
        if "denied" not in workers.processes:
            count = len(workers.client.scheduler_info()["workers"])
            workers.start("denied", without_access(s3_endpoint))
            workers.wait(count + 1)

    with pytest.raises(NgcoreError, match="lacks access, such as credentials") as told:
        ngcore.mesh(f"{place.url}/v", dask=workers.client, block_side=16, progress=let_it_come)
    assert len(str(told.value).splitlines()) == 1
    with pytest.raises(InputError, match=r"the worker on .* can't check s3://"):
        ngcore.validate(f"{place.url}/v", dask=workers.client)
    with pytest.raises(NgcoreError, match=r"the worker on .* can't write to s3://"):
        ngcore.mesh(f"{place.url}/v", dask=workers.client, block_side=16, resume=True)
    workers.end("denied")
    ngcore.mesh(f"{place.url}/v", dask=workers.client, block_side=16, resume=True)
    assert place.objects("v") == content_of(tmp_path / "v")


SMALL_CHUNKS = {**VOLUME, "chunk_size": 4}
POINTS = np.random.default_rng(1).normal(size=(3000, 3))


def convert(place, folder, client):
    """Convert a volume in the bucket to another one there; the same here."""
    ngcore.convert(LABELS, f"{place.url}/a", **VOLUME)
    options = {"chunk_size": 4, "type": "segmentation"}
    ngcore.convert(f"{place.url}/a", folder / "out", **options)
    return lambda **more: ngcore.convert(
        f"{place.url}/a", f"{place.url}/out", executor=client, **options, **more
    )


def validate(place, folder, client):
    """Check a volume in the bucket that has a fault; the same here."""
    for dest in (f"{place.url}/out", folder / "out"):
        ngcore.convert(LABELS, dest, **SMALL_CHUNKS)
    shard = sorted((folder / "out" / "8_8_8").iterdir())[1]
    shard.write_bytes(shard.read_bytes()[:-5])
    key = f"out/8_8_8/{shard.name}"
    place.client.put_object(Bucket=place.bucket, Key=key, Body=shard.read_bytes())

    def told(report):
        return [(found.kind, found.where, found.count) for found in report.findings]

    def check(**_):
        found = told(ngcore.validate(f"{place.url}/out", dask=client))
        assert found == told(ngcore.validate(folder / "out"))
        assert found

    return check


def annotations(place, folder, client):
    """Write annotations to the bucket; the same here."""
    ngcore.annotations(POINTS, folder / "out", max_per_cell=50)
    return lambda **more: ngcore.annotations(
        POINTS, f"{place.url}/out", max_per_cell=50, dask=client, **more
    )


COMMANDS = [convert, validate, annotations]
LOST = list(itertools.product((signal.SIGKILL, signal.SIGSTOP), COMMANDS))


@pytest.fixture
def at_first_result(monkeypatch):
    """Have something done when the first item of a run has been carried out."""
    monkeypatch.setattr(work_dask, "LOOK_SECONDS", 0.2)
    monkeypatch.setattr(dask_workers, "FROZEN_SECONDS", 2)
    plain, count, todo = work_dask.DaskExecutor.results, [], []

    def results(self, *arguments):
        for result in plain(self, *arguments):
            count.append(1)
            while todo:
                todo.pop()()
            yield result

    monkeypatch.setattr(work_dask.DaskExecutor, "results", results)
    yield todo.append
    assert len(count) > 3
    assert not todo


@pytest.mark.parametrize(("how", "command"), LOST[: amount(1, len(LOST))])
def test_every_command_makes_up_for_a_worker_that_is_lost(
    place, s3_endpoint, workers, tmp_path, at_first_result, command, how
):
    work = command(place, tmp_path, workers.client)
    name = f"{command.__name__}-{how.name}"
    count = len(workers.client.scheduler_info()["workers"])
    workers.start(name, with_access(s3_endpoint))
    workers.wait(count + 1)
    at_first_result(lambda: workers.end(name, how))
    work()
    if how != signal.SIGKILL:
        workers.end(name)
    assert place.objects("out") == content_of(tmp_path / "out")
    assert place.uploads() == []


@pytest.mark.parametrize("command", COMMANDS[: amount(0, len(COMMANDS))])
def test_every_command_names_a_worker_without_access_in_one_line(
    place, s3_endpoint, workers, tmp_path, at_first_result, command
):
    work = command(place, tmp_path, workers.client)
    name = f"{command.__name__}-denied"

    def let_it_come():
        count = len(workers.client.scheduler_info()["workers"])
        workers.start(name, without_access(s3_endpoint))
        workers.wait(count + 1)

    at_first_result(let_it_come)
    for is_first in (True, False):  # it comes on the way, and then it is there
        with pytest.raises(NgcoreError) as told:
            work(resume=not is_first)
        assert len(str(told.value).splitlines()) == 1
        assert re.search(r"access|can't (write|check|read)", str(told.value))
    workers.end(name)
    work(resume=True)
    assert place.objects("out") == content_of(tmp_path / "out")
    assert place.uploads() == []
