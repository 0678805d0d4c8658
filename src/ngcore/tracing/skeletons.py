"""Skeletons of traced neurons: SWC files to a folder of their own, or to that of a volume."""

import logging
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from ngcore.errors import InputError
from ngcore.precomputed.info import VolumeInfo
from ngcore.precomputed.names import SKELETONS_TYPE
from ngcore.precomputed.skeletons import IDENTITY, Skeleton, VertexAttribute
from ngcore.sources.identity import lasting_identity, source_identity
from ngcore.sources.remote_files import local_files
from ngcore.sources.tracts.swc import Neuron, read_swc
from ngcore.storage import Store, is_url, place_in, writable_store
from ngcore.storage.spool import Spool
from ngcore.tracing.skeleton_files import FILES, named, write_skeletons
from ngcore.transaction.changes import Transaction
from ngcore.transaction.layer_folder import LayerFolder
from ngcore.volume.provenance import Provenance
from ngcore.volume.read import open as open_volume
from ngcore.volume.world import world_bounds_mm, world_to_native

logger = logging.getLogger(__name__)

Units = Literal["um", "nm", "mm"]
PathLike = str | os.PathLike[str]

UNITS_NM = {"um": 1e3, "nm": 1.0, "mm": 1e6}
FOLDER = "skeletons"
"""In a volume."""
_NUMBER = re.compile(r"[0-9]{1,20}")
_MOST_ID = 2**64 - 1
_RADIUS = VertexAttribute("radius", "float32")


def skeletons(
    files: PathLike | Sequence[PathLike],
    dest: PathLike,
    *,
    units: Units = "um",
    like: PathLike | None = None,
    sharding: bool = True,
    tmp: PathLike | None = None,
    fsync: bool = True,
    resume: bool = False,
    overwrite: bool = False,
) -> None:
    """Convert SWC files to Neuroglancer skeletons, one segment each, with their radii.

    Parameters
    ----------
    files : path or sequence of path
        SWC. The id of a skeleton is the name of its file where that is a number; others are
        numbered from 1, and have the file's name as theirs.
    dest : path
        A folder that is empty or not there yet; or a volume, which then names the skeletons in
        its `info`, and shows them with its segments.
    units : {"um", "nm", "mm"}
        Of coordinates and radii, which lie in the world.
    like : path, optional
        A volume in whose world they lie: a warning says if they miss it.
    sharding : bool
        Pack skeletons into shards, or write a file for each.
    tmp : path, optional
        Where temporary files go; default hidden, in `dest`.
    fsync, resume, overwrite : bool
        As for `ngcore.convert`.

    Raises
    ------
    InputError, FormatError
        A file can't be read or is damaged, or two have one id. Nothing is left in `dest`.
    DestinationError
        `dest` holds something already, can't be written or is in use.
    StorageError
        Reading or writing fails midway; `resume` continues.
    """
    if units not in get_args(Units):
        raise InputError(f"units must be one of {', '.join(get_args(Units))}, got {units!r}")
    sources = [files] if isinstance(files, str | os.PathLike) else [*files]
    if not sources:
        raise InputError("no files; pass one SWC file or more")
    if not os.fspath(dest):
        raise InputError("the path of the destination is empty; pass that of a new folder")
    with local_files(sources, tmp) as paths:
        ids, names = _identified(paths)
        identity = source_identity(paths[0], _checked(paths))
        volume = _volume_at(writable_store(dest))
        bounds = None if like is None else world_bounds_mm(open_volume(like)) * 1e6
        transform = IDENTITY if volume is None else _native_transform(volume)
        options: dict[str, Any] = {
            "units": units,
            "ids": [str(number) for number in ids],
            "sharding": sharding,
            "transform": list(transform),
        }
        provenance = Provenance.of(
            [str(x) if is_url(x) else Path(x).name for x in sources],
            "skeletons",
            {**options, "source": lasting_identity(identity)},
        )
        folder = LayerFolder(
            dest if volume is None else place_in(dest, FOLDER),
            layer_type=SKELETONS_TYPE,
            files=FILES,
            plan={"source": identity, "options": options},
            provenance=provenance.to_json(),
            overwrite=overwrite,
            resume=resume,
            fsync=fsync,
            sources=paths,
        )
        if not folder.is_done:
            with folder, folder.temporaries(tmp) as temporary:
                spool = Spool(Path(temporary))
                try:
                    info = write_skeletons(
                        _skeletons(paths, ids, UNITS_NM[units], bounds),
                        folder.store,
                        ".",
                        spool,
                        attributes=[_RADIUS],
                        transform=transform,
                        sharding=sharding,
                        properties=named(names) if names else None,
                    )
                finally:
                    spool.close()
                folder.finish(info.to_json())
        if volume is not None:
            with Transaction(dest) as change:
                change.change_info(lambda members: {**members, "skeletons": FOLDER})


