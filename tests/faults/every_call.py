"""Run under the shim: let every call of a small conversion fail in turn, and see what comes of it.

    every_call.py FOLDER NAME MOST

Converts FOLDER/source... to FOLDER/out with the options of NAME once per fault, at most MOST times
for each kind of call, and prints the faults that were not survived, as JSON.
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
from ngcore.cli import run

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
    folder, name, most = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    out = folder / "out"
    command = [*CONVERSIONS[name].command(folder), str(out)]
    shutil.rmtree(out, ignore_errors=True)
    status, lines = convert(command)
    assert status == 0, lines
    whole = all_bytes(out)
    shim.watch(folder)
    tried = failed = 0
    wrong = []
    for kind, error, stays in FAULTS:
        shutil.rmtree(out)
        shim.disarm()
        convert(command)
        count = shim.calls(kind)
        # Spread over all calls; all of them where they are few enough.
        chosen = sorted({1 + index * count // most for index in range(most)} if count else set())
        for call in chosen:
            shutil.rmtree(out, ignore_errors=True)
            shim.arm(kind, call, error, stays=stays)
            status, lines = convert(command)
            shim.disarm()
            tried += 1
            failed += status != 0
            problem = verdict(status, lines, out, whole)
            if problem is None and status != 0:
                status, lines = convert([*command, "--resume"])
                found = all_bytes(out)
                if status or found != whole:
                    problem = f"resume: {status}, {lines}, {differences(found, whole)}"
            if problem is not None:
                cause = "short" if error < 0 else errno.errorcode[error]
                wrong.append(f"{kind} {call} of {count}, {cause}, stays {stays}: {problem}")
    print(json.dumps({"tried": tried, "failed": failed, "wrong": wrong}))


def convert(arguments: list[str]) -> tuple[int, list[str]]:
    """Run the command line; return its status and the lines on stderr."""
    err = io.StringIO()
    with contextlib.redirect_stderr(err):
        status = run(arguments)
    return status, err.getvalue().splitlines()


def verdict(status: int, lines: list[str], out: Path, whole: dict[str, bytes]) -> str | None:
    """Return what is wrong with the outcome of a conversion that met a fault, or None."""
    found = all_bytes(out)
    if status == 0:
        return None if found == whole else f"other bytes: {differences(found, whole)}"
    if status != 3:
        return f"status {status}: {lines}"
    if len(lines) != 1 or not lines[0].startswith("ngcore: error: ") or "unexpected" in lines[0]:
        return f"lines: {lines}"
    if "info" in found and found != whole:
        return f"an info that lies, after {lines}"
    return None


def differences(found: dict[str, bytes], whole: dict[str, bytes]) -> list[str]:
    return [name for name in found.keys() | whole.keys() if found.get(name) != whole.get(name)][:5]


if __name__ == "__main__":
    main()
