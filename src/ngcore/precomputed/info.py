"""The ``info`` file of a multiscale volume and its scales: what it says, its rules, its JSON.

https://github.com/google/neuroglancer/blob/master/src/datasource/precomputed/volume.md
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np

from ngcore.arrays.data_types import DATA_TYPES
from ngcore.errors import FormatError, InputError
from ngcore.precomputed.chunks import Box, ChunkGrid, Vec3, morton_bits
from ngcore.precomputed.json_members import (
    MAX_SAFE_INTEGER,
    check_boolean,
    check_enum,
    check_extra,
    check_integer,
    check_integers,
    check_lengths,
    check_object,
    check_relative_path,
    check_type_tag,
    dump,
    fail,
    inside,
    parse_object,
    set_field,
    take,
    take_optional,
)
from ngcore.precomputed.names import VOLUME_TYPE, VOLUME_TYPES
from ngcore.precomputed.sharding import ShardingSpec

__all__ = [
    "DATA_TYPES",
    "ENCODINGS",
    "FOREIGN_ENCODINGS",
    "VOLUME_TYPES",
    "ScaleInfo",
    "VolumeInfo",
    "info_warnings",
]

ENCODINGS = ["raw", "png", "jpeg", "jxl", "compressed_segmentation"]
"""Chunk encodings that ngcore reads and writes; `precomputed.encodings.register` adds others."""
FOREIGN_ENCODINGS = (
    "jpegxl",
    "compresso",
    "crackle",
    "fpzip",
    "kempressed",
    "zfpc",
)
"""Chunk encodings that others write; an info that names them is valid, its chunks are not read."""

_SCALE_MEMBERS = (
    "key",
    "size",
    "resolution",
    "voxel_offset",
    "chunk_sizes",
    "encoding",
    "compressed_segmentation_block_size",
    "sharding",
    "hidden",
)
_MAX_CHUNK_SIDE = 2**32 - 1
"""Neuroglancer keeps sides of chunks as uint32."""


@dataclass(frozen=True, slots=True)
class ScaleInfo:
    """One resolution of a volume.

    Attributes
    ----------
    key : str
        Folder of the scale, relative to the info file; others' may hold ``..``.
    size : tuple of int, (x, y, z), in voxels
    resolution : tuple of float, (x, y, z), in nanometres per voxel
        Whole numbers are int.
    voxel_offset : tuple of int, (x, y, z), in voxels
        Global coordinate of the first voxel; may be negative.
    chunk_sizes : tuple of (x, y, z), in voxels
        One or more; exactly one where the scale is sharded.
    encoding : str
        One of `ENCODINGS` or `FOREIGN_ENCODINGS`.
    compressed_segmentation_block_size : tuple of int, (x, y, z), in voxels, or None
        Given if and only if that is the encoding.
    sharding : ShardingSpec or None
    hidden : bool
        Whether Neuroglancer leaves the scale out.
    extra : dict
        Members that others wrote and ngcore does not know; kept as they are.
    chunk_size : tuple of int, (x, y, z), in voxels
        The first of `chunk_sizes`: the one that ngcore reads and writes. This and what follows is
        derived from the members above.
    grid : ChunkGrid
        The chunks of size `chunk_size`.
    bounds : Box
        Every voxel of the scale, in global coordinates.

    Raises
    ------
    FormatError
        A value breaks the format's rules; the message starts with the member's name.
    """

    key: str
    size: Vec3
    resolution: tuple[float, float, float]
    voxel_offset: Vec3 = (0, 0, 0)
    chunk_sizes: tuple[Vec3, ...] = ((64, 64, 64),)
    encoding: str = "raw"
    compressed_segmentation_block_size: Vec3 | None = None
    sharding: ShardingSpec | None = None
    hidden: bool = False
    extra: dict[str, Any] = field(default_factory=dict, hash=False)
    chunk_size: Vec3 = field(init=False, repr=False, compare=False)
    grid: ChunkGrid = field(init=False, repr=False, compare=False)
    bounds: Box = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        check_relative_path(self.key, "key")
        size = check_integers(self.size, "size", 1)
        set_field(self, "size", size)
        set_field(self, "resolution", check_lengths(self.resolution, "resolution"))
        set_field(self, "voxel_offset", check_integers(self.voxel_offset, "voxel_offset", None))
        if not isinstance(self.chunk_sizes, list | tuple) or not self.chunk_sizes:
            fail("chunk_sizes", "an array of one chunk size or more", self.chunk_sizes)
        chunk_sizes = tuple(
            check_integers(item, f"chunk_sizes[{number}]", 1, _MAX_CHUNK_SIDE)
            for number, item in enumerate(self.chunk_sizes)
        )
        set_field(self, "chunk_sizes", chunk_sizes)
        encodings = (*ENCODINGS, *FOREIGN_ENCODINGS)
        set_field(self, "encoding", check_enum(self.encoding, "encoding", encodings))
        set_field(self, "compressed_segmentation_block_size", self._checked_block_size())
        check_boolean(self.hidden, "hidden")
        check_extra(self.extra, _SCALE_MEMBERS)
        set_field(self, "chunk_size", self.chunk_sizes[0])
        set_field(self, "grid", ChunkGrid(self.size, self.chunk_size, self.voxel_offset))
        (x, y, z), (w, h, d) = self.voxel_offset, self.size
        set_field(self, "bounds", Box(self.voxel_offset, (x + w, y + h, z + d)))
        if self.sharding is None:
            return
        if len(self.chunk_sizes) != 1:
            fail(
                "chunk_sizes", "exactly one chunk size, as the scale is sharded", self.chunk_sizes
            )
        try:
            morton_bits(self.grid.shape)
        except InputError as error:
            raise FormatError(f"sharding: {error}") from error

    @classmethod
    def from_json(cls, value: object) -> ScaleInfo:
        """Check a parsed JSON value, an item of the member ``scales``.

        Raises
        ------
        FormatError
            It breaks the format's rules. The message starts with the path inside `value`.
        """
        members = dict(check_object(value, "scale"))
        sharding = None
        if "sharding" in members:
            given = members.pop("sharding")
            if given is None:
                raise FormatError(
                    "sharding: null, which Neuroglancer rejects; an unsharded scale must not "
                    "have this member: remove it from the info file"
                )
            check_object(given, "sharding")
            with inside("sharding"):
                sharding = ShardingSpec.from_json(given)
        return cls(
            key=take(members, "key"),
            size=take(members, "size"),
            resolution=take(members, "resolution"),
            voxel_offset=members.pop("voxel_offset", (0, 0, 0)),
            chunk_sizes=take(members, "chunk_sizes"),
            encoding=take(members, "encoding"),
            compressed_segmentation_block_size=take_optional(
                members, "compressed_segmentation_block_size"
            ),
            sharding=sharding,
            hidden=members.pop("hidden", False),
            extra=members,
        )

    def to_json(self) -> dict[str, Any]:
        """Return what JSON holds: an object whose members stand in the field's usual order."""
        members: dict[str, Any] = {
            "key": self.key,
            "size": self.size,
            "resolution": self.resolution,
            "voxel_offset": self.voxel_offset,
            "chunk_sizes": self.chunk_sizes,
            "encoding": self.encoding,
        }
        if self.compressed_segmentation_block_size is not None:
            members["compressed_segmentation_block_size"] = self.compressed_segmentation_block_size
        if self.sharding is not None:
            members["sharding"] = self.sharding.to_json()
        if self.hidden:
            members["hidden"] = True
        return members | self.extra

    def _checked_block_size(self) -> Vec3 | None:
        name = "compressed_segmentation_block_size"
        block_size: object = self.compressed_segmentation_block_size
        if self.encoding == "compressed_segmentation":
            if block_size is None:
                raise FormatError(f"{name}: missing, but the encoding is compressed_segmentation")
            return check_integers(block_size, name, 1, _MAX_CHUNK_SIDE)
        if block_size is not None:
            fail(name, f"none, as the encoding is {self.encoding}", block_size)
        return None


