"""A look at a volume, as a layer: where it lies, how bright it is, which labels it holds."""

from __future__ import annotations

import logging
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ngcore.errors import FormatError, NgcoreError
from ngcore.previewing.appearance import NOTHING_ASKED
from ngcore.previewing.samples import (
    IMAGE_VOXELS,
    LABEL_VOXELS,
    SMALL_ATLAS,
    Samples,
    labels_in,
    summarize,
)
from ngcore.server.layers import VolumeLayer
from ngcore.volume import read
from ngcore.volume.segment_colours import segment_colours
from ngcore.volume.source_facts import time_step_seconds
from ngcore.volume.world import world_transform

if TYPE_CHECKING:
    from ngcore.previewing.appearance import Asked
    from ngcore.previewing.samples import Corner, ValueSummary
    from ngcore.volume.read import Volume
    from ngcore.volume.segment_colours import Colour

logger = logging.getLogger(__name__)

_MANIFEST = re.compile(r"([0-9]{1,20})(:0|:0\.gz|\.index)")


def survey(
    path: str | os.PathLike[str], name: str, url: str, asked: Asked = NOTHING_ASKED
) -> VolumeLayer:
    """Return a layer that shows the volume in `path` well; see `survey_volume`."""
    return survey_volume(read.open(path), name or Path(path).resolve().name, url, asked)


def survey_volume(
    volume: Volume, name: str, url: str, asked: Asked = NOTHING_ASKED
) -> VolumeLayer:
    """Return a layer that shows a volume well.

    Chunks that can't be read cost the layer its brightness and labels, with a logged warning,
    but it can still be shown.

    Raises
    ------
    NgcoreError
        Its `transform.json` is broken.
    """
    where = volume.store.location
    layer = VolumeLayer(
        name=name,
        url=url,
        info=volume.info,
        volume_to_world_nm=world_transform(volume.store),
        time_step=time_step_seconds(volume),
        asked=asked,
    )
    values: ValueSummary | None = None
    labels: tuple[int, ...] = ()
    content: tuple[Corner, Corner] | None = None
    try:
        if layer.is_segmentation:
            samples = Samples(volume, LABEL_VOXELS)
            labels = labels_in(samples)
            if labels or not samples.has_seen_anything:
                labels = _with_meshed(labels, volume)
        else:
            samples = Samples(volume, IMAGE_VOXELS)
            values = summarize(samples, asked.channel, is_series=layer.time_step is not None)
        content = samples.content()
    except NgcoreError as error:
        logger.warning("%s is shown, but its voxels could not be read: %s", where, error)
    colours: dict[int, Colour] = {}
    try:
        colours = segment_colours(volume.store, volume.info)
    except FormatError as error:
        logger.warning("%s is shown without the colours of its label table: %s", where, error)
    return replace(layer, content=content, values=values, labels=labels, colours=colours)


def _with_meshed(labels: tuple[int, ...], volume: Volume) -> tuple[int, ...]:
    """Add labels that have a mesh and no voxel, such as surfaces that were put beside a volume."""
    path = getattr(volume.store, "path", None)
    if volume.info.mesh is None or path is None:
        return labels
    found = set(labels)
    try:
        with os.scandir(Path(path) / volume.info.mesh) as entries:
            for entry in entries:
                if match := _MANIFEST.fullmatch(entry.name):
                    found.add(int(match[1]))
                if len(found) > SMALL_ATLAS:
                    return labels
    except OSError:
        return labels
    return tuple(sorted(found))
