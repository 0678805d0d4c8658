"""Run under the shim: let every call of every command that writes fail, and see what comes of it.

    every_call_of_commands.py FOLDER MOST NAME...

Runs the commands of commands.py one after the other, each once per fault of every_call.py, at most
MOST times for each kind of it, and prints those that were not survived, as JSON.
"""

import errno
import json
import shutil
import sys
from pathlib import Path

from faults import shim
from faults.commands import PREPARED, STEPS, Step, make_inputs
from faults.every_call import FAULTS, call
from faults.record_commands import digests


def main() -> None:
    folder, most, names = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
    disk, before = folder / "disk", folder / "before"
    disk.mkdir()
    make_inputs(folder)
    shim.watch(disk)
    told: dict[str, int] = {"tried": 0, "failed": 0}
    wrong = []
    for name, step in STEPS.items():
        for words in PREPARED.get(name, ()):
            assert call(Step(words, "").command(folder))[0] == 0
        shutil.rmtree(before, ignore_errors=True)
        shutil.copytree(disk, before)
        shim.disarm()
        status, lines = call(step.command(folder))
        assert status == 0, (name, lines)
        if name not in names:
            continue
        whole = digests(disk)
        counts = {kind: shim.calls(kind) for kind in shim.KINDS}
        for kind, error, stays in FAULTS:
            count = counts[kind]
            for number in sorted({1 + i * count // most for i in range(most)} if count else ()):
                restore(before, disk)
                shim.arm(kind, number, error, stays=stays)
                status, lines = call(step.command(folder))
                shim.disarm()
                told["tried"] += 1
                told["failed"] += status != 0
                problem = verdict(name, step, status, lines, folder, whole)
                if problem is not None:
                    cause = "short" if error < 0 else errno.errorcode[error]
                    wrong.append(f"{name}: {kind} {number} of {count}, {cause}: {problem}")
        restore(before, disk)
        assert call(step.command(folder))[0] == 0
    print(json.dumps({**told, "wrong": wrong}))


def restore(before: Path, disk: Path) -> None:
    """Let the disk hold what it did before the command; times too, by which sources are known."""
    shim.disarm()
    shutil.rmtree(disk)
    shutil.copytree(before, disk)


def verdict(
    name: str, step: Step, status: int, lines: list[str], folder: Path, whole: dict[str, str]
) -> str | None:
    """Return what is wrong with a command that met a fault, or None; run it again if it failed."""
    disk = folder / "disk"
    errors = [line for line in lines if not line.startswith("ngcore: warning: ")]
    if status == 0:
        if name == "gallery" and any("is on the page without a" in line for line in lines):
            return None  # it shows what can be read, and tells what can't
        return None if digests(disk) == whole else f"other bytes: {differences(disk, whole)}"
    if status == 1 and name == "repair":
        return None  # it was done, and told that a file could not be read back
    if status not in (2, 3) or len(errors) != 1 or "unexpected" in errors[0]:
        return f"status {status}: {lines}"
    again = step.again if (disk / step.place).exists() else ""
    status, lines = call(step.command(folder, again))
    if status and again:
        status, lines = call(step.command(folder))  # what failed early, is to be done as it was
    if name == "mesh" and (disk / step.place / "mesh-2").exists():
        return None  # the new ones had their name already, and were replaced
    if status or digests(disk) != whole:
        return f"again: {status}, {lines}, {differences(disk, whole)}"
    return None


def differences(disk: Path, whole: dict[str, str]) -> list[str]:
    found = digests(disk)
    return [name for name in found.keys() | whole.keys() if found.get(name) != whole.get(name)][:5]


if __name__ == "__main__":
    main()
