"""Formats of sources: each is one file in `volumes/` that registers itself; none is named here.

A format is known by its content first and by the ending of its name second, so that a file under
a wrong name is still read as what it is.
"""

from __future__ import annotations

import bz2
import os
import zlib
from dataclasses import replace
from functools import cached_property
from importlib import import_module
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

from ngcore.errors import InputError
from ngcore.sources.files import missing_file, open_binary
from ngcore.sources.geometry import AskedGeometry
from ngcore.storage import is_url

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from ngcore.sources.base import Source
    from ngcore.sources.volumes.nifti_affine import Form

HEAD_BYTES = 4096
"""How much of a file is looked at to know what it is."""


class Asked(NamedTuple):
    """What the caller asks of a source.

    Attributes
    ----------
    geometry : AskedGeometry
        Resolution, offset and affine instead of the source's.
    form : "auto", "sform" or "qform"
        Which affine of a NIfTI file.
    ignore_scaling : bool
        Take stored values as they are.
    input_orientation : str or None
        For slices: direction of increasing column, row and slice; None: RAS, without a world.
    gaps : "keep" or "blank"
        For slices: what becomes of section numbers that are missing.
    type : "image", "segmentation" or "auto"
        What the volume will be; sources that could be read either way look at it.
    axes : str or None
        What each stored axis is, slowest first, such as "zyx".
    level : int or None
        Which of several resolutions; None: the finest.
    workers : int or None
        How many pieces are decoded at once; None: as many as there are processors.
    """

    geometry: AskedGeometry = AskedGeometry()
    form: Form = "auto"
    ignore_scaling: bool = False
    input_orientation: str | None = None
    gaps: Literal["keep", "blank"] = "keep"
    type: Literal["image", "segmentation", "auto"] = "auto"
    axes: str | None = None
    level: int | None = None
    workers: int | None = None


class Found:
    """What lies at the path or URL of a source.

    Parameters
    ----------
    name : str
        The source as the user gave it.
    location : str
        The path or URL without what follows `:/`.
    inside : str or None
        Of `FILE:/path/inside`: `path/inside`.

    Attributes
    ----------
    path : Path
        Where it lies in the file system.
    is_url : bool
        Whether it lies on a server or in a bucket.
    """

    def __init__(self, name: str, location: str, inside: str | None = None) -> None:
        self.name = name
        self.location = location
        self.inside = inside
        self.path = Path(location)
        self.is_url = is_url(location)

    @classmethod
    def at(cls, name: str) -> Found:
        """Take `FILE:/path/inside` apart, if that is what a name is.

        Examples
        --------
        >>> Found.at("s3://bucket/a.zarr:/0").inside
        '0'
        """
        scheme = name.index("://") + 3 if is_url(name) else 0
        if not scheme and os.path.lexists(name):
            return cls(name, name)
        start, mark, inside = name[scheme:].rpartition(":/")
        location = name[:scheme] + start
        if mark and (scheme or os.path.lexists(location)):
            return cls(name, location, inside.strip("/"))
        return cls(name, name)

    def elsewhere(self) -> Found:
        """Return the same for another process, whose current folder may be another one."""
        location = self.location if self.is_url else os.path.abspath(self.location)  # noqa: PTH100
        return Found(self.name, location, self.inside)

    @cached_property
    def is_folder(self) -> bool:
        """Whether it is a folder."""
        return not self.is_url and self.path.is_dir()

    def holds(self, *names: str) -> bool:
        """Return whether it is a folder with a file of one of these names."""
        # A folder that may not be entered: `os.path` takes that for an answer, `pathlib` raises.
        paths = (self.path / name for name in names)
        return self.is_folder and any(os.path.isfile(path) for path in paths)  # noqa: PTH113

    def is_zip_of(self, *names: str) -> bool:
        """Return whether it is a zip file that holds a file of one of these names on top."""
        if not self.head.startswith(b"PK\3\4"):
            return False
        import zipfile

        try:
            with zipfile.ZipFile(self.path) as file:
                known = file.NameToInfo
                return any(name in known for name in names)
        except (OSError, zipfile.BadZipFile, ValueError):
            return False

    def ends_with(self, *endings: str) -> bool:
        """Return whether its name ends so, in whatever case."""
        return self.location.rstrip("/").lower().endswith(endings)

    @cached_property
    def head(self) -> bytes:
        """The first bytes of a file; none where there is no file that can be read."""
        if self.is_url or self.is_folder:
            return b""
        try:
            with self.path.open("rb") as file:
                return file.read(HEAD_BYTES)
        except (OSError, ValueError):
            return b""

    @cached_property
    def unpacked_head(self) -> bytes:
        """The first bytes of what a file holds under gzip or bzip2; else those of the file."""
        try:
            if self.head.startswith(b"\x1f\x8b"):
                return zlib.decompressobj(31).decompress(self.head, HEAD_BYTES)
            if self.head.startswith(b"BZh"):
                with bz2.open(self.path) as file:  # a block gives nothing until it is whole
                    return file.read(HEAD_BYTES)
            if self.head.startswith(b"\x28\xb5\x2f\xfd"):
                return self._zstd_head()
        except (OSError, EOFError, zlib.error):
            return b""
        return self.head

    def _zstd_head(self) -> bytes:
        try:
            import zstandard
        except ImportError:
            return b""
        try:
            reader = zstandard.ZstdDecompressor().stream_reader(self.head, read_across_frames=True)
            return bytes(reader.read(HEAD_BYTES))
        except zstandard.ZstdError:
            return b""


