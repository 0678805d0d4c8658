"""Power that fails at any moment costs no more than what was written since the last checkpoint."""

import random
import shutil
from pathlib import Path

import pytest
from thorough import IS_THOROUGH, amount

from faults.commands import STEPS
from faults.conversions import CONVERSIONS, all_bytes, make_sources
from faults.power_loss import Change, Disk, lay_out, read_log
from faults.record_commands import digests
from faults.repairs import REPAIRS
from faults.shim import needs_shim, run_under_shim
from ngcore.cli import run
from ngcore.transaction.journal import JOURNAL, PLAN
from ngcore.validating.validate import validate

SCRIPT = Path(__file__).with_name("record_conversions.py")
COMMANDS = Path(__file__).with_name("record_commands.py")
CASES = [("flat", None), ("sharded", None), ("nested, gzip", None), ("flat", "sharded")]
CASES += [("sharded", "nested, gzip"), ("sharded", "sharded")]


class Recorded:
    """A conversion that was recorded, and the trees that may be seen."""

    def __init__(self, folder, name, old):
        if name in REPAIRS:
            REPAIRS[name].make_source(folder)
        else:
            make_sources(folder, (40, 20, 34))
        arguments = [name] if old is None else [name, old]
        self.log = folder / "log"
        self.start = run_under_shim(folder, SCRIPT, folder, self.log, *arguments)["start"]
        self.changes = list(read_log(self.log))
        self.root = str(folder / "disk")
        self.whole = all_bytes(folder / "disk" / "out")
        self.command = {**CONVERSIONS, **REPAIRS}[name].command(folder)
        self.old = None
        if old is not None:
            assert run([*CONVERSIONS[old].command(folder), str(folder / "old")]) == 0
            self.old = all_bytes(folder / "old")

    def disk_at(self, moment, *, without_syncs=False):
        disk = Disk()
        for number, change in enumerate(self.changes[:moment]):
            is_sync = change.what in ("sync", "fsync")
            if not (without_syncs and is_sync and number >= self.start):
                disk.apply(change)
        return disk


