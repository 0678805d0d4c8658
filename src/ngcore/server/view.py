"""One Neuroglancer page that shows several volumes, and links to data that is published."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from ngcore.errors import InputError
from ngcore.server.states import viewer_state
from ngcore.server.survey import find_volumes, survey
from ngcore.storage import url_of_path

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ngcore.server.states import Space, State

_UNSAFE = re.compile(r"[^\w.+-]+")


def name_volumes(folders: Sequence[Path]) -> dict[str, Path]:
    """Return volumes by names that differ, made from the names of their folders.

    A folder of volumes stands for all of them.

    Raises
    ------
    InputError
        A folder neither is nor holds a volume.
    """
    named: dict[str, Path] = {}
    for folder in folders:
        for volume in _volumes_of(folder):
            base = _UNSAFE.sub("_", volume.resolve().name).lstrip(".") or "volume"
            name, number = base, 1
            while name in named:
                number += 1
                name = f"{base}-{number}"
            named[name] = volume
    return named


def _volumes_of(folder: Path) -> list[Path]:
    if (url := url_of_path(folder)) is not None:
        raise InputError(
            f"{url!r} is a URL; pass a folder here, or open precomputed://{url} in a Neuroglancer"
        )
    found = list(find_volumes(folder).values()) if folder.is_dir() else []
    if not found:
        raise InputError(
            f"no volume in {str(folder)!r}: there is no info file; "
            "pass a folder that ngcore convert has written"
        )
    return found


def state_of(volumes: Mapping[str, Path], urls: Mapping[str, str], *, space: Space) -> State:
    """Return a state that shows volumes, by name, whose sources are `urls`, by name."""
    layers = [survey(path, name, urls[name]) for name, path in volumes.items()]
    return viewer_state(layers, space=space)


def published_urls(
    folders: Sequence[Path], volumes: Mapping[str, Path], base: str
) -> dict[str, str]:
    """Return the sources, by name, of volumes that are published below a URL.

    Parameters
    ----------
    folders : sequence of path
        A single folder is what the URL holds. Several lie there as they do in the folder that
        holds them all.
    volumes : mapping of str to path
        What `name_volumes` makes of the folders.
    base : str
        The URL, of any scheme that Neuroglancer knows.

    Raises
    ------
    InputError
        The URL has no scheme.
    """
    base = base.removeprefix("precomputed://").rstrip("/")
    if "://" not in base:
        raise InputError(
            f"--url {base!r} has no scheme; pass a URL such as https://example.org/data"
        )
    real = [folder.resolve() for folder in folders]
    top = real[0] if len(real) == 1 else Path(os.path.commonpath([x.parent for x in real]))
    urls = {}
    for name, volume in volumes.items():
        place = volume.resolve().relative_to(top).as_posix()
        urls[name] = f"precomputed://{base}" + ("" if place == "." else f"/{quote(place)}")
    return urls
