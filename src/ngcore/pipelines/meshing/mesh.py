"""Meshes for the labels of a volume: found in its voxels, or given as surfaces.

The files are made in a hidden folder of the volume. When all of them are there, and on the disk,
the folder gets its name, then `info` says it, and then the meshes that it replaces go. Whatever
interrupts that leaves the volume with its old meshes, or with all of the new ones.
"""

from __future__ import annotations

import itertools
import logging
import math
import os
import shutil
import threading
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ngcore import volume
from ngcore.errors import DestinationError, InputError, StorageError
from ngcore.execution.processes import WorkerProcesses
from ngcore.execution.threads import for_each
from ngcore.formats.info import VolumeInfo
from ngcore.formats.json_members import dump, parse_object
from ngcore.formats.mesh_multilod import MultilodInfo
from ngcore.pipelines.label_names import LabelNames
from ngcore.pipelines.meshing.blocks import BLOCK_SIDE, LabelSurfaces, join_pieces
from ngcore.pipelines.meshing.files import MeshFiles
from ngcore.pipelines.meshing.libraries import check_libraries
from ngcore.pipelines.meshing.octree import QUANTIZATION_BITS, encode_levels
from ngcore.pipelines.output_file import check_output_folder
from ngcore.pipelines.temporary import owned_folder
from ngcore.pipelines.world import world_to_native
from ngcore.readers.meshes.reading import read_mesh
from ngcore.storage import LocalStore
from ngcore.storage.spool import Spool
from ngcore.storage.sync import sync_folder, sync_path
from ngcore.surfaces import Surface, joined

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from ngcore.formats.chunks import Vec3
    from ngcore.pipelines.chunk_scan import Progress
    from ngcore.pipelines.meshing.blocks import Piece
    from ngcore.pipelines.world import Space
    from ngcore.volume import ScaleArray, Volume

logger = logging.getLogger(__name__)

_FOLDER = "mesh"
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
    scale: int = 0,
    sharding: bool = True,
    overwrite: bool = False,
    workers: int | None = None,
    block_side: int = BLOCK_SIDE,
    progress: Progress | None = None,
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
        What `ngcore.readers.meshes.reading.read_mesh` reads, in millimetres, as meshes of labels.
    names : mapping of int to str, optional
        Names of labels, put into the segment properties of the volume.
    space : {"native", "world"}
        native: coordinates of `surfaces` are those of the volume's own space. world: they are
        those of the world that DEST/transform.json leads to, and its inverse is applied.
    scale : int
        The scale whose voxels are read; 0 is full resolution.
    sharding : bool
        Pack meshes into shard files; else two files each.
    overwrite : bool
        Replace the meshes that DEST has.
    workers : int, optional
        Processes; default all cores.
    block_side : int, in voxels
        About how large blocks are.
    progress : callable, optional
        Called now and then with (voxels done, voxels in all).

    Returns
    -------
    tuple of int
        Ascending.

    Raises
    ------
    InputError
        DEST is no segmentation, an argument is unusable, or no label that is wanted has voxels.
    FormatError
        The volume or a surface is damaged.
    DestinationError
        DEST has meshes, or can't be written.
    MissingExtraError
        A library of the extra `mesh` is not installed.
    """
    opened = volume.open(dest)
    if not isinstance(opened.store, LocalStore):
        raise InputError(f"{dest} is a URL; meshes go into a volume in a local folder")
    surfaces, names = surfaces or {}, names or {}
    _check_labels((*(labels or ()), *surfaces, *names))
    _check_volume(opened, overwrite=overwrite)
    voxels = _scale(opened, scale) if labels is not None or not surfaces else None
    both = surfaces.keys() & {*(labels or ())}
    if both:
        raise InputError(f"label {min(both)} is given a surface and to be meshed; choose one")
    check_output_folder(Path(dest))
    check_libraries()
    naming = LabelNames(opened.store, opened.info.segment_properties, names) if names else None
    given = _given(opened, surfaces, space)
    voxel_nm = min(opened.scales[0].resolution)
    with (
        owned_folder(Path(dest)) as tmp,
        closing(Spool(tmp)) as waiting,
        WorkerProcesses(workers) as processes,
    ):
        folder = tmp / _FOLDER
        files = MeshFiles(LocalStore(folder), waiting if sharding else None)

        def add(label: int) -> None:
            files.add(label, *processes.call(_encode_given, given[label], voxel_nm))

        for_each(given, add, workers=processes.workers, stop=processes.kill)
        if voxels is not None:
            _mesh_voxels(voxels, labels, files, tmp, processes, block_side, progress)
        info = MultilodInfo(QUANTIZATION_BITS, _IDENTITY, 1.0, files.finish())
        LocalStore(folder).put("info", info.to_json().encode())
        sync_folder(folder)
        _announce(opened.store, folder, overwrite=overwrite)
    if naming is not None:
        naming.write()
    return files.labels


def _check_labels(labels: Iterable[int]) -> None:
    for label in labels:
        if not 1 <= label <= _MAX_LABEL:
            raise InputError(
                f"label {label} can't have a mesh; labels are whole numbers from 1 to 2^64 - 1"
            )


def _check_volume(opened: Volume, *, overwrite: bool) -> None:
    where = opened.store.location
    if opened.info.type != "segmentation":
        raise InputError(
            f"{where} is an image, and only labels have meshes; "
            "convert it with --type segmentation if it holds labels"
        )
    _check_free(opened.info.mesh, where, overwrite=overwrite)


def _check_free(mesh: str | None, where: str, *, overwrite: bool) -> None:
    if mesh is not None and not overwrite:
        raise DestinationError(
            f"{where} has meshes already, in {mesh!r}; pass --overwrite to replace them"
        )


def _scale(opened: Volume, number: int) -> ScaleArray:
    where, scales = opened.store.location, opened.scales
    if not 0 <= number < len(scales):
        raise InputError(f"{where} has no scale {number}; choose 0 to {len(scales) - 1}")
    if scales[number].shape[3] > 1:
        raise InputError(f"{where} has {scales[number].shape[3]} channels; labels have one")
    return scales[number]


def _given(
    opened: Volume, surfaces: Mapping[int, str | os.PathLike[str]], space: Space
) -> dict[int, Surface]:
    """Read the surfaces, and move them to the volume's own nanometres."""
    if not surfaces:
        return {}
    to_native = world_to_native(opened.store, space)
    found = {}
    for label, path in surfaces.items():
        mesh = read_mesh(os.fspath(path))
        if to_native is not None:
            mesh = mesh.transformed(to_native)
        found[label] = joined([Surface(mesh.vertices_nm, mesh.triangles.astype(np.int64))])
        if not len(found[label].triangles):
            raise InputError(f"{path} has no triangle with an area; export the surface again")
    return found


