"""The colours of segments: those of a table, kept in a file of their own, and Neuroglancer's.

The format has no place for colours: the client takes them from the state, as `segmentColors`. They
are kept in the shape that they have there (`{"17": "#dcd814"}`) in the file `colors.json` in the
volume's folder of segment properties, where the client reads `info` and nothing else.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np

from ngcore.errors import FormatError
from ngcore.precomputed.json_members import dump, fail, parse_object
from ngcore.precomputed.names import COLOURS_NAME, MAX_SEGMENT_ID

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from ngcore.precomputed.info import VolumeInfo
    from ngcore.storage.base import ReadableStore

Colour = tuple[int, int, int]
"""Red, green and blue, 0 to 255."""


_HEX = re.compile("#?([0-9a-fA-F]{6})")
_ID = re.compile("[0-9]{1,20}")


def parse_hex(text: str) -> Colour | None:
    """Return the colour that ``#ff8000`` means, None where it means none."""
    match = _HEX.fullmatch(text)
    if match is None:
        return None
    red, green, blue = bytes.fromhex(match[1])
    return red, green, blue


def hex_of(colour: Colour) -> str:
    """Return a colour as states have it, such as ``#ff8000``."""
    return "#{:02x}{:02x}{:02x}".format(*colour)


def encode_colours(colours: Mapping[int, Colour]) -> bytes:
    """Return the file of a table's colours, in the order of the ids."""
    members = {str(key): hex_of(colours[key]) for key in sorted(colours)}
    return dump(members).encode()


def decode_colours(document: bytes) -> dict[int, Colour]:
    """Parse the file of a table's colours.

    Raises
    ------
    FormatError
        It is no JSON object of ids and colours.
    """
    colours = {}
    for key, text in parse_object(document).items():
        if not _ID.fullmatch(key) or int(key) > MAX_SEGMENT_ID:
            fail(key, "a segment's id as the name of each member", key)
        colour = parse_hex(text) if isinstance(text, str) else None
        if colour is None:
            fail(key, 'a colour such as "#ff8000"', text)
        colours[int(key)] = colour
    return colours


def default_colours(ids: NDArray[Any]) -> NDArray[np.uint8]:
    """Return the colours in which Neuroglancer shows segments that a state gives none.

    That is hue and saturation from a hash of the id (MurmurHash without its last steps, seed 0),
    at full brightness: https://github.com/google/neuroglancer/blob/master/src/segment_color.ts

    Parameters
    ----------
    ids : ndarray of integers, shape (n,)

    Returns
    -------
    ndarray of uint8, shape (n, 3)
        Red, green, blue.
    """
    bits = ids.astype(np.uint64)
    state = np.zeros(bits.shape, np.uint64)
    for word in (bits & np.uint64(0xFFFFFFFF), bits >> np.uint64(32)):
        state = _combine(state, word)
    hue = (state & np.uint64(0xFF)) / 255.0 * 6
    saturation = 0.5 + (state >> np.uint64(8) & np.uint64(0xFF)) / 255.0 / 2
    # Of the hue's circle each channel is full over a third, and falls off over a sixth beside it.
    distances = np.abs((hue[:, np.newaxis] - [0, 2, 4] + 3) % 6 - 3)
    fullness = np.clip(2 - distances, 0, 1)
    values = 1 - saturation[:, np.newaxis] * (1 - fullness)
    colours: NDArray[np.uint8] = np.rint(values * 255).astype(np.uint8)
    return colours


def _combine(state: NDArray[np.uint64], word: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Mix a 32-bit word into a 32-bit state; 64-bit numbers hold the products."""
    mixed = _low(_rotated(_low(word * np.uint64(0xCC9E2D51)), 15) * np.uint64(0x1B873593))
    return _low(_rotated(state ^ mixed, 13) * np.uint64(5) + np.uint64(0xE6546B64))


def _rotated(word: NDArray[np.uint64], bits: int) -> NDArray[np.uint64]:
    return _low(word << np.uint64(bits)) | word >> np.uint64(32 - bits)


def _low(word: NDArray[np.uint64]) -> NDArray[np.uint64]:
    return word & np.uint64(0xFFFFFFFF)


def segment_colours(store: ReadableStore, info: VolumeInfo) -> dict[int, Colour]:
    """Return the colours that a table gave the labels of a volume; none where none did.

    Parameters
    ----------
    store : ReadableStore
        Of the volume.
    info : VolumeInfo

    Returns
    -------
    dict of int to (red, green, blue), 0 to 255 each

    Raises
    ------
    FormatError
        The file that keeps the colours is damaged.
    """
    if info.segment_properties is None:
        return {}
    name = f"{info.segment_properties}/{COLOURS_NAME}"
    document = store.get(name)
    if document is None:
        return {}
    try:
        return decode_colours(document)
    except FormatError as error:
        raise FormatError(
            f"{store.location}/{name}: {error}; run `ngcore labels` again, or remove the file"
        ) from error
