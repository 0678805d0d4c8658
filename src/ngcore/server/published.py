"""Where things lie that are published below a URL, and the links that show them there."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from ngcore.errors import InputError, InputNotFoundError
from ngcore.server.folders import find_volumes, source_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ngcore.server.things import Thing


def published_urls(
    places: Sequence[str | os.PathLike[str]], base: str
) -> Callable[[Path, str], str]:
    """Return a function from a folder to its source below a URL.

    Parameters
    ----------
    places : sequence of path
        What was named. A single folder is what the URL holds. Several lie there as they do in
        the folder that holds them all.
    base : str
        The URL, of any scheme that Neuroglancer knows.

    Raises
    ------
    InputError
        The URL has no scheme.
    """
    base = checked_base(base)
    real = [Path(place).resolve() for place in places]
    is_one_folder = len(real) == 1 and real[0].is_dir()
    if not real:
        top = Path.cwd()
    elif is_one_folder:
        top = real[0]
    else:
        top = Path(os.path.commonpath([x.parent for x in real]))

    def url_of(path: Path, _: str) -> str:
        place = path.resolve().relative_to(top).as_posix()
        return source_of(base + ("" if place == "." else f"/{quote(place)}"), path)

    return url_of


def checked_base(base: str) -> str:
    """Return a URL without a slash at its end.

    Raises
    ------
    InputError
        It has no scheme.
    """
    base = base.removeprefix("precomputed://").rstrip("/")
    if "://" not in base:
        raise InputError(
            f"--url {base!r} has no scheme; pass a URL such as https://example.org/data"
        )
    return base


def check_published(thing: Thing) -> None:
    """Refuse what can't be published as it is: files that `view` converts on the way.

    Raises
    ------
    InputError
    """
    if thing.table is not None:
        raise InputError(
            f"{thing.place!r}: labels= can't be part of a link; run `ngcore labels` on the "
            "volume first"
        )
    is_zip = thing.path.suffix.lower() == ".zip"
    if thing.is_remote or is_zip or (thing.path.is_dir() and find_volumes(thing.path)):
        return
    if not thing.path.exists():
        raise InputNotFoundError(
            f"no volume in {thing.place!r}: nothing is there; pass a folder that ngcore has "
            "written"
        )
    raise InputError(
        f"no volume in {thing.place!r}: there is no info file; pass a folder that ngcore convert "
        "has written"
    )
