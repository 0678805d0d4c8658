"""No file makes `validate` or `repair` take long, or much memory, whatever it claims."""

import subprocess
import sys

import pytest

import attacks
import peak_memory
from thorough import amount

VALIDATE = """
from ngcore.pipelines.validate import validate
start = time.process_time()
report = validate(sys.argv[1], workers=2)
faults = report.errors
"""
REPAIR = """
from ngcore.errors import FormatError
from ngcore.pipelines.repair import repair
start = time.process_time()
try:
    report = repair(sys.argv[1], sys.argv[1] + "-mended", fsync=False, workers=2)
    faults = report.failure_count + report.validation.errors
except FormatError:
    faults = 1
"""
REPORT = """
print(faults, time.process_time() - start, peak_bytes() / 2**20, sep="\\n")
"""


@pytest.mark.parametrize(
    "attack", attacks.ATTACKS[:: amount(2, 1)], ids=lambda attack: attack.__name__
)
def test_attack_ends_soon_and_in_little_memory(tmp_path, attack):
    check(tmp_path / "volume", attack, VALIDATE)


@pytest.mark.parametrize(
    "attack", attacks.ATTACKS[amount(3, 0) :: amount(8, 1)], ids=lambda attack: attack.__name__
)
def test_attack_on_repair_ends_soon_and_in_little_memory(tmp_path, attack):
    check(tmp_path / "volume", attack, REPAIR)


def check(folder, attack, script):
    folder.mkdir()
    try:
        attack(folder)
    except OSError:
        pytest.skip("this system makes no such files")
    program = peak_memory.SCRIPT + "\nimport sys, time\n" + script + REPORT
    # A process of its own, as the peak is that of all its life.
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", program, str(folder)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    faults, seconds, mebibytes = (float(line) for line in run.stdout.split())
    assert (faults > 0) == (attack.__name__ not in attacks.HARMLESS)
    assert seconds < 3
    assert mebibytes < 300
