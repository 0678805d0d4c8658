"""One scale of a multiscale volume's ``info``: what it says, and its rules.

https://github.com/google/neuroglancer/blob/master/src/datasource/precomputed/volume.md
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ngcore.errors import FormatError, InputError
from ngcore.precomputed.chunks import Box, ChunkGrid, Vec3
from ngcore.precomputed.json_members import (
    check_boolean,
    check_enum,
    check_extra,
    check_integers,
    check_lengths,
    check_object,
    check_relative_path,
    fail,
    inside,
    set_field,
    take,
    take_optional,
)
from ngcore.precomputed.morton import morton_bits
from ngcore.precomputed.sharding import ShardingSpec

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

_MEMBERS = (
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
        check_extra(self.extra, _MEMBERS)
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

    @property
    def chunk_size(self) -> Vec3:
        """The first of `chunk_sizes`, in voxels: the one that ngcore reads and writes."""
        return self.chunk_sizes[0]

    @property
    def grid(self) -> ChunkGrid:
        """The chunks of size `chunk_size`."""
        return ChunkGrid(self.size, self.chunk_size, self.voxel_offset)

    @property
    def bounds(self) -> Box:
        """Every voxel of the scale, in global coordinates."""
        (x, y, z), (w, h, d) = self.voxel_offset, self.size
        return Box(self.voxel_offset, (x + w, y + h, z + d))

    def _checked_block_size(self) -> Vec3 | None:
        name = "compressed_segmentation_block_size"
        block_size: object = self.compressed_segmentation_block_size
        if self.encoding == "compressed_segmentation":
            if block_size is None:
                raise FormatError(f"{name}: missing, and the encoding is compressed_segmentation")
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
