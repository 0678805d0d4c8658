"""Whatever call to the system fails during a job: right bytes, or one line and another run."""

from pathlib import Path

import pytest
from thorough import IS_THOROUGH, amount

from faults.commands import STEPS
from faults.conversions import CONVERSIONS, make_sources
from faults.repairs import REPAIRS, make_old
from faults.shim import needs_shim, run_under_shim

SCRIPT = Path(__file__).with_name("every_call.py")
COMMANDS = Path(__file__).with_name("every_call_of_commands.py")


@needs_shim
@pytest.mark.parametrize("name", CONVERSIONS if IS_THOROUGH else ["flat"])
def test_every_failing_call_is_survived_or_resumed(name, tmp_path):
    make_sources(tmp_path)
    result = run_under_shim(tmp_path, SCRIPT, tmp_path, name, amount(1, 10**6))
    assert not result["wrong"], "\n".join(result["wrong"])
    assert result["failed"] > result["tried"] / 3  # short writes and EINTR are no failures


# Over another volume, but for one: there nothing is replaced.
REPAIRED = [(name, True) for name in REPAIRS] + [("repair, plain", False)]


@needs_shim
@pytest.mark.parametrize(("name", "is_over"), REPAIRED if IS_THOROUGH else REPAIRED[:1])
def test_every_failing_call_of_a_repair_is_survived_or_repeated(name, is_over, tmp_path):
    REPAIRS[name].make_source(tmp_path)
    if is_over:
        make_old(tmp_path)
    kinds = [] if IS_THOROUGH else ["remove", "rename", "read"]
    result = run_under_shim(tmp_path, SCRIPT, tmp_path, name, amount(1, 15), *kinds)
    assert not result["wrong"], "\n".join(result["wrong"])
    assert result["failed"] > result["tried"] / 3


# Thorough, a test for each command, so that several run at once: all take an hour of a processor.
COMMANDS_TRIED = (
    [(name,) for name in STEPS]
    if IS_THOROUGH
    else [("labels, others", "mesh-to-precomputed", "export")]
)


@needs_shim
@pytest.mark.parametrize("names", COMMANDS_TRIED, ids=" and ".join)
def test_every_failing_call_of_a_command_leaves_it_to_be_run_again(tmp_path, names):
    result = run_under_shim(tmp_path, COMMANDS, tmp_path, amount(1, 40), *names)
    assert not result["wrong"], "\n".join(result["wrong"])
    assert result["failed"] > result["tried"] / 10
