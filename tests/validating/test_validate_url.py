"""`validate` over http: what the server does is checked too."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING

import attacks
import damage
import numpy as np
import pytest
from serving import barely_served, served

import ngcore
from ngcore.cli import run
from ngcore.validating.validate import validate

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytest.importorskip("urllib3", reason="the extra cloud is not installed")
pytest.importorskip("starlette", reason="the extra view is not installed")

NAMES = ("sharded", "files, nested, gzip", "files of labels")


@pytest.fixture(scope="module")
def volumes(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("volumes")
    for number, name in enumerate(NAMES):
        damage.make_volume(folder / str(number), name)
    return folder


@pytest.fixture(scope="module")
def origin(volumes) -> Iterator[str]:
    """Where `volumes` is served, and what is put there later."""
    with served(volumes) as address:
        yield address


def messages(report) -> list[str]:
    return [f"{finding.severity} {finding.kind}: {finding}" for finding in report.findings]


def test_sound_volumes_on_our_server_are_sound(volumes, origin):
    for number in range(len(NAMES)):
        here, there = validate(volumes / str(number)), validate(f"{origin}/{number}")
        assert messages(there) == messages(here) == []
        assert (there.chunks, there.digests) == (here.chunks, here.digests)
        assert messages(validate(f"{origin}/{number}", quick=True)) == []


def test_damage_is_found_over_http_as_it_is_in_a_folder(volumes, origin):
    for number in range(len(NAMES)):
        folder = damage.copy(volumes / str(number), volumes / f"damaged{number}")
        path = max((p for p in folder.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 16
        path.write_bytes(data)
    (volumes / "damaged2" / "16_16_16" / "0-16_0-16_0-16").unlink()
    for number in range(len(NAMES)):
        report = validate(f"{origin}/damaged{number}")
        assert not report.is_sound
    assert "16_16_16/0-16_0-16_0-16: is missing" in str(messages(report))


def test_a_server_that_can_do_nothing_is_told_so(volumes, capfd):
    with barely_served(volumes) as origin:
        report = validate(f"{origin}/0")
        text = "\n".join(messages(report))
        assert "error server: info: the server sends no Access-Control-Allow-Origin" in text
        assert "HTTP 200 and not 206" in text
        assert report.chunks == validate(volumes / "0").chunks  # read, all the same
        assert report.digests
        report = validate(f"{origin}/1")
        assert "ngcore server-config" in "\n".join(messages(report))
        assert run(["validate", f"{origin}/2", "--json"]) == 1
    assert json.loads(capfd.readouterr().out)["chunks"] == 45


def test_gzip_without_content_encoding_is_named(volumes, origin):
    folder = damage.copy(volumes / "2", volumes / "compressed")
    path = next((folder / "8_8_8").iterdir())
    path.write_bytes(gzip.compress(path.read_bytes()))
    report = validate(f"{origin}/compressed")
    assert any("no Content-Encoding: gzip" in message for message in messages(report))


def test_infos_that_claim_too_much_are_given_up_soon(volumes, origin):
    (volumes / "huge").mkdir()
    attacks.huge_info(volumes / "huge")
    report = validate(f"{origin}/huge")
    assert any(finding.kind == "absent" for finding in report.findings)
    assert not report.is_sound


def test_what_is_no_volume_is_one_line(origin, capsys):
    assert run(["validate", f"{origin}/nothing"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_annotations_in_files_that_cannot_be_listed_are_no_fault(tmp_path):
    table = {**{axis: np.arange(40.0) for axis in "xyz"}, "cell": np.arange(40) % 3}
    options = {"relations": {"cell": "cell"}, "max_per_cell": 9, "sharding": False}
    ngcore.annotations(table, tmp_path / "points", fsync=False, **options)
    (tmp_path / "points" / "provenance").unlink()
    with served(tmp_path) as address:
        report = validate(f"{address}/points")
    assert report.is_sound, messages(report)
    assert "its files can't be listed" in "\n".join(messages(report))
