"""Kinds of things that are converted to be looked at: one entry each, chosen by a file's name.

An entry makes something in the precomputed format from a file; what that is, a volume, surfaces,
annotations, is then told by its `info`, as of everything else.
"""

from __future__ import annotations

import contextlib
import json
import logging
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from ngcore._version import __version__
from ngcore.errors import (
    DestinationError,
    FormatError,
    InputError,
    InputNotFoundError,
    NoVoxelSizeError,
)
from ngcore.precomputed.mesh_legacy import (
    encode_fragment,
    encode_manifest,
    encode_mesh_info,
    manifest_name,
)
from ngcore.storage import is_url
from ngcore.storage.file_lock import make_folders
from ngcore.storage.local import LocalStore

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ngcore._verbs import Progress
    from ngcore.server.things import Thing

logger = logging.getLogger(__name__)

_STAMP = ".{}.made-from.json"
_BLOCK = 1 << 20
_TABLES = (".csv", ".tsv", ".csv.gz", ".tsv.gz", ".parquet")
_STAND_IN_NM = (1e6, 1e6, 1e6)
"""Size of the voxels of a source that does not give one, such as a `.npy` file."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of file.

    Attributes
    ----------
    what : str
        In words, for messages.
    endings : tuple of str
        Of names, in lower case.
    make : callable
        Of a thing, the folder to write, and progress.
    knows : callable or None
        Tells from a file that it is of this kind, whatever its name.
    """

    what: str
    endings: tuple[str, ...]
    make: Callable[[Thing, Path, Progress | None], object]
    knows: Callable[[Path], bool] | None = None


def _make_surface(thing: Thing, dest: Path, _: Progress | None) -> None:
    """Write a surface as a folder of meshes with one segment."""
    from ngcore.sources.surfaces.reading import read_mesh

    fragment = encode_fragment(read_mesh(thing.path))
    store = LocalStore(dest)
    store.put("surface", fragment)
    store.put(manifest_name(1), encode_manifest(["surface"]))
    store.put("info", encode_mesh_info())


def _is_freesurfer_surface(path: Path) -> bool:
    from ngcore.sources.surfaces.freesurfer import QUAD_MAGICS, TRIANGLE_MAGIC

    with contextlib.suppress(OSError), path.open("rb") as file:
        return file.read(3) in (TRIANGLE_MAGIC, *QUAD_MAGICS)
    return False


def _make_points(thing: Thing, dest: Path, _: Progress | None) -> None:
    from ngcore.annotating.annotate import annotations
    from ngcore.annotating.roles import kind_by_columns
    from ngcore.sources.points.opening import open_table

    kind, group = kind_by_columns(open_table(thing.path))
    if kind == "line":
        logger.warning(
            "%s: x1, y1, z1, x2, y2, z2 are shown as lines; if they are corners of boxes, run "
            "ngcore annotations --kind box and view what it writes",
            thing.place,
        )
    try:
        annotations(thing.path, dest, kind=kind, group=group, fsync=False)
    except (FormatError, InputError) as error:
        if kind != "ellipsoid":
            raise
        # Rotations have these names too.
        annotations(thing.path, dest, kind="point", fsync=False)
        logger.warning("%s; shown as points, not as ellipsoids", error)


def _is_array_of_points(path: Path) -> bool:
    """Whether a NumPy file holds rows of three coordinates."""
    import numpy as np

    if path.suffix.lower() != ".npy":
        return False
    with contextlib.suppress(OSError, ValueError):
        shape = np.load(path, mmap_mode="r", allow_pickle=False).shape
        return len(shape) == 2 and shape[1] == 3
    return False


def _make_skeletons(thing: Thing, dest: Path, _: Progress | None) -> None:
    from ngcore.tracing.skeletons import skeletons

    skeletons([thing.path], dest, sharding=False, fsync=False)


def _make_tracts(thing: Thing, dest: Path, _: Progress | None) -> None:
    from ngcore.tracing.tracts import tracts

    tracts([thing.path], dest, fsync=False)


