"""Checks the folder of meshes that `info` names: legacy ones and multi-resolution ones."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from ngcore.codecs import gzip
from ngcore.errors import FormatError, InputError, StorageError
from ngcore.precomputed.json_members import parse_object
from ngcore.precomputed.mesh_legacy import decode_fragment, decode_manifest, mesh_info_type
from ngcore.precomputed.mesh_multilod import MultilodInfo, MultilodManifest
from ngcore.precomputed.names import LEGACY_MESH_TYPE, MULTILOD_MESH_TYPE
from ngcore.precomputed.segment_properties import SegmentProperties
from ngcore.storage import LocalStore
from ngcore.storage.listing import walk_files
from ngcore.validating.draco import DracoCheck
from ngcore.validating.files import read_limited
from ngcore.validating.shards import find_shards
from ngcore.volume.seal import EntriesDigest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ngcore.validating.scale import Basis
    from ngcore.validating.shard_file import ShardFile

_MANIFEST = re.compile(r"[0-9]+:[0-9]+")
_INDEX = re.compile(r"([0-9]+)\.index")
_MAX_JSON = 16 << 20
_MAX_FRAGMENT = 64 << 20
_MAX_MANIFEST = 16 << 20
_PIECE = 4 << 20


def check_meshes(context: Basis, folder: str, *, properties: str | None = None) -> str | None:
    """Check every mesh of a folder that a manifest names, and every manifest.

    Parameters
    ----------
    context : Basis
    folder : str
        Its name in the store; ``.`` is the store itself.
    properties : str or None
        The folder of segment properties that the volume names, if it is a volume's.

    Returns
    -------
    str or None
        The digest of multi-resolution meshes, where every one could be read.
    """
    name = f"{folder}/info"
    try:
        document = read_limited(context.store, name, _MAX_JSON)
        kind = mesh_info_type(document) if document is not None else LEGACY_MESH_TYPE
        if document is None:
            context.findings.warning(
                "mesh", name, "is missing, so readers take the meshes for legacy ones"
            )
        if kind == LEGACY_MESH_TYPE:
            _check_legacy_folder(context, folder, properties)
        elif kind == MULTILOD_MESH_TYPE and document is not None:
            meshes = _Multilod(
                context, folder, MultilodInfo.from_json(parse_object(document)), properties
            )
            meshes.check()
            return None if meshes.is_damaged else str(meshes.digest)
        else:
            context.findings.error("mesh", f"{name}: @type", f"unknown kind of meshes {kind!r}")
    except FormatError as error:
        context.findings.error_in_json("mesh", name, error)
    finally:
        context.work.drain()
    return None


def _check_legacy_folder(context: Basis, folder: str, properties: str | None) -> None:
    count = 0
    if not isinstance(context.store, LocalStore):
        check = partial(_check_manifest, context, folder)
        _check_named_segments(context, folder, properties, ":0", check)
        return
    for name in walk_files(context.store, folder):
        plain = name.removesuffix(".gz")
        if _MANIFEST.fullmatch(plain):
            context.work.submit(partial(_check_manifest, context, folder, plain))
            count += 1
    if not count:
        context.findings.warning("mesh", folder, "holds no manifest such as 1:0, so no mesh")


def _check_named_segments(
    context: Basis,
    folder: str,
    properties: str | None,
    suffix: str,
    check: Callable[[str], None],
) -> None:
    """Check the meshes of the segments that have properties: a web server lists none."""
    segments: tuple[int, ...] = ()
    if properties is not None:
        try:
            document = read_limited(context.store, f"{properties}/info", _MAX_JSON)
            segments = SegmentProperties.from_json(document or b"").ids
        except FormatError:
            segments = ()  # which is reported where properties are checked
    if not segments:
        context.findings.warning(
            "unchecked", folder, "meshes can't be listed, and no segment_properties name segments"
        )
    for segment in segments:
        context.work.submit(partial(_check_if_there, context, folder, f"{segment}{suffix}", check))


def _check_if_there(context: Basis, folder: str, name: str, check: Callable[[str], None]) -> None:
    try:
        is_there = context.store.size(f"{folder}/{name}")
    except StorageError as error:
        context.findings.error("mesh", f"{folder}/{name}", error)
        return
    if is_there is not None:
        check(name)


def _check_manifest(context: Basis, folder: str, name: str) -> None:
    where = f"{folder}/{name}"
    try:
        manifest = read_limited(context.store, where, _MAX_JSON)
        fragments = decode_manifest(manifest or b"", "manifest")
    except (FormatError, StorageError) as error:
        context.findings.error("mesh", where, error)
        return
    for fragment in fragments:
        fragment_name = f"{folder}/{fragment}"
        try:
            data = read_limited(context.store, fragment_name, _MAX_FRAGMENT)
            if data is None:
                context.findings.error(
                    "mesh", where, f"refers to a fragment {fragment!r} that does not exist"
                )
            else:
                decode_fragment(data, fragment)
        except InputError:
            context.findings.error("mesh", where, f"{fragment!r} can't be the name of a fragment")
        except (FormatError, StorageError) as error:
            context.findings.error("mesh", fragment_name, error)


@dataclass(slots=True)
class _Multilod:
    """The multi-resolution meshes of a folder while they are checked."""

    context: Basis
    folder: str
    info: MultilodInfo
    properties: str | None
    digest: EntriesDigest = field(default_factory=EntriesDigest)
    is_damaged: bool = False
    draco: DracoCheck = field(init=False)

    def __post_init__(self) -> None:
        self.draco = DracoCheck(self.info.vertex_quantization_bits)

    def check(self) -> None:
        """Check every mesh; return when all are done."""
        store = self.context.store
        if self.info.sharding is not None:
            spec, findings = self.info.sharding, self.context.findings
            for shard in find_shards(store, self.folder, spec, findings):
                for index in shard.minishards():
                    for place in zip(index.ids, index.starts, index.stops, strict=True):
                        self.context.work.submit(
                            partial(self._check_sharded, shard, *map(int, place))
                        )
                self.is_damaged |= shard.is_damaged
        elif isinstance(store, LocalStore):
            for name in walk_files(store, self.folder):
                if _INDEX.fullmatch(name):
                    self.context.work.submit(partial(self._check_index, name))
        else:
            self.is_damaged = True  # as those without properties can't be found
            _check_named_segments(
                self.context, self.folder, self.properties, ".index", self._check_index
            )
        self.context.work.drain()
        if self.draco.is_missing and self.draco.count:
            self.context.findings.warning(
                "unchecked",
                self.folder,
                f"{self.draco.count} fragments were not decoded; "
                "pip install 'ngcore-neuroglancer[mesh]'",
            )

    def _fault(self, where: str, error: str | Exception) -> None:
        self.is_damaged = True
        self.context.findings.error("mesh", where, error)

    def _check_index(self, name: str) -> None:
        where, segment = f"{self.folder}/{name}", name.removesuffix(".index")
        data_name = f"{self.folder}/{segment}"
        store = self.context.store
        try:
            data = read_limited(store, where, _MAX_MANIFEST) or b""
            manifest = MultilodManifest.from_bytes(data)
            size = store.size(data_name)
            if size is None:
                raise FormatError(f"its fragments, the file {segment}, are missing")
            if size != manifest.data_size:
                raise FormatError(
                    f"the fragments take {manifest.data_size} bytes in total, but {segment} has "
                    f"{size}"
                )

            def read(start: int, stop: int) -> bytes:
                found = store.get(data_name, start, stop)
                if found is None or len(found) != stop - start:
                    raise FormatError(f"{segment} ends before byte {stop}: it is being changed")
                return found

            self._check_mesh(int(segment), data, manifest, read, f"{data_name}: byte ", 0)
        except (FormatError, StorageError) as error:
            self._fault(where, error)

    def _check_sharded(self, shard: ShardFile, segment: int, start: int, stop: int) -> None:
        where = f"{shard.name}: byte {start}, manifest of {segment}"
        try:
            if stop - start > _MAX_MANIFEST:
                raise FormatError(f"{stop - start} bytes, too large for a manifest")
            data = shard.read(start, stop)
            if shard.spec.data_encoding == "gzip":
                data = gzip.decompress(data, max_size=_MAX_MANIFEST)
            manifest = MultilodManifest.from_bytes(data)
            # Fragments end where their manifest starts, and are not compressed once more.
            first = start - manifest.data_size
            if first < shard.spec.shard_index_size:
                raise FormatError(
                    f"its fragments take {manifest.data_size} bytes, more than lie before it"
                )
            place = f"{shard.name}: segment {segment}, byte "
            self._check_mesh(segment, data, manifest, shard.read, place, first)
        except (FormatError, StorageError) as error:
            self._fault(where, error)

    def _check_mesh(
        self,
        segment: int,
        data: bytes,
        manifest: MultilodManifest,
        read: Callable[[int, int], bytes],
        place: str,
        first: int,
    ) -> None:
        """Check the fragments of a mesh, which `read` gives; they begin at byte `first`."""
        if self.context.quick:
            return

        def pieces() -> Iterator[bytes]:
            for position, start, size in _fragments(manifest, first):
                content = bytearray()
                for part in range(start, start + size, _PIECE):
                    piece = read(part, min(part + _PIECE, start + size))
                    yield piece
                    content += piece if size <= _MAX_FRAGMENT else b""
                fault = self.draco.fault(bytes(content)) if content else None
                if fault is not None:
                    self._fault(f"{place}{start}", f"{position}: {fault}")

        self.digest.add(segment, data, pieces())


def _fragments(manifest: MultilodManifest, first: int) -> Iterator[tuple[str, int, int]]:
    """Yield the name, the first byte and the size of each fragment that is not empty."""
    start = first
    for lod, sizes in enumerate(manifest.sizes):
        for number, size in enumerate(sizes.tolist()):
            if size:
                yield f"fragment {number} of level {lod}", start, size
            start += size
