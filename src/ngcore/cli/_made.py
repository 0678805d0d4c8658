"""The last line of a command that wrote something: what it is, how large, and what to do next."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import Any

import click

logger = logging.getLogger(__name__)

_UNITS = ("bytes", "kB", "MB", "GB", "TB", "PB")


def say_made(
    dest: str | os.PathLike[str],
    then: str = "view",
    *,
    at: str | os.PathLike[str] | None = None,
    as_json: bool = False,
) -> None:
    """Say what was made: as a line on a terminal, or as JSON.

    Parameters
    ----------
    dest : path or URL
        A folder or a file that is there.
    then : str
        The command that is a good next step; empty where there is none.
    at : path or URL, optional
        What that command takes; default `dest`.
    as_json : bool
        Print JSON on stdout instead, with what the `info` file says about a volume.
    """
    if not as_json and not logger.isEnabledFor(logging.INFO):
        return  # no need to look at all files
    name = os.fspath(dest)
    size = _size(name)
    if as_json:
        click.echo(json.dumps({"path": name, "bytes": size, **_described(name)}, indent=2))
        return
    parts = [name, *([] if size is None else [size_text(size)])]
    line = f"made {', '.join(parts)}"
    if then:
        import shlex

        line += f"; next: ngcore {then} {shlex.quote(os.fspath(at or name))}"
    logger.info(line)


def size_text(size: int) -> str:
    """Return a number of bytes as people read it.

    Examples
    --------
    >>> [size_text(size) for size in (7, 1234, 12_345_678)]
    ['7 bytes', '1.2 kB', '12 MB']
    """
    value, unit = float(size), 0
    while value >= 999.5 and unit < len(_UNITS) - 1:
        value /= 1000
        unit += 1
    text = f"{value:.1f}" if unit and value < 9.95 else f"{value:.0f}"
    return f"{text} {_UNITS[unit]}"


def _size(name: str) -> int | None:
    """Return the bytes of a file, or of all files in a folder; None where it is a URL."""
    if "://" in name:
        return None
    path = Path(name)
    if not path.is_dir():
        return path.stat().st_size if path.exists() else None
    total = 0
    for folder, _, files in os.walk(path):
        for file in files:
            try:
                total += os.lstat(os.path.join(folder, file)).st_size  # noqa: PTH118 - of millions
            except OSError:  # removed meanwhile
                continue
    return total


def _described(name: str) -> dict[str, Any]:
    """Return what the info of a volume says about it; nothing where it is none."""
    from ngcore.errors import NgcoreError
    from ngcore.volume.read import open as open_volume

    try:
        info = open_volume(name).info
    except NgcoreError:
        return {}
    return {
        "type": info.type,
        "data_type": info.data_type,
        "num_channels": info.num_channels,
        "scales": [
            {"key": scale.key, "size": scale.size, "resolution": scale.resolution}
            for scale in info.scales
        ],
        "mesh": info.mesh,
        "segment_properties": info.segment_properties,
    }
