"""A conversion in one go, into the layouts of the classic pipeline."""

import os
from dataclasses import replace
from typing import Any

from ngcore.conversion.convert import carry_out, convert
from ngcore.conversion.options import ConvertOptions
from ngcore.conversion.prepare import Conversion, open_for, prepare
from ngcore.conversion.run import Progress, Work
from ngcore.precomputed.sharding import ShardingSpec
from ngcore.storage import writable_store
from ngcore.transaction.destination import Destination


def volume_to_pyramid(
    source: str | os.PathLike[str],
    dest: str | os.PathLike[str],
    *,
    sharding: ShardingSpec | None = None,
    flat: bool = False,
    use_gzip: bool = True,
    overwrite: bool = False,
    progress: Progress | None = None,
    **options: Any,
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
    progress : callable, optional
        Called now and then with (voxels done, voxels in all).
    **options
        More of `ConvertOptions`.

    Raises
    ------
    InputError, FormatError, DestinationError, StorageError
        As `convert`.
    """
    if sharding is None:
        layout: Any = "flat" if flat else "nested"
        convert(
            source,
            dest,
            progress=progress,
            sharding=False,
            layout=layout,
            gzip=use_gzip,
            overwrite=overwrite,
            **options,
        )
        return
    asked = ConvertOptions(overwrite=overwrite, **options)
    destination = Destination(writable_store(dest), overwrite=overwrite, sources=[source])
    with open_for(source, asked) as opened:
        conversion = _with_sharding(prepare(opened, asked), sharding)
        carry_out(Work(conversion, opened, asked, progress), destination)


def _with_sharding(conversion: Conversion, spec: ShardingSpec) -> Conversion:
    scales = tuple(replace(scale, sharding=spec) for scale in conversion.info.scales)
    info = replace(conversion.info, scales=scales)
    return replace(conversion, info=info, plan=conversion.plan._replace(info=info))
