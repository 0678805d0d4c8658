"""A conversion in one go, into the layouts of the classic pipeline."""

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

from ngcore._verbs import Progress, told
from ngcore.conversion.convert import carry_out, convert
from ngcore.conversion.options import JPEG_QUALITY, ConvertOptions
from ngcore.conversion.prepare import Conversion, open_for, prepare
from ngcore.conversion.run import Work
from ngcore.precomputed.sharding import ShardingSpec
from ngcore.storage import is_url, writable_store
from ngcore.transaction.destination import Destination


def volume_to_pyramid(
    source: str | os.PathLike[str],
    dest: str | os.PathLike[str],
    *,
    sharding: ShardingSpec | None = None,
    flat: bool = False,
    use_gzip: bool = True,
    overwrite: bool = False,
    progress: bool | Progress | None = None,
    type: Literal["image", "segmentation", "auto"] = "auto",  # noqa: A002 - the option's name
    data_type: str | None = None,
    resolution: Sequence[float] | str | None = None,
    voxel_offset: Sequence[int] | None = None,
    encoding: str | None = None,
    downsampling: str = "auto",
    outside_value: float | None = None,
    ignore_scaling: bool = False,
    input_min: float | None = None,
    input_max: float | None = None,
    jpeg_quality: int = JPEG_QUALITY,
    memory: str | int = "1G",
    workers: int | None = None,
) -> None:
    """Convert a volume, every scale, to chunk files as the steps write them, or to given shards.

    Parameters
    ----------
    source, dest : path
        As for `convert`.
    sharding : ShardingSpec, optional
        Of every scale; without it chunks are files.
    flat, use_gzip : bool
        How chunk files lie.
    overwrite : bool
        Replace a volume.
    progress : bool or callable, optional
        True draws a bar on stderr; a callable is called now and then with
        (voxels done, voxels in all).
    type : "image", "segmentation" or "auto"
        auto: by the source's header and name, else image.
    data_type : str or dtype, optional
        Of the volume; default from the source.
    resolution : (x, y, z), in nanometres, or str with units, optional
        Overrides the source's; required where it has none.
    voxel_offset : (x, y, z), in voxels, optional
        Global coordinate of the first voxel.
    encoding : str, optional
        Of chunks; default as for `ngcore.convert`.
    downsampling : str
        average, majority, stride, min, max; auto: average for images, majority for segmentations.
    outside_value : float, optional
        average: pad odd edges with this value, rather than average the voxels present.
    ignore_scaling : bool
        Use stored values, without slope and intercept.
    input_min, input_max : float, optional
        Map this range of values to the full range of an integer data type.
    jpeg_quality : int, 1 to 100
    memory : str or int
        Bound on resident memory, such as ``"2G"``, or in bytes.
    workers : int, optional
        How many threads; default all cores.

    Raises
    ------
    InputError, FormatError, DestinationError, StorageError
        As `convert`.
    """
    options: dict[str, Any] = {
        "type": type,
        "data_type": data_type,
        "resolution": resolution,
        "voxel_offset": voxel_offset,
        "encoding": encoding,
        "downsampling": downsampling,
        "outside_value": outside_value,
        "ignore_scaling": ignore_scaling,
        "input_min": input_min,
        "input_max": input_max,
        "jpeg_quality": jpeg_quality,
        "memory": memory,
        "workers": workers,
        "overwrite": overwrite,
    }
    if sharding is None:
        layout = "flat" if flat else "nested"
        options |= {"sharding": False, "layout": layout, "gzip": use_gzip}
        convert(source, dest, progress=progress, **options)
        return
    asked = ConvertOptions(**options, is_uploaded=is_url(dest))
    destination = Destination(writable_store(dest), overwrite=overwrite, sources=[source])
    with open_for(source, asked) as opened:
        conversion = _with_sharding(prepare(opened, asked), sharding)
        carry_out(Work(conversion, opened, asked, told(progress)), destination)


def _with_sharding(conversion: Conversion, spec: ShardingSpec) -> Conversion:
    scales = tuple(replace(scale, sharding=spec) for scale in conversion.info.scales)
    info = replace(conversion.info, scales=scales)
    return conversion._replace(info=info, plan=conversion.plan._replace(info=info))
