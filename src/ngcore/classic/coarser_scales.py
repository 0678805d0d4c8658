"""The coarser scales of a volume from its finest, all in one reading."""

import logging
import os
from pathlib import Path
from typing import Any

from ngcore._verbs import Progress, told
from ngcore.classic.folder import (
    has_chunks,
    open_volume,
    record_chunks,
    write_chunks,
    writing_options,
)
from ngcore.conversion.coarser import coarser_conversion, pyramid_factors
from ngcore.conversion.options import JPEG_QUALITY
from ngcore.conversion.prepare import Downsampling
from ngcore.downsampling import checked_outside_value
from ngcore.errors import InputError
from ngcore.precomputed.encodings import make_encoding
from ngcore.storage.present import refuse_lost
from ngcore.transaction.changes import Transaction

logger = logging.getLogger(__name__)

_COMMAND = "compute-scales"


def compute_scales(
    dest: str | os.PathLike[str],
    *,
    downsampling: str = "auto",
    outside_value: float | None = None,
    flat: bool = False,
    use_gzip: bool = True,
    progress: bool | Progress | None = None,
    jpeg_quality: int = JPEG_QUALITY,
    memory: str | int = "1G",
    workers: int | None = None,
) -> None:
    """Write every scale but the first from the one before; chunk files there are replaced.

    Parameters
    ----------
    dest : path
        Folder of a volume whose finest scale is there.
    downsampling : str
        average, majority, stride, min, max; auto: average for images, majority for segmentations.
    outside_value : float, optional
        average: pad odd edges with this value, rather than average the voxels present.
    flat, use_gzip : bool
        How chunk files lie. Of no use for a sharded volume.
    progress : bool or callable, optional
        True draws a bar on stderr; a callable is called now and then with
        (voxels done, voxels in all).
    jpeg_quality : int, 1 to 100
    memory : str or int
        Bound on resident memory, such as ``"2G"``, or in bytes.
    workers : int, optional
        How many threads; default all cores.

    Raises
    ------
    InputError
        If the finest scale has no chunks, or a scale's resolution is not a multiple of the one
        before.
    FormatError
        If a chunk is damaged. What was written of the coarser scales is removed. If a chunk or a
        shard is gone that ngcore wrote: nothing is changed.
    """
    tell = told(progress)
    opened = open_volume(dest)
    opened.store.lost_chunks = "refuse"
    info = opened.info
    asked = writing_options(
        info,
        dest,
        flat=flat,
        use_gzip=use_gzip,
        downsampling=downsampling,
        outside_value=outside_value,
        jpeg_quality=jpeg_quality,
        memory=memory,
        workers=workers,
    )
    method = asked.method_for("segmentation" if info.type == "segmentation" else "image")
    if outside_value is not None and method != "average":
        raise InputError(f"--outside-value is for --downsampling average, got {method}")
    checked_outside_value(outside_value, method, info.dtype, name="--outside-value")
    pyramid_factors(info)  # or it raises
    refuse_lost(opened.store, info.scales[0])  # before coarser scales, which may show it, are gone
    if not has_chunks(opened.store, info.scales[0]):
        raise InputError(
            f"{Path(dest) / info.scales[0].key} holds no chunks; write the finest scale first, "
            "with volume-to-raw-chunks or slices-to-raw-chunks"
        )
    if len(info.scales) == 1:
        logger.info("%s has one scale only: there is nothing to compute", dest)
        return
    if info.scales[0].encoding == "jpeg":
        logger.warning(
            "%s: coarser scales are made from JPEG, which has lost detail; `ngcore convert` makes "
            "each from the source",
            os.fspath(dest),
        )
    for scale in info.scales:
        make_encoding(info, scale)  # raises where the encoding can't hold such voxels
    source, conversion = coarser_conversion(
        opened.scales[0], info, Downsampling(method, outside_value), asked, os.fspath(dest)
    )
    with source:
        digests = write_chunks(conversion, source, asked, dest, tell, command=_COMMAND)
    parameters: dict[str, Any] = {"downsampling": method, "outside_value": outside_value}
    if any(scale.encoding == "jpeg" for scale in info.scales[1:]):
        parameters["jpeg_quality"] = asked.jpeg_quality
    with Transaction(dest) as change:
        record_chunks(change, _COMMAND, parameters, digests)
