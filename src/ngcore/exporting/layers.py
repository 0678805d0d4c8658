"""Annotations back to a table, skeletons back to SWC: what `annotations` and `skeletons` read."""

from __future__ import annotations

import csv
import io
import os
from typing import TYPE_CHECKING, Any

import numpy as np

from ngcore.annotating.sorting import Entries, Sorter
from ngcore.errors import FormatError, InputError
from ngcore.precomputed.annotation_records import (
    WORD,
    Annotations,
    Records,
    decode_annotation,
    offsets_of,
)
from ngcore.precomputed.annotations import AnnotationInfo
from ngcore.precomputed.json_members import parse_object
from ngcore.precomputed.names import ANNOTATIONS_TYPE, SKELETONS_TYPE, TRANSFORM_NAME
from ngcore.precomputed.skeletons import Skeleton, SkeletonInfo
from ngcore.precomputed.transform import parse_transform
from ngcore.storage import Store, is_url, open_store, place_in, split_place
from ngcore.storage.shard_entries import all_entries
from ngcore.storage.spool import Spool
from ngcore.storage.zip_store import ZipStore
from ngcore.transaction.output_file import check_output_file, folder_beside, write_output_parts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    PathLike = str | os.PathLike[str]
    Listed = Store | ZipStore

_MAX_ENTRY = 1 << 30
_MAX_INFO = 16 << 20
_ROWS = 10_000
_WAITING_BYTES = 8 << 20
_SORTED_BYTES = 64 << 20
"""What sorting annotations by their ids takes at most, however many there are."""
_NM_PER_UM = 1000.0
_ENDINGS = {ANNOTATIONS_TYPE: (".csv", ".tsv"), SKELETONS_TYPE: (".swc",)}
_CORNERS = ("x1", "y1", "z1", "x2", "y2", "z2")
_COLUMNS = {
    "point": ("x", "y", "z"),
    "polyline": ("x", "y", "z"),
    "line": _CORNERS,
    "axis_aligned_bounding_box": _CORNERS,
    "ellipsoid": ("x", "y", "z", "rx", "ry", "rz"),
}


def layer_type(place: PathLike) -> str | None:
    """Return the ``@type`` of annotations or skeletons; None for all else."""
    store = open_store(place)
    document = store.get("info", 0, _MAX_INFO) if isinstance(store, Store | ZipStore) else None
    try:
        kind = parse_object(document or b"").get("@type")
    except FormatError:
        return None
    return kind if kind in _ENDINGS else None


def export_layer(place: PathLike, kind: str, out: PathLike, *, overwrite: bool) -> None:
    """Write annotations as CSV or TSV, a skeleton as SWC, several as a folder of SWC files.

    Raises
    ------
    InputError
        `out` has another ending, or a skeleton is not a tree.
    FormatError
        The layer is damaged.
    DestinationError
        `out` already exists or can't be written.
    """
    store = open_store(place)
    assert isinstance(store, Store | ZipStore)
    name = split_place(out)[1].lower()
    if kind == ANNOTATIONS_TYPE:
        if not name.endswith(_ENDINGS[kind]):
            raise InputError(
                f"{os.fspath(out)!r} must end in .csv or .tsv: annotations are a table"
            )
        check_output_file(out, overwrite=overwrite)
        info = AnnotationInfo.from_json(store.get("info") or b"")
        spool = Spool(folder_beside(out))
        try:
            delimiter = "\t" if name.endswith(".tsv") else ","
            write_output_parts(out, _table(store, info, delimiter, spool))
        finally:
            spool.close()
        return
    _export_skeletons(place, store, out, overwrite=overwrite)