KINDS: list[Kind] = [
    Kind("table of points", _TABLES, _make_points, _is_array_of_points),
    Kind("skeleton", (".swc",), _make_skeletons),
    Kind("file of streamlines", (".trk", ".tck", ".trx"), _make_tracts),
    Kind(
        "surface",
        (".gii", ".gii.gz", ".stl", ".ply", ".obj", ".off", ".vtk"),
        _make_surface,
        _is_freesurfer_surface,
    ),
]


def kind_of(path: Path) -> Kind | None:
    """Return the kind of a file; None for what `convert` reads, if anything does."""
    name = path.name.lower()
    for kind in KINDS:
        if name.endswith(kind.endings):
            return kind
    return next(
        (x for x in KINDS if x.knows is not None and path.is_file() and x.knows(path)), None
    )


def make(thing: Thing, dest: Path, progress: Progress | None = None) -> None:
    """Make a thing precomputed in a folder; nothing is done where it already exists.

    Parameters
    ----------
    thing : Thing
        A file, or whatever `convert` reads.
    dest : Path
        Not there yet, or made by an earlier call.
    progress : callable, optional
        Called now and then with (done, in all).

    Raises
    ------
    NgcoreError
        It can't be read, or the folder can't be written.
    """
    kind = None if is_url(thing.place) else kind_of(thing.path)
    if kind is None:
        _convert(thing, dest, progress)
        return
    if thing.type is not None:
        raise InputError(f"{thing.place!r} is a {kind.what}: leave out type={thing.type}")
    stamp = dest.with_name(_STAMP.format(dest.name))
    wanted = _identity(thing.path)
    if stamp.is_file() and dest.is_dir() and stamp.read_text("utf-8") == wanted:
        return
    if dest.exists():
        if not stamp.is_file():
            raise DestinationError(
                f"{str(dest)!r} exists and was not made by an earlier view; move it, or pass "
                "another --keep"
            )
        _remove_tree(dest)
    make_folders(stamp.parent)
    stamp.write_text("", "utf-8")  # what a run leaves that is killed is ours
    kind.make(thing, dest, progress)
    stamp.write_text(wanted, "utf-8")


def _identity(path: Path) -> str:
    """Return what tells a file from another one: its content."""
    digest = blake2b(digest_size=16)
    try:
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                digest.update(block)
    except FileNotFoundError as error:
        raise InputNotFoundError(f"there is no file {str(path)!r}; check the path") from error
    except OSError as error:
        raise InputError(
            f"{str(path)!r} can't be read: {error.strerror or error}; check its access rights"
        ) from error
    return json.dumps({"name": path.name, "content": digest.hexdigest(), "version": __version__})


def _remove_tree(folder: Path) -> None:
    import shutil

    shutil.rmtree(folder)


def _convert(thing: Thing, dest: Path, progress: Progress | None) -> None:
    options: dict[str, Any] = {"fsync": False, "progress": progress}
    if thing.type is not None:
        options["type"] = thing.type
    elif thing.table is not None:
        options["type"] = "segmentation"
    try:
        _convert_anew(thing, dest, options)
    except NoVoxelSizeError:
        logger.warning(
            "%s has no voxel size, and is shown as if it were 1 mm; "
            "convert it with --resolution first if lengths matter",
            thing.place,
        )
        _convert_anew(thing, dest, options | {"resolution": _STAND_IN_NM})


def _convert_anew(thing: Thing, dest: Path, options: dict[str, Any]) -> None:
    """Convert a thing; what is complete, of the same source and options, is left as it is."""
    from ngcore.conversion.convert import convert

    if not dest.exists():
        try:
            convert(thing.place, dest, **options)
        except NoVoxelSizeError:
            raise
        except InputError as error:
            if not thing.path.is_dir():
                raise
            raise InputError(f"no volume in {thing.place!r}: {error}") from error
        return
    try:
        convert(thing.place, dest, resume=True, **options)
    except DestinationError:
        convert(thing.place, dest, overwrite=True, **options)
