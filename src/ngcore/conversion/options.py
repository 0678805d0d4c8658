"""What a user asks of a conversion, checked before anything is opened."""

import math
import operator
import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ngcore.arrays.data_types import DATA_TYPES
from ngcore.errors import InputError
from ngcore.precomputed.chunks import Vec3
from ngcore.precomputed.info import ENCODINGS
from ngcore.precomputed.json_members import LARGEST_LENGTH, SMALLEST_LENGTH
from ngcore.precomputed.scales import LARGEST_CHUNK_SIDE

JPEG_QUALITY = 95
"""Unless another one is asked for."""
METHODS = ("average", "majority", "stride", "min", "max")

VolumeKind = Literal["image", "segmentation"]

_SIZE = r"(\d+(?:\.\d+)?)\s*([KMGT]?)I?B?"
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_SMALLEST_MEMORY = 128 << 20
_LARGEST_MEMORY = 1 << 62
_LARGEST_VALUE = float.fromhex("0x1.fffffep127")
"""Of float32, the widest type that is written."""


def parse_memory(size: str | int) -> int:
    """Return a size such as ``2G`` or ``512M`` in bytes.

    Raises
    ------
    InputError
        If it is not a size, or too small to work with.

    Examples
    --------
    >>> parse_memory("1.5G")
    1610612736
    """
    match = re.fullmatch(_SIZE, str(size).strip(), re.IGNORECASE)
    if match is None:
        raise InputError(f"--memory must be a size such as 512M or 2G, got {size!r}")
    number = float(match[1]) * _UNITS[match[2].upper()]
    if number < _SMALLEST_MEMORY:
        raise InputError(f"--memory must be at least 128M, got {size!r}")
    return int(min(number, _LARGEST_MEMORY))