def _mesh_voxels(
    voxels: ScaleArray,
    labels: Collection[int] | None,
    files: MeshFiles,
    tmp: Path,
    processes: WorkerProcesses,
    block_side: int,
    progress: Progress | None,
) -> None:
    """Find the surfaces of all blocks, then make a mesh of each label's."""
    total = math.prod(voxels.info.size)
    lock = threading.Lock()
    done = 0

    def find(cell: Vec3) -> None:
        nonlocal done
        found.add_block(cell)
        with lock:
            done += math.prod(found.blocks.bounds(cell).shape)
            if progress is not None:
                progress(done, total)

    def add(label: int) -> None:
        mesh = processes.call(_encode_pieces, found.take(label), voxels.resolution)
        if mesh is not None:
            files.add(label, *mesh)

    with closing(Spool(tmp)) as spool:
        found = LabelSurfaces(voxels, spool, processes, wanted=labels, block_side=block_side)
        for_each(found.blocks.cells(), find, workers=processes.workers, stop=processes.kill)
        present = found.labels()
        _check_found(present, labels, str(voxels.path))
        for_each(present, add, workers=processes.workers, stop=processes.kill)


def _encode_given(surface: Surface, voxel_nm: float) -> tuple[bytes, bytes]:
    """Encode a surface as it was given, with coarser levels."""
    return encode_levels(surface, voxel_nm, max_error=0)


def _encode_pieces(
    pieces: Iterable[Piece], resolution: Sequence[float]
) -> tuple[bytes, bytes] | None:
    vertices, triangles = join_pieces(pieces)
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


def _announce(store: LocalStore, folder: Path, *, overwrite: bool) -> None:
    """Give the folder of meshes its name, say it in `info`, and remove the meshes before them.

    Those are the ones of now: another run may have ended since this one began.
    """
    document = store.get("info")
    assert document is not None
    old = VolumeInfo.from_json(document).mesh
    _check_free(old, store.location, overwrite=overwrite)
    try:
        name = _move(folder, store.path)
    except OSError as error:
        raise StorageError(
            f"{store.location} can't be written: {error.strerror}; mend that and run this again"
        ) from error
    sync_path(store.path)
    # Member by member, so that all that others wrote stays as it is.
    store.put_durably("info", dump({**parse_object(document), "mesh": name}).encode())
    # One that lies elsewhere is another volume's too.
    if old is not None and store.path.resolve() in (store.path / old).resolve().parents:
        shutil.rmtree(store.path / old, ignore_errors=True)


def _move(folder: Path, dest: Path) -> str:
    """Move a folder to the first name that is free."""
    for number in itertools.count(1):
        name = _FOLDER if number == 1 else f"{_FOLDER}-{number}"
        if not (dest / name).exists():
            try:
                folder.rename(dest / name)
            except OSError:
                if (dest / name).exists():
                    continue  # another run took it just now
                raise
            return name
    raise AssertionError
