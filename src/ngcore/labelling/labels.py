"""Names and colours of labels into a segmentation: its folder of segment properties.

Neuroglancer reads the properties from `info` in that folder. Colours have no place there: they lie
beside it (`ngcore.volume.segment_colours`), for the states and pictures that ngcore makes.
"""

from __future__ import annotations

import logging
import math
import threading
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ngcore._verbs import told
from ngcore.arrays.affines import NM_PER_MM
from ngcore.errors import InputError
from ngcore.precomputed.names import COLOURS_NAME
from ngcore.precomputed.segment_properties import (
    NUMBER_RANGES,
    NumberProperty,
    Property,
    SegmentProperties,
    TagsProperty,
    TextProperty,
)
from ngcore.sources.tables.columns import Choice
from ngcore.sources.tables.rows import tag_of
from ngcore.sources.tables.tables import read_label_table
from ngcore.transaction.changes import Transaction
from ngcore.transaction.output_file import check_output_folder
from ngcore.transaction.places import check_own_folder
from ngcore.volume.chunk_scan import scan_chunks
from ngcore.volume.label_names import check_is_properties, properties_folder
from ngcore.volume.read import Volume
from ngcore.volume.read import open as open_volume
from ngcore.volume.segment_colours import Colour, encode_colours
from ngcore.volume.world import world_transform

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from ngcore._verbs import Progress
    from ngcore.sources.tables.rows import Label
    from ngcore.volume.scale import ScaleArray

logger = logging.getLogger(__name__)

_SHOWN_IDS = 5


def write_labels(
    dest: str | os.PathLike[str],
    table: str | Path,
    *,
    measure: bool = False,
    id_column: str | None = None,
    name_column: str | None = None,
    color_column: str | None = None,
    workers: int | None = None,
    progress: bool | Progress | None = None,
) -> SegmentProperties:
    """Give the labels of a segmentation names, and the colours that views show them in.

    Writes the volume's folder of segment properties, replacing one that is there, and last its
    name into the volume's `info`. Reads every voxel of the finest scale once, to count the labels
    that have no name and the names that have no voxel; a logged warning tells of them. A name of
    0, the background, is left out: views would list it as a segment.

    Parameters
    ----------
    dest : str or path
        The folder of the volume.
    table : str or Path
        What `ngcore.sources.tables.tables.read_label_table` reads.
    measure : bool
        Add the voxels and the volume in mm^3 of each segment.
    id_column, name_column, color_column : str, optional
        Titles of the table's columns that hold the ids, the names and the colours (one title, or
        three joined by commas), or their numbers from 1; default those whose titles and cells
        speak for it.
    workers : int, optional
        Threads; default all cores.
    progress : bool or callable, optional
        True draws a bar on stderr; a callable is called now and then with
        (voxels done, voxels in all).

    Returns
    -------
    SegmentProperties
        What was written.

    Raises
    ------
    InputError
        If there is no volume or it is not a segmentation, or no such table.
    FormatError
        If the table, or the volume, can't be understood.
    DestinationError
        If the volume can't be written.
    """
    tell = told(progress)
    opened = open_volume(dest)
    opened.store.lost_chunks = "refuse"
    where = opened.store.location
    if opened.info.type != "segmentation":
        raise InputError(
            f"{where} is an image, and only labels have names; "
            "convert it with --type segmentation if it holds labels"
        )
    properties_folder(opened.info.segment_properties, where)
    check_output_folder(dest)
    found = read_label_table(table, Choice(id_column, name_column, color_column))
    logger.info("%s: %d labels of a %s table", table, len(found.labels), found.format)
    labels = tuple(label for label in found.labels if label.id != 0)
    voxels = count_labels(opened.scales[0], workers=workers, progress=tell)
    _warn_of_strangers(labels, voxels, where)
    measures = _measures(labels, voxels, opened) if measure else []
    taken = {"label", "description", "tags", *(item.id for item in measures)}
    properties = SegmentProperties(
        tuple(label.id for label in labels),
        (*_texts(labels), *_values(labels, taken), *measures),
    )
    colours = {label.id: label.colour for label in labels if label.colour is not None}
    _write(dest, properties, colours, {"table": Path(table).name, "measure": measure})
    return properties


def properties_of_table(table: str | Path) -> tuple[SegmentProperties, dict[int, Colour]]:
    """Return the names of a label table as segment properties, and its colours.

    Raises
    ------
    InputError, FormatError
        There is no such table, or it can't be understood.
    """
    labels = tuple(label for label in read_label_table(table).labels if label.id != 0)
    ids = tuple(label.id for label in labels)
    taken = {"label", "description", "tags"}
    properties = SegmentProperties(ids, (*_texts(labels), *_values(labels, taken)))
    return properties, {x.id: x.colour for x in labels if x.colour is not None}


def count_labels(
    scale: ScaleArray, *, workers: int | None = None, progress: Progress | None = None
) -> Counter[int]:
    """Return how many voxels each label of a scale has, those without voxels left out.

    Memory is a chunk or two per thread, and what the counts take.
    """
    total: Counter[int] = Counter()
    lock = threading.Lock()

    def visit(chunk: NDArray[Any]) -> None:
        counts = _count(chunk)
        with lock:
            total.update(counts)

    scan_chunks(scale, visit, workers=workers, progress=progress)
    return total


