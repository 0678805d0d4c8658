"""No file makes `validate` or `repair` take long, or much memory, whatever it claims."""

import subprocess
import sys
import threading

import attacks
import peak_memory
import pytest
from thorough import amount

SCRIPT = (
    peak_memory.SCRIPT
    + """
import sys, time
from ngcore.errors import FormatError
from ngcore.repairing.repair import repair
from ngcore.validating.validate import validate
for line in sys.stdin:
    what, folder = line.rstrip("\\n").split(" ", 1)
    forget_peak()
    start = time.process_time()
    try:
        if what == "validate":
            faults = validate(folder, workers=2).errors
        else:
            report = repair(folder, folder + "-repaired", fsync=False, workers=2)
            faults = report.failure_count + report.validation.errors
    except FormatError:
        if what == "validate":
            raise
        faults = 1
    print(faults, time.process_time() - start, peak_bytes() / 2**20, flush=True)
"""
)


@pytest.fixture(scope="module")
def measured():
    """Return a function that attacks one process after the other, and tells what that took."""
    process = None

    def measure(what, folder):
        nonlocal process
        if process is None or process.poll() is not None:
            process = subprocess.Popen(
                [sys.executable, "-W", "error", "-c", SCRIPT],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        stop = threading.Timer(120, process.kill)
        stop.start()
        process.stdin.write(f"{what} {folder}\n")
        process.stdin.flush()
        told = process.stdout.readline()
        stop.cancel()
        assert told, f"the process ended with status {process.wait()}"
        return map(float, told.split())

    yield measure
    if process is not None:
        process.communicate()


@pytest.mark.parametrize(
    "attack", attacks.ATTACKS[:: amount(2, 1)], ids=lambda attack: attack.__name__
)
def test_attack_ends_soon_and_in_little_memory(measured, tmp_path, attack):
    check(measured, "validate", tmp_path / "volume", attack)


@pytest.mark.parametrize(
    "attack", attacks.ATTACKS[amount(3, 0) :: amount(8, 1)], ids=lambda attack: attack.__name__
)
def test_attack_on_repair_ends_soon_and_in_little_memory(measured, tmp_path, attack):
    check(measured, "repair", tmp_path / "volume", attack)


def check(measured, what, folder, attack):
    folder.mkdir()
    try:
        attack(folder)
    except OSError:
        pytest.skip("this system makes no such files")
    faults, seconds, mebibytes = measured(what, folder)
    assert (faults > 0) == (attack.__name__ not in attacks.HARMLESS)
    assert seconds < 3
    assert mebibytes < 300
