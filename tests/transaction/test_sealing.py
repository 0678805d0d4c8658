"""Whatever a command writes into a sealed volume is sealed, and nothing else."""

import contextlib
import json

import numpy as np
import pytest

import ngcore
from ngcore.transaction.changes import Transaction
from ngcore.volume.provenance import Provenance
from ngcore.volume.seal import file_digest


@pytest.fixture
def volume(tmp_path):
    labels = np.ones((8, 8, 8), np.uint32)
    ngcore.convert(labels, tmp_path, type="segmentation", resolution=(8, 8, 8), fsync=False)
    return tmp_path


def recorded(folder):
    return Provenance.from_json((folder / "provenance").read_bytes())


def test_files_that_are_put_are_sealed_and_deleted_ones_no_more(volume):
    with Transaction(volume) as change:
        change.record("labels", {"table": "names.csv"})
        change.put("names/info", b"{}")
        change.put("names/colors.json", b"{}")
    assert recorded(volume).seal.files["names/info"] == file_digest(b"{}")
    with Transaction(volume) as change:
        change.delete("names/colors.json")
    files = recorded(volume).seal.files
    assert set(files) == {"transform.json", "names/info"}
    assert [step.command for step in recorded(volume).processing] == ["convert", "labels"]


def test_what_others_changed_in_info_is_not_sealed_with_what_ngcore_changes(volume):
    sealed = recorded(volume).seal.info
    info = json.loads((volume / "info").read_text())
    info["data_type"] = "int32"
    (volume / "info").write_text(json.dumps(info))
    with Transaction(volume) as change:
        change.change_info(lambda info: {**info, "mesh": "mesh"})
    assert recorded(volume).seal.info == {**sealed, "mesh": "mesh"}


def test_a_change_that_is_interrupted_is_known_until_the_command_ends(volume):
    with contextlib.suppress(KeyboardInterrupt), Transaction(volume) as change:
        change.record("labels", {})
        change.put("names/info", b"{}")
        raise KeyboardInterrupt
    assert recorded(volume).changing == ("labels",)
    with Transaction(volume) as change:
        change.record("mesh", {})
        change.put("mesh/info", b"{}")
    assert recorded(volume).changing == ("labels",)
    with Transaction(volume) as change:
        change.record("labels", {})
        change.put("names/info", b"{}")
    assert recorded(volume).changing == ()


def test_a_volume_of_others_gets_a_provenance_of_what_ngcore_wrote_alone(tmp_path):
    (tmp_path / "info").write_text('{"type": "segmentation"}')
    with Transaction(tmp_path) as change:
        change.put("a", b"a")
    assert not (tmp_path / "provenance").exists()
    with Transaction(tmp_path) as change:
        change.record("labels", {})
        change.put("names/info", b"{}")
        change.change_info(lambda info: {**info, "segment_properties": "names"})
    seal = recorded(tmp_path).seal
    assert set(seal.files) == {"names/info"}
    assert seal.info == {"segment_properties": "names"}


def test_damaged_provenance_is_left_as_it_is(volume, caplog):
    (volume / "provenance").write_text("{")
    with Transaction(volume) as change:
        change.record("labels", {})
        change.put("names/info", b"{}")
    assert (volume / "provenance").read_text() == "{"
    assert "is left as it is" in caplog.text
