"""Slow, obvious twins of every kernel: what the kernels must equal, in plain Python and NumPy."""

from __future__ import annotations

import struct
from collections import Counter
from fractions import Fraction
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

WIDTHS = (0, 1, 2, 4, 8, 16, 32)


def _cell_slices(length: int, factor: int, offset: int) -> list[slice]:
    """The voxels of each cell of one axis, on the global grid."""
    cells: dict[int, list[int]] = {}
    for index in range(length):
        cells.setdefault((offset + index) // factor, []).append(index)
    return [slice(cells[cell][0], cells[cell][-1] + 1) for cell in sorted(cells)]


def downsample(
    array: NDArray[Any],
    factors: tuple[int, ...] = (2, 2, 2),
    method: str = "average",
    offset: tuple[int, ...] = (0, 0, 0),
    outside_value: float | None = None,
) -> NDArray[Any]:
    """Reduce each cell of voxels to one."""
    if array.ndim == 3:
        return downsample(array[..., np.newaxis], factors, method, offset, outside_value)[..., 0]
    cells = [_cell_slices(*axis) for axis in zip(array.shape[:3], factors, offset, strict=True)]
    out = np.empty([*map(len, cells), array.shape[3]], array.dtype)
    for at in product(*(range(n) for n in out.shape)):
        voxels = array[(*(cells[axis][at[axis]] for axis in range(3)), at[3])].ravel(order="F")
        missing = int(np.prod(factors)) - voxels.size
        if outside_value is not None:
            voxels = np.append(voxels, np.full(missing, outside_value, array.dtype))
        out[at] = REDUCTIONS[method](voxels)
    return out


def _average(voxels: NDArray[Any]) -> Any:
    if voxels.dtype.kind == "f":
        return _of_present(lambda present: present.mean(dtype=np.float64))(voxels)
    return round(Fraction(sum(voxels.tolist()), voxels.size))  # ties to even


def _majority(voxels: NDArray[Any]) -> Any:
    if voxels.dtype.kind == "f":
        voxels = voxels + np.float32(0)  # -0 counts as 0
    nans = int(np.isnan(voxels).sum()) if voxels.dtype.kind == "f" else 0
    counts = Counter(voxels[voxels == voxels].tolist())
    if not counts:
        return np.nan
    value, count = min(counts.items(), key=lambda item: (-item[1], item[0]))
    return np.nan if nans > count else value


def _of_present(reduce: Callable[[NDArray[Any]], Any]) -> Callable[[NDArray[Any]], Any]:
    """NaN is absence."""

    def reduced(voxels: NDArray[Any]) -> Any:
        present = voxels[voxels == voxels]
        return np.float32(reduce(present)) if present.size else np.nan

    return lambda voxels: reduced(voxels) if voxels.dtype.kind == "f" else reduce(voxels)


REDUCTIONS = {
    "average": _average,
    "majority": _majority,
    "stride": lambda voxels: voxels[0],
    "min": _of_present(np.min),
    "max": _of_present(np.max),
}


def encode(
    labels: NDArray[Any],
    block_size: tuple[int, ...] = (8, 8, 8),
    *,
    width_of: Any = lambda count: next(w for w in WIDTHS if 1 << w >= count),
) -> bytes:
    """Encode labels (x, y, z, channel) as compressed_segmentation."""
    words: list[int] = [0] * labels.shape[3]
    for channel in range(labels.shape[3]):
        words[channel] = len(words)
        words += _encode_channel(labels[..., channel], block_size, width_of)
    return struct.pack(f"<{len(words)}I", *words)


def _blocks(shape: tuple[int, ...], block: tuple[int, ...]) -> list[tuple[slice, ...]]:
    grid = [-(-n // b) for n, b in zip(shape, block, strict=True)]
    return [
        tuple(slice(a * b, a * b + b) for a, b in zip((x, y, z), block, strict=True))
        for z, y, x in product(*(range(n) for n in reversed(grid)))
    ]


def _encode_channel(labels: NDArray[Any], block: tuple[int, ...], width_of: Any) -> list[int]:
    boxes = _blocks(labels.shape, block)
    words = [0] * (2 * len(boxes))
    tables: dict[bytes, int] = {}
    for number, box in enumerate(boxes):
        present = labels[box]
        pad = [(0, b - n) for b, n in zip(block, present.shape, strict=True)]
        whole = np.pad(present, pad, constant_values=present.flat[0])
        table, ranks = np.unique(whole.ravel(order="F"), return_inverse=True)
        width = width_of(len(table))
        values = [0] * (-(-whole.size * width // 32))
        for voxel, rank in enumerate(ranks.tolist()):
            if width:
                values[voxel * width // 32] |= rank << (voxel * width % 32)
        values_offset = len(words)
        words += values
        key = table.tobytes()
        if key not in tables:
            tables[key] = len(words)
            words += np.frombuffer(key, "<u4").tolist()
        words[2 * number] = tables[key] | width << 24
        words[2 * number + 1] = values_offset
    return words


def decode(
    data: bytes,
    shape: tuple[int, ...],
    dtype: Any,
    block_size: tuple[int, ...] = (8, 8, 8),
    region: tuple[slice, ...] | None = None,
) -> NDArray[Any]:
    """Decode a valid compressed_segmentation chunk of shape (x, y, z, channel), or a box of it.

    Of a region, voxel after voxel is looked up, and nothing else: damage elsewhere may be there.
    """
    wanted = np.zeros(shape[:3], bool)
    wanted[region or ...] = True
    found = _decode_wanted(data, shape, dtype, block_size, wanted)
    return found if region is None else found[region]


def _decode_wanted(
    data: bytes,
    shape: tuple[int, ...],
    dtype: Any,
    block_size: tuple[int, ...],
    wanted: NDArray[np.bool_],
) -> NDArray[Any]:
    words = np.frombuffer(data, "<u4")
    out = np.empty(shape, dtype)
    label_words = out.itemsize // 4
    for channel in range(shape[3]):
        base = words[words[channel] :]
        for number, box in enumerate(_blocks(shape[:3], block_size)):
            if not wanted[box].any():
                continue
            header, values_offset = (int(word) for word in base[2 * number : 2 * number + 2])
            width, table_offset = header >> 24, header & 0xFFFFFF
            present = out[..., channel][box]
            for at in zip(*np.nonzero(wanted[box]), strict=True):
                voxel = at[0] + block_size[0] * (at[1] + block_size[1] * at[2])
                rank = 0
                if width:
                    word = int(base[values_offset + voxel * width // 32])
                    rank = word >> (voxel * width % 32) & ((1 << width) - 1)
                entry = table_offset + rank * label_words
                present[at] = base[entry : entry + label_words].copy().view(dtype)[0]
    return out


def copied(voxels: NDArray[Any]) -> bytes:
    """Return the items of (x, y, z, channel), x fastest, one after the other."""
    c, z, y, x = (range(length) for length in reversed(voxels.shape))
    places = [at[::-1] for at in product(c, z, y, x)]
    return b"".join(voxels[tuple(slice(i, i + 1) for i in at)].tobytes() for at in places)


def distances_to_surface(
    points: NDArray[Any], vertices: NDArray[Any], triangles: NDArray[Any]
) -> NDArray[Any]:
    """Return the distance of each point, shape (n, 3), from the nearest of all triangles."""
    corners = vertices[triangles]
    return np.array([_distances(point, corners).min() for point in points])


def _distances(point: NDArray[Any], corners: NDArray[Any]) -> NDArray[Any]:
    """Return the distance of a point from each triangle: from its inside, or from its edges."""
    a, b, c = corners[:, 0], corners[:, 1], corners[:, 2]
    normals = np.cross(b - a, c - a)
    is_inside = np.ones(len(corners), bool)
    nearest = np.full(len(corners), np.inf)
    for start, end in ((a, b), (b, c), (c, a)):
        edge, to = end - start, point - start
        is_inside &= np.einsum("ij,ij->i", np.cross(edge, to), normals) >= 0
        along = np.einsum("ij,ij->i", to, edge) / np.einsum("ij,ij->i", edge, edge)
        foot = start + np.clip(along, 0, 1)[:, np.newaxis] * edge
        nearest = np.minimum(nearest, np.linalg.norm(point - foot, axis=1))
    heights = abs(np.einsum("ij,ij->i", point - a, normals)) / np.linalg.norm(normals, axis=1)
    return np.where(is_inside, heights, nearest)


def parts(count: int, triangles: list[tuple[int, int, int]]) -> list[int]:
    """Return a number for each vertex, the same for those that triangles connect."""
    number = list(range(count))
    for _ in range(count):
        for triangle in triangles:
            least = min(number[v] for v in triangle)
            for v in triangle:
                number[v] = least
    return number
