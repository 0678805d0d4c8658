"""Surface meshes into a volume: fragments, the manifests that link them to labels, and VTK files.

Fragments and manifests lie in the folder that `mesh` in the volume's `info` names.
"""

from __future__ import annotations

import csv
import io
import logging
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ngcore.codecs import gzip
from ngcore.errors import FormatError, InputError, InputNotFoundError
from ngcore.meshing.fragment_folder import (
    check_folder,
    check_free,
    checked_info,
    fragment_folder,
    put_mesh_info,
    read_info,
)
from ngcore.meshing.placement import warn_if_outside
from ngcore.precomputed.mesh import Mesh, affine_mm_to_nm
from ngcore.precomputed.mesh_legacy import (
    check_fragment_name,
    encode_fragment,
    encode_manifest,
    manifest_name,
)
from ngcore.precomputed.vtk import encode_vtk
from ngcore.sources.surfaces.reading import mesh_stem, read_mesh
from ngcore.storage import writable_store
from ngcore.transaction.changes import Transaction
from ngcore.transaction.output_file import (
    check_output_file,
    check_output_folder,
    write_output,
)
from ngcore.volume.world import world_to_native

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import ArrayLike

    from ngcore.volume.world import Space

logger = logging.getLogger(__name__)

_LABEL = re.compile(r"[0-9]{1,20}")


def mesh_to_precomputed(
    mesh: str | Path,
    dest: str | Path,
    *,
    mesh_dir: str | None = None,
    mesh_name: str | None = None,
    coord_transform: ArrayLike | None = None,
    space: Space = "native",
    units: str | None = None,
    use_gzip: bool = True,
    overwrite: bool = False,
) -> str:
    """Write a mesh file into a volume as one fragment; return the fragment's name.

    Sets `mesh` in DEST/info, where it is not set yet, and writes that folder's own `info`.

    Parameters
    ----------
    mesh : str or Path
        What `ngcore.sources.surfaces.reading.read_mesh` reads.
    dest : str or Path
        The folder of the volume.
    mesh_dir : str, optional
        Folder in DEST for meshes; default the one that DEST/info names, else `mesh`.
    mesh_name : str, optional
        The fragment's name; default the file's stem.
    coord_transform : 12 or 16 numbers, optional
        Affine transform of the coordinates, row-major, translation in millimetres.
    space : {"native", "world"}
        native: coordinates are those of the volume's own space. world: coordinates are those of
        the world that DEST/transform.json leads to, and its inverse is applied.
    units : {"nm", "um", "mm"}, optional
        Unit of the file's coordinates; default the one that its header names, else mm.
    use_gzip : bool
        Write NAME.gz rather than NAME.
    overwrite : bool
        Replace a fragment of that name that is another mesh.

    Raises
    ------
    InputError
        If DEST has no `info` or another `mesh` folder, if a name is unusable, a transform
        singular, or the mesh can't be read.
    FormatError
        If the mesh or one of DEST's JSON files is malformed.
    DestinationError
        If there is such a fragment already, or DEST can't be written.
    """
    return _add_fragment(
        mesh,
        dest,
        kind=None,
        units=units,
        voxel_size=1.0,
        mesh_dir=mesh_dir,
        mesh_name=mesh_name,
        coord_transform=coord_transform,
        space=space,
        use_gzip=use_gzip,
        overwrite=overwrite,
    )


def stl_to_precomputed(
    stl: str | Path,
    dest: str | Path,
    *,
    voxel_size: float = 1.0,
    mesh_dir: str | None = None,
    mesh_name: str | None = None,
    coord_transform: ArrayLike | None = None,
    space: Space = "native",
    units: str | None = None,
    use_gzip: bool = True,
    overwrite: bool = False,
) -> str:
    """Write an STL file into a volume as one fragment; return the fragment's name.

    The other parameters, and what is raised, are those of `mesh_to_precomputed`.

    Parameters
    ----------
    stl : str or Path
        Text or binary STL, whatever its name; equal vertices are merged.
    voxel_size : float, in millimetres
        What one unit of the file's coordinates is worth; applied before `coord_transform`.
    """
    if not (np.isfinite(voxel_size) and voxel_size > 0):
        raise InputError(f"voxel size must be a positive number of mm, got {voxel_size}")
    if units is not None and voxel_size != 1:
        raise InputError(
            "--units and --voxel-size both say what a coordinate is; pass one of them"
        )
    return _add_fragment(
        stl,
        dest,
        kind="stl",
        units=units,
        voxel_size=voxel_size,
        mesh_dir=mesh_dir,
        mesh_name=mesh_name,
        coord_transform=coord_transform,
        space=space,
        use_gzip=use_gzip,
        overwrite=overwrite,
    )


