"""Names for some labels, beside those that a volume's other labels have."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ngcore.errors import FormatError, InputError
from ngcore.precomputed.json_members import parse_object, shown
from ngcore.precomputed.names import SEGMENT_PROPERTIES_TYPE
from ngcore.precomputed.segment_properties import (
    NumberProperty,
    Property,
    SegmentProperties,
    TagsProperty,
    TextProperty,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ngcore.storage.base import ReadableStore

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
            f"{where}/info keeps its segment properties in {folder!r}, outside of the volume; "
            "remove the member segment_properties from info first"
        )
    return folder


def check_is_properties(document: bytes | None, where: str) -> None:
    """Refuse to replace a file that is of another kind; a damaged one may be replaced.

    Parameters
    ----------
    document : bytes or None
        What is there, if anything is.
    where : str
        Its name, for messages.

    Raises
    ------
    InputError
        It is of another kind.
    """
    try:
        kind = parse_object(document or b"{}").get("@type", SEGMENT_PROPERTIES_TYPE)
    except FormatError:
        return
    if kind != SEGMENT_PROPERTIES_TYPE:
        raise InputError(
            f"{where} is of type {shown(kind)}, so names of labels can't go there; move it, or "
            "name another folder as segment_properties in info"
        )


def named_properties(
    store: ReadableStore, known: str | None, names: Mapping[int, str]
) -> tuple[str, bytes]:
    """Return the names that a volume's labels will have: those that they have, and given ones.

    Parameters
    ----------
    store : ReadableStore
        Of the volume.
    known : str or None
        The folder of segment properties that its `info` names.
    names : mapping of int to str
        Of labels; they replace names that these have.

    Returns
    -------
    folder : str
    document : bytes
        The content of `info` in it.

    Raises
    ------
    InputError
        Properties of a label are numbers, and it has none yet.
    FormatError
        The properties that the volume has are damaged.
    """
    folder = properties_folder(known, store.location)
    where = f"{store.location}/{folder}/info"
    document = store.get(f"{folder}/info") if known is not None else None
    old = SegmentProperties((), ())
    if document is not None:
        try:
            old = SegmentProperties.from_json(document)
        except FormatError as error:
            raise FormatError(f"{where}: {error}") from error
    return folder, _named(old, names, where).to_json().encode()


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
                    f"label {unknown[0]} has no {item.id!r} in {where}, which every label "
                    "needs; add it to the table, and run `ngcore labels` again"
                )
            properties.append(item)
    texts = tuple(labels.get(segment, "") for segment in ids)
    return SegmentProperties(ids, (TextProperty("label", texts), *properties))
