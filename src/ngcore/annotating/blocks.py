"""Some annotations at a time, and what every index needs of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from ngcore.precomputed.annotation_records import Records, make_records

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from ngcore.precomputed.annotations import AnnotationInfo


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Annotations that are worked on together.

    Attributes
    ----------
    ids : ndarray of uint64, shape (n,)
    geometry : ndarray of float32, shape (n, k)
        As in `ngcore.precomputed.annotation_records.Annotations`.
    vertex_offsets : ndarray of int64, shape (n + 1,), or None
    properties : mapping of str to ndarray
        In the types that the info says.
    relations : tuple of (offsets, segments)
        For each relationship.
    """

    ids: NDArray[np.uint64]
    geometry: NDArray[np.float32]
    vertex_offsets: NDArray[np.int64] | None
    properties: Mapping[str, NDArray[Any]]
    relations: tuple[tuple[NDArray[np.int64], NDArray[np.uint64]], ...] = ()

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, rows: NDArray[np.int64]) -> Block:
        """Return some of them, in the order of these numbers."""
        geometry, offsets = self.geometry, self.vertex_offsets
        if offsets is None:
            geometry = geometry[rows]
        else:
            taken = Records(np.arange(len(geometry), dtype=np.uint32), offsets).take(rows)
            geometry, offsets = geometry[taken.words], taken.offsets
        properties = {name: values[rows] for name, values in self.properties.items()}
        return Block(self.ids[rows], geometry, offsets, properties)

    def records(self, info: AnnotationInfo) -> Records:
        """Return their records."""
        return make_records(info, self.geometry, self.properties, self.vertex_offsets)


class Blocks(Protocol):
    """All annotations, block by block, as often as they are asked for."""

    @property
    def count(self) -> int:
        """Number of annotations."""

    def shapes(self) -> Iterator[Block]:
        """Yield blocks that may lack properties and relations."""

    def full(self) -> Iterator[Block]:
        """Yield whole blocks."""


def chances(ids: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return a number for each annotation as if drawn by lot, the same each time."""
    # The finaliser of SplitMix64: https://prng.di.unimi.it/splitmix64.c
    mixed = ids + np.uint64(0x9E3779B97F4A7C15)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed ^= mixed >> np.uint64(shift)
        mixed *= np.uint64(factor)
    return mixed ^ (mixed >> np.uint64(31))
