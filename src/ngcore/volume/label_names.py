"""Names for some labels, beside those that a volume's other labels have."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ngcore.errors import FormatError, InputError
from ngcore.precomputed.json_members import dump, parse_object
from ngcore.precomputed.segment_properties import (
    NumberProperty,
    Property,
    SegmentProperties,
    TagsProperty,
    TextProperty,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ngcore.storage import LocalStore

DEFAULT_FOLDER = "segment_properties"


def properties_folder(known: str | None, where: str) -> str:
    """Return the folder of segment properties, which lies in the volume's own folder.

    Parameters
    ----------
    known : str or None
        What `info` says.
    where : str
        Of the volume, for messages.

    Raises
    ------
    InputError
        It lies elsewhere.
    """
    folder = known or DEFAULT_FOLDER
    if "\\" in folder or any(part in ("", ".", "..") for part in folder.split("/")):
        raise InputError(
            f"{where}/info keeps its segment properties in {folder!r}, outside of "
            "the volume; take the member segment_properties out of it first"
        )
    return folder


def announce_properties(store: LocalStore, folder: str) -> None:
    """Name the folder of segment properties in a volume's `info`, which it may be named in."""
    document = store.get("info")
    assert document is not None
    # Member by member, so that all that others wrote stays as it is.
    members = parse_object(document)
    if members.get("segment_properties") != folder:
        store.put("info", dump({**members, "segment_properties": folder}).encode())


class LabelNames:
    """The names that a volume's labels will have: those that it has, and some that are given.

    Parameters
    ----------
    store : LocalStore
        Of the volume.
    known : str or None
        The folder of segment properties that its `info` names.
    names : mapping of int to str
        Of labels; they replace names that these have.

    Raises
    ------
    InputError
        Properties of a label are numbers, and it has none yet.
    FormatError
        The properties that the volume has are damaged.
    """

    def __init__(self, store: LocalStore, known: str | None, names: Mapping[int, str]) -> None:
        self._store = store
        self._folder = properties_folder(known, store.location)
        document = store.get(f"{self._folder}/info") if known is not None else None
        old = SegmentProperties((), ())
        if document is not None:
            try:
                old = SegmentProperties.from_json(document)
            except FormatError as error:
                raise FormatError(f"{store.location}/{self._folder}/info: {error}") from error
        self._properties = _named(old, names, f"{store.location}/{self._folder}/info")

    def write(self) -> None:
        """Write the properties, then what announces them: nobody finds them missing."""
        self._store.put(f"{self._folder}/info", self._properties.to_json().encode())
        announce_properties(self._store, self._folder)


def _named(old: SegmentProperties, names: Mapping[int, str], where: str) -> SegmentProperties:
    ids = tuple(sorted({*old.ids, *names}))
    places = {segment: place for place, segment in enumerate(old.ids)}
    properties: list[Property] = []
    labels = {segment: str(segment) for segment in ids} | dict(names)
    for item in old.properties:
        if isinstance(item, TextProperty) and item.type == "label":
            labels = dict(zip(old.ids, item.values, strict=True)) | dict(names)
        elif isinstance(item, TextProperty):
            texts = tuple(item.values[places[n]] if n in places else "" for n in ids)
            properties.append(TextProperty(item.id, texts, item.type, item.description))
        elif isinstance(item, TagsProperty):
            tags = tuple(item.values[places[n]] if n in places else () for n in ids)
            properties.append(TagsProperty(item.id, item.tags, tags, item.tag_descriptions))
        elif isinstance(item, NumberProperty):
            unknown = [n for n in ids if n not in places]
            if unknown:
                raise InputError(
                    f"label {unknown[0]} has no {item.id!r} in {where}, which every label has; "
                    "name it in the table, and run `ngcore labels` again"
                )
            properties.append(item)
    texts = tuple(labels.get(segment, "") for segment in ids)
    return SegmentProperties(ids, (TextProperty("label", texts), *properties))