def _count(chunk: NDArray[Any]) -> dict[int, int]:
    """Count the voxels of each label by runs of equal ones: most voxels equal the one before."""
    values = chunk.ravel(order="K")
    starts = np.concatenate([[0], np.flatnonzero(values[1:] != values[:-1]) + 1])
    lengths = np.diff(starts, append=values.size)
    labels, run_labels = np.unique(values[starts], return_inverse=True)
    # Sums of float64 are exact below 2^53 voxels.
    counts = np.bincount(run_labels.reshape(-1), weights=lengths, minlength=labels.size)
    return dict(zip(labels.tolist(), counts.astype(np.int64).tolist(), strict=True))


def _warn_of_strangers(labels: Sequence[Label], voxels: Mapping[int, int], where: str) -> None:
    """Say how many labels have no name and how many names no voxels; 0 is the background."""
    named = {label.id for label in labels}
    nameless = sorted(voxels.keys() - named - {0})
    absent = sorted(named - voxels.keys() - {0})
    parts = []
    if nameless:
        has = "labels have" if len(nameless) > 1 else "label has"
        parts.append(f"{len(nameless)} {has} no name ({_some(nameless)})")
    if absent:
        has = "names have" if len(absent) > 1 else "name has"
        parts.append(f"{len(absent)} {has} no voxel ({_some(absent)})")
    if parts:
        logger.warning("%s: %s", where, ", ".join(parts))


def _some(ids: Sequence[int]) -> str:
    return ", ".join(map(str, ids[:_SHOWN_IDS])) + (", ..." if len(ids) > _SHOWN_IDS else "")


def _texts(labels: Sequence[Label]) -> list[Property]:
    properties: list[Property] = [TextProperty("label", tuple(label.name for label in labels))]
    if any(label.description for label in labels):
        texts = tuple(label.description for label in labels)
        properties.append(TextProperty("description", texts, "description"))
    tags = sorted({tag for label in labels for tag in label.tags}, key=str.casefold)
    if tags:
        index = {tag: number for number, tag in enumerate(tags)}
        values = tuple(tuple(sorted(index[tag] for tag in label.tags)) for label in labels)
        properties.append(TagsProperty("tags", tuple(tags), values))
    return properties


def _values(labels: Sequence[Label], taken: set[str]) -> list[Property]:
    """Return further columns of a table: numbers where every label has one, else texts."""
    columns: dict[str, dict[int, int | float | str]] = {}
    for label in labels:
        for title, value in label.values:
            columns.setdefault(title, {})[label.id] = value
    properties: list[Property] = []
    for title, values in columns.items():
        name = tag_of(title)  # the client finds words in queries
        while name in taken:
            name += "_"
        taken.add(name)
        numbers = [value for value in values.values() if not isinstance(value, str)]
        if len(numbers) == len(labels):
            properties.append(NumberProperty(name, _number_type(numbers), tuple(numbers)))
        else:
            texts = tuple(str(values.get(label.id, "")) for label in labels)
            properties.append(TextProperty(name, texts, "string"))
    return properties


def _number_type(numbers: Sequence[int | float]) -> str:
    """Return the smallest type of numbers that holds all of them."""
    if any(isinstance(number, float) for number in numbers):
        return "float32"
    low, high = min(numbers), max(numbers)
    return next(
        kind
        for kind, (least, most) in NUMBER_RANGES.items()
        if kind == "float32" or (least <= low and high <= most)
    )


def _measures(
    labels: Sequence[Label], voxels: Mapping[int, int], opened: Volume
) -> list[Property]:
    counts = tuple(voxels.get(label.id, 0) for label in labels)
    _, largest = NUMBER_RANGES["uint32"]
    voxel_mm3 = _voxel_volume_mm3(opened)
    # The client keeps float32: more digits would only make the file longer.
    sizes = tuple(float(f"{count * voxel_mm3:.9g}") for count in counts)
    kind = "uint32" if max(counts, default=0) <= largest else "float32"
    return [
        NumberProperty("voxels", kind, counts, "Voxels of full resolution"),
        NumberProperty("volume_mm3", "float32", sizes, "Volume in cubic millimetres"),
    ]


def _voxel_volume_mm3(opened: Volume) -> float:
    """Return the volume of a voxel in the world: a sheared one is smaller than its sides say."""
    native = math.prod(length / NM_PER_MM for length in opened.scales[0].resolution)
    transform = world_transform(opened.store)
    return native if transform is None else native * abs(float(np.linalg.det(transform[:3, :3])))


def _write(
    dest: str | os.PathLike[str],
    properties: SegmentProperties,
    colours: dict[int, Colour],
    parameters: Mapping[str, object],
) -> None:
    """Write the properties, then what announces them: nobody finds an announced file missing."""
    with Transaction(dest) as change:
        change.record("labels", parameters)
        members = change.read_info()
        folder = properties_folder(members.get("segment_properties"), change.location)
        check_own_folder(members, "segment_properties", folder, change.store)
        check_is_properties(change.get(f"{folder}/info"), f"{change.location}/{folder}/info")
        change.put(f"{folder}/info", properties.to_json().encode())
        if colours:
            change.put(f"{folder}/{COLOURS_NAME}", encode_colours(colours))
        else:
            change.delete(f"{folder}/{COLOURS_NAME}")  # those of an older table
        change.change_info(lambda info: {**info, "segment_properties": folder})
