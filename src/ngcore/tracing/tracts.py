"""Tractography: bundles as skeletons, every streamline as an annotation, and their density."""

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ngcore.annotating.annotate import FILES as ANNOTATION_FILES
from ngcore.annotating.levels import choose_levels
from ngcore.annotating.write import Collection, write_collection
from ngcore.conversion.convert import convert
from ngcore.conversion.options import parse_memory
from ngcore.errors import InputError
from ngcore.precomputed.annotation_property import AnnotationProperty
from ngcore.precomputed.names import ANNOTATIONS_TYPE, SKELETONS_TYPE
from ngcore.precomputed.segment_properties import SegmentProperties
from ngcore.precomputed.skeletons import IDENTITY
from ngcore.sources.identity import lasting_identity, source_identity
from ngcore.sources.remote_files import local_files
from ngcore.sources.tracts.opening import open_tracts
from ngcore.storage import LocalStore, Store, is_url, place_in, writable_store
from ngcore.storage.spool import Spool
from ngcore.tracing.bundles import ORIENTATION, bundle_skeletons
from ngcore.tracing.density import affine_of, count_streamlines, density_grid
from ngcore.tracing.skeleton_files import FILES as SKELETON_FILES
from ngcore.tracing.skeleton_files import named, write_skeletons
from ngcore.tracing.tract_spool import DIRECTION, SpooledTracts, spool_tracts
from ngcore.transaction.layer_folder import LayerFolder
from ngcore.transaction.output_file import check_output_folder, make_folder
from ngcore.transaction.work_folder import owned_folder, working_folder
from ngcore.volume.provenance import Provenance
from ngcore.volume.read import world_bounds_like

logger = logging.getLogger(__name__)

PathLike = str | os.PathLike[str]

BUNDLES, STREAMLINES, DENSITY = "bundles", "streamlines", "density"
"""Folders that are written."""
_PER_CELL = 1000
"""Streamlines in a cell of the first level: a few MiB, which a client shows at once."""
_MOST_COPIES = 4
"""Cells are not made smaller where a streamline then lies in more of them, on average."""


