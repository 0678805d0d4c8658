"""Skeletons: SWC files, or the labels of a volume, to a folder of their own or of a volume."""

import logging
import os
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from ngcore.conversion.options import parse_memory
from ngcore.errors import InputError
from ngcore.precomputed.info import VolumeInfo
from ngcore.precomputed.names import PROVENANCE_NAME, SKELETONS_TYPE
from ngcore.precomputed.skeletons import IDENTITY, Skeleton, VertexAttribute
from ngcore.sources.identity import chunk_files, chunks_identity, lasting_identity, source_identity
from ngcore.sources.remote_files import local_files
from ngcore.sources.tracts.swc import Neuron, read_swc
from ngcore.storage import Store, is_url, place_in, writable_store
from ngcore.storage.spool import Spool
from ngcore.tracing.centre_lines import load_skeletonize
from ngcore.tracing.label_skeletons import check_segmentation, find_boxes, label_skeletons
from ngcore.tracing.skeleton_files import FILES, named, write_skeletons
from ngcore.transaction.changes import Transaction
from ngcore.transaction.layer_folder import LayerFolder
from ngcore.volume.provenance import Provenance
from ngcore.volume.read import open as open_volume
from ngcore.volume.read import world_bounds_like
from ngcore.volume.world import world_to_native, world_transform

logger = logging.getLogger(__name__)

Units = Literal["um", "nm", "mm"]
PathLike = str | os.PathLike[str]

UNITS_NM = {"um": 1e3, "nm": 1.0, "mm": 1e6}
FOLDER = "skeletons"
"""In a volume."""
_NUMBER = re.compile(r"[0-9]{1,20}")
_MOST_ID = 2**64 - 1
_RADIUS = VertexAttribute("radius", "float32")


class _Traced(NamedTuple):
    """What becomes skeletons: SWC files, or the labels of a volume.

    Attributes
    ----------
    identity : mapping of str to str
        By which a run that goes on knows it.
    options : mapping
        That shape what is made.
    names : list of str
        For the provenance.
    files : list of Path
        Which must not be harmed.
    skeletons : callable
        Returns ids and skeletons, and the names of all.
    """

    identity: dict[str, str]
    options: dict[str, Any]
    names: list[str]
    files: list[Path]
    skeletons: Callable[[], tuple[Iterator[tuple[int, Skeleton]], dict[int, str]]]


def skeletons(
    files: PathLike | Sequence[PathLike],
    dest: PathLike,
    *,
    labels: PathLike | None = None,
    ids: Collection[int] | None = None,
    scale: int = 0,
    units: Units = "um",
    like: PathLike | None = None,
    sharding: bool = True,
    memory: str | int = "1G",
    workers: int | None = None,
    tmp: PathLike | None = None,
    fsync: bool = True,
    resume: bool = False,
    overwrite: bool = False,
) -> None:
    """Convert SWC files, or the labels of a segmentation, to skeletons with their radii.

    Parameters
    ----------
    files : path or sequence of path
        SWC. The id of a skeleton is the name of its file where that is a number; others are
        numbered from 1, and have the file's name as theirs. Empty with `labels`.
    dest : path
        A folder that is empty or not there yet; or a volume, which then names the skeletons in
        its `info`, and shows them with its segments.
    labels : path, optional
        A segmentation, each of whose labels but 0 gets a skeleton: a tree for each connected
        part, along its middle. Needs the extra ``skeletons``.
    ids : collection of int, optional
        The labels that are wanted; default all.
    scale : int
        The scale of `labels` that is read; 0 is full resolution.
    units : {"um", "nm", "mm"}
        Of the coordinates and radii of files, which lie in the world.
    like : path, optional
        A volume in whose world they lie: a warning says if they miss it.
    sharding : bool
        Pack skeletons into shards, or write a file for each.
    memory : str or int
        Bound on resident memory for `labels`, such as ``"512M"``. A label that takes more is
        refused; one whose box is very large is looked at in larger voxels, whatever the memory,
        and a warning names it.
    workers : int, optional
        Processes for `labels`; default all cores.
    tmp : path, optional
        Where temporary files go; default hidden, in `dest`.
    fsync, resume, overwrite : bool
        As for `ngcore.convert`.

    Raises
    ------
    InputError, FormatError
        A file can't be read or is damaged, two have one id, there are no such labels, or one takes
        more than `memory`. Nothing is left in `dest`.
    DestinationError
        `dest` holds something already, can't be written or is in use.
    MissingExtraError
        `labels` without the extra ``skeletons``.
    StorageError
        Reading or writing fails midway; `resume` continues.
    """
    if units not in get_args(Units):
        raise InputError(f"units must be one of {', '.join(get_args(Units))}, got {units!r}")
    sources = [files] if isinstance(files, str | os.PathLike) else [*files]
    if labels is None and not sources:
        raise InputError("no files; pass SWC files, or the labels of a segmentation")
    if labels is not None and (sources or like is not None):
        what = sources[0] if sources else f"--like {like}"
        raise InputError(f"{what}: --labels makes its own skeletons; leave out one of the two")
    if labels is None and ids is not None:
        raise InputError("ids choose labels of a segmentation; pass --labels, or leave them out")
    if not os.fspath(dest):
        raise InputError("the path of the destination is empty; pass that of a new folder")
    bytes_of_memory = parse_memory(memory)
    with local_files(sources, tmp) as paths:
        volume = _volume_at(writable_store(dest))
        transform = IDENTITY if volume is None else _native_transform(volume)
        if labels is not None:
            is_own = _is_same_place(labels, dest)
            transform = IDENTITY if is_own else transform
            traced = _labels_traced(labels, ids, scale, bytes_of_memory, workers, is_native=is_own)
        else:
            bounds = None if like is None else world_bounds_like(like) * 1e6
            names = [str(x) if is_url(x) else Path(x).name for x in sources]
            traced = _files_traced(paths, names, units, bounds)
        options = {**traced.options, "sharding": sharding, "transform": list(transform)}
        provenance = Provenance.of(
            traced.names,
            "skeletons",
            {**options, "source": lasting_identity(traced.identity)},
        )
        folder = LayerFolder(
            dest if volume is None else place_in(dest, FOLDER),
            layer_type=SKELETONS_TYPE,
            files=FILES,
            plan={"source": traced.identity, "options": options},
            provenance=provenance.to_json(),
            overwrite=overwrite,
            resume=resume,
            fsync=fsync,
            sources=traced.files,
        )
        if not folder.is_done:
            with folder, folder.temporaries(tmp) as temporary:
                spool = Spool(Path(temporary))
                try:
                    found, named_ids = traced.skeletons()
                    info = write_skeletons(
                        found,
                        folder.store,
                        ".",
                        spool,
                        attributes=[_RADIUS],
                        transform=transform,
                        sharding=sharding,
                        properties=named(named_ids) if named_ids else None,
                    )
                finally:
                    spool.close()
                folder.finish(info.to_json())
        if volume is not None:
            with Transaction(dest) as change:
                change.change_info(lambda members: {**members, "skeletons": FOLDER})


