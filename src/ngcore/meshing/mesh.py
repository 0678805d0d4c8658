"""Meshes for the labels of a volume: found in its voxels, or given as surfaces.

All is made in a hidden folder of the volume (`workplace.py`), in steps that are whole or not
there: blocks of voxels, then some labels at a time, then shards. A run that was interrupted goes
on after the last of them. Until all is made the volume keeps its old meshes.
"""

from __future__ import annotations

import json
import logging
import math
import os
import threading
from typing import TYPE_CHECKING, Any

import numpy as np

from ngcore.arrays.triangles import Surface, joined
from ngcore.errors import InputError
from ngcore.meshing.blocks import BLOCK_SIDE, LabelSurfaces, join_pieces
from ngcore.meshing.files import MeshFiles, meshed_labels
from ngcore.meshing.libraries import check_libraries
from ngcore.meshing.octree import QUANTIZATION_BITS, encode_levels
from ngcore.meshing.pieces import PieceFiles
from ngcore.meshing.placement import warn_if_outside
from ngcore.meshing.sources import PROVENANCE, MeshSources
from ngcore.precomputed.mesh_multilod import MultilodInfo
from ngcore.sources.surfaces.reading import read_mesh
from ngcore.storage import LocalStore, Store
from ngcore.transaction.changes import Transaction
from ngcore.transaction.journal import read_plan, resumable
from ngcore.transaction.output_file import check_output_folder
from ngcore.transaction.places import check_own_folder
from ngcore.transaction.shadow import shadow
from ngcore.transaction.workplace import MESHES, Workplace, remove_leftovers, work_store
from ngcore.volume.label_names import check_is_properties, named_properties
from ngcore.volume.read import Volume
from ngcore.volume.read import open as open_volume
from ngcore.volume.seal import Seal, file_digest
from ngcore.volume.world import world_to_native
from ngcore.work.processes import WorkerProcesses
from ngcore.work.progress import told
from ngcore.work.threads import for_each

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from ngcore.meshing.blocks import Piece
    from ngcore.precomputed.chunks import Vec3
    from ngcore.volume.chunk_scan import Progress
    from ngcore.volume.scale import ScaleArray
    from ngcore.volume.world import Space

logger = logging.getLogger(__name__)

_STEP_LABELS = 128
_STEP_BYTES = 8 << 20
_FEWEST_STEPS = 64
"""What an interruption loses is at most a step for each worker: so many labels, or so large
surfaces, and less where there are few in all."""

_MAX_LABEL = 2**64 - 1
_SHOWN = 5
_IDENTITY = (1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0)


