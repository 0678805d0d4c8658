"""The surfaces of labels, found block by block: no more voxels are in memory than threads need.

Marching cubes works on the cells between the centres of voxels, so each block reads one voxel more
than its own at its upper sides, and the last ones a layer of background around the volume. Two
blocks then make the same vertices where they meet, by which their surfaces are joined.
"""

from __future__ import annotations

from functools import cached_property, lru_cache
from itertools import product
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ngcore.arrays.triangles import Surface, joined
from ngcore.meshing.libraries import load_library
from ngcore.meshing.pieces import merged
from ngcore.meshing.simplify import simplified
from ngcore.precomputed.chunks import Box, ChunkGrid, Vec3
from ngcore.volume.chunk_scan import cells_there
from ngcore.volume.read import Volume
from ngcore.volume.read import open as open_volume

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from numpy.typing import NDArray

    from ngcore.meshing.pieces import Pieces, Place
    from ngcore.volume.scale import ScaleArray

BLOCK_SIDE = 192
_FLAT = 0.1
"""In voxels: what lies in a plane is simplified before it is kept, and nothing else where blocks
cut a surface."""
_DETAIL = 1.0
"""In voxels, how much detail a surface may lose. Few vertices move by half as much."""


class Piece(NamedTuple):
    """A label's surface in one block; picklable.

    Attributes
    ----------
    label : int
    box : Box
        The voxels that it was found in; coordinates count from the centre of the first.
    vertices : bytes
        3 float32 each, in voxels.
    triangles : bytes
        3 uint32 each.
    """

    label: int
    box: Box
    vertices: bytes
    triangles: bytes


