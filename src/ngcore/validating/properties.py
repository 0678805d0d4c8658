"""Checks segment_properties: which segments there are, and what is said of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ngcore.errors import FormatError
from ngcore.precomputed.names import COLOURS_NAME
from ngcore.precomputed.segment_properties import SegmentProperties
from ngcore.validating.files import read_limited
from ngcore.volume.segment_colours import decode_colours

if TYPE_CHECKING:
    from ngcore.validating.scale import Basis

_MAX_SIZE = 16 << 20
"""Parsed, such a file takes ten times as much memory; the client reads it whole, too."""


def check_properties(context: Basis, folder: str) -> None:
    """Check the `info` of a folder of segment properties, and colours beside it.

    Of each the first fault is named.
    """
    name = f"{folder}/info"
    try:
        document = read_limited(context.store, name, _MAX_SIZE)
        if document is None:
            context.findings.error("properties", name, "is missing, and info names the folder")
        else:
            SegmentProperties.from_json(document)
    except FormatError as error:
        context.findings.error_in_json("properties", name, error)
    name = f"{folder}/{COLOURS_NAME}"
    try:
        document = read_limited(context.store, name, _MAX_SIZE)
        if document is not None:
            decode_colours(document)
    except FormatError as error:
        context.findings.error_in_json("properties", name, error)