def scale_factors(fine: ScaleInfo, coarse: ScaleInfo) -> Vec3 | None:
    """Return how many voxels of a scale make one of another; None if those are not whole numbers.

    Others write resolutions rounded: a thousandth is nothing.
    """
    ratios = [b / a for a, b in zip(fine.resolution, coarse.resolution, strict=True)]
    if any(abs(ratio - round(ratio)) > 0.001 * ratio or ratio > 2**20 for ratio in ratios):
        return None
    x, y, z = (round(ratio) for ratio in ratios)
    return x, y, z


_FOLDERS = ("mesh", "skeletons", "segment_properties")
_MEMBERS = ("type", "data_type", "num_channels", "scales", *_FOLDERS)
_LARGEST_EXACT_FLOAT32 = 2**24
_ENCODINGS_OF_THE_CLIENT = ("raw", "png", "jpeg", "compressed_segmentation", "compresso", "jxl")


@dataclass(frozen=True, slots=True)
class VolumeInfo:
    """The ``info`` file of a multiscale volume.

    Attributes
    ----------
    type : {'image', 'segmentation'}
    data_type : str
        One of `DATA_TYPES`; no float32 segmentation.
    num_channels : int
        1 or more; 1 for a segmentation.
    scales : tuple of ScaleInfo
        One or more, full resolution first; resolutions never decrease.
    mesh, skeletons, segment_properties : str or None
        Folders relative to the info file.
    extra : dict
        Members that others wrote and ngcore does not know; kept as they are.
    dtype : numpy.dtype
        Of the voxels, in native byte order; derived from `data_type`.

    Raises
    ------
    FormatError
        A value breaks the format's rules; the message starts with its path in the JSON.

    Examples
    --------
    >>> scale = ScaleInfo(key="8_8_40", size=(100, 80, 10), resolution=(8, 8, 40.0))
    >>> info = VolumeInfo("image", "uint8", 1, (scale,))
    >>> VolumeInfo.from_json(info.to_json()) == info
    True
    """

    type: str
    data_type: str
    num_channels: int
    scales: tuple[ScaleInfo, ...]
    mesh: str | None = None
    skeletons: str | None = None
    segment_properties: str | None = None
    extra: dict[str, Any] = field(default_factory=dict, hash=False)
    dtype: np.dtype[Any] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        set_field(self, "type", check_enum(self.type, "type", VOLUME_TYPES))
        set_field(self, "data_type", check_enum(self.data_type, "data_type", DATA_TYPES))
        set_field(self, "dtype", np.dtype(self.data_type))
        channels = check_integer(self.num_channels, "num_channels", 1, MAX_SAFE_INTEGER)
        set_field(self, "num_channels", channels)
        if self.type == "segmentation":
            if channels != 1:
                fail("num_channels", "1, as the type is segmentation", channels)
            if self.data_type == "float32":
                fail("data_type", "an integer type, as the type is segmentation", self.data_type)
        for name in _FOLDERS:
            if getattr(self, name) is not None:
                check_relative_path(getattr(self, name), name)
        check_extra(self.extra, _MEMBERS)
        set_field(self, "scales", tuple(self.scales))
        if not self.scales:
            fail("scales", "one scale or more", [])
        for number, (finer, coarser) in enumerate(pairwise(self.scales), 1):
            for axis, (least, got) in enumerate(
                zip(finer.resolution, coarser.resolution, strict=True)
            ):
                if got < least:
                    raise FormatError(
                        f"scales[{number}].resolution[{axis}]: {got} is less than {least} of the "
                        "scale before; order the scales from fine to coarse"
                    )

    @classmethod
    def from_json(cls, document: str | bytes) -> VolumeInfo:
        """Parse an info file.

        Parameters
        ----------
        document : str or bytes
            Whatever they hold, the result is a valid VolumeInfo or a FormatError.

        Raises
        ------
        FormatError
            It is no JSON, or breaks the format's rules; the message names the JSON path.
        """
        members = parse_object(document)
        if "@type" in members:
            check_type_tag(members.pop("@type"), VOLUME_TYPE)
        items = take(members, "scales")
        if not isinstance(items, list):
            fail("scales", "an array", items)
        scales = []
        for number, item in enumerate(items):
            check_object(item, f"scales[{number}]")
            with inside(f"scales[{number}]"):
                scales.append(ScaleInfo.from_json(item))
        return cls(
            type=take(members, "type"),
            data_type=take(members, "data_type"),
            num_channels=take(members, "num_channels"),
            scales=tuple(scales),
            mesh=take_optional(members, "mesh"),
            skeletons=take_optional(members, "skeletons"),
            segment_properties=take_optional(members, "segment_properties"),
            extra=members,
        )

    def to_json(self) -> str:
        """Return the info file's text: the same for equal infos, indented by two spaces."""
        return dump(self.members())

    def members(self) -> dict[str, Any]:
        """Return what the info file says; arrays are tuples."""
        members: dict[str, Any] = {
            "@type": VOLUME_TYPE,
            "type": self.type,
            "data_type": self.data_type,
            "num_channels": self.num_channels,
        }
        for name in _FOLDERS:
            if getattr(self, name) is not None:
                members[name] = getattr(self, name)
        members["scales"] = [scale.to_json() for scale in self.scales]
        return members | self.extra


