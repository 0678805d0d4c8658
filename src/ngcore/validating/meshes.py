"""Checks the folder of meshes that `info` names: legacy ones and multi-resolution ones."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from ngcore.codecs import gzip
from ngcore.errors import FormatError, InputError, StorageError
from ngcore.precomputed.json_members import parse_object
from ngcore.precomputed.mesh_legacy import (
    LEGACY_MESH_TYPE,
    decode_fragment,
    decode_manifest,
    mesh_info_type,
)
from ngcore.precomputed.mesh_multilod import MULTILOD_MESH_TYPE, MultilodInfo, MultilodManifest
from ngcore.precomputed.segment_properties import SegmentProperties
from ngcore.storage import LocalStore
from ngcore.validating.files import read_limited, walk_files
from ngcore.validating.shards import find_shards

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ngcore.precomputed.sharding import ShardingSpec
    from ngcore.validating.scale import Context
    from ngcore.validating.shard_file import ShardFile

_MANIFEST = re.compile(r"[0-9]+:[0-9]+")
_INDEX = re.compile(r"([0-9]+)\.index")
_MAX_JSON = 16 << 20
_MAX_FRAGMENT = 64 << 20
_MAX_MANIFEST = 16 << 20
_DRACO = b"DRACO"


def check_meshes(context: Context, folder: str) -> None:
    """Check every mesh of a folder that a manifest names, and every manifest."""
    name = f"{folder}/info"
    try:
        document = read_limited(context.store, name, _MAX_JSON)
        kind = mesh_info_type(document) if document is not None else LEGACY_MESH_TYPE
        if document is None:
            context.findings.warning(
                "mesh", name, "is missing; readers take the meshes for legacy ones"
            )
        if kind == LEGACY_MESH_TYPE:
            _check_legacy_folder(context, folder)
        elif kind == MULTILOD_MESH_TYPE and document is not None:
            multilod = MultilodInfo.from_json(parse_object(document))
            if multilod.sharding is not None:
                _check_sharded(context, folder, multilod.sharding)
            else:
                _check_multilod_folder(context, folder)
        else:
            context.findings.error("mesh", f"{name}: @type", f"unknown kind of meshes {kind!r}")
    except FormatError as error:
        context.findings.error_in_json("mesh", name, error)
    context.work.drain()


def _check_legacy_folder(context: Context, folder: str) -> None:
    count = 0
    if not isinstance(context.store, LocalStore):
        _check_named_segments(context, folder, ":0", _check_manifest)
        return
    for name in walk_files(context.store, folder):
        plain = name.removesuffix(".gz")
        if _MANIFEST.fullmatch(plain):
            context.work.submit(partial(_check_manifest, context, folder, plain))
            count += 1
    if not count:
        context.findings.warning("mesh", folder, "holds no manifest such as 1:0, so no mesh")


def _check_named_segments(
    context: Context, folder: str, suffix: str, check: Callable[[Context, str, str], None]
) -> None:
    """Check the meshes of the segments that have properties: a web server lists none."""
    properties = context.info.segment_properties
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
        name = f"{segment}{suffix}"
        context.work.submit(partial(_check_if_there, context, folder, name, check))


def _check_if_there(
    context: Context, folder: str, name: str, check: Callable[[Context, str, str], None]
) -> None:
    try:
        is_there = context.store.size(f"{folder}/{name if ':' in name else name + '.index'}")
    except StorageError as error:
        context.findings.error("mesh", f"{folder}/{name}", error)
        return
    if is_there is not None:
        check(context, folder, name)


def _check_manifest(context: Context, folder: str, name: str) -> None:
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
                context.findings.error("mesh", where, f"names a fragment {fragment!r}, not there")
            else:
                decode_fragment(data, fragment)
        except InputError:
            context.findings.error("mesh", where, f"{fragment!r} can't be the name of a fragment")
        except (FormatError, StorageError) as error:
            context.findings.error("mesh", fragment_name, error)


def _check_multilod_folder(context: Context, folder: str) -> None:
    if not isinstance(context.store, LocalStore):
        _check_named_segments(context, folder, "", _check_index)
        return
    for name in walk_files(context.store, folder):
        match = _INDEX.fullmatch(name)
        if match is not None:
            context.work.submit(partial(_check_index, context, folder, match[1]))


def _check_index(context: Context, folder: str, segment: str) -> None:
    where = f"{folder}/{segment}.index"
    data_name = f"{folder}/{segment}"
    try:
        manifest = MultilodManifest.from_bytes(
            read_limited(context.store, where, _MAX_MANIFEST) or b""
        )
        size = context.store.size(data_name)
        if size is None:
            raise FormatError(f"the fragments, {segment}, are missing")
        if size != manifest.data_size:
            raise FormatError(
                f"the fragments take {manifest.data_size} bytes together, but {segment} has {size}"
            )
        for position, start in _fragments(manifest):
            if context.store.get(data_name, start, start + len(_DRACO)) != _DRACO:
                context.findings.error(
                    "mesh", f"{data_name}: byte {start}", f"{position} is no Draco mesh"
                )
    except (FormatError, StorageError) as error:
        context.findings.error("mesh", where, error)


def _fragments(manifest: MultilodManifest) -> Iterator[tuple[str, int]]:
    """Yield the name and the first byte of each fragment that is not empty."""
    start = 0
    for lod, sizes in enumerate(manifest.sizes):
        for number, size in enumerate(sizes.tolist()):
            if size:
                yield f"fragment {number} of level {lod}", start
            start += size


def _check_sharded(context: Context, folder: str, spec: ShardingSpec) -> None:
    for shard in find_shards(context.store, folder, spec, context.findings):
        for index in shard.minishards():
            for segment, start, stop in zip(index.ids, index.starts, index.stops, strict=True):
                place = _Segment(int(segment), int(start), int(stop))
                context.work.submit(partial(_check_sharded_segment, context, shard, place))


@dataclass(frozen=True, slots=True)
class _Segment:
    """A segment, and where its manifest lies in a shard."""

    label: int
    start: int
    stop: int


def _check_sharded_segment(context: Context, shard: ShardFile, segment: _Segment) -> None:
    where = f"{shard.name}: byte {segment.start}, manifest of {segment.label}"
    try:
        if segment.stop - segment.start > _MAX_MANIFEST:
            raise FormatError(f"{segment.stop - segment.start} bytes, too large for a manifest")
        data = shard.read(segment.start, segment.stop)
        if shard.spec.data_encoding == "gzip":
            data = gzip.decompress(data, max_size=_MAX_MANIFEST)
        manifest = MultilodManifest.from_bytes(data)
        # Fragments end where their manifest starts, and are not compressed once more.
        first = segment.start - manifest.data_size
        if first < shard.spec.shard_index_size:
            raise FormatError(
                f"its fragments take {manifest.data_size} bytes, more than lie before it"
            )
        for position, start in _fragments(manifest):
            if shard.read(first + start, first + start + len(_DRACO)) != _DRACO:
                raise FormatError(f"{position}, at byte {first + start}, is no Draco mesh")
    except (FormatError, StorageError) as error:
        context.findings.error("mesh", where, error)
