"""The file system shim: building it, starting programs under it, and its functions in them."""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

SOURCE = Path(__file__).with_name("shim.c")
KINDS = ("create", "write", "read", "rename", "mkdir", "remove", "sync", "allocate")
SHORT_WRITE = -1

needs_shim = pytest.mark.skipif(
    not sys.platform.startswith("linux") or shutil.which("cc") is None,
    reason="the shim is for Linux, and is compiled",
)


def run_under_shim(folder: Path, script: Path, *arguments: object) -> Any:
    """Run a script under the shim; return the JSON that it prints last."""
    library = folder / "shim.so"
    if not library.exists():
        command = ["cc", "-shared", "-fPIC", "-O1", "-o", str(library), str(SOURCE), "-ldl"]
        subprocess.run([*command, "-lpthread"], check=True)
    environment = {**os.environ, "LD_PRELOAD": str(library), "NGCORE_SHIM": str(library)}
    tests = Path(__file__).parents[1]
    paths = [str(tests), str(tests / "support"), os.environ.get("PYTHONPATH", "")]
    environment["PYTHONPATH"] = os.pathsep.join(paths)
    run = subprocess.run(
        [sys.executable, "-W", "error", str(script), *map(str, arguments)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-5000:]
    return json.loads(run.stdout.splitlines()[-1])


@cache
def _library() -> Any:
    return ctypes.CDLL(os.environ["NGCORE_SHIM"])


def watch(folder: Path | str) -> None:
    """Touch only what lies below a folder."""
    _library().faults_watch(os.fsencode(folder))


def arm(kind: str, call: int, error: int, *, stays: bool) -> None:
    """Let the `call`-th call of a kind from now fail, and all after it if the fault stays."""
    _library().faults_arm(KINDS.index(kind), ctypes.c_long(call), error, int(stays))


def disarm() -> None:
    """Let no call fail, and count from now."""
    _library().faults_arm(-1, ctypes.c_long(0), 0, 0)


def calls(kind: str) -> int:
    """Return how many calls of a kind there were since the shim was armed or disarmed."""
    return int(_library().faults_count(KINDS.index(kind)))


def record(path: Path | None) -> None:
    """Write every change to a log from now on; to none if `path` is None."""
    _library().faults_record(os.fsencode(path) if path is not None else b"")