def _is_same_place(labels: PathLike, dest: PathLike) -> bool:
    if is_url(labels) or is_url(dest):
        return os.fspath(labels).rstrip("/") == os.fspath(dest).rstrip("/")
    return Path(labels).resolve() == Path(dest).resolve()


def _labels_traced(
    labels: PathLike,
    ids: Collection[int] | None,
    scale: int,
    memory: int,
    workers: int | None,
    *,
    is_native: bool,
) -> _Traced:
    load_skeletonize()  # or it says what is missing
    volume = open_volume(labels)
    volume.store.lost_chunks = "refuse"
    voxels = check_segmentation(volume, scale)
    wanted = None if ids is None else sorted({int(number) for number in ids})
    matrix = None if is_native else world_transform(volume.store)

    def trace() -> tuple[Iterator[tuple[int, Skeleton]], dict[int, str]]:
        boxes = find_boxes(voxels, wanted)
        found = label_skeletons(voxels, boxes, memory, workers)
        # A volume has names of its own.
        known = {} if is_native else volume.labels
        names = {label: known.get(label, str(label)) for label in boxes} if known else {}
        return ((label, _moved(skeleton, matrix)) for label, skeleton in found), names

    options = {
        "ids": None if wanted is None else [str(number) for number in wanted],
        "scale": scale,
        "matrix": None if matrix is None else matrix.tolist(),
    }
    store, where = volume.store, volume.store.location
    identity = {"name": where}
    for name in ("info", PROVENANCE_NAME):
        identity[name] = blake2b(store.get(name) or b"", digest_size=16).hexdigest()
    if isinstance(store, Store):
        identity |= chunks_identity(store, chunk_files(store, voxels.key))
    name = where if is_url(labels) else Path(where).name
    return _Traced(identity, options, [name], [], trace)


def _moved(skeleton: Skeleton, matrix: NDArray[np.float64] | None) -> Skeleton:
    if matrix is None:
        return skeleton
    vertices = skeleton.vertices @ matrix[:3, :3].T + matrix[:3, 3]
    return Skeleton(vertices.astype(np.float32), skeleton.edges, skeleton.attributes)


def _files_traced(paths: Sequence[Path], sources: list[str], units: Units, bounds: Any) -> _Traced:
    ids, names = _identified(paths)
    identity = source_identity(paths[0], _checked(paths))
    options = {"units": units, "ids": [str(number) for number in ids]}
    unit_nm = UNITS_NM[units]
    return _Traced(
        identity,
        options,
        sources,
        list(paths),
        lambda: (_skeletons(paths, ids, unit_nm, bounds), names),
    )


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