def power_comes_back(recorded, disk, rng, folder):
    """Lay out what is left, as another boot of the system finds it."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    lay_out(disk.after_loss(rng), recorded.root, folder)
    plan = folder / "out" / PLAN
    if plan.exists():
        plan.write_bytes(plan.read_bytes().replace(b'"boot": "', b'"boot": "another '))
    return folder / "out"


@needs_shim
@pytest.mark.parametrize(("name", "old"), CASES if IS_THOROUGH else CASES[:1] + CASES[-1:])
def test_conversion_goes_on_after_a_loss_of_power(name, old, tmp_path):
    recorded = Recorded(tmp_path, name, old)
    rng = random.Random(f"{name} {old}")
    trusted = 0
    for _ in range(amount(3, 300)):
        moment = rng.randint(recorded.start, len(recorded.changes))
        out = power_comes_back(recorded, recorded.disk_at(moment), rng, tmp_path / "after")
        found = all_bytes(out) if out.exists() else {}
        if "info" in found:
            assert found in (recorded.whole, recorded.old), f"a lie, after {moment} changes"
            assert not validate(out).errors
        journal = out / JOURNAL
        trusted += journal.exists() and b"\n" in journal.read_bytes()
        is_old = "info" in found and found != recorded.whole
        option = "--overwrite" if is_old or (old and rng.random() < 0.3) else "--resume"
        assert run([*recorded.command, "--no-fsync", option, str(out)]) == 0, moment
        assert all_bytes(out) == recorded.whole, f"after {moment} changes"
    # A small volume is one shard, which comes last; else the journal must have helped.
    assert trusted or name == "sharded"


@needs_shim
@pytest.mark.parametrize("name", REPAIRS if IS_THOROUGH else ["repair, sharded"])
def test_repair_goes_on_after_a_loss_of_power(name, tmp_path):
    recorded = Recorded(tmp_path, name, None)
    rng = random.Random(name)
    trusted = 0
    for _ in range(amount(2, 200)):
        moment = rng.randint(recorded.start, len(recorded.changes))
        out = power_comes_back(recorded, recorded.disk_at(moment), rng, tmp_path / "after")
        found = all_bytes(out) if out.exists() else {}
        if "info" in found:
            assert found == recorded.whole, f"a lie, after {moment} changes"
        trusted += (out / JOURNAL).exists() and b"\n" in (out / JOURNAL).read_bytes()
        is_done = "info" in found and not (out / PLAN).exists()
        option = "--overwrite" if is_done else "--resume"
        assert run([*recorded.command, "--no-fsync", option, str(out)]) == 0, moment
        assert all_bytes(out) == recorded.whole, f"after {moment} changes"
    assert trusted or not IS_THOROUGH  # of two losses, both may be before the first checkpoint


@needs_shim
def test_nothing_that_is_written_outlives_the_plan(tmp_path):
    recorded = Recorded(tmp_path, "flat", None)
    places = [Path(change.path).parts for change in recorded.changes]
    first_chunk = next(at for at, parts in enumerate(places) if parts[-2:] == ("out", "8_8_8"))
    disk = recorded.disk_at(first_chunk + 10)
    left = 0
    for seed in range(60):
        out = power_comes_back(recorded, disk, random.Random(seed), tmp_path / "after")
        left += (out / "8_8_8").exists()
        assert (out / PLAN).exists() or not (out / "8_8_8").exists()
    assert left


@needs_shim
def test_simulated_loss_of_power_harms_what_was_not_synced(tmp_path):
    recorded = Recorded(tmp_path, "flat", None)
    rng = random.Random(0)
    lies = 0
    for _ in range(40):
        disk = recorded.disk_at(len(recorded.changes), without_syncs=True)
        out = power_comes_back(recorded, disk, rng, tmp_path / "after")
        found = all_bytes(out) if out.exists() else {}
        lies += "info" in found and found != recorded.whole
    assert lies


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    """All commands that write, recorded as they run one after the other."""
    folder = tmp_path_factory.mktemp("session")
    told = run_under_shim(folder, COMMANDS, folder, folder / "log", *STEPS)
    return folder, told, list(read_log(folder / "log"))


def after_loss(session, moment, rng, folder, *, is_kill=False):
    """Lay out what is left of the disk at a moment: all of it after the kill of a program."""
    origin, _, changes = session
    disk = Disk()
    for change in changes[:moment]:
        disk.apply(change)
    if is_kill:
        disk.apply(Change("sync", "", "", 0, b""))
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "disk").mkdir(parents=True)
    lay_out(disk.after_loss(rng), str(origin / "disk"), folder / "disk")
    if is_kill:
        return
    for plan in folder.rglob("plan.json"):
        plan.write_bytes(plan.read_bytes().replace(b'"boot": "', b'"boot": "another '))


@needs_shim
@pytest.mark.parametrize("name", STEPS)
def test_what_a_command_has_written_outlives_a_loss_of_power(session, name, tmp_path):
    _, told, _ = session
    rng = random.Random(name)
    for _ in range(amount(1, 20)):
        after_loss(session, told[name]["end"], rng, tmp_path / "after")
        assert digests(tmp_path / "after" / "disk") == told[name]["tree"]


@needs_shim
@pytest.mark.parametrize("is_kill", [False, True], ids=["power", "kill"])
@pytest.mark.parametrize("name", STEPS)
def test_a_command_that_loses_power_or_is_killed_is_run_again(session, name, tmp_path, is_kill):
    origin, told, _ = session
    step, rng = STEPS[name], random.Random(f"again {name}")
    folder = tmp_path / "after"
    place = folder / "disk" / step.place
    for _ in range(amount(1, 40)):
        moment = rng.randint(told[name]["start"], told[name]["end"])
        after_loss(session, moment, rng, folder, is_kill=is_kill)
        if (place / "info").exists() and step.place in ("seg", "meshed", "repaired"):
            report = validate(place)
            assert not report.errors, (f"a lie, after {moment} changes", report.findings)
        more = step.again
        if name == "overwrite":
            more = ""
        assert run(step.command(origin, more, after=folder)) == 0, moment
        if name == "mesh" and (place / "mesh-2").exists():
            assert validate(place).is_sound  # the new ones had their name, and were replaced
        else:
            assert digests(folder / "disk") == told[name]["tree"], f"after {moment} changes"
        assert not list(folder.rglob("*.ngcore-tmp"))


def test_the_disk_moves_what_lies_in_a_folder_with_it():
    rng = random.Random(0)
    seen = set()
    disk = Disk()
    for change in (
        ("mkdir", "/d/work", ""),
        ("create", "/d/work/a", ""),
        ("write", "/d/work/a", ""),
        ("fsync", "/d/work/a", ""),
        ("fsync", "/d/work", ""),
        ("fsync", "/d", ""),
        ("rename", "/d/work", "/d/done"),
        ("create", "/d/done/b", ""),
    ):
        disk.apply(Change(*change, 0, b"data" if change[0] == "write" else b""))
    for _ in range(200):
        found = disk.after_loss(rng)
        seen.add(tuple(sorted(found)))
        assert found.get("/d/done/a", found.get("/d/work/a")) == b"data"
    assert seen == {
        ("/d", "/d/work", "/d/work/a"),
        ("/d", "/d/work", "/d/work/a", "/d/work/b"),
        ("/d", "/d/done", "/d/done/a"),
        ("/d", "/d/done", "/d/done/a", "/d/done/b"),
    }
    disk.apply(Change("fsync", "/d", "", 0, b""))
    assert "/d/done/a" in disk.after_loss(rng)
    assert "/d/work" not in disk.after_loss(rng)