def write_meshes(
    dest: str | os.PathLike[str],
    *,
    labels: Collection[int] | None = None,
    surfaces: Mapping[int, str | os.PathLike[str]] | None = None,
    names: Mapping[int, str] | None = None,
    space: Space = "native",
    units: str | None = None,
    scale: int = 0,
    sharding: bool = True,
    overwrite: bool = False,
    resume: bool = False,
    workers: int | None = None,
    block_side: int = BLOCK_SIDE,
    progress: bool | Progress | None = None,
    mesh_progress: bool | Progress | None = None,
) -> tuple[int, ...]:
    """Give labels of a segmentation multi-resolution meshes; return the labels that have one.

    The voxels are read block by block, and each label's surface is then joined, simplified to
    a few levels of detail, cut, and encoded. Each worker holds one block, or one label's surface;
    what waits does so in a temporary file in DEST.

    Parameters
    ----------
    dest : str or path
        The folder of the volume.
    labels : collection of int, optional
        The labels whose voxels get a mesh; default all but 0, unless `surfaces` are given.
    surfaces : mapping of int to path, optional
        What `ngcore.sources.surfaces.reading.read_mesh` reads, as meshes of labels.
    names : mapping of int to str, optional
        Names of labels, put into the segment properties of the volume.
    space : {"native", "world"}
        native: coordinates of `surfaces` are those of the volume's own space. world: they are
        those of the world that DEST/transform.json leads to, and its inverse is applied.
    units : {"nm", "um", "mm"}, optional
        Unit of the coordinates of `surfaces`; default the one that a file's header names, else mm.
    scale : int
        The scale whose voxels are read; 0 is full resolution.
    sharding : bool
        Pack meshes into shard files; else two files each.
    overwrite : bool
        Replace the meshes that DEST has.
    resume : bool
        Continue an interrupted run; start one where there is none. Meshes that are complete, of
        the same source and options, are left as they are.
    workers : int, optional
        Processes; default all cores.
    block_side : int, in voxels
        About how large blocks are.
    progress : bool or callable, optional
        True draws a bar on stderr; a callable is called now and then with
        (voxels done, voxels in all).
    mesh_progress : bool or callable, optional
        Called afterwards, now and then, with (bytes of surfaces done, bytes in all).

    Returns
    -------
    tuple of int
        Ascending.

    Raises
    ------
    InputError
        DEST is not a segmentation, an argument is unusable, or no label that is wanted has voxels.
    FormatError
        The volume or a surface is damaged.
    DestinationError
        DEST has meshes, or unfinished ones, or can't be written.
    StorageError
        The disk is full, or failed; `resume` can continue.
    MissingExtraError
        A library of the extra `mesh` is not installed.
    """
    opened = open_volume(dest)
    asked: dict[str, Any] = {
        "labels": labels,
        "surfaces": surfaces,
        "names": names,
        "space": space,
        "units": units,
        "scale": scale,
        "sharding": sharding,
        "overwrite": overwrite,
        "resume": resume,
        "workers": workers,
        "block_side": block_side,
        "progress": told(progress),
        "mesh_progress": told(mesh_progress),
    }
    if isinstance(opened.store, LocalStore):
        return _write_meshes(opened, opened.store, **asked)
    if not isinstance(opened.store, Store):
        raise InputError(f"{opened.store.location} can only be read; meshes go into the volume")
    with shadow(opened.store, (opened.info.mesh, opened.info.segment_properties)) as here:
        copy = Volume(here, opened.info)
        copy.scales = opened.scales
        return _write_meshes(copy, opened.store, **asked)


def _write_meshes(
    opened: Volume,
    chunks: Store,
    *,
    labels: Collection[int] | None,
    surfaces: Mapping[int, str | os.PathLike[str]] | None,
    names: Mapping[int, str] | None,
    space: Space,
    units: str | None,
    scale: int,
    sharding: bool,
    overwrite: bool,
    resume: bool,
    workers: int | None,
    block_side: int,
    progress: Progress | None,
    mesh_progress: Progress | None,
) -> tuple[int, ...]:
    """Do as `write_meshes`, to a volume whose chunks may lie in another place."""
    assert isinstance(opened.store, LocalStore)
    surfaces, names = surfaces or {}, names or {}
    _check_labels((*(labels or ()), *surfaces, *names))
    if resume and overwrite:
        raise InputError("--resume and --overwrite contradict each other; pass one of them")
    _check_volume(opened)
    voxels = _scale(opened, scale) if labels is not None or not surfaces else None
    both = surfaces.keys() & {*(labels or ())}
    if both:
        raise InputError(f"label {min(both)} is given a surface and to be meshed; choose one")
    check_output_folder(opened.store.path)
    check_libraries()
    if names:
        named_properties(opened.store, opened.info.segment_properties, names)  # or it raises
    to_native = world_to_native(opened.store, space) if surfaces else None
    given = {label: _given(path, units, to_native, opened) for label, path in surfaces.items()}
    options = {
        "labels": None if labels is None else sorted({*labels}),
        "names": {str(label): name for label, name in sorted(names.items())},
        "to_native": None if to_native is None else to_native.tolist(),
        **({} if units is None else {"units": units}),
        "scale": scale,
        "sharding": sharding,
        "block_side": block_side,
    }
    sources = MeshSources(opened, chunks, voxels, surfaces, options)
    remove_leftovers(opened.store)
    is_made = opened.info.mesh is not None and read_plan(work_store(opened.store)) is None
    if resume and is_made:
        folder = opened.store.path / str(opened.info.mesh)
        sources.check_made(folder)
        return meshed_labels(LocalStore(folder))[0]
    with (
        Workplace(opened.store, sources.plan, overwrite=overwrite, resume=resume) as work,
        resumable(),  # what fails before there is a plan is to be done again as it was
    ):
        if not work.is_announced:
            pieces = PieceFiles(work.store, work.journal)
            files = MeshFiles(work.store, MESHES, work.journal, pieces if sharding else None)
            with WorkerProcesses(workers) as processes:
                _mesh_surfaces(given, min(opened.scales[0].resolution), files, processes)
                if voxels is not None:
                    surface = LabelSurfaces(
                        voxels, pieces, processes, wanted=labels, block_side=block_side
                    )
                    _find_surfaces(surface, processes, progress)
                    _check_found(surface.labels(), labels, chunks.location)
                    _check_unchanged(sources, chunks.location)
                    _mesh_labels(surface, voxels.resolution, files, processes, mesh_progress)
            info = MultilodInfo(QUANTIZATION_BITS, _IDENTITY, 1.0, files.finish())
            work.store.put(f"{MESHES}/{PROVENANCE}", sources.provenance)
            work.store.put(f"{MESHES}/info", info.to_json().encode())
            work.announce()
        made, digest = meshed_labels(work.meshes)
        with Transaction(opened.store) as change:
            change.record("mesh", {**options, "surfaces": sources.names})
            _seal_meshes(change, work.meshes.path.name, digest)
        if names:
            _write_names(opened.store, names)
        work.finish()
    return made


