"""Dask workers in processes and folders of their own, that share nothing with each other."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from bucket_servers import VARIABLES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class LoneWorkers:
    """A scheduler in this process, a client of it, and workers elsewhere.

    Parameters
    ----------
    client : distributed.Client
    folder : Path
        In which each worker gets one of its own.
    """

    def __init__(self, client: Any, folder: Path) -> None:
        self.client = client
        self.address = client.scheduler.address
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self._folder = folder

    def start(self, name: str, variables: dict[str, str]) -> None:
        """Start a worker that knows no more of this machine than some variables."""
        home = self._folder / name
        home.mkdir()
        environment = {"PATH": os.environ["PATH"], **variables}
        environment |= dict.fromkeys(("HOME", "TMPDIR"), str(home))
        words = [sys.executable, "-m", "distributed.cli.dask_worker", self.address]
        words += ["--name", name, "--nthreads", "1", "--no-nanny", "--no-dashboard"]
        words += ["--memory-limit", "0", "--local-directory", str(home)]
        self.processes[name] = subprocess.Popen(
            words, cwd=home, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def wait(self, count: int) -> None:
        self.client.wait_for_workers(count, timeout=60)

    def folders(self) -> dict[str, list[str]]:
        """Return what lies in the folders of workers, but for Dask's own things."""
        return {
            home.name: [str(path) for path in home.rglob("*") if "dask-scratch" not in str(path)]
            for home in self._folder.iterdir()
        }

    def end(self, name: str, number: int = signal.SIGKILL) -> None:
        os.kill(self.processes[name].pid, number)


@contextmanager
def lone_workers(folder: Path) -> Iterator[LoneWorkers]:
    """Start a scheduler without workers."""
    distributed = pytest.importorskip("distributed", reason="the extra dask is not installed")
    with (
        distributed.LocalCluster(
            n_workers=0, protocol="tcp", dashboard_address=":0", silence_logs=50
        ) as cluster,
        distributed.Client(cluster.scheduler.address, set_as_default=False) as client,
    ):
        workers = LoneWorkers(client, folder)
        try:
            yield workers
        finally:
            for process in workers.processes.values():
                process.kill()
                process.wait()


def with_access(endpoint: str) -> dict[str, str]:
    """Return the variables of a worker that may read and write the bucket."""
    return {**VARIABLES, "AWS_ENDPOINT_URL": endpoint}


def without_access(endpoint: str) -> dict[str, str]:
    """Return the variables of one that has no credentials."""
    wanted = {k: v for k, v in with_access(endpoint).items() if "KEY" not in k}
    return {**wanted, "AWS_SHARED_CREDENTIALS_FILE": "/nowhere"}
