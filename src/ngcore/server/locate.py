"""Which file answers a URL: layouts, manifests, and the fence around what is served.

A URL names chunks as Neuroglancer does (``key/0-64_0-64_0-64``) and label manifests with their
``:0`` suffix. On disk the chunk may lie in nested folders, the manifest without its suffix, and
either as a ``.gz`` file. Formats:
https://github.com/google/neuroglancer/tree/master/src/datasource/precomputed
"""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ngcore.errors import FormatError
from ngcore.precomputed.json_members import parse_object
from ngcore.precomputed.mesh_legacy import encode_manifest, mesh_info_type
from ngcore.precomputed.mesh_multilod import empty_manifest
from ngcore.precomputed.names import LEGACY_MESH_TYPE, MULTILOD_MESH_TYPE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_CHUNK = re.compile(r"(-?\d+--?\d+)_(-?\d+--?\d+)_(-?\d+--?\d+)", re.ASCII)
_MANIFEST = re.compile(r"(\d+):0", re.ASCII)
_MULTILOD_MANIFEST = re.compile(r"\d+\.index", re.ASCII)
_MOST_MESH_INFO = 1 << 16
_DRIVE = re.compile(r"[A-Za-z]:")
_PAGE_TYPES = {".html": "text/html; charset=utf-8", ".png": "image/png"}
"""Of what `gallery` writes beside volumes."""
_JSON_NAMES = frozenset({"info", "provenance"})
# On Windows a colon in a file name opens an alternate data stream.
_NAMES_HOLD_COLONS = os.name != "nt"


@dataclass(frozen=True, slots=True)
class LocatedFile:
    """A file that answers a URL."""

    path: Path
    is_gzipped: bool
    """The file holds the resource in gzip form, under the resource's name with ``.gz`` added."""
    media_type: str


class FileTree:
    """Folders that are served under URL prefixes, and nothing outside of them.

    Parameters
    ----------
    roots : mapping of str to path
        Folders by the first part of the URLs under which they are served. A single root under
        the empty name is served at ``/`` itself.
    """

    def __init__(self, roots: Mapping[str, Path]) -> None:
        self._roots = {name: Path(os.path.realpath(path)) for name, path in roots.items()}

    def find(self, url_path: str) -> LocatedFile | None:
        """Return the file for a decoded URL path such as ``/brain/info``, or None."""
        parts = url_path.removeprefix("/").split("/")
        root = self._roots.get("")
        if root is None:
            root = self._roots.get(parts.pop(0))
        if root is None:
            return None
        if not parts:  # a single file, such as a zip
            real = _regular_file_within(root.parent, root)
            return None if real is None else LocatedFile(real, False, _media_type(root.name))
        if not all(map(is_servable_name, parts)):
            return None
        for names in _stored_names(parts):
            path = root.joinpath(*names)
            if (real := _regular_file_within(root, path)) is not None:
                return LocatedFile(real, False, _media_type(parts[-1]))
            if names[-1].endswith(".shard"):
                continue  # a shard is fetched by ranges of its own bytes, never compressed
            gzipped = path.with_name(path.name + ".gz")
            if (real := _regular_file_within(root, gzipped)) is not None:
                return LocatedFile(real, True, _media_type(parts[-1]))
        return None

    def empty_manifest(self, url_path: str) -> bytes | None:
        """Return the manifest of no mesh, if a URL asks for that of a label that has none.

        None for all else, and for meshes in shards: the client finds in them what there is.
        """
        folder, _, name = url_path.rpartition("/")
        is_legacy = _MANIFEST.fullmatch(name) is not None
        if not is_legacy and _MULTILOD_MANIFEST.fullmatch(name) is None:
            return None
        info = None if self.find(url_path) is not None else self.find(f"{folder}/info")
        if info is None or info.is_gzipped or info.path.stat().st_size > _MOST_MESH_INFO:
            return None
        document = info.path.read_bytes()
        try:
            kind = mesh_info_type(document)
            if is_legacy:
                return encode_manifest(()) if kind == LEGACY_MESH_TYPE else None
            if kind == MULTILOD_MESH_TYPE and "sharding" not in parse_object(document):
                return empty_manifest()
        except FormatError:
            pass
        return None


def is_servable_name(name: str) -> bool:
    """Tell whether a part of a URL may name a file: not hidden, no way out of the folder."""
    return (
        name != ""
        and not name.startswith(".")
        and "\\" not in name
        and name.isprintable()
        and _is_text(name)
        and _DRIVE.match(name) is None
    )


def _is_text(name: str) -> bool:
    """Whether a name is Unicode, not bytes that the system could not decode."""
    return not any("\ud800" <= character <= "\udfff" for character in name)


def _stored_names(parts: list[str]) -> Iterator[list[str]]:
    """Yield the places in which the resource may lie, the plainest first."""
    *folders, last = parts
    if _NAMES_HOLD_COLONS or ":" not in last:
        yield parts
    if match := _CHUNK.fullmatch(last):
        yield [*folders, *match.groups()]
    elif match := _MANIFEST.fullmatch(last):
        yield [*folders, match.group(1)]


def _regular_file_within(root: Path, path: Path) -> Path | None:
    """Return the real path of a regular file inside `root`, through any symbolic links."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return None
        real = Path(os.path.realpath(path, strict=True))
    except (OSError, ValueError):  # absent, too long a name, a loop of links, ...
        return None
    if not real.is_relative_to(root):
        return None
    if not all(map(is_servable_name, real.relative_to(root).parts)):
        return None  # a link, or a short name of Windows, to a hidden file
    return real


def _media_type(name: str) -> str:
    if name in _JSON_NAMES or name.endswith(".json") or _MANIFEST.fullmatch(name):
        return "application/json"
    return _PAGE_TYPES.get(Path(name).suffix.lower(), "application/octet-stream")
