"""Colour maps: evenly spaced colours, the same in Neuroglancer's shaders and in our pictures.

Between the colours of a map values are interpolated linearly; with these many, no value is further
than 3 % of a channel from the map it is named after.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ngcore.errors import InputError
from ngcore.volume.segment_colours import parse_hex

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ngcore.volume.segment_colours import Colour

SINGLE_COLOURS: dict[str, Colour] = {
    "red": (255, 0, 0),
    "green": (0, 255, 0),
    "blue": (0, 0, 255),
    "yellow": (255, 255, 0),
    "cyan": (0, 255, 255),
    "magenta": (255, 0, 255),
    "orange": (255, 165, 0),
    "purple": (160, 32, 240),
    "pink": (255, 192, 203),
    "white": (255, 255, 255),
}

_MAPS = {
    "grey": "000000 ffffff",
    # Each third of it brings in one channel.
    "hot": "000000 ff0000 ffff00 ffffff",
    # Of a magnitude: from just above the threshold to the top, for each of the two signs.
    "cold-hot": "a00000 ff3000 ffc000 ffff80",
    "viridis": "440154 48186a 472d7b 424086 3b528b 33638d 2c728e 26828e 21918c 1fa088 28ae80 "
    "3fbc73 5ec962 84d44b addc30 d8e219 fde725",
    "turbo": "30123b 4040a2 466be3 4294ff 28bceb 18ddc2 32f298 6dfe62 a4fc3c cdec34 eecf3a "
    "fdac34 fb7e21 eb500e d02f05 a91601 7a0403",
    "magma": "000004 0a0822 1d1147 36106b 51127c 6a1c81 832681 9c2e7f b73779 d0416f e75263 "
    "f56b5c fc8961 fea772 fec488 fde2a3 fcfdbf",
}
COLD = "0000a0 0030ff 00c0ff 80ffff"
"""What values below zero have in the diverging map."""


@dataclass(frozen=True, slots=True)
class ColourMap:
    """Colours from the least to the greatest value.

    Attributes
    ----------
    name : str
    points : tuple of (red, green, blue), 0 to 255 each
        At equal distances, two or more.
    below : tuple of (red, green, blue)
        Of a diverging map: the colours of negative values by magnitude; else empty.
    """

    name: str
    points: tuple[Colour, ...]
    below: tuple[Colour, ...] = ()

    @property
    def is_diverging(self) -> bool:
        """Whether zero is its middle."""
        return bool(self.below)

    def colours(self, places: NDArray[Any], *, is_below: bool = False) -> NDArray[np.float64]:
        """Return the colours at places from 0 to 1, shape (..., 3), 0 to 255."""
        points = np.array(self.below if is_below else self.points, dtype=np.float64)
        at = np.linspace(0, 1, len(points))
        channels = [np.interp(places, at, points[:, channel]) for channel in range(3)]
        return np.stack(channels, axis=-1)


def _points(text: str) -> tuple[Colour, ...]:
    parsed = (parse_hex(word) for word in text.split())
    return tuple(colour for colour in parsed if colour is not None)


COLOUR_MAPS = {
    name: ColourMap(name, _points(text), _points(COLD) if name == "cold-hot" else ())
    for name, text in _MAPS.items()
}
GREY, DIVERGING = COLOUR_MAPS["grey"], COLOUR_MAPS["cold-hot"]


def parse_colour(text: str) -> Colour | None:
    """Return the colour that a name or ``#ff8000`` means, None where it means none."""
    return SINGLE_COLOURS.get(text.lower()) or parse_hex(text)


def parse_colour_map(text: str) -> ColourMap:
    """Return a colour map by its name; a single colour runs from black to that colour.

    Raises
    ------
    InputError
        There is no such map.

    Examples
    --------
    >>> parse_colour_map("red").points
    ((0, 0, 0), (255, 0, 0))
    """
    name = {"gray": "grey"}.get(text.lower(), text.lower())
    if name in COLOUR_MAPS:
        return COLOUR_MAPS[name]
    if (colour := parse_colour(text)) is not None:
        return ColourMap(name, ((0, 0, 0), colour))
    raise InputError(
        f"{text!r} is not a colour map; pass {', '.join(COLOUR_MAPS)}, a colour such as red "
        "or #ff8000"
    )
