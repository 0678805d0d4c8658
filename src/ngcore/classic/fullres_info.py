"""What the classic pipeline starts from: `info_fullres.json`, and `transform.json` beside it.

`info_fullres.json` is an `info` file with one scale that lacks key and chunk sizes.
"""

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from ngcore.conversion.options import ConvertOptions
from ngcore.conversion.prepare import decide_content, open_for, transform_json
from ngcore.precomputed.json_members import dump
from ngcore.precomputed.names import PROVENANCE_NAME, TRANSFORM_NAME
from ngcore.precomputed.sharding import ShardingSpec
from ngcore.transaction.changes import Transaction
from ngcore.transaction.output_file import check_output_folder

logger = logging.getLogger(__name__)

FULLRES_NAME = "info_fullres.json"


def generate_fullres_info(
    source: str | os.PathLike[str],
    dest: str | os.PathLike[str],
    *,
    sharding: ShardingSpec | None = None,
    type: Literal["image", "segmentation", "auto"] = "auto",  # noqa: A002 - the option's name
    data_type: str | None = None,
    resolution: Sequence[float] | str | None = None,
    voxel_offset: Sequence[int] | None = None,
    ignore_scaling: bool = False,
    input_min: float | None = None,
    input_max: float | None = None,
) -> Path:
    """Write what a volume's header says as `info_fullres.json` and `transform.json`.

    Parameters
    ----------
    source : path
        What `ngcore.convert` takes. No voxel is read.
    dest : path
        Folder for the two files; made if it is not there.
    sharding : ShardingSpec, optional
        Of every scale to come.
    type : "image", "segmentation" or "auto"
        auto: by the source's header and name, else image.
    data_type : str or dtype, optional
        Of the volume; default from the source.
    resolution : (x, y, z), in nanometres, or str with units, optional
        Overrides the source's; required where it has none.
    voxel_offset : (x, y, z), in voxels, optional
        Global coordinate of the first voxel.
    ignore_scaling : bool
        Use stored values, without slope and intercept.
    input_min, input_max : float, optional
        Map this range of values to the full range of an integer data type.

    Returns
    -------
    Path
        That of `info_fullres.json`.

    Raises
    ------
    InputError
        If the source can't be read or can't become a volume.
    """
    asked = ConvertOptions(
        type=type,
        data_type=data_type,
        resolution=resolution,
        voxel_offset=voxel_offset,
        ignore_scaling=ignore_scaling,
        input_min=input_min,
        input_max=input_max,
    )
    with open_for(source, asked) as opened:
        kind, mapping, resolution, notes = decide_content(opened, asked)
        for note in notes:
            logger.info(note)
        for warning in opened.header.notes:
            logger.warning(warning)
        scale: dict[str, Any] = {
            "encoding": "raw",
            "size": opened.shape[:3],
            "resolution": resolution,
            "voxel_offset": opened.header.voxel_offset,
        }
        if sharding is not None:
            scale["sharding"] = sharding.to_json()
        info = {
            "type": kind,
            "data_type": mapping.output.name,
            "num_channels": opened.shape[3],
            "scales": [scale],
        }
        check_output_folder(dest)
        transform = transform_json(opened, resolution, opened.header.voxel_offset)
        with Transaction(dest) as change:
            if change.get(PROVENANCE_NAME) is not None:  # a volume is made anew
                change.record("generate-info", {"type": kind, "data_type": info["data_type"]})
            change.put(FULLRES_NAME, dump(info).encode())
            change.put(TRANSFORM_NAME, transform)
    path = Path(dest) / FULLRES_NAME
    logger.info("wrote %s and transform.json; next is generate-scales-info", path)
    return path