def _seal_meshes(change: Transaction, folder: str, digest: str) -> None:
    """Put the new meshes into the seal of the volume, in the place of those they replace."""
    for old in change.sealing.seal.meshes:
        change.sealing.forget_meshes(old)
    info = file_digest(change.get(f"{folder}/info") or b"", f"{folder}/info")
    change.sealing.add(Seal(files={f"{folder}/info": info}, meshes={folder: digest}))


def _write_names(store: LocalStore, names: Mapping[int, str]) -> None:
    with Transaction(store) as change:
        members = change.read_info()
        folder, document = named_properties(store, members.get("segment_properties"), names)
        check_own_folder(members, "segment_properties", folder, store)
        check_is_properties(change.get(f"{folder}/info"), f"{store.location}/{folder}/info")
        change.put(f"{folder}/info", document)
        change.change_info(lambda info: {**info, "segment_properties": folder})


def _check_labels(labels: Iterable[int]) -> None:
    for label in labels:
        if not 1 <= label <= _MAX_LABEL:
            raise InputError(
                f"label {label} can't have a mesh; labels are whole numbers from 1 to 2^64 - 1"
            )


def _check_volume(opened: Volume) -> None:
    if opened.info.type != "segmentation":
        raise InputError(
            f"{opened.store.location} is an image, and only labels have meshes; "
            "convert it with --type segmentation if it holds labels"
        )


def _scale(opened: Volume, number: int) -> ScaleArray:
    where, scales = opened.store.location, opened.scales
    if not 0 <= number < len(scales):
        raise InputError(f"{where} has no scale {number}; choose 0 to {len(scales) - 1}")
    if scales[number].shape[3] > 1:
        raise InputError(f"{where} has {scales[number].shape[3]} channels; labels have one")
    return scales[number]


def _given(
    path: str | os.PathLike[str],
    units: str | None,
    to_native: NDArray[np.float64] | None,
    opened: Volume,
) -> Surface:
    """Read a surface, and move it to the volume's own nanometres."""
    mesh = read_mesh(os.fspath(path), units=units)
    members = json.loads(opened.info.to_json())
    warn_if_outside(os.fspath(path), mesh, to_native, opened.store, members)
    if to_native is not None:
        mesh = mesh.transformed(to_native)
    surface = joined([Surface(mesh.vertices_nm, mesh.triangles.astype(np.int64))])
    if not len(surface.triangles):
        raise InputError(f"{path} has no triangle with an area; export the surface again")
    return surface