class LabelSurfaces:
    """Where the surfaces of all labels of a scale lie, but for 0.

    Parameters
    ----------
    scale : ScaleArray
        Of one channel.
    block_side : int, in voxels
        About how large blocks are; they are whole chunks.
    """

    def __init__(self, scale: ScaleArray, *, block_side: int = BLOCK_SIDE) -> None:
        x, y, z = (max(1, block_side // side) * side for side in scale.chunk_size)
        self._scale = scale
        self._bounds = scale.info.bounds
        self.blocks = ChunkGrid(scale.info.size, (x, y, z), scale.voxel_offset)
        self._added: list[tuple[Box, Pieces]] = []
        self._boxes: list[Box] = []

    def cells(self) -> Iterator[Vec3]:
        """Yield the blocks in turn: of a sparse volume those alone that may hold a surface."""
        if self._scale.present is None:
            return self.blocks.cells()
        chunks, sides, last = self._scale.info.grid, self.blocks.chunk_size, self.blocks.shape
        found: set[Vec3] = set()
        for cell in cells_there(self._scale):
            box = chunks.bounds(cell).slices(chunks.voxel_offset)
            # A block shares a voxel with the one before.
            ranges = [
                range(max(0, part.start - 1) // side, min((part.stop - 1) // side + 1, count))
                for part, side, count in zip(box, sides, last, strict=True)
            ]
            found.update((x, y, z) for x, y, z in product(*ranges))
        return iter(sorted(found, key=lambda cell: cell[::-1]))

    @cached_property
    def labels(self) -> NDArray[np.uint64]:
        """The labels that were found, ascending, once all blocks are added."""
        return self._pieces.labels[self._firsts]

    @cached_property
    def sizes(self) -> NDArray[np.uint64]:
        """How many bytes the surface of each label takes."""
        firsts = self._firsts
        return (
            np.add.reduceat(self._pieces.sizes, firsts) if len(firsts) else np.empty(0, np.uint64)
        )

    @cached_property
    def _pieces(self) -> Pieces:
        """What was found in all blocks, by label, and by box for each label."""
        self._added.sort(key=itemgetter(0))
        self._boxes = [box for box, _ in self._added]
        parts = [pieces for _, pieces in self._added]
        self._added.clear()
        return merged(parts)

    @cached_property
    def _firsts(self) -> NDArray[np.int64]:
        """Where each label starts in `_pieces`."""
        return np.unique(self._pieces.labels, return_index=True)[1]

    def box(self, cell: Vec3) -> Box:
        """Return one of `blocks` with what it shares with its neighbours."""
        return _with_neighbours(self.blocks.bounds(cell), self._bounds)

    def add(self, cell: Vec3, pieces: Pieces) -> None:
        """Take note of where the surfaces that were found in a block lie."""
        self._added.append((self.box(cell), pieces))

    def places(self, index: int) -> list[tuple[Box, Place]]:
        """Return where the surface of one of `labels` lies, in the order of blocks."""
        found, firsts = self._pieces, self._firsts
        stop = int(firsts[index + 1]) if index + 1 < len(firsts) else len(found.labels)
        return [
            (self._boxes[found.numbers[row]], found.place(row))
            for row in range(int(firsts[index]), stop)
        ]


def join_pieces(pieces: Iterable[Piece], units: NDArray[np.float64]) -> Surface:
    """Return a label's whole surface, simplified, in voxels of its scale.

    Voxel 0 spans 0 to 1, in global coordinates, as in Neuroglancer. `units` is how long a voxel is
    along each axis, beside its shortest side.
    """
    whole: list[Surface] = []
    cut: list[Surface] = []
    for _, box, vertices, triangles in pieces:
        local = _rows(vertices, np.float32).astype(np.float64)
        # Marching cubes counts from the centre of the first voxel.
        part = Surface(local + np.add(box.start, 0.5), _rows(triangles, np.uint32))
        (cut if _is_cut(local, box.shape) else whole).append(part)
    if not cut:
        return joined(whole)
    surface = simplified(joined(cut), _DETAIL, units=units)
    return joined([*whole, surface]) if whole else surface


def _is_cut(vertices: NDArray[np.floating[Any]], shape: Vec3) -> bool:
    """Tell whether a surface reaches the faces of its box, and so another one."""
    return bool((vertices == 0).any() or (vertices == np.subtract(shape, 1)).any())


def find_surfaces(
    run: bytes, folder: str, scale: int, box: Box, wanted: frozenset[int] | None
) -> list[Piece]:
    """Return the surface of every label in a box, which may reach a voxel beyond the volume.

    Parameters
    ----------
    run : bytes
        For calls with the same ones the volume is opened once.
    folder : str
    scale : int
    box : Box
    wanted : frozenset of int or None

    Raises
    ------
    FormatError, StorageError
        The volume is damaged or can't be read.
    """
    array = _opened(run, folder).scales[scale]
    units = np.divide(array.resolution, min(array.resolution))
    found = []
    for label, surface in _surfaces(_read(array, box), wanted):
        fewer = simplified(surface, _FLAT, units=units)
        if not _is_cut(surface.vertices, box.shape):
            fewer = simplified(fewer, _DETAIL, units=units)
        # Half voxels, which the vertices between blocks have, are exact in float32.
        vertices = fewer.vertices.astype(np.float32).tobytes()
        found.append(Piece(label, box, vertices, fewer.triangles.astype(np.uint32).tobytes()))
    return found


@lru_cache(maxsize=1)
def _opened(_run: bytes, folder: str) -> Volume:
    volume = open_volume(folder, workers=1, cache_bytes=0)
    volume.store.lost_chunks = "refuse"
    return volume


def _with_neighbours(bounds: Box, whole: Box) -> Box:
    """Return a block with what it shares with the next ones, and the volume's surroundings."""
    x, y, z = (a - (a == edge) for a, edge in zip(bounds.start, whole.start, strict=True))
    stop = bounds.stop
    return Box((x, y, z), (stop[0] + 1, stop[1] + 1, stop[2] + 1))


def _read(array: ScaleArray, box: Box) -> NDArray[Any]:
    labels = np.zeros((*box.shape, 1), array.dtype, order="F")
    inside = box.intersection(array.info.bounds)
    array.read(inside, out=labels[inside.slices(box.start)])
    return labels[..., 0]


def _surfaces(
    labels: NDArray[Any], wanted: Collection[int] | None
) -> Iterator[tuple[int, Surface]]:
    if labels.min() == labels.max():
        return
    mesher = load_library("zmesh").Mesher((1, 1, 1))
    mesher.mesh(labels, close=False)
    for label in sorted(map(int, mesher.ids())):
        if wanted is None or label in wanted:
            mesh = mesher.get(label, normals=False, reduction_factor=0)
            yield label, Surface(mesh.vertices, mesh.faces)
        mesher.erase(label)


def _rows(data: bytes, dtype: type[np.generic]) -> NDArray[Any]:
    return np.frombuffer(data, dtype).reshape(-1, 3)
