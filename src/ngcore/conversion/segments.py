"""Names and colours that a source gives its own labels, as segment properties of its volume."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ngcore.precomputed.names import COLOURS_NAME
from ngcore.precomputed.segment_properties import SegmentProperties, TextProperty
from ngcore.volume.segment_colours import encode_colours, parse_hex

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ngcore.sources.base import Segment

FOLDER = "segment_properties"


def segment_files(segments: Iterable[Segment]) -> dict[str, bytes]:
    """Return the files of a folder of segment properties, by their names from the volume on.

    Parameters
    ----------
    segments : iterable of Segment
        Of two with one id the first counts; those that are 0 or less are left out.

    Returns
    -------
    dict of str to bytes
        Empty where there are no segments.
    """
    known = {one.id: one for one in reversed([*segments]) if one.id > 0}
    if not known:
        return {}
    ids = sorted(known)
    names = TextProperty("label", tuple(known[number].name for number in ids))
    files = {f"{FOLDER}/info": SegmentProperties(tuple(ids), (names,)).to_json().encode()}
    colours = {number: parse_hex(known[number].color or "") for number in ids}
    found = {number: colour for number, colour in colours.items() if colour is not None}
    if found:
        files[f"{FOLDER}/{COLOURS_NAME}"] = encode_colours(found)
    return files
