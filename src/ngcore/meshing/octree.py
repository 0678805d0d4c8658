"""A surface as levels of detail, each cut into the nodes of an octree: what the client streams.

Level 0 is the finest. Each next one has a quarter of its triangles and nodes of twice the side, so
that each fragment, of whatever level, is about as large as every other.

https://github.com/google/neuroglancer/blob/master/src/datasource/precomputed/meshes.md
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ngcore.arrays.triangles import Surface, joined, slabs
from ngcore.errors import InputError
from ngcore.meshing.libraries import load_library
from ngcore.meshing.simplify import coarser
from ngcore.precomputed.mesh_multilod import MultilodManifest

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ngcore.precomputed.chunks import Vec3

QUANTIZATION_BITS = 16
_LARGEST = 2**QUANTIZATION_BITS - 1
_MIDDLE = 2 ** (QUANTIZATION_BITS - 1)
"""Where the client divides a node into the halves of its children."""
_UPWARDS = 2**-8
"""In steps: more than arithmetic errs, so that what lies between two steps goes to the upper."""

_COARSEST_TRIANGLES = 8192
"""A surface of so many needs no coarser level: they take some 30 KiB."""
_MOST_LEVELS = 12
_ERROR_GROWTH = 4
"""In voxels, what level 1 may lose; that to this power, what the levels above may."""
_FURTHEST_NM = float(np.finfo(np.float32).max) / 4
_COMPRESSION = 7


def encode_levels(surface: Surface, voxel_nm: float) -> tuple[bytes, bytes]:
    """Return the manifest and the fragments of a segment.

    Parameters
    ----------
    surface : Surface
        In nanometres, with triangles.
    voxel_nm : float
        The shortest side of a voxel: how much detail level 0 stands for.

    Raises
    ------
    InputError
        It is too far away for float32 nanometres.
    """
    levels = levels_of_detail(surface, voxel_nm)
    origin, side = _octree(levels)
    fragments = [
        _fragments(level, number, len(levels), origin, side) for number, level in enumerate(levels)
    ]
    nodes = _with_parents([set(level) for level in fragments])
    sizes, data = [], []
    for level, places in zip(fragments, nodes, strict=True):
        encoded = [level.get(place, b"") for place in places]
        sizes.append(np.array([len(part) for part in encoded], np.uint32))
        data += encoded
    manifest = MultilodManifest(
        chunk_shape=np.full(3, side, np.float32),
        grid_origin=origin.astype(np.float32),
        lod_scales=np.array([voxel_nm * 2**n for n in range(len(levels))], np.float32),
        vertex_offsets=np.zeros((len(levels), 3), np.float32),
        positions=tuple(np.array(places, np.uint32).reshape(-1, 3) for places in nodes),
        sizes=tuple(sizes),
    )
    return manifest.to_bytes(), b"".join(data)


def levels_of_detail(surface: Surface, voxel_nm: float) -> list[Surface]:
    """Return a surface with less and less detail, each level of a quarter of the triangles.

    Parameters are those of `encode_levels`.
    """
    units = 1 / voxel_nm
    levels = [surface]
    while len(levels) < _MOST_LEVELS and len(levels[-1].triangles) > _COARSEST_TRIANGLES:
        last = levels[-1]
        next_level = coarser(last, _ERROR_GROWTH ** len(levels), units=units)
        if len(next_level.triangles) > 3 * len(last.triangles) // 4:
            break  # what is left are open edges, which stay
        levels.append(next_level)
    return levels


def _octree(levels: list[Surface]) -> tuple[NDArray[np.float64], float]:
    """Return where the octree starts and the side of its finest nodes, both exact in float32."""
    furthest = max(float(np.abs(level.vertices).max()) for level in levels)
    if not furthest < _FURTHEST_NM:
        raise InputError(
            f"a surface reaches {furthest:g} nm away, too far for float32 nanometres; "
            "check its units, or the volume's resolution"
        )
    low = np.min([level.vertices.min(axis=0) for level in levels], axis=0)
    high = np.max([level.vertices.max(axis=0) for level in levels], axis=0)
    origin = _float32_below(low)
    extent = max(float((high - origin).max()), np.finfo(np.float32).tiny)
    side = np.nextafter(np.float32(extent / 2 ** (len(levels) - 1)), np.float32(np.inf))
    return origin, float(side)


def _float32_below(values: NDArray[np.float64]) -> NDArray[np.float64]:
    rounded = values.astype(np.float32)
    lower = np.nextafter(rounded, np.float32(-np.inf))
    return np.where(rounded > values, lower, rounded).astype(np.float64)


def _fragments(
    surface: Surface, level: int, levels: int, origin: NDArray[np.float64], side: float
) -> dict[Vec3, bytes]:
    """Cut a level into nodes; return what is in each, encoded."""
    node = side * 2**level
    # Above level 0 no triangle may cross the planes between a node's children.
    step = node / 2 if level else node
    count = 2 ** (levels - 1 - level) * (2 if level else 1)
    planes = [(origin[axis] + step * np.arange(1, count)).tolist() for axis in range(3)]
    parts: dict[Vec3, list[Surface]] = {}
    for x, in_x in slabs(surface, 0, planes[0]):
        for y, in_xy in slabs(in_x, 1, planes[1]):
            for z, part in slabs(in_xy, 2, planes[2]):
                cell = np.array([x, y, z])
                place = cell // 2 if level else cell
                start = origin + place * node
                # The plane between children is half a step below _MIDDLE, on either side of it.
                steps = np.rint((part.vertices - start) * (_LARGEST / node) + _UPWARDS)
                # Rounding may not take a vertex over to another child either.
                low = np.where(cell % 2, _MIDDLE, 0) if level else np.zeros(3)
                high = np.where(cell % 2, _LARGEST, _MIDDLE) if level else np.full(3, _LARGEST)
                quantized = np.clip(steps, low, high)
                i, j, k = place.tolist()
                parts.setdefault((i, j, k), []).append(Surface(quantized, part.triangles))
    encoded = ((place, _encoded(found)) for place, found in parts.items())
    return {place: data for place, data in encoded if data}


def _encoded(parts: list[Surface]) -> bytes:
    """Return a fragment as Draco, no bytes if rounding left nothing of it."""
    surface = joined(parts)
    if not len(surface.triangles):
        return b""
    # Signed 32-bit integers are the only type that the client takes as they are.
    data: bytes = load_library("DracoPy").encode(
        surface.vertices.astype(np.int32),
        surface.triangles,
        compression_level=_COMPRESSION,
    )
    return data


def _with_parents(levels: list[set[Vec3]]) -> list[list[Vec3]]:
    """Return the nodes of each level in Z-order, with those that others hang from.

    A coarse surface may pass by a node that a finer one is in. The client comes to a node through
    its parents only, so they are there, without bytes.
    """
    nodes: list[set[Vec3]] = []
    for level in levels:
        below = nodes[-1] if nodes else set()
        nodes.append(level | {(x // 2, y // 2, z // 2) for x, y, z in below})
    return [sorted(places, key=_z_order) for places in nodes]


def _z_order(place: Vec3) -> int:
    x, y, z = place
    return sum(
        (x >> bit & 1) << 3 * bit | (y >> bit & 1) << 3 * bit + 1 | (z >> bit & 1) << 3 * bit + 2
        for bit in range(max(place).bit_length())
    )
