"""The bytes of annotations: a record for each, alone with its relations, or in a list.

A record is the geometry as float32 and the properties. All its parts are multiples of 4 bytes, so
records are kept as words of 4 bytes, whatever their length (`Records`).

https://github.com/google/neuroglancer/blob/master/src/datasource/precomputed/annotations.md
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ngcore.errors import FormatError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from ngcore.precomputed.annotations import AnnotationInfo

WORD = 4
_LONG = 8


class Records(NamedTuple):
    """Records of annotations, or other things of whole words, one after the other.

    Attributes
    ----------
    words : ndarray of uint32
    offsets : ndarray of int64, shape (n + 1,), in words
        Record i is ``words[offsets[i]:offsets[i + 1]]``.
    """

    words: NDArray[np.uint32]
    offsets: NDArray[np.int64]

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Words of each record."""
        return np.diff(self.offsets)

    def take(self, order: NDArray[np.int64]) -> Records:
        """Return some of the records, in the order of these numbers."""
        lengths = self.lengths
        count = len(lengths)
        if count and (lengths == lengths[0]).all():
            words = self.words.reshape(count, int(lengths[0]))[order].reshape(-1)
            return Records(words, np.arange(len(order) + 1, dtype=np.int64) * int(lengths[0]))
        taken = lengths[order]
        offsets = offsets_of(taken)
        positions = np.repeat(self.offsets[:-1][order] - offsets[:-1], taken)
        positions += np.arange(int(offsets[-1]), dtype=np.int64)
        return Records(self.words[positions], offsets)


@dataclass(frozen=True, slots=True, eq=False)
class Annotations:
    """Annotations as arrays.

    Attributes
    ----------
    geometry : ndarray of float32, shape (n, k)
        Point: the position. Line and box: two corners. Ellipsoid: centre and radii. Of polylines
        the vertices of all, shape (vertices, rank).
    vertex_offsets : ndarray of int64, shape (n + 1,), or None
        Of polylines: where the vertices of each begin.
    properties : mapping of str to ndarray, shape (n,) or (n, components)
    ids : ndarray of uint64, shape (n,)
    """

    geometry: NDArray[np.float32]
    properties: Mapping[str, NDArray[Any]]
    ids: NDArray[np.uint64]
    vertex_offsets: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.ids)


def offsets_of(lengths: NDArray[Any]) -> NDArray[np.int64]:
    """Return where pieces of these lengths begin, and where the last one ends."""
    offsets = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return offsets