def _mesh_surfaces(
    given: Mapping[int, Surface], voxel_nm: float, files: MeshFiles, processes: WorkerProcesses
) -> None:
    """Make a mesh of each surface that was given."""

    def encode(label: int) -> tuple[bytes, bytes]:
        return processes.call(_encode_given, given[label], voxel_nm)

    def make(label: int) -> None:
        files.make([label], encode)

    for_each(given, make, workers=processes.workers, stop=processes.kill)


def _find_surfaces(
    surfaces: LabelSurfaces, processes: WorkerProcesses, progress: Progress | None
) -> None:
    """Find the surfaces of all labels, block by block."""
    total = math.prod(surfaces.blocks.size)
    lock = threading.Lock()
    done = 0

    def find(cell: Vec3) -> None:
        nonlocal done
        surfaces.add_block(cell)
        with lock:
            done += math.prod(surfaces.blocks.bounds(cell).shape)
            if progress is not None:
                progress(done, total)

    for_each(surfaces.blocks.cells(), find, workers=processes.workers, stop=processes.kill)


def _mesh_labels(
    surfaces: LabelSurfaces,
    resolution: Sequence[float],
    files: MeshFiles,
    processes: WorkerProcesses,
    progress: Progress | None,
) -> None:
    """Make a mesh of each label's surface, some labels at a time."""
    labels = surfaces.labels()
    total = sum(map(surfaces.size, labels))
    lock = threading.Lock()
    done = 0

    def encode(label: int) -> tuple[bytes, bytes] | None:
        return processes.call(_encode_pieces, surfaces.pieces(label), resolution)

    def make(some: list[int]) -> None:
        nonlocal done
        files.make(some, encode)
        with lock:
            done += sum(map(surfaces.size, some))
            if progress is not None:
                progress(done, total)

    steps = _steps(labels, surfaces.size, min(_STEP_BYTES, total // _FEWEST_STEPS))
    for_each(steps, make, workers=processes.workers, stop=processes.kill)


def _steps(labels: Iterable[int], size: Callable[[int], int], most: int) -> Iterator[list[int]]:
    """Yield some labels at a time, the same in every run, whoever does the work."""
    step: list[int] = []
    bytes_in_step = 0
    for label in labels:
        step.append(label)
        bytes_in_step += size(label)
        if len(step) == _STEP_LABELS or bytes_in_step >= most:
            yield step
            step, bytes_in_step = [], 0
    if step:
        yield step


def _encode_given(surface: Surface, voxel_nm: float) -> tuple[bytes, bytes]:
    """Encode a surface as it was given, with coarser levels."""
    return encode_levels(surface, voxel_nm)


def _encode_pieces(
    pieces: Iterable[Piece], resolution: Sequence[float]
) -> tuple[bytes, bytes] | None:
    vertices, triangles = join_pieces(pieces, np.divide(resolution, min(resolution)))
    if not len(triangles):
        return None
    return encode_levels(Surface(vertices * np.asarray(resolution), triangles), min(resolution))


def _check_found(present: Sequence[int], wanted: Collection[int] | None, where: str) -> None:
    if not present:
        what = "no label but 0" if wanted is None else "none of these labels"
        raise InputError(f"{where} holds {what}, so there is nothing to mesh; see `ngcore info`")
    missing = sorted({*(wanted or ())} - {*present})
    if missing:
        shown = ", ".join(map(str, missing[:_SHOWN])) + (", ..." if missing[_SHOWN:] else "")
        has = "labels have" if len(missing) > 1 else "label has"
        logger.warning("%s: %d %s no voxel, so no mesh (%s)", where, len(missing), has, shown)


def _check_unchanged(sources: MeshSources, where: str) -> None:
    if not sources.is_unchanged():
        raise InputError(
            f"{where} was changed while it was read; run this again when nobody writes to it"
        )
