"""A head with marks on its right, front and top, wherever its axes run: in the real client.

`ngcore convert` makes the volumes and `ngcore view` opens them, as commands. The client, asked at
points of the world in millimetres, must know what nibabel says lies there.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import nibabel
import pytest
import thorough
from heads import LINEAR, MARKS, head, marks, stored_as
from serving import running
from volume_places import assert_in_place

import ngcore
from ngcore.cli import run

if TYPE_CHECKING:
    from pathlib import Path

    from browser import Neuroglancer

pytestmark = pytest.mark.browser

CODES = [
    "".join(letters)
    for axes in itertools.permutations(("RL", "AP", "SI"))
    for letters in itertools.product(*axes)
]
PER_PAGE = 24


def batches(sources: list[tuple[str, str, str]]) -> list[list[tuple[str, str, str]]]:
    return [sources[i : i + PER_PAGE] for i in range(0, len(sources), PER_PAGE)]


STORED = [("upright", code, "") for code in CODES]
OBLIQUE = [(name, code, "") for name in LINEAR for code in ("RAS", "PIL", "SLA")]
ORIENTED = [
    (list(LINEAR)[i % len(LINEAR)], CODES[i * 7 % 48], code) for i, code in enumerate(CODES)
]
HANDFUL = [
    *(("upright", "LPI", ""), ("upright", "SAR", ""), ("upright", "PIL", "")),
    *(("rotated", "RAS", ""), ("left-handed", "IRA", ""), ("sheared", "RAS", "")),
    *(("permuted", "ALS", "RAS"), ("rotated", "RPI", "SLA")),
]
"""Affine of the head, axes of the file, `--orient`."""


@pytest.mark.parametrize(
    "heads",
    batches(STORED + OBLIQUE + ORIENTED) if thorough.IS_THOROUGH else [HANDFUL],
    ids=lambda heads: "-".join(heads[0]).strip("-"),
)
def test_view_puts_right_front_and_top_in_their_places(
    neuroglancer: Neuroglancer, tmp_path: Path, heads: list[tuple[str, str, str]]
) -> None:
    images = {}
    for affine, code, orient in heads:
        name = "-".join(filter(None, (affine, code, orient)))
        images[name] = stored_as(head(LINEAR[affine]), code)
        nibabel.save(images[name], tmp_path / f"{name}.nii.gz")
        options = ["--orient", orient] if orient else []
        source, dest = str(tmp_path / f"{name}.nii.gz"), str(tmp_path / name)
        assert run(["--quiet", "convert", source, dest, "--no-fsync", *options]) == 0
        # Without --orient the axes are those of the file, with it those asked for.
        size = stored_as(images[name], orient).shape if orient else images[name].shape
        assert ngcore.open(dest).info.scales[0].size == size
    # Labels of an upright, coarser grid mark the same places over each of the images.
    labels = marks()
    nibabel.save(labels, tmp_path / "marks_dseg.nii.gz")
    assert run(["convert", str(tmp_path / "marks_dseg.nii.gz"), str(tmp_path / "marks")]) == 0

    dests = [tmp_path / name for name in (*images, "marks")]
    with running("view", *dests, "--no-browser") as (_, url), neuroglancer.visiting(url):
        for name, image in images.items():
            assert_in_place(neuroglancer, name, image)
        shown = neuroglancer.values_at("marks", list(MARKS.values()))
        assert shown == [str(label) for label in MARKS]
