"""Run under the shim: let every call of a small job fail in turn, and see what comes of it.

    every_call.py FOLDER NAME MOST [KIND...]

Converts or repairs FOLDER/source... to FOLDER/out with the options of NAME once per fault, at most
MOST times for each kind of it, and prints those that were not survived, as JSON. Where FOLDER/old
has a volume, FOLDER/out holds it before, and it is replaced. KIND... are the kinds of calls that
fail, all where none are given.
"""

import contextlib
import errno
import io
import json
import shutil
import sys
from pathlib import Path

from faults import shim
from faults.conversions import CONVERSIONS, all_bytes
from faults.repairs import REPAIRS
from ngcore.cli import run
from ngcore.transaction.journal import PLAN

FAULTS = [
    ("write", shim.SHORT_WRITE, False),
    ("write", shim.SHORT_WRITE, True),
    ("write", errno.ENOSPC, True),
    ("write", errno.EIO, False),
    ("write", errno.EINTR, False),
    ("create", errno.ENOSPC, True),
    ("create", errno.EINTR, False),
    ("create", errno.EMFILE, False),
    ("read", errno.EIO, False),
    ("read", errno.EINTR, False),
    ("rename", errno.EIO, False),
    ("rename", errno.ENOSPC, True),
    ("mkdir", errno.ENOSPC, True),
    ("remove", errno.EIO, False),
    ("sync", errno.EIO, False),
    ("sync", errno.ENOSPC, True),
    ("allocate", errno.ENOSPC, True),
]


def main() -> None:
    folder, name, most, kinds = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), sys.argv[4:]
    out, old = folder / "out", folder / "old"
    job = {**CONVERSIONS, **REPAIRS}[name]
    again = [*job.command(folder), str(out), job.again]
    command = [*again[:-1], "--overwrite"] if old.exists() else again[:-1]
    before = all_bytes(old)
    make_ready(out, old)
    status, lines = call(command)
    assert status == 0, lines
    whole = all_bytes(out)
    shim.watch(folder)
    make_ready(out, old)
    call(command)
    counts = {kind: shim.calls(kind) for kind in shim.KINDS}
    tried = failed = 0
    wrong = []
    for kind, error, stays in FAULTS:
        if kinds and kind not in kinds:
            continue
        count = counts[kind]
        # Spread over all calls; all of them where they are few enough.
        chosen = sorted({1 + index * count // most for index in range(most)} if count else set())
        for number in chosen:
            make_ready(out, old)
            shim.arm(kind, number, error, stays=stays)
            status, lines = call(command)
            shim.disarm()
            tried += 1
            failed += status != 0
            found = all_bytes(out)
            problem = verdict(status, lines, found, whole, before)
            if problem is None and status != 0:
                is_begun = (out / PLAN).exists() or all_bytes(out) != before
                # Where only the validation of a repair failed, there is nothing to resume.
                is_done = name in REPAIRS and found == whole and not (out / PLAN).exists()
                redo = [*again[:-1], "--overwrite"] if is_done else again
                status, lines = call(redo if is_begun else command)
                found = all_bytes(out)
                if status or found != whole:
                    problem = f"again: {status}, {lines}, {differences(found, whole)}"
            if problem is not None:
                cause = "short" if error < 0 else errno.errorcode[error]
                wrong.append(f"{kind} {number} of {count}, {cause}, stays {stays}: {problem}")
    print(json.dumps({"tried": tried, "failed": failed, "wrong": wrong}))


def make_ready(out: Path, old: Path) -> None:
    """Let `out` hold what it does before the job."""
    shim.disarm()
    shutil.rmtree(out, ignore_errors=True)
    if old.exists():
        shutil.copytree(old, out)
    shim.disarm()  # count from now


def call(arguments: list[str]) -> tuple[int, list[str]]:
    """Run the command line; return its status and the lines on stderr."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = run(arguments)
    return status, err.getvalue().splitlines()


def verdict(
    status: int,
    lines: list[str],
    found: dict[str, bytes],
    whole: dict[str, bytes],
    before: dict[str, bytes],
) -> str | None:
    """Return what is wrong with the outcome of a job that met a fault, or None."""
    if status == 0:
        return None if found == whole else f"other bytes: {differences(found, whole)}"
    if status == 1 and found == whole:
        return None  # repair was done, and told that a file could not be read back
    if status != 3:
        return f"status {status}: {lines}"
    if len(lines) != 1 or not lines[0].startswith("ngcore: error: ") or "unexpected" in lines[0]:
        return f"lines: {lines}"
    if "info" in found and found not in (whole, before):
        return f"an info that lies, after {lines}"
    return None


def differences(found: dict[str, bytes], whole: dict[str, bytes]) -> list[str]:
    return [name for name in found.keys() | whole.keys() if found.get(name) != whole.get(name)][:5]


if __name__ == "__main__":
    main()
