"""One scale while it is checked: what every chunk must be, however it is stored."""

from __future__ import annotations

import threading
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ngcore.errors import FormatError, InputError, MissingExtraError
from ngcore.precomputed.chunks import morton_bits
from ngcore.precomputed.encodings import ChunkEncoding, make_encoding
from ngcore.validating.presence import Presence
from ngcore.volume.provenance import CONVERT, Provenance
from ngcore.volume.seal import ScaleDigest, digested

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from ngcore.precomputed.chunks import Vec3
    from ngcore.precomputed.encodings import Shape4
    from ngcore.precomputed.info import ScaleInfo, VolumeInfo
    from ngcore.storage import ReadableStore
    from ngcore.validating.findings import Findings
    from ngcore.validating.work import AtOnce, Work

MAX_CHUNK_BYTES = 96 << 20
"""Larger chunks are not decoded: a damaged info may claim any size."""
_MOST_BYTES_OF_CLIENTS = 1 << 31
_LARGE_CHUNK_BYTES = 16 << 20
"""Chunks that are larger than this are decoded one at a time, whatever the number of threads."""

_large_chunk = threading.Lock()


@dataclass(frozen=True, slots=True, kw_only=True)
class Basis:
    """What all checks of a folder share, whatever kind of layer it holds."""

    store: ReadableStore
    findings: Findings
    work: Work[ScaleCheck] | AtOnce[ScaleCheck]
    quick: bool = False
    provenance: Provenance = field(default_factory=Provenance)

    @property
    def is_ours(self) -> bool:
        """Whether `convert` wrote the volume, so that its own stricter rules hold."""
        return self.provenance.method_of(CONVERT) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Context(Basis):
    """What all checks of a volume share."""

    info: VolumeInfo
    done: Callable[[int], None]
    """To be called with the number of voxels that were checked."""


class ScaleCheck:
    """Takes the chunks of one scale, one after the other, from several threads.

    Parameters
    ----------
    context : Context
    index : int
        Of the scale.
    scale : ScaleInfo
        With one chunk size.

    Attributes
    ----------
    presence : Presence
        The chunks that were found.
    digest : ScaleDigest
        Of those that were decoded.
    is_damaged : bool
        Whether something of the scale can't be read.
    has_unread : bool
        Whether there are chunks of a compression that nothing here reads.
    has_digest : bool
        Whether `provenance` tells of the voxels.
    is_verified : bool
        Whether every voxel is the one that it tells of.
    is_read : bool
        Whether chunks are read at all: those that are too large for that are only counted.
    found_files, missing_files : int
        How many shard files are there, and absent, and `missing_names`, some of the latter.
    """

    def __init__(self, context: Context, index: int, scale: ScaleInfo) -> None:
        self.context = context
        self.index = index
        self.scale = scale
        self.grid = scale.grid
        self.presence = Presence(self.grid)
        self.digest = ScaleDigest(context.info, scale)
        self.is_damaged = self.has_unread = False
        self.has_digest = self.is_verified = False
        self.found_files = self.missing_files = 0
        self.missing_names: list[str] = []
        x, y, z = (min(pair) for pair in zip(scale.chunk_size, scale.size, strict=True))
        whole: Shape4 = (x, y, z, context.info.num_channels)
        self._encoding = self._make_encoding()
        self.is_read = True
        self.max_encoded_size = MAX_CHUNK_BYTES
        if self._encoding is not None:
            self.max_encoded_size = self._encoding.max_encoded_size(whole)
            self._check_chunk_size(whole)
        self._check_grid()
        self._is_large = x * y * z * whole[3] * context.info.dtype.itemsize > _LARGE_CHUNK_BYTES

    @property
    def can_decode(self) -> bool:
        """Whether voxels can be looked at."""
        return self.is_read and self._encoding is not None

    def raw_size(self, cell: Vec3) -> int | None:
        """Return how many bytes a chunk must have; None where that depends on its voxels."""
        if self.scale.encoding != "raw" or self._encoding is None:
            return None
        return self._encoding.decoded_size(self._shape(cell))

    def room(self, size: int) -> AbstractContextManager[object]:
        """Return what bounds memory while a chunk is read and checked, stored in `size` bytes."""
        is_large = self._is_large or size > _LARGE_CHUNK_BYTES
        return _large_chunk if is_large else nullcontext()

    def add(self, cell: Vec3, where: str, encoded: bytes) -> None:
        """Check a chunk that was read, and not compressed any more."""
        if self._encoding is not None:
            try:
                self._decode(self._encoding, cell, encoded)
            except FormatError as error:
                self.fault(where, error)
        self.context.done(self.voxels(cell))

    def decodes(self, cell: Vec3, encoded: bytes) -> bool | None:
        """Whether bytes are a valid chunk for a place; None where ngcore can't tell."""
        if self._encoding is None:
            return None
        size = self.raw_size(cell)
        if size is not None:
            return len(encoded) == size
        if not self.is_read:
            return None
        try:
            self._encoding.decode(encoded, self._shape(cell))
        except FormatError:
            return False
        return True

    def fault(self, where: str, error: str | Exception) -> None:
        """Report a chunk that is there and can't be read."""
        self.is_damaged = True
        self.context.findings.error("chunk", where, error)

    def voxels(self, cell: Vec3) -> int:
        """Return how many voxels a chunk has."""
        x, y, z = self.grid.bounds(cell).shape
        return x * y * z

    def _decode(self, encoding: ChunkEncoding, cell: Vec3, encoded: bytes) -> None:
        size = self.raw_size(cell)
        if size is None:
            voxels = encoding.decode(encoded, self._shape(cell))
            self.digest.add(cell, digested(self.scale, encoded, voxels))
        elif len(encoded) == size:
            self.digest.add(cell, encoded)
        else:
            raise FormatError(
                f"a raw chunk of {self._shape(cell)} {self.context.info.data_type} voxels has "
                f"{size} bytes, got {len(encoded)}"
            )

    def _shape(self, cell: Vec3) -> Shape4:
        return (*self.grid.bounds(cell).shape, self.context.info.num_channels)

    def _make_encoding(self) -> ChunkEncoding | None:
        where = f"info: scales[{self.index}].encoding"
        try:
            return make_encoding(self.context.info, self.scale)
        except MissingExtraError as error:
            self.context.findings.warning("unchecked", where, f"{error}; chunks are not decoded")
        except InputError as error:
            if self.scale.encoding in ("raw", "png", "jpeg", "compressed_segmentation"):
                self.context.findings.error("info", where, error)
            else:
                self.context.findings.warning(
                    "unchecked", where, f"{error}; chunks are not decoded"
                )
        return None

    def _check_grid(self) -> None:
        try:
            morton_bits(self.grid.shape)
        except InputError:
            where = f"info: scales[{self.index}].size"
            message = f"claims {self.grid.count} chunks, more than 64 bits can number"
            self.context.findings.error("info", where, message)
            self.is_read = False

    def _check_chunk_size(self, whole: Shape4) -> None:
        assert self._encoding is not None
        size = self._encoding.decoded_size(whole)
        if size <= MAX_CHUNK_BYTES:
            return
        where = f"info: scales[{self.index}].chunk_sizes"
        if size > _MOST_BYTES_OF_CLIENTS:
            self.context.findings.error(
                "info", where, f"a chunk would take {size} bytes, more than a browser can hold"
            )
        else:
            self.context.findings.warning(
                "unchecked",
                where,
                f"a chunk takes {size} bytes; those above {MAX_CHUNK_BYTES} are not decoded",
            )
        self.is_read = False