@dataclass(frozen=True, slots=True)
class ConvertOptions:
    """The options of `ngcore convert`; see its help for their meaning.

    Attributes
    ----------
    is_uploaded : bool
        Whether the volume is written to a bucket: what is on its way there takes memory.
    chunk_shape : tuple of int, (x, y, z), in voxels, or None
        What `chunk_size` says; this and what follows are resolved once, where options are made.
    resolution_nm : tuple of float, (x, y, z), in nanometres, or None
    memory_bytes : int
        The bound on resident memory.
    thread_count : int
        How many threads do the work.
    is_gzipped : bool
        Whether chunks are gzipped.

    Raises
    ------
    InputError
        If a value is out of its range, or two options contradict each other.
    """

    type: Literal["image", "segmentation", "auto"] = "auto"
    data_type: str | None = None
    encoding: str | None = None
    jpeg_quality: int = JPEG_QUALITY
    chunk_size: int | Sequence[int] | None = None
    downsampling: str = "auto"
    max_scales: int | None = None
    sharding: bool = True
    layout: Literal["flat", "nested"] = "flat"
    gzip: bool | None = None
    resolution: Sequence[float] | str | None = None
    voxel_offset: Sequence[int] | None = None
    input_min: float | None = None
    input_max: float | None = None
    input_orientation: str | None = None
    gaps: Literal["keep", "blank"] = "keep"
    axes: str | None = None
    level: int | None = None
    affine: Any = None
    form: Literal["auto", "sform", "qform"] = "auto"
    orient: str | None = None
    ignore_scaling: bool = False
    label_tolerance: float | None = None
    outside_value: float | None = None
    memory: str | int = "1G"
    workers: int | None = None
    tmp: str | os.PathLike[str] | None = None
    fsync: bool = True
    resume: bool = False
    overwrite: bool = False
    is_uploaded: bool = False
    chunk_shape: Vec3 | None = field(init=False, repr=False)
    resolution_nm: tuple[float, float, float] | None = field(init=False, repr=False)
    memory_bytes: int = field(init=False, repr=False)
    thread_count: int = field(init=False, repr=False)
    is_gzipped: bool = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._make_plain()
        _check_choice("type", self.type, ("image", "segmentation", "auto"))
        _check_choice("data-type", self.data_type, (None, *DATA_TYPES))
        _check_choice("encoding", self.encoding, (None, "auto", *ENCODINGS))
        _check_choice("downsampling", self.downsampling, ("auto", *METHODS))
        _check_choice("layout", self.layout, ("flat", "nested"))
        _check_choice("gzip", self.gzip, (None, True, False))
        _check_choice("gaps", self.gaps, ("keep", "blank"))
        _check_choice("form", self.form, ("auto", "sform", "qform"))
        if not 1 <= self.jpeg_quality <= 100:
            raise InputError(f"--jpeg-quality must be from 1 to 100, got {self.jpeg_quality}")
        if self.chunk_shape is not None and min(self.chunk_shape) < 1:
            raise InputError(f"--chunk-size must be N or X,Y,Z, 1 or more, got {self.chunk_size}")
        if self.chunk_shape is not None and max(self.chunk_shape) > LARGEST_CHUNK_SIDE:
            raise InputError(
                f"--chunk-size must be at most {LARGEST_CHUNK_SIDE} on each side, got "
                f"{self.chunk_size}: Neuroglancer draws longer chunks black"
            )
        if self.max_scales is not None and self.max_scales < 1:
            raise InputError(f"--max-scales must be at least 1, got {self.max_scales}")
        if self.workers is not None and self.workers < 1:
            raise InputError(f"--workers must be at least 1, got {self.workers}")
        if self.layout == "nested" and self.sharding:
            raise InputError("--layout nested is for unsharded volumes; add --no-sharding")
        if self.resume and self.overwrite:
            raise InputError("--resume and --overwrite contradict each other; pass one of them")
        self._check_values()
        if self.tmp is not None and not Path(self.tmp).is_dir():
            raise InputError(f"--tmp must be a folder that exists, got {os.fspath(self.tmp)!r}")

    def _make_plain(self) -> None:
        """Turn numbers of any library into Python's own, which JSON and messages know."""
        plain: dict[str, object] = {}
        for name in ("jpeg_quality", "max_scales", "workers", "level"):
            plain[name] = _plain(name, getattr(self, name), _whole, "a whole number")
        for name in ("input_min", "input_max", "outside_value", "label_tolerance"):
            plain[name] = _plain(name, getattr(self, name), _number, "a number")
        if self.data_type is not None and not isinstance(self.data_type, str):
            # NumPy's own, such as np.uint16 or array.dtype.
            plain["data_type"] = _plain(
                "data_type", self.data_type, lambda t: np.dtype(t).name, "the name of a type"
            )
        plain["resolution"] = _plain(
            "resolution",
            self.resolution,
            _lengths,
            "X,Y,Z in nanometres or with units, such as 8,8,40 or 1mm",
        )
        plain["voxel_offset"] = _plain(
            "voxel_offset", self.voxel_offset, lambda o: _three(o, _whole), "three whole numbers"
        )
        plain["chunk_size"] = _plain(
            "chunk_size",
            self.chunk_size,
            lambda c: _three(c, _whole) if isinstance(c, Iterable) else _whole(c),
            "N or X,Y,Z in whole voxels",
        )
        if self.affine is not None:
            from ngcore.sources.affine_files import read_affine

            affine = read_affine(self.affine)
            plain["affine"] = None if affine is None else tuple(affine.ravel().tolist())
        size = plain["chunk_size"]
        plain["chunk_shape"] = (size, size, size) if isinstance(size, int) else size
        plain["resolution_nm"] = plain["resolution"]
        plain["memory_bytes"] = parse_memory(self.memory)
        # A container or a batch job often has fewer processors than the machine.
        own = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else ()
        plain["thread_count"] = plain["workers"] or len(own) or os.cpu_count() or 1
        plain["is_gzipped"] = self.sharding if self.gzip is None else self.gzip
        for name, value in plain.items():
            object.__setattr__(self, name, value)

    def _check_values(self) -> None:
        sizes = self.resolution_nm
        if sizes is not None and not all(math.isfinite(n) and n > 0 for n in sizes):
            raise InputError(f"--resolution must be three positive sizes in nm, got {sizes}")
        if sizes is not None and not all(SMALLEST_LENGTH <= n <= LARGEST_LENGTH for n in sizes):
            raise InputError(
                f"--resolution must be in nm, from {SMALLEST_LENGTH:g} to {LARGEST_LENGTH:g}, got "
                f"{sizes}"
            )
        low, high = self.input_min, self.input_max
        if low is not None and high is None:
            raise InputError("--input-min needs --input-max")
        if high is not None and not math.isfinite(high - (low or 0)):
            raise InputError("--input-min and --input-max must be finite")
        if high is not None and high <= (low or 0):
            raise InputError(f"--input-max must be above --input-min, got {low or 0} and {high}")
        tolerance = self.label_tolerance
        if tolerance is not None and not 0 <= tolerance < 0.5:
            raise InputError(f"--label-tolerance must be from 0 to below 0.5, got {tolerance}")
        outside = self.outside_value
        if outside is not None and not abs(outside) <= _LARGEST_VALUE:
            raise InputError(
                f"--outside-value must be a number that the volume can hold, got {outside}"
            )
        if outside is not None and self.downsampling not in ("auto", "average"):
            raise InputError(
                f"--outside-value is for --downsampling average, got {self.downsampling}"
            )

    def method_for(self, kind: VolumeKind) -> str:
        """Return the downsampling method, with auto resolved for a type of volume."""
        if self.downsampling != "auto":
            return self.downsampling
        return "average" if kind == "image" else "majority"


def _whole(value: Any) -> int:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return operator.index(value)


def _number(value: Any) -> int | float:
    if isinstance(value, str | bytes):
        raise TypeError("text is not a number")
    return value if type(value) is int else float(value)


def _three(values: Any, convert: Callable[[Any], Any]) -> tuple[Any, Any, Any]:
    x, y, z = values
    return convert(x), convert(y), convert(z)


def _lengths(value: Any) -> tuple[float, float, float]:
    if not isinstance(value, str):
        return _three(value, _number)
    from ngcore.arrays.lengths import parse_lengths_nm

    return parse_lengths_nm(value)


def _plain(name: str, value: Any, convert: Callable[[Any], Any], expected: str) -> Any:
    try:
        return None if value is None and name != "jpeg_quality" else convert(value)
    except (TypeError, ValueError, OverflowError):
        option = name.replace("_", "-")
        raise InputError(f"--{option} must be {expected}, got {value!r}") from None


def _check_choice(name: str, value: object, choices: tuple[object, ...]) -> None:
    if value not in choices:
        known = ", ".join(str(choice) for choice in choices if choice is not None)
        raise InputError(f"--{name} must be one of {known}, got {value!r}")