class Opener(Protocol):
    """The one call that a format consists of."""

    __module__: str

    def __call__(self, found: Found, asked: Asked, /) -> Source:
        """Open a source; errors need not name it, and notes neither."""


def _never(_found: Found) -> bool:
    return False


class SourceFormat(NamedTuple):
    """A kind of source.

    Attributes
    ----------
    name : str
        What messages call it: "NRRD".
    open : callable of (Found, Asked), returns Source
        Reads the header, no voxels. It imports what it needs when it is called.
    is_it : callable of (Found), returns bool
        Tells by content; it is asked about every source, so it must not import anything.
    endings : tuple of str
        Of names, in lower case with their dots.
    takes : set of str
        Fields of `Asked` that mean something here, and "inside" where `FILE:/path/inside` does;
        others are refused where they are given.
    is_last_resort : bool
        It is only asked when no other format knows the source.
    """

    name: str
    open: Opener
    is_it: Callable[[Found], bool] = _never
    endings: tuple[str, ...] = ()
    takes: frozenset[str] = frozenset()
    is_last_resort: bool = False


_FORMATS: dict[str, SourceFormat] = {}
_COMMON = ("npy", "nifti")  # asked first, the one that imports least before the other


def register(source_format: SourceFormat) -> SourceFormat:
    """Make a format known; a later one of the same name takes its place.

    Examples
    --------
    >>> toy = register(SourceFormat(name="toy", open=print, endings=(".toy",)))
    >>> find_format(Found.at("a.toy")).name
    'toy'
    >>> unregister(toy)
    """
    _FORMATS[source_format.name] = source_format
    return source_format


def unregister(source_format: SourceFormat) -> None:
    """Forget a format."""
    _FORMATS.pop(source_format.name, None)


def formats() -> tuple[SourceFormat, ...]:
    """Return every format; imports all modules of `volumes/`."""
    return tuple(sorted(_in_turn(), key=lambda known: known.is_last_resort))


def known_formats() -> str:
    """Return the names of all formats that are known by themselves, for messages."""
    names = [one.name for one in formats() if not one.is_last_resort]
    return ", ".join(sorted(names, key=str.lower))


def find_format(found: Found) -> SourceFormat:
    """Return the format of a source, by its content or else by its name.

    Raises
    ------
    InputError
        If no format takes it.
    """
    for one in _in_turn():
        if not one.is_last_resort and one.is_it(found):
            return one
    known = formats()
    for one in known:
        if found.ends_with(*one.endings):
            return one
    for one in known:
        if one.is_last_resort and one.is_it(found):
            return one
    raise InputError(f"its format can't be read; ngcore reads {known_formats()}")


def _in_turn() -> Iterator[SourceFormat]:
    """Yield formats that others registered, then those of `volumes/`, common ones first.

    A module of `volumes/` is imported when its turn comes, so most sources need one or two. The
    order is the same whatever was imported before.
    """
    from ngcore.sources import volumes

    inside = f"{volumes.__name__}."
    yield from [one for one in _FORMATS.values() if not one.open.__module__.startswith(inside)]
    for name in chain(_COMMON, _others(volumes.__path__)):
        module = import_module(inside + name).__name__
        yield from [one for one in _FORMATS.values() if one.open.__module__ == module]


def _others(folders: Iterable[str]) -> Iterator[str]:
    import pkgutil

    names = {module.name for module in pkgutil.iter_modules(folders)}
    yield from sorted(names.difference(_COMMON))


_OPTIONS: dict[str, tuple[Any, str]] = {
    "form": ("auto", "--form {} is for NIfTI files; leave it out"),
    "input_orientation": (
        None,
        "--input-orientation is for slices and TIFF stacks; use --orient",
    ),
    "gaps": ("keep", "--gaps {} is for folders of slices; leave it out"),
    "axes": (None, "--axes {} is for arrays without named axes; leave it out"),
    "level": (None, "--level {} is for sources of several resolutions; leave it out"),
}


def check_takes(takes: frozenset[str], asked: Asked) -> None:
    """Refuse options that are set and not among those that are taken.

    Raises
    ------
    InputError
        That names the option.
    """
    for option, (default, message) in _OPTIONS.items():
        value = getattr(asked, option)
        if value != default and option not in takes:
            raise InputError(message.format(value))


def open_found(found: Found, asked: Asked) -> Source:
    """Open what was found with the format that takes it."""
    if found.head and len(found.head) < HEAD_BYTES:
        open_binary(found.path, found.name).close()  # says what pointers of Git are
    source_format = find_format(found)
    takes = source_format.takes
    check_takes(takes, asked)
    if found.inside is not None and "inside" not in takes:
        raise InputError(
            f"is {source_format.name}, which holds no paths; leave out ':/{found.inside}'"
        )
    if "inside" in takes and not found.is_url and not found.path.exists():
        raise missing_file(found.path, found.name)
    return source_format.open(found, asked)


def with_name(source: Source, name: str) -> Source:
    """Put the name that the user gave onto a source and its notes."""
    notes = tuple(note if name in note else f"{name}: {note}" for note in source.header.notes)
    source.header = replace(source.header, name=name, notes=notes)
    return source