def mesh_to_vtk(
    mesh: str | Path,
    out: str | Path,
    *,
    coord_transform: ArrayLike | None = None,
    units: str | None = None,
    overwrite: bool = False,
) -> None:
    """Write a mesh file as the VTK text that Neuroglancer's `vtk:` source reads, in nanometres.

    Parameters
    ----------
    mesh : str or Path
        What `ngcore.sources.surfaces.reading.read_mesh` reads.
    out : str or Path
        The file to write.
    coord_transform : 12 or 16 numbers, optional
        Affine transform of the coordinates, row-major, translation in millimetres.
    units : {"nm", "um", "mm"}, optional
        Unit of the file's coordinates; default the one that its header names, else mm.
    overwrite : bool
        Replace `out` if it is there.

    Raises
    ------
    InputError, FormatError
        If the mesh can't be read or the transform is singular.
    DestinationError
        If `out` is a folder, the mesh itself or there already, or can't be written.
    """
    check_output_file(out, overwrite=overwrite, sources=[mesh])
    moved = _moved(read_mesh(mesh, units=units), coord_transform)
    write_output(out, encode_vtk(moved))


def link_mesh_fragments(
    table: str | Path, dest: str | Path, *, colon_suffix: bool = True, overwrite: bool = False
) -> int:
    """Write the manifests that link segments to their fragments; return how many.

    Nothing is written unless the whole table is valid.

    Parameters
    ----------
    table : str or Path
        CSV without a header: each row is a label and the names of its fragments; a label without
        some has an empty mesh.
    dest : str or Path
        The folder of the volume.
    colon_suffix : bool
        Name manifests `LABEL:0`, as Neuroglancer asks for them, or `LABEL`, for file systems
        without colons (the web server then must map one to the other).
    overwrite : bool
        Replace manifests that are there and list other fragments.

    Raises
    ------
    DestinationError
        If such a manifest already exists.
    InputError
        If DEST has no `info` or no meshes, or a row has a bad label, a label that came before, or
        a fragment that is not there; the message names the line.
    """
    store = writable_store(dest)
    info = checked_info(read_info(store), store)
    check_output_folder(dest)
    if "mesh" not in info:
        raise InputError(
            f'{store.location} has no meshes: its info has no "mesh"; run mesh-to-precomputed '
            "first"
        )
    folder = fragment_folder(info, None, store)
    if colon_suffix and os.name == "nt":
        raise InputError("Windows file names can't hold ':'; pass --no-colon-suffix")
    manifests: dict[str, tuple[str, ...]] = {}
    for place, label, fragments in _rows(Path(table)):
        try:
            name = manifest_name(label, colon_suffix=colon_suffix)
            for fragment in fragments:
                check_fragment_name(fragment)
        except InputError as error:
            raise InputError(f"{place}: {error}") from error
        for fragment in fragments:
            path = f"{folder}/{fragment}"
            if store.size(path) is None and store.size(f"{path}.gz") is None:
                raise InputNotFoundError(
                    f"{place}: there is no fragment {fragment!r} in {store.location}/{folder}; "
                    "run mesh-to-precomputed for it first"
                )
        if name in manifests:
            raise InputError(f"{place}: label {label} already has a row; give it one row")
        manifests[name] = fragments
    if not manifests:
        raise InputError(f"{str(table)!r} has no rows; expected label,fragment,...")
    hidden = manifests.keys() & {name for names in manifests.values() for name in names}
    if hidden:
        raise InputError(
            f"the manifest {min(hidden)!r} would replace the fragment of that name; "
            "give the fragment another name"
        )
    with Transaction(store) as change:
        check_folder(checked_info(change.read_info(), store), folder, store)
        for name, fragments in manifests.items():
            check_free(change, folder, name, encode_manifest(fragments), overwrite=overwrite)
        change.record("link-mesh-fragments", {"table": Path(table).name})
        put_mesh_info(change, folder)
        for name, fragments in manifests.items():
            change.put(f"{folder}/{name}", encode_manifest(fragments))
    return len(manifests)


