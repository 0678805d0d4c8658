"""Things made ready to be looked at together: converted where they must be, named, looked at."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from ngcore.errors import InputError
from ngcore.labelling.labels import properties_of_table
from ngcore.previewing.colour_maps import parse_colour_map
from ngcore.server.folders import find_volumes, has_info, layer_of, open_volume, source_of
from ngcore.server.kinds import make
from ngcore.server.layers import VolumeLayer
from ngcore.server.things import Thing, parse_thing, unique_names, url_name
from ngcore.storage import open_store
from ngcore.storage.file_lock import make_folders
from ngcore.storage.local import LocalStore
from ngcore.volume.segment_colours import hex_of

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from ngcore._verbs import Progress
    from ngcore.server.layers import Layer
    from ngcore.volume.segment_colours import Colour

    Watch = Callable[[str], contextlib.AbstractContextManager[Progress | None]]
    """Of what is done, in words: a context that yields how progress is told."""

PROPERTIES_FOLDER = "labels"


@dataclass(frozen=True, slots=True)
class Shown:
    """Something precomputed that is shown.

    Attributes
    ----------
    thing : Thing
        As it was named.
    name : str
        Of the layer.
    root : str
        First part of its URL, where it is served.
    path : Path or None
        The folder, or the zip file; None for what lies at a URL.
    properties : Path or None
        A folder of segment properties made from a table.
    colours : mapping of int to (red, green, blue), or None
        Of the table.
    """

    thing: Thing
    name: str
    root: str
    path: Path | None
    properties: Path | None = None
    colours: Mapping[int, Colour] | None = None

    @property
    def place(self) -> str | os.PathLike[str]:
        """Where it can be read."""
        return self.thing.place if self.path is None else self.path


@contextlib.contextmanager
def workshop(keep: str | os.PathLike[str] | None) -> Iterator[Path]:
    """Yield a folder for what is converted: `keep`, or a temporary one that goes at the end."""
    if keep is not None:
        folder = Path(keep)
        try:
            make_folders(folder)
        except OSError as error:
            raise InputError(
                f"--keep {str(folder)!r} can't be created: {error.strerror}; pass another folder"
            ) from error
        yield folder
        return
    folder = Path(tempfile.mkdtemp(prefix="ngcore-view-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def unwatched(_: str) -> Iterator[None]:
    """Watch nothing."""
    yield None


def make_ready(
    things: Sequence[str | os.PathLike[str]], folder: Path, watch: Watch = unwatched
) -> list[Shown]:
    """Return what is to be shown, all of it precomputed.

    Parameters
    ----------
    things : sequence of str or path
        As users name them; see `ngcore.server.things`.
    folder : Path
        Where to put what is converted.
    watch : callable, optional
        Told of each thing that is converted.

    Raises
    ------
    NgcoreError
        A thing is not there, or can't be converted.
    """
    parsed = [parse_thing(thing) for thing in things]
    expanded = [found for thing in parsed for found in _expanded(thing)]
    names = unique_names(thing.name for thing in expanded)
    roots = unique_names(url_name(name) for name in names)
    shown: list[Shown] = []
    for thing, name, root in zip(expanded, names, roots, strict=True):
        shown += _made(thing, name, root, folder, watch)
    return [_with_table(item, folder) for item in shown]


def _expanded(thing: Thing) -> list[Thing]:
    """Return the things of a folder of precomputed ones, or the thing itself."""
    if thing.is_remote:
        return [thing]
    if not thing.path.is_dir() or has_info(thing.path):
        return [thing]
    return [replace(thing, place=path) for path in find_volumes(thing.path).values()] or [thing]


def _made(thing: Thing, name: str, root: str, folder: Path, watch: Watch) -> list[Shown]:
    if thing.is_remote:
        return [Shown(thing, name, root, None)]
    if has_info(thing.path) or thing.path.suffix.lower() == ".zip":
        if thing.type is not None:
            _check_type(thing)
        return [Shown(thing, name, root, thing.path)]
    dest = folder / root
    with watch(f"converting {name}") as progress:
        make(thing, dest, progress)
    if has_info(dest):
        return [Shown(thing, name, root, dest)]
    # Such as tracts, which become bundles and streamlines.
    return [
        Shown(thing, f"{name} {part}", f"{root}/{part}", Path(path))
        for part, path in find_volumes(dest).items()
    ]


def _check_type(thing: Thing) -> None:
    found = open_volume(open_store(thing.place)).info.type
    if found != thing.type:
        raise InputError(
            f"{thing.place!r} was converted as {found}; convert its source again with "
            f"--type {thing.type}"
        )


def _with_table(shown: Shown, folder: Path) -> Shown:
    """Write the properties of a label table, which the state adds to the layer."""
    if shown.thing.table is None:
        return shown
    properties, colours = properties_of_table(shown.thing.table)
    path = folder / f"{shown.root}.{PROPERTIES_FOLDER}"
    LocalStore(path).put("info", properties.to_json().encode())
    return replace(shown, properties=path, colours=colours)


def layers_of(shown: Sequence[Shown], url_of: Callable[[Path, str], str]) -> list[Layer]:
    """Return the layers of what is shown.

    Parameters
    ----------
    shown : sequence of Shown
    url_of : callable
        Of a folder and its root: the source under which it is served.

    Raises
    ------
    NgcoreError
        Something is damaged, or its settings do not fit it.
    """
    return [_layer(item, url_of) for item in shown]


def _layer(item: Shown, url_of: Callable[[Path, str], str]) -> Layer:
    if item.path is None:
        url = item.thing.place
        url = url if url.startswith("precomputed://") else f"precomputed://{url}"
    else:
        url = url_of(item.path, item.root)
    layer = layer_of(open_store(item.place), item.name, url, item.thing.asked)
    if not isinstance(layer, VolumeLayer):
        if item.thing.table is not None:
            raise InputError(f"{item.name}: labels= is for segmentations; leave it out")
        return layer
    _check_settings(layer, item)
    if layer.asked.colour is not None and not layer.is_segmentation:
        colour_map = layer.asked.colour_map or parse_colour_map(hex_of(layer.asked.colour))
        layer = replace(layer, asked=replace(layer.asked, colour_map=colour_map))
    if item.properties is None:
        return layer
    url = url_of(item.properties, f"{item.root}.{PROPERTIES_FOLDER}")
    return replace(layer, colours=item.colours or {}, properties_url=url)


def _check_settings(layer: VolumeLayer, item: Shown) -> None:
    asked = layer.asked
    if layer.is_segmentation:
        given = {
            "colormap": asked.colour_map,
            "min": asked.low,
            "max": asked.high,
            "volume": asked.channel,
        }
        for setting, value in given.items():
            if value is not None:
                raise InputError(f"{item.name}: {setting} is for images, but it holds labels")
    elif item.thing.table is not None:
        raise InputError(f"{item.name}: labels= is for segmentations, but it is an image")


def served_roots(shown: Sequence[Shown]) -> dict[str, Path]:
    """Return what a server must serve: folders and zip files by the first part of their URLs."""
    roots: dict[str, Path] = {}
    for item in shown:
        if item.path is not None:
            first, _, rest = item.root.partition("/")
            roots[_file_name(item.path, first)] = item.path.parent if rest else item.path
        if item.properties is not None:
            roots[f"{item.root}.{PROPERTIES_FOLDER}"] = item.properties
    return roots


def _file_name(path: Path, root: str) -> str:
    return f"{root}.zip" if path.is_file() else root


def served_url(origin: str, path: Path, root: str) -> str:
    """Return the Neuroglancer source of a folder or zip that is served under a root."""
    return source_of(f"{origin}/{quote(_file_name(path, root))}", path)
