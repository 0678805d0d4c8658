"""Triangles cut along planes, and joined where they were cut: what levels of detail are made with.

A surface is a pair of arrays here, unchecked: `ngcore.precomputed.mesh.Mesh` is what readers give.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ngcore import _simplify

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import ArrayLike, NDArray


_FIRST_SHARE = 1 / 16
_FIRST_SHARE_OF_FEW = 4.0**-6
"""Of the squared error, what a first pass allows; less where the error is not what ends it, so
that the triangles that stay are those that matter."""


class Surface(NamedTuple):
    """Triangles in space.

    Attributes
    ----------
    vertices : ndarray of float64, shape (n, 3)
    triangles : ndarray of int, shape (m, 3)
        Indices of vertices; counter-clockwise seen from outside.
    """

    vertices: NDArray[np.float64]
    triangles: NDArray[np.integer[Any]]


def slabs(surface: Surface, axis: int, planes: Sequence[float]) -> Iterator[tuple[int, Surface]]:
    """Cut a surface into slabs, and yield the number and the surface of each that is not empty.

    Vertices on a plane have exactly its coordinate. Triangles that share an edge share the points
    in which it is cut, in whichever slabs they end. Triangles in a plane belong to the slab above.

    Parameters
    ----------
    surface : Surface
    axis : int
        The axis that the planes are perpendicular to.
    planes : sequence of float, increasing
        Slab n lies between planes n - 1 and n; the first and the last have no end.
    """
    if not len(surface.triangles):
        return
    if not planes:
        yield 0, surface
        return
    middle = len(planes) // 2
    below, above = _halves(surface, axis, planes[middle])
    yield from slabs(below, axis, planes[:middle])
    for number, part in slabs(above, axis, planes[middle + 1 :]):
        yield middle + 1 + number, part


def _halves(surface: Surface, axis: int, plane: float) -> tuple[Surface, Surface]:
    vertices, triangles = surface
    side = np.sign(vertices[:, axis] - plane).astype(np.int8)[triangles]
    lowest, highest = side.min(axis=1), side.max(axis=1)
    is_cut = (lowest < 0) & (highest > 0)
    is_below = lowest < 0
    parts = [triangles[~is_cut]]
    parts_below = [is_below[~is_cut]]
    if is_cut.any():
        vertices, pieces, pieces_below = _pieces(
            vertices, triangles[is_cut], side[is_cut], axis, plane
        )
        parts.append(pieces)
        parts_below.append(pieces_below)
    whole, below = np.concatenate(parts), np.concatenate(parts_below)
    return of_used(vertices, whole[below]), of_used(vertices, whole[~below])


def _pieces(
    vertices: NDArray[np.float64],
    triangles: NDArray[np.integer[Any]],
    side: NDArray[np.int8],
    axis: int,
    plane: float,
) -> tuple[NDArray[np.float64], NDArray[np.integer[Any]], NDArray[np.bool_]]:
    """Cut triangles that a plane crosses; return vertices, triangles, and which lie below."""
    touches = (side == 0).any(axis=1)
    # Turn each so that its first corner is the one on the plane, or the one alone on its side.
    odd = -np.sign(side.sum(axis=1, dtype=np.int8))[:, np.newaxis]
    first = np.argmax(np.where(touches[:, np.newaxis], side == 0, side == odd), axis=1)
    turned = (first[:, np.newaxis] + np.arange(3)) % 3
    a, b, c = np.take_along_axis(triangles, turned, axis=1).T
    a_below, b_below, _ = (np.take_along_axis(side, turned, axis=1) < 0).T
    # Where a corner is on the plane, the opposite edge is cut; else the two edges of the first.
    edges = np.concatenate(
        [
            np.stack([b, c], axis=1)[touches],
            np.stack([a, b], axis=1)[~touches],
            np.stack([a, c], axis=1)[~touches],
        ]
    )
    points, where = _crossings(vertices, edges, axis, plane)
    where += len(vertices)
    halves, thirds = np.count_nonzero(touches), np.count_nonzero(~touches)
    on_bc, on_ab, on_ac = np.split(where, [halves, halves + thirds])
    a2, b2, c2, below2 = (array[touches] for array in (a, b, c, b_below))
    a3, b3, c3, below3 = (array[~touches] for array in (a, b, c, a_below))
    pieces = [
        (a2, b2, on_bc, below2),
        (a2, on_bc, c2, ~below2),
        (a3, on_ab, on_ac, below3),
        (on_ab, b3, c3, ~below3),
        (on_ab, c3, on_ac, ~below3),
    ]
    return (
        np.concatenate([vertices, points]),
        np.concatenate([np.stack(corners, axis=1) for *corners, _ in pieces]),
        np.concatenate([below for *_, below in pieces]),
    )


def _crossings(
    vertices: NDArray[np.float64], edges: NDArray[np.integer[Any]], axis: int, plane: float
) -> tuple[NDArray[np.float64], NDArray[np.integer[Any]]]:
    """Return where edges cross a plane, each point once, and the point of each edge."""
    first, second = np.sort(edges.astype(np.int64), axis=1).T
    unique, where = np.unique(first * len(vertices) + second, return_inverse=True)
    ends = np.divmod(unique, len(vertices))
    low, high = vertices[ends[0]], vertices[ends[1]]
    # The same arithmetic for the same edge, whatever the numbers of its ends are elsewhere.
    is_swapped = low[:, axis] > high[:, axis]
    low[is_swapped], high[is_swapped] = high[is_swapped], low[is_swapped]
    share = (plane - low[:, axis]) / (high[:, axis] - low[:, axis])
    points = low + share[:, np.newaxis] * (high - low)
    points[:, axis] = plane
    return points, where.reshape(-1)


def of_used(vertices: NDArray[np.float64], triangles: NDArray[np.integer[Any]]) -> Surface:
    """Return a surface of the vertices that triangles name, and of no others."""
    if not len(triangles):
        return Surface(vertices[:0], triangles)
    own = np.array(vertices, np.float64, order="C")
    named = _checked_triangles(Surface(own, triangles))
    count = _simplify.compact(own, named)
    return Surface(own[:count], named)


def joined(parts: Sequence[Surface]) -> Surface:
    """Return several surfaces as one, their equal vertices merged, in the order of their parts.

    Vertices that no triangle names are left out, and so are triangles that name one twice.
    """
    starts = np.cumsum([0, *(len(part.vertices) for part in parts[:-1])])
    vertices = np.concatenate([part.vertices for part in parts])
    triangles = np.concatenate(
        [part.triangles + start for part, start in zip(parts, starts, strict=True)]
    )
    if not len(triangles):
        return Surface(vertices[:0], triangles)
    vertices = np.ascontiguousarray(vertices, np.float64)
    named = _checked_triangles(Surface(vertices, triangles))
    count, left = _simplify.join(vertices, named)
    return Surface(vertices[:count], named[:left])


def with_fewer_triangles(
    surface: Surface,
    max_error: float,
    *,
    share: float,
    fewest: int = 4,
    units: ArrayLike = 1.0,
) -> Surface:
    """Return a surface with fewer triangles, close to what it was.

    Edges are collapsed by quadric error (Garland and Heckbert, 1997): no vertex is farther than
    the error from the planes of the triangles that it stands for. Vertices on open edges stay
    exactly where they are; what is closed stays closed.

    Parameters
    ----------
    surface : Surface
    max_error : float
        How far vertices may be from where the surface was.
    share : float
        They are no farther than this share of the diagonal of the box around their connected part.
    fewest : int
        How many triangles to keep, at least.
    units : float or array of 3 floats
        What one unit of the vertices' coordinates is worth along x, y and z, in those of
        `max_error`.

    Raises
    ------
    IndexError
        A triangle names a vertex that is not there.
    """
    if len(surface.triangles) <= max(fewest, 4):
        return surface
    triangles = _checked_triangles(surface)
    vertices = np.array(surface.vertices, np.float64, order="C")
    scale = np.array(np.broadcast_to(units, 3), np.float64)
    first_share = _FIRST_SHARE if fewest == 4 else _FIRST_SHARE_OF_FEW
    used, left = _simplify.simplify(
        vertices, triangles, scale, max_error, share, fewest, first_share
    )
    return Surface(vertices[:used], triangles[:left])


def connected_parts(surface: Surface) -> tuple[NDArray[np.int64], int]:
    """Return the number of the part that each vertex is in, from 0, and how many parts there are.

    Vertices of one triangle are in one part. Those that no triangle names are parts of their own.
    """
    first = np.arange(len(surface.vertices), dtype=np.uint32)
    if len(surface.triangles):
        _simplify.connect(_checked_triangles(surface), first)
    is_first = first == np.arange(len(first))
    numbers = np.cumsum(is_first) - 1
    return numbers[first], int(is_first.sum())


def _checked_triangles(surface: Surface) -> NDArray[np.uint32]:
    """Return a copy of the triangles, as the kernel takes them."""
    count = len(surface.vertices)
    if surface.triangles.min() < 0 or surface.triangles.max() >= count:
        raise IndexError(f"a triangle refers to a vertex that is not one of the {count}")
    return np.array(surface.triangles, np.uint32, order="C")