def tracts(
    files: PathLike | Sequence[PathLike],
    dest: PathLike,
    *,
    max_vertices: int = 2_000_000,
    density: float | None = None,
    like: PathLike | None = None,
    sharding: bool = True,
    memory: str | int = "1G",
    tmp: PathLike | None = None,
    fsync: bool = True,
    resume: bool = False,
    overwrite: bool = False,
) -> None:
    """Convert streamlines to layers of Neuroglancer: bundles, all streamlines, and their density.

    Parameters
    ----------
    files : path or sequence of path
        ``.trk``, ``.tck`` or ``.trx``. A bundle is a file, named by its stem, or a group of a TRX.
    dest : path
        A folder that is empty or not there yet. It gets ``bundles``, skeletons with one segment
        for each bundle; ``streamlines``, polylines related to their bundle; and ``density``.
    max_vertices : int
        Of all skeletons together. Lines stay within 0.2 mm; where that is too many vertices,
        lines are left out by lot, the same share of every bundle. The client draws all of them in
        every panel: where there is no graphics card, 50,000 are drawn within seconds.
    density : float, optional
        Voxel size in millimetres of a volume that counts the streamlines in each voxel; default
        none.
    like : path, optional
        A volume whose bounds, in its world, the layers get.
    sharding : bool
        Pack entries into shards, or write a file for each.
    memory : str or int
        Bound on resident memory, such as ``"512M"``.
    tmp : path, optional
        Where temporary files go; default hidden, in `dest`.
    fsync, resume, overwrite : bool
        As for `ngcore.convert`.

    Raises
    ------
    InputError, FormatError
        A file can't be read or is damaged, or holds no streamlines. Nothing is left in `dest`.
    DestinationError
        `dest` holds something already, can't be written or is in use.
    MissingExtraError
        TRX without the extra ``tracts``.
    StorageError
        Reading or writing fails midway; `resume` continues.
    """
    sources = [files] if isinstance(files, str | os.PathLike) else [*files]
    if not sources:
        raise InputError("no files; pass one or more .trk, .tck or .trx files")
    if not os.fspath(dest):
        raise InputError("the path of the destination is empty; pass that of a new folder")
    if isinstance(max_vertices, bool) or not isinstance(max_vertices, int) or max_vertices < 2:
        raise InputError(f"max_vertices must be 2 or more, got {max_vertices!r}")
    if density is not None and not 0 < density < 1e6:
        raise InputError(f"density must be a voxel size in millimetres, got {density!r}")
    bytes_of_memory = parse_memory(memory)
    with local_files(sources, tmp) as paths:
        for path in paths:
            open_tracts(path).close()
        bounds = None if like is None else world_bounds_like(like)
        identity = source_identity(paths[0], paths)
        options: dict[str, Any] = {
            "max_vertices": max_vertices,
            "bounds": None if bounds is None else bounds.tolist(),
            "sharding": sharding,
        }
        shared: dict[str, Any] = {"overwrite": overwrite, "resume": resume, "fsync": fsync}
        store = writable_store(dest)
        names = [str(x) if is_url(x) else Path(x).name for x in sources]
        folders = {
            part: LayerFolder(
                place_in(dest, part),
                layer_type=kind,
                files=files_of_part,
                plan={"source": identity, "options": {**options, "part": part}},
                provenance=Provenance.of(
                    names,
                    "tracts",
                    {**options, "part": part, "source": lasting_identity(identity)},
                ).to_json(),
                **shared,
                sources=paths,
            )
            for part, kind, files_of_part in (
                (BUNDLES, SKELETONS_TYPE, SKELETON_FILES),
                (STREAMLINES, ANNOTATIONS_TYPE, ANNOTATION_FILES),
            )
        }
        has_density = density is None or (resume and store.size(f"{DENSITY}/info") is not None)
        if has_density and all(folder.is_done for folder in folders.values()):
            return
        with _made(store), _temporary(store, tmp) as temporary:
            spool = Spool(temporary)
            try:
                found = spool_tracts(paths, spool)
                lower, upper = _bounds(found, bounds, names)
                # First what may be refused.
                grid = None
                if density is not None:
                    grid = density_grid(lower, upper, density, bytes_of_memory // 2)
                if not folders[BUNDLES].is_done:
                    _write_bundles(folders[BUNDLES], found, spool, max_vertices, sharding=sharding)
                if not folders[STREAMLINES].is_done:
                    _write_streamlines(
                        folders[STREAMLINES],
                        found,
                        spool,
                        (lower, upper),
                        bytes_of_memory // 3,
                        sharding=sharding,
                    )
                if grid is not None:
                    convert(
                        count_streamlines(found, grid),
                        place_in(dest, DENSITY),
                        type="image",
                        affine=affine_of(grid),
                        sharding=sharding,
                        memory=memory,
                        **shared,
                    )
            finally:
                spool.close()


@contextmanager
def _made(store: Store) -> Iterator[None]:
    """Make the folder, and remove it after an error if it is empty then."""
    if not isinstance(store, LocalStore):
        yield
        return
    check_output_folder(store.path)
    existed = store.path.exists()
    make_folder(store.path)
    try:
        yield
    finally:
        if not existed:
            with suppress(OSError):
                store.path.rmdir()


@contextmanager
def _temporary(store: Store, tmp: PathLike | None) -> Iterator[Path]:
    """Give a folder for temporary files: hidden in the destination, or in `tmp`."""
    if tmp is not None:
        with owned_folder(Path(tmp)) as folder:
            yield folder
    else:
        with working_folder(store) as folder:
            yield folder


def _bounds(tracts: SpooledTracts, like: Any, names: Sequence[str]) -> tuple[Any, Any]:
    if like is None:
        return tracts.lower, tracts.upper
    if (tracts.upper < like[0]).any() or (tracts.lower > like[1]).any():
        logger.warning("%s: all streamlines lie outside of the volume", ", ".join(names))
    return np.minimum(tracts.lower, like[0]), np.maximum(tracts.upper, like[1])


def bundle_properties(tracts: SpooledTracts) -> SegmentProperties:
    """Return names and counts of the bundles."""
    numbered: Mapping[int, Any] = dict(enumerate(tracts.bundles, start=1))
    return named(
        {number: bundle.name for number, bundle in numbered.items()},
        {"streamlines": {number: bundle.count for number, bundle in numbered.items()}},
    )


def _write_bundles(
    folder: LayerFolder, tracts: SpooledTracts, spool: Spool, most: int, *, sharding: bool
) -> None:
    with folder:
        info = write_skeletons(
            bundle_skeletons(tracts, most),
            folder.store,
            ".",
            spool,
            attributes=[ORIENTATION],
            transform=IDENTITY,
            sharding=sharding,
            properties=bundle_properties(tracts),
        )
        folder.finish(info.to_json())


def _write_streamlines(
    folder: LayerFolder,
    tracts: SpooledTracts,
    spool: Spool,
    bounds: tuple[Any, Any],
    memory: int,
    *,
    sharding: bool,
) -> None:
    with folder:
        (x, y, z), (a, b, c) = bounds[0].tolist(), bounds[1].tolist()
        levels = choose_levels(
            "polyline",
            tracts,
            (x, y, z),
            (a, b, c),
            _PER_CELL,
            most_copies=_MOST_COPIES,
            growth=2,
        )
        collection = Collection(
            "polyline",
            1e-3,
            (x, y, z),
            (a, b, c),
            (AnnotationProperty(DIRECTION, "rgb", "|end - start|, x red, y green, z blue"),),
            (("bundle", "rel_bundle"),),
            levels,
            sharding,
        )
        info = write_collection(collection, tracts, folder.store, spool, memory)
        folder.finish(replace(info).to_json())
