"""What ngcore wrote of a volume, in a form that tells later whether it is still that.

Voxels have a digest for each scale, small files one each, meshes of many segments one for all of
them, and `info` one for each scale. The seal finds damage and changes; it does not protect from
forgery. JSON is digested by what it says, so that programs may lay it out anew.

The digest of a scale is computed chunk by chunk, in any order: a sum modulo 2**128 of a hash of
the scale's geometry and, for each chunk that is not all zeros, of a hash of its id and the
checksum of its voxels. So threads may add chunks as they come, chunks of zeros may be there or
absent, and a chunk that changed, moved, went or came changes the sum.

The checksum is a CRC-32, as in gzip and PNG: it costs a twentieth of any cryptographic hash that
Python has, and of damaged chunks it misses one in four billions. BLAKE2b spreads it over 128 bits,
so that what is wrong in two chunks does not cancel out.

What is digested are the voxels as a raw chunk holds them (little-endian, x fastest, channel
slowest). Only JPEG files are taken as they are: decoders need not agree to the last bit.
"""

from __future__ import annotations

import json
import re
import struct
import threading
from contextlib import suppress
from functools import lru_cache
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from isal import isal_zlib

from ngcore.errors import FormatError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from numpy.typing import NDArray
    from typing_extensions import Buffer

    from ngcore.precomputed.chunks import Vec3
    from ngcore.precomputed.info import ScaleInfo, VolumeInfo


ALGORITHM = "sum of blake2b-128 of (chunk id, bytes, crc32)"
"""How digests are made, in the words of the `provenance` file."""

