"""No file makes `validate` take long, or much memory, whatever it claims."""

import subprocess
import sys

import pytest

import attacks
import peak_memory
from thorough import amount

SCRIPT = (
    peak_memory.SCRIPT
    + """
import sys, time
from ngcore.pipelines.validate import validate
peak = lambda: peak_bytes() / 2**20
start = time.process_time()
report = validate(sys.argv[1], workers=2)
print(report.errors, time.process_time() - start, peak(), sep="\\n")
"""
)


@pytest.mark.parametrize(
    "attack", attacks.ATTACKS[:: amount(2, 1)], ids=lambda attack: attack.__name__
)
def test_attack_ends_soon_and_in_little_memory(tmp_path, attack):
    try:
        attack(tmp_path)
    except OSError:
        pytest.skip("this system makes no such files")
    # A process of its own, as the peak is that of all its life.
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", SCRIPT, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    errors, seconds, mebibytes = (float(line) for line in run.stdout.split())
    assert (errors > 0) == (attack.__name__ not in attacks.HARMLESS)
    assert seconds < 3
    assert mebibytes < 300