def _add_fragment(
    path: str | Path,
    dest: str | Path,
    *,
    kind: str | None,
    units: str | None,
    voxel_size: float,
    mesh_dir: str | None,
    mesh_name: str | None,
    coord_transform: ArrayLike | None,
    space: Space,
    use_gzip: bool,
    overwrite: bool,
) -> str:
    store = writable_store(dest)
    info = checked_info(read_info(store), store)
    check_output_folder(dest)
    folder = fragment_folder(info, mesh_dir, store)
    name = mesh_stem(path) if mesh_name is None else mesh_name
    check_fragment_name(name)
    to_native = world_to_native(store, space)
    mesh = read_mesh(path, kind=kind, units=units)
    if voxel_size != 1:
        mesh = mesh.transformed(np.diag([voxel_size, voxel_size, voxel_size, 1.0]))
    mesh = _moved(mesh, coord_transform)
    warn_if_outside(str(path), mesh, to_native, store, info)
    if to_native is not None:
        mesh = mesh.transformed(to_native)
    fragment = encode_fragment(mesh)
    if str(info.get("type")).lower() != "segmentation":
        logger.warning(
            "%s is not a segmentation: Neuroglancer shows meshes of segmentations only",
            store.location,
        )
    stored, stale = f"{name}.gz", name
    use_gzip = use_gzip and not store.keeps_names  # a bucket gives files out as they lie
    if not use_gzip:
        stored, stale = stale, stored
    with Transaction(store) as change:
        folder = fragment_folder(checked_info(change.read_info(), store), mesh_dir, store)
        for known in (stored, stale):
            check_free(change, folder, known, fragment, overwrite=overwrite)
        change.record(
            "mesh-to-precomputed" if kind is None else "stl-to-precomputed",
            {
                "part": f"{folder}/{name}",
                "mesh": Path(path).name,
                "coord_transform": None
                if coord_transform is None
                else np.asarray(coord_transform, np.float64).ravel().tolist(),
                "space": space,
                "unit_mm": voxel_size,
                **({} if units is None else {"units": units}),
            },
        )
        change.put(f"{folder}/{stored}", gzip.compress(fragment) if use_gzip else fragment)
        change.delete(f"{folder}/{stale}")  # an older one, which readers might find first
        put_mesh_info(change, folder)
        # The mesh comes before what announces it: whoever reads meanwhile finds nothing missing.
        change.change_info(lambda members: {**members, "mesh": folder})
    return name


def _moved(mesh: Mesh, coord_transform: ArrayLike | None) -> Mesh:
    return mesh if coord_transform is None else mesh.transformed(affine_mm_to_nm(coord_transform))


def _rows(table: Path) -> Iterator[tuple[str, int, tuple[str, ...]]]:
    """Yield, for each row that is not blank, where it is, its label and its fragments."""
    try:
        text = table.read_bytes().decode("utf-8-sig")
    except FileNotFoundError as error:
        raise InputNotFoundError(f"there is no table {str(table)!r}; check the path") from error
    except UnicodeDecodeError as error:
        raise FormatError(f"{str(table)!r} is not UTF-8 text: {error}") from error
    except OSError as error:
        raise InputError(
            f"{str(table)!r} can't be read: {error.strerror}; pass a file that you may read"
        ) from error
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        for row in reader:
            cells = [cell.strip() for cell in row]
            if not any(cells):
                continue
            place = f"{str(table)!r}, line {reader.line_num}"
            if not _LABEL.fullmatch(cells[0]):
                raise InputError(f"{place}: label {cells[0]!r} is not a whole number")
            # Spreadsheets pad short rows with empty cells.
            fragments = tuple(cell for cell in cells[1:] if cell)
            yield place, int(cells[0]), fragments
    except csv.Error as error:
        raise FormatError(f"{str(table)!r}, line {reader.line_num}: {error}") from error
