"""`ngcore gallery`: the page of a folder of volumes, as files for any web server or bucket."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from ngcore.errors import DestinationError, InputError, NgcoreError
from ngcore.previewing.picture import thumbnail
from ngcore.server.client import PUBLIC_VIEWER
from ngcore.server.folders import find_volumes, layer_of, open_volume, source_of
from ngcore.server.index_page import GENERATOR, Entry, facts_of, index_page
from ngcore.server.layers import VolumeLayer
from ngcore.server.published import checked_base
from ngcore.server.states import PAGE_MEMBER, layer_bounds, viewer_state, viewer_url
from ngcore.server.things import unique_names
from ngcore.storage import is_url, open_store, place_in, split_place, writable_store
from ngcore.storage.local import LocalStore
from ngcore.transaction.output_file import check_output_folder
from ngcore.transaction.stale import remove_stale

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from ngcore.server.layers import Layer
    from ngcore.storage import Store

logger = logging.getLogger(__name__)

PAGE = "index.html"
FILES = "index-files"
"""The folder of pictures and states, beside the page."""
STATE, PICTURE = "state.json", "thumbnail.png"
_HERE = "."
"""Stands for the URL of the page, which its script knows."""
_MARK = f'<meta name="generator" content="{GENERATOR}">'


def gallery(
    folder: str | os.PathLike[str], *, url: str | None = None, viewer: str = PUBLIC_VIEWER
) -> Sequence[str | Path]:
    """Write the page of a folder of volumes, their pictures and their states.

    Parameters
    ----------
    folder : path or URL
        A volume, or a folder of volumes and zips of such, here or in a bucket.
    url : str, optional
        Where the folder is published; default wherever the page is opened from. A state can be
        loaded from its own URL only where this is given.
    viewer : str
        The Neuroglancer page that opens them.

    Returns
    -------
    sequence of Path, or of str for URLs
        What was written, the page first.

    Raises
    ------
    InputError
        There is no volume in the folder, or a URL has no scheme.
    DestinationError
        The folder can't be written, or has an `index.html` of somebody else's.
    """
    base = _HERE if url is None else checked_base(url)
    if "://" not in viewer:
        raise InputError(f"--viewer {viewer!r} has no scheme; pass a URL such as {PUBLIC_VIEWER}")
    found = volumes_of(folder)
    store = writable_store(folder)
    check_output_folder(store)
    _check_page(store)
    if isinstance(store, LocalStore):
        remove_stale(store.path)
        remove_stale(store.path / FILES, below=True)
    layers: dict[str, Layer] = {}
    entries: list[Entry] = []
    written: list[str] = []
    titles = [name or _name_of(folder) for name in found]
    shown = unique_names(title.removesuffix(".zip") for title in titles)
    for (name, path), title, layer in zip(found.items(), titles, shown, strict=True):
        source = source_of(base + (f"/{quote(name)}" if name else ""), path)
        try:
            layers[name] = layer_of(open_store(path), layer, source)
            state = viewer_state([layers[name]])
            facts = facts_of(open_store(path))
        except NgcoreError as error:
            logger.warning("%s is on the page without a link: %s", path, error)
            entries.append(Entry(name, title, source, "", None, {}, "can't be shown"))
            layers.pop(name, None)
            continue
        here = f"{FILES}/{title}"
        picture = _write_picture(store, path, f"{here}/{PICTURE}", layers[name])
        written += [f"{here}/{PICTURE}"] if picture else []
        store.put(f"{here}/{STATE}", json.dumps(state, indent=1).encode())
        written.append(f"{here}/{STATE}")
        link = viewer_url(viewer, state)
        entries.append(
            Entry(name, title, source, link, quote(picture) if picture else None, facts)
        )
    data, open_all = _data(layers, viewer)
    store.put(PAGE, index_page(entries, data, open_all).encode())
    store.sync([PAGE, *written])
    _remove_stale(store, written)
    places = [place_in(folder, name) for name in (PAGE, *written)]
    return [*places] if is_url(folder) else [*map(Path, places)]


def _name_of(folder: str | os.PathLike[str]) -> str:
    return split_place(folder)[1] if is_url(folder) else Path(folder).resolve().name


def volumes_of(folder: str | os.PathLike[str]) -> dict[str, str]:
    """Return the volumes of a folder, here or in a bucket, by their places in it.

    Raises
    ------
    InputError
        There are none.
    """
    found = find_volumes(folder) if is_url(folder) or Path(folder).is_dir() else {}
    if not found:
        raise InputError(
            f"no volume in {os.fspath(folder)!r}: neither it nor a folder or zip in it has an "
            "info file; pass one that ngcore has written"
        )
    return found


def _check_page(store: Store) -> None:
    page = store.get(PAGE)
    if page is not None and _MARK.encode() not in page:
        raise DestinationError(
            f"'{store.location}/{PAGE}' exists and was not made by `ngcore gallery`; move it "
            "away first"
        )


def _write_picture(store: Store, path: str, name: str, layer: Layer) -> str | None:
    """Write the picture of a volume; return its name, None where it has none."""
    if not isinstance(layer, VolumeLayer):
        return None
    try:
        picture = thumbnail(open_volume(open_store(path)), size=192)
    except NgcoreError as error:
        logger.warning("%s is on the page without a picture: %s", path, error)
        return None
    store.put(name, picture)
    return name


def _data(layers: dict[str, Layer], viewer: str) -> tuple[dict[str, Any], str]:
    """Return what the page's script needs, and the link that opens all."""
    if not layers:
        return {"viewer": viewer, "states": {}}, viewer
    together = viewer_state(list(layers.values()))
    bounds = layer_bounds(list(layers.values()))
    data = {
        "viewer": viewer,
        "states": {name: viewer_state([layer]) for name, layer in layers.items()},
        "together": together,
        "layers": {name: layer.name for name, layer in layers.items()},
        "bounds": dict(zip(layers, bounds, strict=True)),
    }
    return data, viewer_url(viewer, {k: v for k, v in together.items() if k != PAGE_MEMBER})


def _remove_stale(store: Store, written: Collection[str]) -> None:
    """Remove states and pictures of volumes that are gone, and nothing else."""
    for name in list(store.list(f"{FILES}/")):
        _, _, last = name.split("/", 2) if name.count("/") == 2 else ("", "", "")
        if last in (STATE, PICTURE) and name not in written:
            store.delete(name)
    store.prune(FILES)