def _table(store: Listed, info: AnnotationInfo, delimiter: str, spool: Spool) -> Iterator[bytes]:
    """Yield the rows of a table, by ids; coordinates in millimetres where they are lengths."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=delimiter, lineterminator="\n")
    columns = _COLUMNS[info.annotation_type]
    if info.rank != 3 or list(info.dimensions) != ["x", "y", "z"]:
        raise InputError(
            f"{store.location}: its dimensions are not x, y, z, so it can't become a table"
        )
    factors = np.array([scale / 1e-3 for scale, _ in info.dimensions.values()])
    is_polyline = info.annotation_type == "polyline"
    names = [item.description or item.id for item in info.properties]
    head = ["id", *columns, *names, *(item.id for item in info.relationships)]
    writer.writerow(head)
    count = 0
    for key, found, relations in _by_id(store, info, spool):
        others = [
            *(_cell(found.properties[item.id][0], item) for item in info.properties),
            *(";".join(map(str, segments.tolist())) for segments in relations),
        ]
        for row in found.geometry if is_polyline else found.geometry[:1]:
            writer.writerow([key, *_lengths(row, factors), *others])
            count += 1
            if count % _ROWS == 0:
                yield text.getvalue().encode()
                text.seek(0)
                text.truncate()
    yield text.getvalue().encode()


def _by_id(
    store: Listed, info: AnnotationInfo, spool: Spool
) -> Iterator[tuple[int, Annotations, tuple[NDArray[np.uint64], ...]]]:
    """Yield ids, annotations and their segments, by ids, which files hold in another order."""
    sorter = Sorter(spool, _SORTED_BYTES, ())
    waiting: list[tuple[int, bytes]] = []
    size = 0
    for key, data in all_entries(store, info.by_id.key, info.by_id.sharding, max_size=_MAX_ENTRY):
        if len(data) % WORD:
            _decoded(store, info, key, data)  # which says what is wrong with it
        waiting.append((key, data))
        size += len(data)
        if len(waiting) == _ROWS or size > _WAITING_BYTES:
            sorter.add(_entries(waiting))
            waiting, size = [], 0
    if waiting:
        sorter.add(_entries(waiting))
    del waiting
    for batch in sorter.batches():
        words, offsets = batch.records
        for row, key in enumerate(batch.ids.tolist()):
            data = words[offsets[row] : offsets[row + 1]].tobytes()
            yield key, *_decoded(store, info, key, data)


def _entries(waiting: list[tuple[int, bytes]]) -> Entries:
    ids = np.array([key for key, _ in waiting], np.uint64)
    words = np.frombuffer(b"".join(data for _, data in waiting), np.uint32)
    lengths = np.array([len(data) // WORD for _, data in waiting], np.int64)
    return Entries((ids,), ids, Records(words, offsets_of(lengths)))


def _decoded(
    store: Listed, info: AnnotationInfo, key: int, data: bytes
) -> tuple[Annotations, tuple[NDArray[np.uint64], ...]]:
    try:
        return decode_annotation(data, info, key)
    except FormatError as error:
        raise FormatError(f"{store.location}, annotation {key}: {error}") from error


def _lengths(row: NDArray[np.float32], factors: NDArray[np.float64]) -> list[str]:
    times = np.resize(factors, len(row))
    if np.allclose(times, 1, rtol=1e-12):
        return [str(value) for value in row]  # the shortest text that is this float32
    return [f"{value:.9g}" for value in row.astype(np.float64) * times]


def _cell(value: Any, item: Any) -> str:
    if item.components > 1:
        return "#" + "".join(f"{part:02x}" for part in value.tolist())
    if item.enum_labels:
        labels = dict(zip(item.enum_values, item.enum_labels, strict=True))
        return str(labels.get(value.item(), value.item()))
    return "n/a" if item.type == "float32" and np.isnan(value) else str(value)


def _export_skeletons(place: PathLike, store: Listed, out: PathLike, *, overwrite: bool) -> None:
    info = SkeletonInfo.from_json(store.get("info") or b"")
    to_world = _to_world_nm(place, info)
    # Twice over the files, so that of all skeletons one is in memory at a time.
    ids = [key for key, _ in all_entries(store, ".", info.sharding, max_size=_MAX_ENTRY)]
    if not ids:
        raise InputError(f"{store.location} holds no skeletons; there is nothing to export")
    is_file = os.fspath(out).lower().endswith(".swc")
    if is_file and len(ids) > 1:
        raise InputError(
            f"{store.location} holds {len(ids)} skeletons, but an SWC file holds one; name "
            "a folder"
        )

    def file_of(key: int) -> PathLike:
        return out if is_file else place_in(out, f"{key}.swc")

    for key in sorted(ids):
        check_output_file(file_of(key), overwrite=overwrite)
    for key, data in all_entries(store, ".", info.sharding, max_size=_MAX_ENTRY):
        try:
            skeleton = Skeleton.from_bytes(data, info)
        except FormatError as error:
            raise FormatError(f"{store.location}, skeleton {key}: {error}") from error
        text = _swc(skeleton, to_world, f"{store.location}, skeleton {key}")
        write_output_parts(file_of(key), [text.encode()])


def _to_world_nm(place: PathLike, info: SkeletonInfo) -> NDArray[np.float64]:
    """Return the matrix (4, 4) from stored coordinates to the world's nanometres."""
    matrix = np.vstack([np.reshape(info.transform, (3, 4)), [0, 0, 0, 1]])
    volume, name = split_place(place if is_url(place) else os.path.abspath(place))  # noqa: PTH100
    above = open_store(volume)
    try:
        is_of_volume = parse_object(above.get("info") or b"").get("skeletons") == name
    except FormatError:
        is_of_volume = False
    document = above.get(TRANSFORM_NAME) if is_of_volume else None
    if document is not None:
        matrix = parse_transform(document, f"{above.location}/{TRANSFORM_NAME}") @ matrix
    return matrix


def _swc(skeleton: Skeleton, to_world: NDArray[np.float64], where: str) -> str:
    points = skeleton.vertices.astype(np.float64) @ to_world[:3, :3].T + to_world[:3, 3]
    points /= _NM_PER_UM
    radii = np.asarray(skeleton.attributes.get("radius", np.ones(len(points)) * _NM_PER_UM))
    order, parents = _tree(len(points), skeleton.edges, where)
    number = np.empty(len(points), np.int64)
    number[order] = np.arange(1, len(points) + 1)
    lines = ["# id type x y z radius parent, in micrometres"]
    for node in order:
        x, y, z = points[node]
        parent = -1 if parents[node] < 0 else number[parents[node]]
        radius = float(radii[node]) / _NM_PER_UM
        lines.append(f"{number[node]} 0 {x:.9g} {y:.9g} {z:.9g} {radius:.9g} {parent}")
    return "\n".join(lines) + "\n"


def _tree(count: int, edges: NDArray[np.uint32], where: str) -> tuple[list[int], list[int]]:
    """Return the nodes, parents before their children, and the parent of each, -1 of roots."""
    neighbours: list[list[int]] = [[] for _ in range(count)]
    for a, b in edges.tolist():
        neighbours[a].append(b)
        neighbours[b].append(a)
    parents, order = [-2] * count, []
    for root in range(count):
        if parents[root] != -2:
            continue
        parents[root] = -1
        waiting = [root]
        while waiting:
            node = waiting.pop()
            order.append(node)
            for other in neighbours[node]:
                if parents[other] == -2:
                    parents[other] = node
                    waiting.append(other)
    roots = sum(parent == -1 for parent in parents)
    if len(edges) != count - roots:
        raise InputError(f"{where}: its edges form a ring, which SWC can't hold")
    return order, parents
