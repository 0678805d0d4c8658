"""What the classic pipeline starts from: `info_fullres.json`, and `transform.json` beside it.

`info_fullres.json` is an `info` file with one scale that lacks key and chunk sizes.
"""

import logging
import os
from pathlib import Path
from typing import Any

from ngcore.errors import InputError
from ngcore.formats.json_members import dump
from ngcore.formats.sharding import ShardingSpec
from ngcore.pipelines.options import ConvertOptions, VolumeKind
from ngcore.pipelines.prepare import open_for, transform_json
from ngcore.storage import LocalStore
from ngcore.values import choose_output_type

logger = logging.getLogger(__name__)

FULLRES_NAME = "info_fullres.json"


def generate_fullres_info(
    source: str | os.PathLike[str],
    dest: str | os.PathLike[str],
    *,
    sharding: ShardingSpec | None = None,
    **options: Any,
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
    **options
        Those of `ConvertOptions` that choose type, data type and resolution.

    Returns
    -------
    Path
        That of `info_fullres.json`.

    Raises
    ------
    InputError
        If the source can't be read or can't become a volume.
    """
    asked = ConvertOptions(**options)
    with open_for(source, asked) as opened:
        suggested = opened.suggested_type
        kind: VolumeKind = suggested.type if asked.type == "auto" else asked.type
        if asked.type == "auto":
            logger.info("%s: taken as %s, since %s", opened.name, kind, suggested.reason)
        for note in opened.notes:
            logger.warning(note)
        channels = opened.shape[3]
        if kind == "segmentation" and channels > 1:
            raise InputError(
                f"{opened.name}: a segmentation has one channel, got shape {opened.shape}; "
                "pass --type image"
            )
        mapping = choose_output_type(
            opened.dtype,
            opened.slope,
            opened.intercept,
            is_label=kind == "segmentation",
            data_type=asked.data_type,
            input_min=asked.input_min,
            input_max=asked.input_max,
            name=opened.name,
        )
        if opened.resolution_nm is None:
            raise InputError(
                f"{opened.name} says nothing of the size of its voxels; "
                "pass --resolution X,Y,Z in nanometres"
            )
        scale: dict[str, Any] = {
            "encoding": "raw",
            "size": opened.shape[:3],
            "resolution": opened.resolution_nm,
            "voxel_offset": opened.voxel_offset,
        }
        if sharding is not None:
            scale["sharding"] = sharding.to_json()
        info = {
            "type": kind,
            "data_type": mapping.output.name,
            "num_channels": channels,
            "scales": [scale],
        }
        store = LocalStore(dest)
        store.put(FULLRES_NAME, dump(info).encode())
        transform = transform_json(opened, opened.resolution_nm, opened.voxel_offset)
        store.put("transform.json", transform)
    path = Path(dest) / FULLRES_NAME
    logger.info("wrote %s and transform.json; next is generate-scales-info", path)
    return path
