"""The centre lines of a shape in voxels: thinned to lines, of which the spurs are left out.

Thinning (T. Lee, R. Kashyap, C. Chu, Building skeleton models via 3-D medial surface/axis thinning
algorithms, CVGIP 56 (1994)) is scikit-image's, distances to the surface are SciPy's.
"""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ngcore.errors import MissingExtraError
from ngcore.precomputed.annotation_records import offsets_of
from ngcore.tracing.thinning import thinned

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

_BYTES, _MORE_BYTES = 18, 4
"""Memory for a voxel of the box, distances above all, and for each voxel that one is cut into."""
_MOST_CUTS = 16
_SPUR_RADII, _SPUR_VOXELS = 2.0, 2.0
"""A branch that is no longer than so many radii of the line that it leaves, and so many voxels
more, is a bump of the surface."""
_SMOOTHING = 8
"""Times that points are averaged with their neighbours: lines of voxels have steps."""
_TOLERANCE = 0.2
"""In voxels: how far a vertex that goes may be from the line that is left."""


class CentreLines(NamedTuple):
    """Lines of a shape.

    Attributes
    ----------
    points : ndarray of float64, shape (n, 3)
        In units of the voxel sizes, from the centre of voxel (0, 0, 0).
    edges : ndarray of int64, shape (m, 2)
        Pairs of points; they form trees.
    radii : ndarray of float64, shape (n,)
        Distances from points to the surface.
    """

    points: NDArray[np.float64]
    edges: NDArray[np.int64]
    radii: NDArray[np.float64]


def load_skeletonize() -> Callable[..., NDArray[Any]]:
    """Return scikit-image's thinning.

    Raises
    ------
    MissingExtraError
        It is not installed.
    """
    try:
        from skimage.morphology import skeletonize
    except ImportError as error:
        raise MissingExtraError(
            "skeletons of labels need scikit-image; pip install 'ngcore-neuroglancer[skeletons]'"
        ) from error
    thin: Callable[..., NDArray[Any]] = skeletonize
    return thin


def memory_needed(shape: Sequence[int], voxel: Sequence[float]) -> int:
    """Return about how many bytes `centre_lines` takes for a box of voxels."""
    return math.prod(shape) * (_BYTES + _MORE_BYTES * math.prod(_cuts(voxel)))


def _cuts(voxel: Sequence[float]) -> tuple[int, ...]:
    """Return into how many parts a voxel is cut along each axis, to be about a cube.

    Thinning knows voxels, and not their sizes: across thick slices it would lose thin branches.
    """
    least = min(voxel)
    return tuple(max(1, min(_MOST_CUTS, round(size / least))) for size in voxel)


