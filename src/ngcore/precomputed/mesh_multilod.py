"""Neuroglancer's multi-resolution meshes: `info` and the manifest of a segment.

A segment is a manifest, ``ID.index``, and a data file, ``ID``, with its fragments one after the
other, coarser levels of detail after finer ones. Fragments are Draco meshes.

https://github.com/google/neuroglancer/blob/master/src/datasource/precomputed/meshes.md
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ngcore.errors import FormatError
from ngcore.precomputed.json_members import check_integer, check_object, dump, fail, inside, take
from ngcore.precomputed.names import MULTILOD_MESH_TYPE
from ngcore.precomputed.sharding import ShardingSpec

if TYPE_CHECKING:
    from numpy.typing import NDArray


_HEADER = 28
_PER_LOD = 20
_PER_FRAGMENT = 16
_MOST_LODS = 64


@dataclass(frozen=True, slots=True)
class MultilodInfo:
    """The `info` of a folder of multi-resolution meshes.

    Attributes
    ----------
    vertex_quantization_bits : int
        10 or 16.
    transform : tuple of 12 float
        From the stored positions to nanometres, row by row.
    lod_scale_multiplier : float
    sharding : ShardingSpec or None
    """

    vertex_quantization_bits: int
    transform: tuple[float, ...]
    lod_scale_multiplier: float
    sharding: ShardingSpec | None = field(default=None)

    @classmethod
    def from_json(cls, value: object) -> MultilodInfo:
        """Check a parsed JSON value.

        Raises
        ------
        FormatError
            It breaks the format's rules; the message starts with the JSON path.
        """
        members = dict(check_object(value, "info"))
        bits = check_integer(
            take(members, "vertex_quantization_bits"), "vertex_quantization_bits", 0, 64
        )
        if bits not in (10, 16):
            fail("vertex_quantization_bits", "10 or 16", bits)
        transform = take(members, "transform")
        if not isinstance(transform, list) or len(transform) != 12:
            fail("transform", "an array of 12 numbers", transform)
        sharding = None
        if "sharding" in members:
            with inside("sharding"):
                sharding = ShardingSpec.from_json(members["sharding"])
        return cls(
            bits,
            tuple(_number(item, f"transform[{n}]") for n, item in enumerate(transform)),
            _number(take(members, "lod_scale_multiplier"), "lod_scale_multiplier"),
            sharding,
        )

    def to_json(self) -> str:
        """Return the text of the file."""
        members: dict[str, Any] = {
            "@type": MULTILOD_MESH_TYPE,
            "vertex_quantization_bits": self.vertex_quantization_bits,
            "transform": list(self.transform),
            "lod_scale_multiplier": self.lod_scale_multiplier,
        }
        if self.sharding is not None:
            members["sharding"] = self.sharding.to_json()
        return dump(members)


@dataclass(frozen=True, slots=True, eq=False)
class MultilodManifest:
    """Where the fragments of a segment lie.

    Attributes
    ----------
    chunk_shape, grid_origin : ndarray of float32, shape (3,)
        Of the fragments at the finest level, in the units of stored positions.
    lod_scales : ndarray of float32, shape (lods,)
    vertex_offsets : ndarray of float32, shape (lods, 3)
    positions : tuple of ndarray of uint32, shape (n, 3)
        Per level, the grid positions of its fragments, in Z-order.
    sizes : tuple of ndarray of uint32, shape (n,), in bytes
        Per level, of the fragments.
    """

    chunk_shape: NDArray[np.float32]
    grid_origin: NDArray[np.float32]
    lod_scales: NDArray[np.float32]
    vertex_offsets: NDArray[np.float32]
    positions: tuple[NDArray[np.uint32], ...]
    sizes: tuple[NDArray[np.uint32], ...]

    @property
    def data_size(self) -> int:
        """Bytes of all fragments together."""
        return sum(int(sizes.sum(dtype=np.uint64)) for sizes in self.sizes)

    def to_bytes(self) -> bytes:
        """Return the bytes of the manifest; `from_bytes` takes them back."""
        parts: list[NDArray[Any]] = [
            np.asarray(self.chunk_shape, "<f4"),
            np.asarray(self.grid_origin, "<f4"),
            np.asarray([len(self.lod_scales)], "<u4"),
            np.asarray(self.lod_scales, "<f4"),
            np.asarray(self.vertex_offsets, "<f4"),
            np.asarray([len(sizes) for sizes in self.sizes], "<u4"),
        ]
        for positions, sizes in zip(self.positions, self.sizes, strict=True):
            parts += [np.asarray(positions.T, "<u4"), np.asarray(sizes, "<u4")]
        return b"".join(part.tobytes() for part in parts)

    @classmethod
    def from_bytes(cls, data: bytes) -> MultilodManifest:
        """Parse a manifest.

        Raises
        ------
        FormatError
            It has not exactly the size that its counts ask for, its numbers are not finite, or
            fragments are not in Z-order. The message names the byte offset.
        """
        if len(data) < _HEADER:
            raise FormatError(f"a manifest has at least {_HEADER} bytes, got {len(data)}")
        header = np.frombuffer(data, "<f4", 6)
        lods = int.from_bytes(data[24:28], "little")
        if not 1 <= lods <= _MOST_LODS:
            raise FormatError(f"byte 24: expected 1 to {_MOST_LODS} levels of detail, got {lods}")
        start = _HEADER + _PER_LOD * lods
        if len(data) < start:
            raise FormatError(f"{len(data)} bytes, but {lods} levels of detail take {start}")
        scales = np.frombuffer(data, "<f4", lods, _HEADER)
        offsets = np.frombuffer(data, "<f4", 3 * lods, _HEADER + 4 * lods).reshape(lods, 3)
        counts = np.frombuffer(data, "<u4", lods, start - 4 * lods)
        due = start + _PER_FRAGMENT * int(counts.sum(dtype=np.uint64))
        if len(data) != due:
            raise FormatError(
                f"{len(data)} bytes, but {lods} levels of detail and {counts.tolist()} fragments "
                f"take exactly {due}"
            )
        if not all(np.isfinite(values).all() for values in (header, scales, offsets)):
            raise FormatError("byte 0: a number before the fragments is not finite")
        if not (header[:3] > 0).all() or not (scales > 0).all():
            raise FormatError("byte 0: sides of chunks and scales of levels must be positive")
        positions, sizes = [], []
        for lod, count in enumerate(counts.tolist()):
            places = np.frombuffer(data, "<u4", 3 * count, start).reshape(3, count).T
            _check_z_order(places, lod, start)
            positions.append(places)
            sizes.append(np.frombuffer(data, "<u4", count, start + 12 * count))
            start += _PER_FRAGMENT * count
        return cls(header[:3], header[3:], scales, offsets, tuple(positions), tuple(sizes))


def empty_manifest() -> bytes:
    """Return the manifest of a segment that has no mesh: one node without bytes."""
    return MultilodManifest(
        chunk_shape=np.ones(3, np.float32),
        grid_origin=np.zeros(3, np.float32),
        lod_scales=np.ones(1, np.float32),
        vertex_offsets=np.zeros((1, 3), np.float32),
        positions=(np.zeros((1, 3), np.uint32),),
        sizes=(np.zeros(1, np.uint32),),
    ).to_bytes()


def _check_z_order(positions: NDArray[np.uint32], lod: int, offset: int) -> None:
    """Compare each position with the next: the highest bit that differs decides, z before y."""
    first, second = positions[:-1].astype(np.int64), positions[1:].astype(np.int64)
    changes = first ^ second
    # Of two axes the one with the higher bit changed decides; of equal ones the later axis.
    deciding = np.zeros(len(changes), np.intp)
    for axis in (1, 2):
        best = changes[np.arange(len(changes)), deciding]
        here = changes[:, axis]
        deciding[_bit_length(here) >= _bit_length(best)] = axis
    rows = np.arange(len(changes))
    wrong = np.flatnonzero(second[rows, deciding] <= first[rows, deciding])
    if wrong.size:
        entry = int(wrong[0]) + 1
        raise FormatError(
            f"byte {offset + 4 * entry}: fragment {entry} of level {lod} at "
            f"{positions[entry].tolist()} must come before {positions[entry - 1].tolist()}: "
            "Z-order is expected"
        )


def _bit_length(values: NDArray[np.int64]) -> NDArray[np.int64]:
    lengths: NDArray[np.int64] = np.frexp(values.astype(np.float64))[1].astype(np.int64)
    return lengths


def _number(value: Any, path: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        fail(path, "a number", value)
    try:
        return float(value)
    except OverflowError:
        fail(path, "a number", value)