_MODULUS = 1 << 128
_ENTRY = r"(.*/)?[0-9a-f_]+(\.shard)?"
_NAMED = ("type", "data_type", "num_channels", "mesh", "skeletons", "segment_properties")
_OF_INFOS = (
    *("@type", "sharding", "segment_properties", "transform"),  # of several kinds of layers
    *("vertex_quantization_bits", "lod_scale_multiplier"),  # of meshes
    *("inline", "vertex_attributes"),  # of segment properties, of skeletons
    *("dimensions", "lower_bound", "upper_bound", "annotation_type"),  # of annotations
    *("properties", "relationships", "by_id", "spatial"),
)
_OF_SCALES = (
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
"""What a seal covers of a scale. Seals that exist depend on it, so it follows no other list."""

_NOTHING: Mapping[str, Any] = {}


class ScaleDigest:
    """The digest of one scale while its chunks are added. Safe to use from several threads.

    Parameters
    ----------
    info : VolumeInfo
    scale : ScaleInfo
        One of its scales; chunks are those of its first `chunk_sizes`.

    Examples
    --------
    >>> from ngcore.precomputed.info import ScaleInfo, VolumeInfo
    >>> scale = ScaleInfo("1_1_1", size=(2, 1, 1), resolution=(1, 1, 1), chunk_sizes=[(1, 1, 1)])
    >>> info = VolumeInfo("image", "uint8", 1, (scale,))
    >>> one, other = ScaleDigest(info, scale), ScaleDigest(info, scale)
    >>> one.add((0, 0, 0), b"a"); one.add((1, 0, 0), b"b")
    >>> other.add((1, 0, 0), b"b"); other.add((0, 0, 0), b"a")
    >>> str(one) == str(other)
    True
    """

    def __init__(self, info: VolumeInfo, scale: ScaleInfo) -> None:
        self._grid = scale.grid
        geometry = [info.data_type, info.num_channels, scale.size, scale.chunk_size]
        self._geometry = _hash(json.dumps(geometry).encode())
        self._sum = 0
        self._lock = threading.Lock()

    def add(self, cell: Vec3, content: Buffer) -> None:
        """Add a chunk.

        Parameters
        ----------
        cell : tuple of int, (x, y, z)
            Its place on the grid of chunks.
        content : bytes-like
            What `digested` returns for it. Zeros add nothing, just as an absent chunk.
        """
        size = memoryview(content).nbytes
        crc32 = isal_zlib.crc32(content)
        if crc32 == _crc_of_zeros(size):
            return
        term = _hash(struct.pack("<QQI", self._grid.chunk_id(cell), size, crc32))
        self.add_sum(term)

    @property
    def chunk_sum(self) -> int:
        """The sum over the chunks that were added, without the geometry."""
        return self._sum

    def add_sum(self, chunk_sum: int) -> None:
        """Add the chunks of another digest of the same scale, by its `chunk_sum`."""
        with self._lock:
            self._sum = (self._sum + chunk_sum) % _MODULUS

    def __str__(self) -> str:
        return f"{(self._geometry + self._sum) % _MODULUS:032x}"


def digested(scale: ScaleInfo, encoded: Buffer, voxels: NDArray[Any]) -> Buffer:
    """Return the bytes of a chunk that its digest is about.

    Parameters
    ----------
    scale : ScaleInfo
    encoded : bytes-like
        The chunk in the scale's encoding.
    voxels : ndarray, shape (x, y, z, channel)
        The chunk decoded; not copied if it is in Fortran order.
    """
    if scale.encoding in ("raw", "jpeg"):
        return encoded
    little_endian = voxels.astype(voxels.dtype.newbyteorder("<"), copy=False)
    return np.ascontiguousarray(little_endian.transpose()).data


@lru_cache(maxsize=16)
def _crc_of_zeros(size: int) -> int:
    return isal_zlib.crc32(bytes(size))


def _hash(content: bytes) -> int:
    return int.from_bytes(blake2b(content, digest_size=16).digest(), "little")


class Seal(NamedTuple):
    """What ngcore wrote of a volume. A part that is not mentioned, others wrote.

    Attributes
    ----------
    scales : mapping of str to str
        Digests of voxels, by the key of the scale.
    files : mapping of str to str
        Digests of small files, by name, without ``.gz``.
    meshes : mapping of str to str
        Digests of multi-resolution meshes, by folder; ``.`` is that of all entries of a layer of
        its own, such as skeletons or annotations. See `EntriesDigest`.
    info : mapping
        Members of `info`; see `sealed_members`.
    """

    scales: Mapping[str, str] = _NOTHING
    files: Mapping[str, str] = _NOTHING
    meshes: Mapping[str, str] = _NOTHING
    info: Mapping[str, Any] = _NOTHING

    def __bool__(self) -> bool:
        return any(tuple(self))

    def updated(self, change: Seal, gone: Collection[tuple[str, str]] = ()) -> Seal:
        """Return this seal with the parts of another one in their place.

        Parameters
        ----------
        change : Seal
        gone : collection of (part, name)
            What ngcore removed, such as ``("files", "names/colors.json")``.
        """
        parts = {}
        for part in self._fields:
            kept = {k: v for k, v in getattr(self, part).items() if (part, k) not in gone}
            parts[part] = {**kept, **getattr(change, part)}
        return Seal(**parts)

    @classmethod
    def from_json(cls, digests: object, others: object) -> Seal:
        """Check two parsed JSON values, which `to_json` returned.

        Raises
        ------
        FormatError
            They are something else, or of another version of ngcore.
        """
        scales = digests.get("scales") if isinstance(digests, dict) else None
        if not isinstance(scales, dict) or not all(isinstance(v, str) for v in scales.values()):
            raise FormatError("digests: expected an algorithm, and a text for each scale")
        if isinstance(digests, dict) and digests.get("algorithm") != ALGORITHM:
            raise FormatError("digests.algorithm: not one that this version of ngcore knows")
        if not isinstance(others, dict):
            raise FormatError("seal: expected an object")
        texts = {name: others.get(name, {}) for name in ("files", "meshes")}
        for name, known in texts.items():
            if not isinstance(known, dict) or not all(isinstance(v, str) for v in known.values()):
                raise FormatError(f"seal.{name}: expected a text for each name")
        info = others.get("info", {})
        if not isinstance(info, dict):
            raise FormatError("seal.info: expected an object")
        return cls(scales, texts["files"], texts["meshes"], info)

    def to_json(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return what JSON holds: digests of voxels, whatever their layout, and all the rest."""
        rest = {"files": self.files, "meshes": self.meshes, "info": self.info}
        return (
            {"algorithm": ALGORITHM, "scales": dict(self.scales)},
            {name: dict(value) for name, value in rest.items() if value},
        )


class EntriesDigest:
    """The digest of meshes by segment, or of files by name. Safe to use from several threads.

    It does not depend on the order in which they are added.
    """

    def __init__(self) -> None:
        self._sum = 0
        self._lock = threading.Lock()

    def add(self, entry: int | str, manifest: Buffer, pieces: Iterable[Buffer]) -> None:
        """Add a mesh: its segment, its manifest, decompressed, and the bytes of all fragments.

        It does not matter how the latter are cut into pieces. Of a file: its name, nothing, and
        its bytes.
        """
        for _ in self.passing(entry, pieces, manifest):
            pass

    def passing(
        self, entry: int | str, pieces: Iterable[Buffer], manifest: Buffer = b""
    ) -> Iterator[Buffer]:
        """Yield the pieces, and add them when all have been taken."""
        term = blake2b(f"{entry} {memoryview(manifest).nbytes} ".encode(), digest_size=16)
        term.update(manifest)
        for piece in pieces:
            term.update(piece)
            yield piece
        self.add_sum(int.from_bytes(term.digest(), "little"))

    @property
    def sum(self) -> int:
        """What `add_sum` takes, of another one."""
        return self._sum

    def add_sum(self, number: int) -> None:
        """Add all that was added to another one."""
        with self._lock:
            self._sum = (self._sum + number) % _MODULUS

    def __str__(self) -> str:
        return f"{self._sum:032x}"


def file_digest(content: Buffer, name: str = "") -> str:
    """Return the digest of a file, decompressed; of JSON, that of what it says.

    Parameters
    ----------
    content : bytes-like
    name : str
        Of the file. Members of an `info` that no reader knows do not count.
    """
    data = bytes(content)
    if data.lstrip()[:1] in (b"{", b"["):
        with suppress(ValueError, RecursionError):
            value = json.loads(data)
            if name.rpartition("/")[2] == "info" and isinstance(value, dict):
                value = {member: value[member] for member in _OF_INFOS if member in value}
            data = canonical_json(value)
    return blake2b(data, digest_size=16).hexdigest()


def is_entry(name: str) -> bool:
    """Whether a file in a folder of skeletons or annotations holds entries, by its name."""
    return re.fullmatch(_ENTRY, name) is not None


def canonical_json(value: object) -> bytes:
    """Return JSON that is the same for values that say the same."""
    text = json.dumps(_canonical(value), sort_keys=True, separators=(",", ":"))
    return text.encode()


def sealed_members(members: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a seal keeps of those members of an `info` that readers of volumes know.

    Returns
    -------
    dict
        Members themselves, and for each scale the digest of its members, under `scale_name`. What
        means the same as its absence does not count.
    """
    found = {name: members[name] for name in _NAMED if members.get(name) is not None}
    scales = members.get("scales")
    for scale in scales if isinstance(scales, list) else ():
        if isinstance(scale, dict):
            said = {name: scale[name] for name in _OF_SCALES if scale.get(name) is not None}
            if said.get("voxel_offset") in ([0, 0, 0], (0, 0, 0)):
                del said["voxel_offset"]
            if not said.get("hidden"):
                said.pop("hidden", None)
            name = scale_name(scale.get("key"))
            known = found.get(name, "")  # two scales may have one key
            found[name] = file_digest(known.encode() + canonical_json(said))
    return found


def scale_name(key: object) -> str:
    """Return the name under which a seal keeps what `info` says about a scale."""
    return f"scales[{key}]"


def _canonical(value: object) -> object:
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    if isinstance(value, dict):
        return {name: _canonical(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_canonical(item) for item in value]
    return value