def centre_lines(shape: NDArray[np.bool_], voxel: Sequence[float]) -> CentreLines:
    """Return the centre lines of a shape, a tree for each of its connected parts.

    Cavities are filled. Ends of lines reach to about the surface. Spurs that are no longer than
    bumps of the surface are left out.

    Parameters
    ----------
    shape : ndarray of bool, shape (x, y, z)
        With a voxel at least.
    voxel : sequence of 3 float
        Sizes of a voxel.
    """
    from scipy import ndimage

    shape = np.pad(shape, 1)
    _fill_cavities(shape)
    cuts = np.array(_cuts(voxel))
    fine = shape
    for axis in np.flatnonzero(cuts > 1).tolist():
        fine = np.repeat(fine, cuts[axis], axis=axis)
    nodes = np.argwhere(load_skeletonize()(fine, method="lee"))
    size = fine.shape
    del fine
    nodes = _with_all_parts(nodes, shape, cuts)
    nearest = ndimage.distance_transform_edt(
        shape, sampling=voxel, return_distances=False, return_indices=True
    )
    at = (nodes + 0.5) / cuts - 0.5  # in voxels
    away = (nearest[(slice(None), *(nodes // cuts).T)].T - at) * voxel
    del nearest
    # The surface lies half a voxel before the centre of the nearest voxel outside.
    least = min(voxel) / 2
    radii = np.maximum(np.linalg.norm(away, axis=1) - least, least)
    places = (at - 1) * np.array(voxel, np.float64)
    parents, order, lengths = _trees(places, *_neighbours(nodes, size))
    return _drawn(places, radii, parents, order, lengths, min(voxel))


def _fill_cavities(shape: NDArray[np.bool_]) -> None:
    """Fill what is enclosed, where thinning would leave a shell."""
    from scipy import ndimage

    background, count = ndimage.label(~shape)
    if count > 1:
        shape |= background != background[0, 0, 0]


def _with_all_parts(
    nodes: NDArray[np.int64], shape: NDArray[np.bool_], cuts: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return the nodes and one for each part that thinning leaves none of, such as 2 x 2 x 2."""
    from scipy import ndimage

    parts, count = ndimage.label(shape, np.ones((3, 3, 3)))
    has_node = np.zeros(count + 1, np.bool_)
    has_node[0] = True
    has_node[parts[tuple((nodes // cuts).T)]] = True
    if has_node.all():
        return nodes
    boxes = ndimage.find_objects(parts)
    more = []
    for part in np.flatnonzero(~has_node).tolist():
        box = boxes[part - 1]
        voxels = np.argwhere(parts[box] == part)
        first = [side.start for side in box]
        more.append((voxels[len(voxels) // 2] + first) * cuts + cuts // 2)
    nodes = np.concatenate([nodes, np.array(more)])
    return nodes[np.lexsort(nodes.T[::-1])]


def _neighbours(
    nodes: NDArray[np.int64], size: tuple[int, ...]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return pairs of nodes, sorted, that touch by a side, an edge or a corner."""
    numbers = (nodes[:, 0] * size[1] + nodes[:, 1]) * size[2] + nodes[:, 2]
    steps = np.stack(np.meshgrid(*[(-1, 0, 1)] * 3, indexing="ij"), -1).reshape(-1, 3)[14:]
    pairs = []
    for x, y, z in steps.tolist():
        wanted = numbers + (x * size[1] + y) * size[2] + z
        place = np.minimum(np.searchsorted(numbers, wanted), len(numbers) - 1)
        found = np.flatnonzero(numbers[place] == wanted)
        pairs.append((found, place[found]))
    first, second = (np.concatenate(part) for part in zip(*pairs, strict=True))
    return first, second


def _trees(
    places: NDArray[np.float64], first: NDArray[np.int64], second: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Return a tree of shortest ways for each connected part, rooted at one of its far ends.

    Returns
    -------
    parents : ndarray of int64, shape (n,)
        -1 of roots.
    order : ndarray of int64, shape (n,)
        All nodes, parents before their children.
    lengths : ndarray of float64, shape (n,)
        Of the ways from the roots.
    """
    from scipy.sparse import coo_matrix, csgraph

    count = len(places)
    weights = np.linalg.norm(places[first] - places[second], axis=1)
    graph = coo_matrix((weights, (first, second)), (count, count)).tocsr()
    parts, part = csgraph.connected_components(graph, directed=False)
    starts = np.unique(part, return_index=True)[1]
    for _ in range(2):  # the node that is furthest from any is at one end of the longest way
        lengths, parents, _ = csgraph.dijkstra(
            graph, directed=False, indices=starts, min_only=True, return_predecessors=True
        )
        order = np.lexsort((lengths, part))
        starts = order[np.append(np.flatnonzero(np.diff(part[order])), count - 1)]
    assert len(starts) == parts
    return np.maximum(parents.astype(np.int64), -1), np.argsort(lengths, kind="stable"), lengths


def _drawn(
    places: NDArray[np.float64],
    radii: NDArray[np.float64],
    parents: NDArray[np.int64],
    order: NDArray[np.int64],
    lengths: NDArray[np.float64],
    voxel: float,
) -> CentreLines:
    """Return the lines from ends to branches, smoothed, with as few points as they need."""
    chains = _chains(parents, order, lengths, _SPUR_RADII * radii + _SPUR_VOXELS * voxel)
    along = np.concatenate(chains)
    table = _smoothed(np.column_stack([places, radii])[along], offsets_of(_lengths(chains)))
    # A chain begins with a node of the one that it leaves, which has its place there.
    smooth = np.empty((len(places), 4))
    smooth[along[::-1]] = table[::-1]
    is_branch = np.zeros(len(places), np.bool_)
    is_branch[[chain[0] for chain in chains]] = True
    pieces = [piece for chain in chains for piece in _pieces(chain, is_branch)]
    nodes, offsets = np.concatenate(pieces), offsets_of(_lengths(pieces))
    kept = np.flatnonzero(thinned(smooth[nodes], offsets, _TOLERANCE * voxel))
    names, numbers = np.unique(nodes[kept], return_inverse=True)
    is_last = np.isin(kept, offsets[1:] - 1)
    begins = np.flatnonzero(~is_last)
    edges = np.stack([numbers[begins], numbers[begins + 1]], axis=1)
    return CentreLines(smooth[names, :3], edges, smooth[names, 3])


def _lengths(parts: list[NDArray[np.int64]]) -> NDArray[np.int64]:
    return np.array([len(part) for part in parts], np.int64)


def _pieces(chain: NDArray[np.int64], is_branch: NDArray[np.bool_]) -> list[NDArray[np.int64]]:
    """Return the parts of a chain between branches, which both parts have."""
    inner = np.flatnonzero(is_branch[chain[1:-1]]) + 1
    edges = [0, *inner.tolist(), len(chain) - 1]
    return [chain[a : b + 1] for a, b in itertools.pairwise(edges)]


def _smoothed(table: NDArray[np.float64], offsets: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return rows averaged with their neighbours; the ends of lines stay."""
    is_inner = np.ones(len(table), np.bool_)
    is_inner[offsets[:-1]] = is_inner[offsets[1:] - 1] = False
    rows = np.flatnonzero(is_inner)
    for _ in range(_SMOOTHING):
        table[rows] = (table[rows - 1] + 2 * table[rows] + table[rows + 1]) / 4
    return table


def _chains(
    parents: NDArray[np.int64],
    order: NDArray[np.int64],
    lengths: NDArray[np.float64],
    shortest: NDArray[np.float64],
) -> list[NDArray[np.int64]]:
    """Return the longest ways of trees, each from where it leaves a longer one to its end."""
    ups = parents.tolist()
    reach = lengths.tolist()  # of the furthest node behind each
    heir = [-1] * len(ups)
    for node in order[::-1].tolist():
        up = ups[node]
        if up >= 0 and (heir[up] < 0 or reach[node] > reach[up]):
            heir[up], reach[up] = node, reach[node]
    chains: list[list[int]] = []
    is_taken = [False] * len(ups)
    at, least = lengths.tolist(), shortest.tolist()
    for node in order.tolist():
        up = ups[node]
        if up < 0:
            chain = [node]
        elif heir[up] != node and is_taken[up] and reach[node] - at[up] > least[up]:
            chain = [up, node]
        else:
            continue
        is_taken[node] = True
        while heir[node] >= 0:
            node = heir[node]
            is_taken[node] = True
            chain.append(node)
        chains.append(chain)
    return [np.array(chain, np.int64) for chain in chains]
