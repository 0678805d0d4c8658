"""What ngcore wrote of a volume, in a form that tells later whether it is still that.

Voxels have a digest for each scale (`ngcore.volume.digest`), small files one each, meshes of many
segments one for all of them, and `info` one for each scale. The seal finds damage and changes; it
does not protect from forgery.

JSON is digested by what it says, so that programs may lay it out anew.
"""

from __future__ import annotations

import json
import re
import threading
from contextlib import suppress
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, NamedTuple

from ngcore.errors import FormatError
from ngcore.volume.digest import ALGORITHM

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from typing_extensions import Buffer


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

_NOTHING: Mapping[str, Any] = {}


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
            raise FormatError("digests: an algorithm and a text for each scale expected")
        if isinstance(digests, dict) and digests.get("algorithm") != ALGORITHM:
            raise FormatError("digests.algorithm: not one that this version of ngcore knows")
        if not isinstance(others, dict):
            raise FormatError("seal: an object expected")
        texts = {name: others.get(name, {}) for name in ("files", "meshes")}
        for name, known in texts.items():
            if not isinstance(known, dict) or not all(isinstance(v, str) for v in known.values()):
                raise FormatError(f"seal.{name}: a text for each name expected")
        info = others.get("info", {})
        if not isinstance(info, dict):
            raise FormatError("seal.info: an object expected")
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