def info_warnings(info: VolumeInfo) -> list[str]:
    """Return what is valid by the rules, yet will look or load wrong in Neuroglancer.

    Returns
    -------
    list of str
        One line each, starting with the JSON path; empty where there is nothing to say.
    """
    warnings = []
    if info.type == "segmentation" and info.data_type.startswith("int"):
        warnings.append(
            f"data_type: Neuroglancer draws signed segmentations ({info.data_type}) grey; "
            "use uint32 or uint64"
        )
    paths: dict[str, str] = {}
    for number, scale in enumerate(info.scales):
        path = f"scales[{number}]"
        warnings += [f"{path}.{warning}" for warning in _scale_warnings(scale)]
        if info.type == "segmentation" and scale.encoding == "jpeg":
            warnings.append(f"{path}.encoding: jpeg changes labels; use one that is lossless")
        first = paths.setdefault(scale.key, path)
        if first != path:
            warnings.append(f"{path}.key: the same folder as that of {first}")
        axis = _axis_that_falls_short(info.scales[0], scale)
        if axis is not None:
            warnings.append(
                f"{path}.size[{axis}]: this scale does not cover scales[0]; round its offset "
                "down and its end up"
            )
    return warnings


def _scale_warnings(scale: ScaleInfo) -> list[str]:
    warnings = []
    if scale.encoding not in _ENCODINGS_OF_THE_CLIENT:
        warnings.append(f"encoding: Neuroglancer can't decode {scale.encoding}")
    for name, values in (("size", scale.size), ("voxel_offset", scale.voxel_offset)):
        warnings += [
            f"{name}[{axis}]: Neuroglancer keeps it as float32, which is not exact above 2^24"
            for axis, value in enumerate(values)
            if abs(value) > _LARGEST_EXACT_FLOAT32
        ]
    return warnings


def _axis_that_falls_short(finest: ScaleInfo, scale: ScaleInfo) -> int | None:
    for axis in range(3):
        factor = scale.resolution[axis] / finest.resolution[axis]
        # Resolutions are rounded; a hundredth of a voxel of scale 0 is nothing that one can see.
        start = scale.bounds.start[axis] * factor - 0.01
        stop = scale.bounds.stop[axis] * factor + 0.01
        if start > finest.bounds.start[axis] or stop < finest.bounds.stop[axis]:
            return axis
    return None
