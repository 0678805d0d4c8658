"""Names of files, and texts in them, reach the terminal as visible characters only."""

import json
import os
import shutil

import damage
import pytest

from ngcore.cli import run
from ngcore.cli._report import printable

EVIL = "\x1b[2Jx\nerror: forged\x9b31m\u202e"


def test_all_that_is_not_visible_is_escaped():
    shown = printable(EVIL + "\udc80 é")
    assert shown == "\\x1b[2Jx\\nerror: forged\\x9b31m\\u202e\\udc80 é"


@pytest.fixture
def hostile(made, tmp_path):
    """A volume whose folders, files and texts carry escape sequences and line ends."""
    folder = damage.copy(made("files of labels"), tmp_path / "volume")
    info = json.loads((folder / "info").read_text())
    key = f"8{EVIL}"
    shutil.move(folder / info["scales"][0]["key"], folder / key)
    (folder / key / f"stray{EVIL}").write_bytes(b"")
    (folder / f"stray{EVIL}").write_bytes(b"")
    info["scales"][0]["key"] = key
    info["mesh"] = f"mesh{EVIL}"
    (folder / info["mesh"]).mkdir()
    (folder / info["mesh"] / "1:0").write_text(json.dumps({"fragments": [EVIL]}))
    info["segment_properties"] = f"names{EVIL}"
    (folder / "info").write_text(json.dumps(info))
    provenance = json.loads((folder / "provenance").read_text())
    provenance["sources"] = [EVIL]
    provenance["processing"].append({"method": {"task": EVIL}, "by": ""})
    (folder / "provenance").write_text(json.dumps(provenance))
    return folder


@pytest.mark.parametrize(
    "command",
    [
        ["info", "{}"],
        ["info", "{}", "--json"],
        ["validate", "{}"],
        ["validate", "{}", "--quick"],
        ["validate", "{}", "--json"],
        ["repair", "{}", "{}-repaired"],
        ["scale-stats", "{}"],
        ["export", "{}", "{}.nii.gz"],
        ["convert", "{}", "{}-copy"],
        ["labels", "{}", "{}-nowhere.csv"],
        ["link-mesh-fragments", "{}-nowhere.csv", "{}"],
        ["compute-scales", "{}"],
        ["--debug", "convert", "{}", "{}"],
    ],
    ids=" ".join,
)
def test_no_command_prints_what_moves_the_cursor_or_forges_a_line(hostile, capfd, command):
    status = run([part.replace("{}", str(hostile)) for part in command])
    assert status in (0, 1, 2)
    captured = capfd.readouterr()
    for text in (captured.out, captured.err):
        assert all(line.isprintable() for line in text.split("\n")), text
        assert "\nerror: forged" not in text


@pytest.mark.parametrize(
    "change",
    [
        lambda info: info["scales"][0].update(size=[2**50, 2**50, 2**50]),
        lambda info: info["scales"][0].update(chunk_sizes=[[2**31, 2**31, 2**31]]),
        lambda info: info["scales"][0].update(key="../../etc"),
        lambda info: info["scales"][0].update(key="/etc"),
        lambda info: info["scales"][0].update(key="a" * 5000),
        lambda info: info.update(num_channels=2**50),
        lambda info: info.update(mesh="..", skeletons=".", segment_properties="8_8_8"),
        lambda info: info.update(scales=info["scales"] * 500),
    ],
    ids=["size", "chunks", "out", "absolute", "long", "channels", "folders", "scales"],
)
@pytest.mark.parametrize("command", ["info", "validate", "repair", "export"])
def test_huge_claims_and_odd_places_end_in_an_answer(made, tmp_path, capsys, change, command):
    folder = damage.copy(made("files"), tmp_path / "volume")
    info = json.loads((folder / "info").read_text())
    change(info)
    (folder / "info").write_text(json.dumps(info))
    out = {"repair": [str(tmp_path / "out")], "export": [str(tmp_path / "out.nii")]}
    assert run([command, str(folder), *out.get(command, [])]) in (0, 1, 2)
    assert "unexpected" not in capsys.readouterr().err


def test_symbolic_links_and_pipes_among_the_files_end_in_an_answer(made, tmp_path, capsys):
    folder = damage.copy(made("files"), tmp_path / "volume")
    (folder / "loop").symlink_to("loop")
    (folder / "8_8_8" / "up").symlink_to("..")
    chunk = next((folder / "8_8_8").glob("0-16*"))
    chunk.unlink()
    os.mkfifo(chunk)
    (folder / "16_16_16" / "16-25_0-16_0-16").unlink()
    (folder / "16_16_16" / "16-25_0-16_0-16").symlink_to("/dev/zero")
    for command in (["info"], ["validate"], ["validate", "--quick"]):
        assert run([command[0], str(folder), *command[1:]]) in (0, 1)
    assert run(["repair", str(folder), str(tmp_path / "out")]) == 1
    assert "unexpected" not in capsys.readouterr().err
