"""How a volume is shown: the same decision for Neuroglancer's states and for our pictures.

What a user asks of one layer is `Asked`; what comes of it, with what was seen of the values, is an
`Appearance`. Nothing here reads a file.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from ngcore.errors import InputError
from ngcore.previewing.colour_maps import DIVERGING, GREY, ColourMap
from ngcore.previewing.samples import ValueRange

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ngcore.precomputed.info import VolumeInfo
    from ngcore.previewing.samples import ValueSummary
    from ngcore.volume.segment_colours import Colour

Mode = Literal["grey", "map", "diverging", "colour", "direction"]
_COLOUR_CHANNELS = (3, 4)
_OVERLAY_OPACITY = 0.5


@dataclass(frozen=True, slots=True)
class Asked:
    """What a user asks of one layer; None and empty leave it to us.

    Attributes
    ----------
    colour_map : ColourMap or None
    low, high : float or None
        Of a diverging map the threshold and the top.
    opacity : float or None
        0 to 1.
    is_visible : bool
    colour : (red, green, blue) or None
        Of a surface, of points, of all labels.
    channel : int or None
        The one to show of several, from 0.
    """

    colour_map: ColourMap | None = None
    low: float | None = None
    high: float | None = None
    opacity: float | None = None
    is_visible: bool = True
    colour: Colour | None = None
    channel: int | None = None


NOTHING_ASKED = Asked()


@dataclass(frozen=True, slots=True)
class Appearance:
    """How an image is shown.

    Attributes
    ----------
    mode : "grey", "map", "diverging", "colour" or "direction"
        colour: three or four channels as they are. direction: the sizes of three components.
    colour_map : ColourMap
    shown : ValueRange or None
        Of a diverging map `low` is the threshold of the magnitude, and `high` its top.
    opacity : float
    hides_below : bool
        Values below the range are transparent.
    hides_zero : bool
        Zeros and NaN are transparent.
    channel : int or None
        The one that is shown; None where all are, or one can be chosen.
    is_over : bool
        Another image lies below.
    """

    mode: Mode
    colour_map: ColourMap = GREY
    shown: ValueRange | None = None
    opacity: float = 1.0
    hides_below: bool = False
    hides_zero: bool = False
    channel: int | None = None
    is_over: bool = False


def decide(
    info: VolumeInfo,
    values: ValueSummary | None,
    asked: Asked = NOTHING_ASKED,
    *,
    is_over: bool = False,
    has_time: bool = False,
    name: str = "the volume",
) -> Appearance:
    """Return how an image is shown.

    Parameters
    ----------
    info : VolumeInfo
        Of an image.
    values : ValueSummary or None
        None where nothing is known of them.
    asked : Asked
    is_over : bool
        Another image lies below.
    has_time : bool
        Its channels are points of time.
    name : str
        For messages.

    Raises
    ------
    InputError
        What is asked does not fit the image: a channel that it has not, an empty range.
    """
    count = info.num_channels
    if asked.channel is not None and not 0 <= asked.channel < count:
        raise InputError(f"{name} has the volumes 0 to {count - 1}, not {asked.channel}")
    shown = None if values is None else values.shown
    colour_map = asked.colour_map
    settings = (colour_map, asked.low, asked.high, asked.channel)
    has_asked = any(setting is not None for setting in settings)
    if not has_asked and (mode := _colour_mode(info, values)) is not None:
        return Appearance(mode, opacity=_opacity(asked, is_over), is_over=is_over)
    channel = asked.channel
    if channel is None and count == 1:
        channel = 0
    is_map = values is not None and values.is_signed_map
    if (colour_map is None and is_over and is_map) or (colour_map and colour_map.is_diverging):
        return Appearance(
            "diverging",
            colour_map or DIVERGING,
            _magnitudes(shown, asked, name),
            1.0 if asked.opacity is None else asked.opacity,
            hides_below=True,
            hides_zero=True,
            channel=0 if has_time and channel is None else channel,
            is_over=is_over,
        )
    is_plain = colour_map is None
    return Appearance(
        "grey" if is_plain else "map",
        GREY if colour_map is None else colour_map,
        _range(shown, asked, name),
        # A chosen colour map tells the layers apart: nothing need shine through.
        _opacity(asked, is_over and is_plain and asked.low is None),
        hides_below=asked.low is not None or not is_plain,
        hides_zero=is_over and not is_plain,
        channel=channel,
        is_over=is_over,
    )


def _colour_mode(info: VolumeInfo, values: ValueSummary | None) -> Mode | None:
    if info.num_channels not in _COLOUR_CHANNELS:
        return None
    if info.data_type == "uint8":
        return "colour"
    if values is not None and info.data_type == "float32":
        if values.is_unit:
            return "colour"
        if values.is_direction:
            return "direction"
    return None


def _opacity(asked: Asked, is_over: bool) -> float:
    if asked.opacity is not None:
        return asked.opacity
    return _OVERLAY_OPACITY if is_over else 1.0


def _range(shown: ValueRange | None, asked: Asked, name: str) -> ValueRange | None:
    if asked.low is asked.high is None:
        return shown
    known = shown or ValueRange(0, 1, 0, 1)
    low = known.low if asked.low is None else asked.low
    high = known.high if asked.high is None else asked.high
    _check_order(low, high, asked, name)
    return ValueRange(low, high, min(known.window_low, low), max(known.window_high, high))


def _magnitudes(shown: ValueRange | None, asked: Asked, name: str) -> ValueRange:
    known = shown or ValueRange(0, 1, 0, 1)
    threshold = 0.0 if asked.low is None else asked.low
    top = max(abs(known.low), abs(known.high)) if asked.high is None else asked.high
    _check_order(threshold, top, asked, name)
    if threshold < 0:
        raise InputError(
            f"{name}: min is a threshold of magnitude, which is 0 or more; got {threshold:g}"
        )
    largest = max(abs(known.window_low), abs(known.window_high), top)
    return ValueRange(threshold, top, 0.0, largest)


def _check_order(low: float, high: float, asked: Asked, name: str) -> None:
    if low >= high and not (asked.low is asked.high is None):
        raise InputError(f"{name}: max must be above min, got {low:g} to {high:g}; pass both")


def order_images(maps: Sequence[bool]) -> list[int]:
    """Return the places of images from the lowest up: signed maps lie above other images.

    Parameters
    ----------
    maps : sequence of bool
        Which images, in the order in which they were given, are signed maps.

    Examples
    --------
    >>> order_images([True, False, False])
    [1, 2, 0]
    """
    return sorted(range(len(maps)), key=lambda place: maps[place])


def at_channel(appearance: Appearance) -> Appearance:
    """Return the appearance with one channel, where one could be chosen: the first."""
    if appearance.channel is None and appearance.mode not in ("colour", "direction"):
        return replace(appearance, channel=0)
    return appearance