def _identified(paths: Sequence[Path]) -> tuple[list[int], dict[int, str]]:
    """Return the id of each file, and the names of all if any has one."""
    stems = [_stem(path) for path in paths]
    numbers = [
        int(stem) if _NUMBER.fullmatch(stem) and int(stem) <= _MOST_ID else None for stem in stems
    ]
    taken = {number for number in numbers if number is not None}
    ids: list[int] = []
    seen: dict[int, Path] = {}
    following = 1
    for path, number in zip(paths, numbers, strict=True):
        if number is None:
            while following in taken:
                following += 1
            number = following
            taken.add(number)
        if number in seen:
            raise InputError(
                f"{seen[number]} and {path} both have the id {number}; rename one of them"
            )
        seen[number] = path
        ids.append(number)
    if None not in numbers:
        return ids, {}
    return ids, dict(zip(ids, stems, strict=True))


def _stem(path: Path) -> str:
    name = path.name
    return name[: -len(".swc")] if name.lower().endswith(".swc") else path.stem


def _checked(paths: Sequence[Path]) -> list[Path]:
    for path in paths:
        if not path.is_file():
            read_swc(path)  # which says what is wrong
    return list(paths)


def _volume_at(store: Store) -> Store | None:
    """Return a store if a volume is there, else None."""
    document = store.get("info")
    if document is None or b"neuroglancer_skeletons" in document:
        return None
    if b'"scales"' not in document:
        return None
    VolumeInfo.from_json(document)
    return store


def _native_transform(volume: Store) -> tuple[float, ...]:
    """Return what takes the world's nanometres to those of a volume, 12 numbers."""
    if volume.get("transform.json") is None:
        return IDENTITY
    matrix = world_to_native(volume, "world")
    assert matrix is not None
    return tuple(matrix[:3].reshape(-1).tolist())


def _skeletons(
    paths: Sequence[Path], ids: Sequence[int], unit_nm: float, bounds: Any
) -> Iterator[tuple[int, Skeleton]]:
    missed = 0
    for path, number in zip(paths, ids, strict=True):
        neuron = read_swc(path)
        if bounds is not None:
            points = neuron.points * unit_nm
            missed += not ((points >= bounds[0]) & (points <= bounds[1])).all(axis=1).any()
        yield number, _skeleton(neuron, unit_nm, path)
    if missed:
        logger.warning(
            "%d of %d skeletons lie outside of the volume; check --units", missed, len(paths)
        )


def _skeleton(neuron: Neuron, unit_nm: float, path: Path) -> Skeleton:
    with np.errstate(over="ignore"):
        vertices = (neuron.points * unit_nm).astype(np.float32)
        radii = (neuron.radii * unit_nm).astype(np.float32)
    if not np.isfinite(vertices).all():
        raise InputError(f"{path}: a coordinate is larger than float32 holds; check --units")
    return Skeleton(vertices, neuron.edges.astype(np.uint32), {"radius": radii})
