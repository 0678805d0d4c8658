"""What a user names to look at: a path or URL, and after colons what is set of its layer.

``T1.nii.gz:colormap=hot:min=20`` is a file and two settings. Settings are taken from the end of
the text, so that paths and URLs may hold colons themselves.
"""

from __future__ import annotations

import math
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ngcore.errors import InputError
from ngcore.previewing.appearance import NOTHING_ASKED, Asked
from ngcore.previewing.colour_maps import SINGLE_COLOURS, parse_colour, parse_colour_map
from ngcore.storage import is_url

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_SETTING = re.compile(r":([A-Za-z][A-Za-z_-]*)=([^:]*)$")
_ENDINGS = re.compile(
    r"(\.(surf|func|label|shape))?\.(nii|mgh|mgz|hdr|img|mnc|npy|par|rec|tiff?|btf|ome|png|jpe?g|gii|"
    r"stl|ply|obj|off|vtk|csv|tsv|parquet|trk|tck|trx|swc|zip|zarr|n5|h5|hdf5|nrrd|nhdr|mha|mhd|"
    r"mrc|map|rec|st|dcm|gz|bz2|zst)$",
    re.IGNORECASE,
)
_ENDINGS_OF_FOLDERS = re.compile(r"(\.ome)?\.(zarr|n5)$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Thing:
    """One thing to show.

    Attributes
    ----------
    place : str
        A path or a URL.
    asked : Asked
        Of its layer.
    type : "image", "segmentation" or None
        What its voxels are, where it is converted.
    table : str or None
        A label table.
    """

    place: str
    asked: Asked = NOTHING_ASKED
    type: str | None = None
    table: str | None = None

    @property
    def is_remote(self) -> bool:
        """It lies at a URL."""
        return is_url(self.place) or self.place.startswith("precomputed://")

    @property
    def path(self) -> Path:
        """Where it is, if it is local."""
        return Path(self.place)

    @property
    def name(self) -> str:
        """Its file's or folder's name without endings; what can't be printed becomes `_`."""
        text = self.place.rstrip("/|:") if self.is_remote else os.fspath(self.path.resolve())
        name = re.split(r"[/\\]", text)[-1]
        is_folder = not self.is_remote and self.path.is_dir()
        endings = _ENDINGS_OF_FOLDERS if is_folder else _ENDINGS
        while (shorter := endings.sub("", name)) not in (name, ""):
            name = shorter
        return "".join(c if c.isprintable() else "_" for c in name) or "volume"


def parse_thing(text: str | os.PathLike[str]) -> Thing:
    """Return what a user's text names.

    Raises
    ------
    InputError
        A setting is unknown, or its value can't be used.

    Examples
    --------
    >>> thing = parse_thing("map.nii.gz:min=2:opacity=0.5")
    >>> thing.place, thing.asked.low, thing.asked.opacity
    ('map.nii.gz', 2.0, 0.5)
    """
    place = os.fspath(text)
    settings: dict[str, str] = {}
    while not _is_there(place) and (match := _SETTING.search(place)) is not None:
        name, value = match[1].lower(), match[2]
        if name not in _SETTINGS:
            raise InputError(
                f"{place!r}: {match[1]!r} can't be set; the settings are {', '.join(_SETTINGS)}"
            )
        if name in settings:
            raise InputError(f"{os.fspath(text)!r} sets {name} twice")
        settings[name] = value
        place = place[: match.start()]
    if not place:
        raise InputError(f"{os.fspath(text)!r} has nothing to show; put a path before the colon")
    members: dict[str, Any] = {}
    for name, value in settings.items():
        member, parse = _SETTINGS[name]
        try:
            members[member] = parse(value)
        except InputError as error:
            raise InputError(f"{os.fspath(text)!r}: {error}") from error
        except ValueError:
            raise InputError(
                f"{os.fspath(text)!r}: {name}={value} must be {_EXPECTED[name]}"
            ) from None
    kind, table = members.pop("type", None), members.pop("table", None)
    return Thing(place, Asked(**members) if members else NOTHING_ASKED, kind, table)


def _is_there(place: str) -> bool:
    try:
        return not is_url(place) and os.path.lexists(place)
    except ValueError:  # no path can hold it
        return False


def _number(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(text)
    return value


def _share(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise ValueError(text)
    return value


def _switch(text: str) -> bool:
    if text not in ("0", "1"):
        raise ValueError(text)
    return text == "1"


def _place(text: str) -> int:
    if not re.fullmatch("[0-9]{1,9}", text):
        raise ValueError(text)
    return int(text)


def _kind(text: str) -> str:
    if text not in ("image", "segmentation"):
        raise ValueError(text)
    return text


def _colour(text: str) -> tuple[int, int, int]:
    if (colour := parse_colour(text)) is None:
        raise ValueError(text)
    return colour


def _path(text: str) -> str:
    if not text:
        raise ValueError(text)
    return text


_SETTINGS: dict[str, tuple[str, Callable[[str], object]]] = {
    "colormap": ("colour_map", parse_colour_map),
    "min": ("low", _number),
    "max": ("high", _number),
    "opacity": ("opacity", _share),
    "visible": ("is_visible", _switch),
    "labels": ("table", _path),
    "color": ("colour", _colour),
    "type": ("type", _kind),
    "volume": ("channel", _place),
}
_EXPECTED = {
    "min": "a number",
    "max": "a number",
    "opacity": "a number from 0 to 1",
    "visible": "0 or 1",
    "labels": "the path of a label table",
    "color": f"#rrggbb or one of {', '.join(SINGLE_COLOURS)}",
    "type": "image or segmentation",
    "volume": "a whole number, counted from 0",
}


def unique_names(names: Iterable[str]) -> list[str]:
    """Return names that differ: those that come again get numbers.

    Examples
    --------
    >>> unique_names(["a", "b", "a"])
    ['a', 'b', 'a-2']
    """
    found: list[str] = []
    for base in names:
        name, number = base, 1
        while name in found:
            number += 1
            name = f"{base}-{number}"
        found.append(name)
    return found


def url_name(name: str) -> str:
    """Return a name for the part of a URL, in characters that need no escape."""
    return re.sub(r"[^\w.+-]+", "_", name, flags=re.ASCII).lstrip(".") or "volume"
