"""Meshes for the labels of a volume: found in its voxels, or given as surfaces.

All is made in steps that are whole or not there (`making.py`), in a folder that the volume gets
when all of it is there (`ngcore.transaction.mesh_folder`): until then it keeps its old meshes. A
run that was interrupted goes on after the last step.
"""

from __future__ import annotations

import json
import logging
import os
from typing import TYPE_CHECKING

import numpy as np

from ngcore._verbs import told
from ngcore.arrays.triangles import Surface, joined
from ngcore.errors import InputError
from ngcore.meshing.blocks import BLOCK_SIDE, LabelSurfaces
from ngcore.meshing.files import meshed_labels
from ngcore.meshing.libraries import check_libraries
from ngcore.meshing.making import Meshes, crew_of, find_surfaces
from ngcore.meshing.octree import QUANTIZATION_BITS
from ngcore.meshing.placement import warn_if_outside
from ngcore.meshing.sources import PROVENANCE, MeshSources
from ngcore.precomputed.mesh_multilod import MultilodInfo
from ngcore.sources.surfaces.reading import read_mesh
from ngcore.storage import Store
from ngcore.transaction.journal import resumable
from ngcore.transaction.mesh_folder import MeshFolder, remove_leftovers, unfinished_meshes
from ngcore.transaction.output_file import check_output_folder
from ngcore.transaction.places import check_own_folder
from ngcore.volume.label_names import check_is_properties, named_properties
from ngcore.volume.read import open as open_volume
from ngcore.volume.seal import Seal, file_digest
from ngcore.volume.world import world_to_native

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from numpy.typing import NDArray

    from ngcore._verbs import Progress
    from ngcore.transaction.changes import Transaction
    from ngcore.volume.read import Volume
    from ngcore.volume.scale import ScaleArray
    from ngcore.volume.world import Space

logger = logging.getLogger(__name__)

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
    dask: object | None = None,
    block_side: int = BLOCK_SIDE,
    progress: bool | Progress | None = None,
    mesh_progress: bool | Progress | None = None,
) -> tuple[int, ...]:
    """Give labels of a segmentation multi-resolution meshes; return the labels that have one.

    The voxels are read block by block, and each label's surface is then joined, simplified to
    a few levels of detail, cut, and encoded. Each worker holds one block, or one label's surface;
    what waits does so in temporary files in DEST.

    Parameters
    ----------
    dest : str or path
        The folder of the volume, or its URL in a bucket.
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
    dask : str or distributed.Client, optional
        The address of a Dask scheduler whose workers do the work, or its client; ``local`` starts
        processes here. They must reach DEST. Given surfaces are encoded here all the same.
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
    store = opened.store
    store.lost_chunks = "refuse"
    if not isinstance(store, Store):
        raise InputError(f"{store.location} can only be read; meshes go into the volume")
    surfaces, names = surfaces or {}, names or {}
    _check_labels((*(labels or ()), *surfaces, *names))
    if resume and overwrite:
        raise InputError("--resume and --overwrite contradict each other; pass one of them")
    _check_volume(opened)
    voxels = _scale(opened, scale) if labels is not None or not surfaces else None
    both = surfaces.keys() & {*(labels or ())}
    if both:
        raise InputError(f"label {min(both)} is in both --surface and --labels; choose one")
    check_output_folder(store.location)
    check_libraries()
    if names:
        named_properties(store, opened.info.segment_properties, names)  # or it raises
    to_native = world_to_native(store, space) if surfaces else None
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
    sources = MeshSources(store, voxels, surfaces, options)
    remove_leftovers(store)
    if resume and opened.info.mesh is not None and unfinished_meshes(store) is None:
        sources.check_made(opened.info.mesh)
        return meshed_labels(store, opened.info.mesh)[0]
    with (
        MeshFolder(store, sources.plan, overwrite=overwrite, resume=resume) as work,
        resumable(),  # what fails before there is a plan is to be done again as it was
    ):
        if work.is_named:
            made, digest = meshed_labels(store, work.folder)
        else:
            meshes = Meshes(work, sharding=sharding)
            if given:
                with crew_of(None, workers, work) as crew:
                    meshes.make(crew, given, opened.scales[0].resolution)
            with crew_of(dask, workers, work) as crew:
                if voxels is not None:
                    surface = LabelSurfaces(voxels, block_side=block_side)
                    find_surfaces(work, surface, crew, scale, labels, progress=told(progress))
                    _check_found(surface.labels, labels, store.location)
                    if not sources.is_unchanged():
                        raise InputError(
                            f"{store.location} was changed while it was read; run this again "
                            "while nothing else writes to it"
                        )
                    meshes.make_found(crew, surface, voxels.resolution, told(mesh_progress))
                    del surface  # it holds a row for each label, as what is sorted next does
                spec = meshes.finish(crew)
            made, digest = tuple(sorted(meshes.labels)), str(meshes.digest)
            info = MultilodInfo(QUANTIZATION_BITS, _IDENTITY, 1.0, spec)
            store.put(f"{work.folder}/{PROVENANCE}", sources.provenance)
            store.put(f"{work.folder}/info", info.to_json().encode())
        with work.named() as change:
            change.record("mesh", {**options, "surfaces": sources.names})
            _seal_meshes(change, work.folder, digest)
            if names:
                _write_names(change, store, names)
        work.finish()
    return made


def _seal_meshes(change: Transaction, folder: str, digest: str) -> None:
    """Put the new meshes into the seal of the volume, in the place of those they replace."""
    for old in change.sealing.seal.meshes:
        change.sealing.forget_meshes(old)
    info = file_digest(change.get(f"{folder}/info") or b"", f"{folder}/info")
    change.sealing.add(Seal(files={f"{folder}/info": info}, meshes={folder: digest}))


def _write_names(change: Transaction, store: Store, names: Mapping[int, str]) -> None:
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


def _check_found(present: NDArray[np.uint64], wanted: Collection[int] | None, where: str) -> None:
    if not len(present):
        what = "no label but 0" if wanted is None else "none of these labels"
        raise InputError(f"{where} holds {what}, so there is nothing to mesh; see `ngcore info`")
    missing = np.setdiff1d(np.array([*(wanted or ())], np.uint64), present).tolist()
    if missing:
        shown = ", ".join(map(str, missing[:_SHOWN])) + (", ..." if missing[_SHOWN:] else "")
        has = "labels have" if len(missing) > 1 else "label has"
        logger.warning("%s: %d %s no voxel, so no mesh (%s)", where, len(missing), has, shown)