def make_records(
    info: AnnotationInfo,
    geometry: NDArray[np.float32],
    properties: Mapping[str, NDArray[Any]],
    vertex_offsets: NDArray[np.int64] | None = None,
) -> Records:
    """Return the records of annotations.

    Parameters
    ----------
    info : AnnotationInfo
    geometry, properties, vertex_offsets
        As in `Annotations`.
    """
    stored = np.ascontiguousarray(geometry, "<f4")
    if vertex_offsets is None:
        count, floats = stored.shape
        table = np.zeros((count, info.record_bytes // WORD), "<u4")
        table[:, :floats] = stored.view("<u4")
        put_properties(info, table[:, floats:], properties)
        return Records(table.reshape(-1), np.arange(count + 1, dtype=np.int64) * table.shape[1])
    count = len(vertex_offsets) - 1
    tail = np.zeros((count, info.property_bytes // WORD), "<u4")
    put_properties(info, tail, properties)
    vertices = np.diff(vertex_offsets)
    offsets = offsets_of(1 + info.rank * vertices + tail.shape[1])
    words = np.empty(int(offsets[-1]), "<u4")
    words[offsets[:-1]] = vertices
    is_vertex = np.ones(len(words), np.bool_)
    is_vertex[offsets[:-1]] = False
    ends = offsets[1:, np.newaxis] - np.arange(tail.shape[1], 0, -1)
    is_vertex[ends] = False
    words[ends] = tail
    words[is_vertex] = stored.view("<u4").reshape(-1)
    return Records(words, offsets)


def put_properties(
    info: AnnotationInfo, words: NDArray[np.uint32], properties: Mapping[str, NDArray[Any]]
) -> None:
    """Fill the words that follow the geometry, shape (n, property_bytes / 4), zeros before."""
    if not info.properties:
        return
    table = np.zeros((len(words), info.property_bytes), np.uint8)
    for item, offset in zip(info.properties, info.property_offsets, strict=True):
        values = np.ascontiguousarray(properties[item.id], item.dtype)
        raw = values.reshape(len(words), item.components).view(np.uint8)
        table[:, offset : offset + raw.shape[1]] = raw
    words[...] = table.view("<u4")


def encode_list(records: Records, ids: NDArray[np.uint64]) -> bytes:
    """Return what a spatial cell, or a segment of a relationship, holds: records, then ids."""
    count = np.array([len(ids)], "<u8")
    return b"".join(
        (count.tobytes(), records.words.astype("<u4").tobytes(), ids.astype("<u8").tobytes())
    )


def decode_list(data: bytes, info: AnnotationInfo) -> Annotations:
    """Return the annotations of a spatial cell, or of a segment of a relationship.

    Raises
    ------
    FormatError
        The bytes are not exactly what their counts ask for; the message names the byte offset.
    """
    if len(data) < _LONG:
        raise FormatError(f"a list of annotations has at least {_LONG} bytes, got {len(data)}")
    count = int.from_bytes(data[:_LONG], "little")
    smallest = info.record_bytes + (
        0 if info.annotation_type != "polyline" else WORD * (1 + 2 * info.rank)
    )
    room = (len(data) - _LONG) // (smallest + _LONG)
    if count > room:
        raise FormatError(
            f"byte 0: {count} annotations are declared, but {len(data)} bytes hold at most {room}"
        )
    geometry, tails, vertex_offsets, stop = _split(data, info, _LONG, count)
    expected = stop + _LONG * count
    if len(data) != expected:
        raise FormatError(
            f"{len(data)} bytes, but {count} annotations and their ids take exactly {expected}"
        )
    ids = np.frombuffer(data, "<u8", count, stop).astype(np.uint64)
    return Annotations(geometry, _properties(info, tails), ids, vertex_offsets)


def encode_annotations(
    records: Records, relations: Sequence[tuple[NDArray[np.int64], NDArray[np.uint64]]]
) -> Records:
    """Return what `by_id` holds of each annotation: its record and its relations.

    Parameters
    ----------
    records : Records
    relations : sequence of (offsets, segments)
        For each relationship of the info: segments of annotation i are
        ``segments[offsets[i]:offsets[i + 1]]``.
    """
    if not relations:
        return records
    parts = [records]
    for offsets, segments in relations:
        lengths = np.diff(offsets)
        starts = offsets_of(1 + 2 * lengths)
        words = np.empty(int(starts[-1]), "<u4")
        is_id = np.ones(len(words), np.bool_)
        is_id[starts[:-1]] = False
        words[starts[:-1]] = lengths
        words[is_id] = np.ascontiguousarray(segments, "<u8").view("<u4")
        parts.append(Records(words, starts))
    return interleaved(parts)


def interleaved(parts: Sequence[Records]) -> Records:
    """Return record i of each part in turn, joined to one record, for every i."""
    count = len(parts[0].offsets) - 1
    order = np.arange(count * len(parts), dtype=np.int64).reshape(len(parts), count).T.reshape(-1)
    shifts = np.cumsum([0, *(len(part.words) for part in parts)])
    starts = [part.offsets[:-1] + shift for part, shift in zip(parts, shifts, strict=False)]
    whole = Records(
        np.concatenate([part.words for part in parts]), np.concatenate([*starts, shifts[-1:]])
    )
    taken = whole.take(order)
    return Records(taken.words, taken.offsets[:: len(parts)])


def decode_annotation(
    data: bytes, info: AnnotationInfo, annotation_id: int = 0
) -> tuple[Annotations, tuple[NDArray[np.uint64], ...]]:
    """Return the one annotation of an entry of `by_id`, and its segments by relationship.

    Raises
    ------
    FormatError
        The bytes are not exactly what their counts ask for; the message names the byte offset.
    """
    geometry, tails, vertex_offsets, position = _split(data, info, 0, 1)
    relations = []
    for relationship in info.relationships:
        if len(data) < position + WORD:
            raise FormatError(
                f"byte {position}: the number of segments of {relationship.id!r} is missing"
            )
        count = int.from_bytes(data[position : position + WORD], "little")
        position += WORD
        if len(data) < position + _LONG * count:
            raise FormatError(
                f"byte {position}: expected {count} segments of {relationship.id!r}, but "
                f"{len(data) - position} bytes are left"
            )
        relations.append(np.frombuffer(data, "<u8", count, position).astype(np.uint64))
        position += _LONG * count
    if len(data) != position:
        raise FormatError(f"{len(data)} bytes, but the annotation takes exactly {position}")
    ids = np.array([annotation_id], np.uint64)
    return Annotations(geometry, _properties(info, tails), ids, vertex_offsets), tuple(relations)


def _split(
    data: bytes, info: AnnotationInfo, start: int, count: int
) -> tuple[NDArray[np.float32], NDArray[np.uint8], NDArray[np.int64] | None, int]:
    """Return geometry, bytes of properties, offsets of vertices, and where the records end."""
    if info.annotation_type != "polyline":
        stop = start + info.record_bytes * count
        if len(data) < stop:
            raise FormatError(
                f"{len(data)} bytes, but at least {stop} expected (annotations: {count})"
            )
        table = np.frombuffer(data, np.uint8, stop - start, start).reshape(
            count, info.record_bytes
        )
        place = WORD * info.geometry_floats
        geometry = np.ascontiguousarray(table[:, :place]).view("<f4").astype(np.float32)
        _check_finite(geometry, start)
        return geometry, table[:, place:], None, stop
    offsets = np.zeros(count + 1, np.int64)
    starts = np.zeros(count, np.int64)
    position, size = start, len(data)
    for number in range(count):
        if size < position + WORD:
            raise FormatError(f"byte {position}: the number of vertices is missing")
        vertices = int.from_bytes(data[position : position + WORD], "little")
        if vertices < 2:
            raise FormatError(
                f"byte {position}: a polyline has {vertices} vertices, but needs at least 2"
            )
        starts[number] = position + WORD
        position += WORD + WORD * info.rank * vertices + info.property_bytes
        if size < position:
            raise FormatError(
                f"byte {starts[number] - WORD}: a polyline of {vertices} vertices ends at byte "
                f"{position} of {size}"
            )
        offsets[number + 1] = offsets[number] + vertices
    lengths = WORD * info.rank * np.diff(offsets)
    pieces = [data[a : a + b] for a, b in zip(starts.tolist(), lengths.tolist(), strict=True)]
    geometry = np.frombuffer(b"".join(pieces), "<f4").astype(np.float32).reshape(-1, info.rank)
    _check_finite(geometry, start)
    ends = (starts + lengths).tolist()
    tails = np.frombuffer(b"".join(data[a : a + info.property_bytes] for a in ends), np.uint8)
    return geometry, tails.reshape(count, info.property_bytes), offsets, position


def _check_finite(geometry: NDArray[np.float32], start: int) -> None:
    wrong = np.flatnonzero(~np.isfinite(geometry).all(axis=1))
    if wrong.size:
        raise FormatError(
            f"byte {start}: a coordinate is {geometry[int(wrong[0])].max()}, in row {wrong[0]} "
            f"of {len(geometry)}; coordinates must be finite numbers"
        )


def _properties(info: AnnotationInfo, tails: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
    values: dict[str, NDArray[Any]] = {}
    for item, offset in zip(info.properties, info.property_offsets, strict=True):
        size = item.dtype.itemsize * item.components
        raw = np.ascontiguousarray(tails[:, offset : offset + size]).view(item.dtype)
        values[item.id] = raw if item.components > 1 else raw[:, 0]
    return values
