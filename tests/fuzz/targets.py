"""What is fuzzed: each target takes any bytes, and decodes them or raises an `NgcoreError`.

A target returns whether the bytes were valid, so that tests can tell that seeds are.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from planes import planes_box

from fuzz import seeds
from ngcore.annotating.columns import RowBlocks, SpooledTable
from ngcore.annotating.roles import find_roles
from ngcore.codecs.content import decode_content
from ngcore.errors import FormatError, NgcoreError
from ngcore.precomputed.annotation_records import decode_annotation, decode_list
from ngcore.precomputed.annotations import AnnotationInfo
from ngcore.precomputed.encodings import make_encoding
from ngcore.precomputed.info import ScaleInfo, VolumeInfo, info_warnings
from ngcore.precomputed.mesh_legacy import decode_fragment, decode_manifest, mesh_info_type
from ngcore.precomputed.mesh_multilod import MultilodInfo, MultilodManifest
from ngcore.precomputed.segment_properties import SegmentProperties
from ngcore.precomputed.skeletons import Skeleton, SkeletonInfo
from ngcore.precomputed.transform import parse_transform
from ngcore.sources import open_source
from ngcore.sources.points.opening import open_table
from ngcore.sources.surfaces.reading import read_mesh
from ngcore.sources.tables.tables import read_label_table
from ngcore.sources.tracts.opening import open_tracts
from ngcore.sources.tracts.swc import read_swc
from ngcore.storage import LocalStore, open_store
from ngcore.storage.sharded_reader import ShardedReader
from ngcore.storage.spool import Spool
from ngcore.storage.zip_store import ZipStore
from ngcore.volume.provenance import Provenance
from ngcore.volume.seal import Seal, file_digest
from ngcore.volume.segment_colours import decode_colours

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MOST_VOXEL_BYTES = 1 << 24
"""Sources that claim more are opened, but not read: a conversion cuts them into bands."""


@dataclass(frozen=True)
class Target:
    """One harness.

    Attributes
    ----------
    seeds : callable
        Yields valid inputs.
    run : callable
        Takes an input and a folder for files; raises `NgcoreError` where it is not valid.
    is_json : bool
        Whether inputs are JSON, which mutations should keep well-formed most of the time.
    """

    seeds: Callable[[], Iterator[bytes]]
    run: Callable[[bytes, Path], None]
    is_json: bool = False


def is_sound(target: Target, data: bytes, folder: Path) -> bool:
    """Run a target; whether it took the bytes for valid. Other errors than ours come through."""
    try:
        target.run(data, folder)
    except NgcoreError as error:
        assert "\n" not in str(error), f"an error of several lines: {error!r}"  # noqa: PT017
        return False
    return True


@contextlib.contextmanager
def work_folder() -> Iterator[Path]:
    """A folder for the files of one fuzzer, in memory where that can be had."""
    memory = Path("/dev/shm")
    folder = tempfile.mkdtemp(dir=memory if memory.is_dir() else None)
    try:
        yield Path(folder)
    finally:
        shutil.rmtree(folder)


def _info(data: bytes, folder: Path) -> None:
    del folder
    parsers: list[Callable[[bytes], object]] = [
        _volume_info,
        SegmentProperties.from_json,
        lambda data: parse_transform(data, "transform.json"),
        decode_colours,
        _multilod_info,
        mesh_info_type,
        _provenance,
    ]
    error: FormatError | None = None
    taken = 0
    for parse in parsers:
        try:
            parse(data)
            taken += 1
        except FormatError as raised:
            error = raised
    if error is not None and not taken:
        raise error


def _volume_info(data: bytes) -> None:
    info = VolumeInfo.from_json(data)
    assert VolumeInfo.from_json(info.to_json()) == info
    info_warnings(info)


def _provenance(data: bytes) -> None:
    known = Provenance.from_json(data)
    file_digest(data, "info")
    if known.fault:
        raise FormatError(known.fault)
    assert Provenance.from_json(known.to_json()).seal == (known.seal if known.seal else Seal())
    _ = known.later_steps, known.method_of("convert")
    if not known.processing:
        raise FormatError("tells of nothing")


def _multilod_info(data: bytes) -> None:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise FormatError("no JSON") from error
    MultilodInfo.from_json(value)


def _shards(data: bytes, folder: Path) -> None:
    if not data:
        raise FormatError("no sharding")
    spec = seeds.SHARDINGS[data[0] % len(seeds.SHARDINGS)]
    scale = ScaleInfo(
        "s", size=(16, 16, 16), resolution=(1, 1, 1), chunk_sizes=[(4, 4, 4)], sharding=spec
    )
    shard = folder / "s" / spec.file_name(0)
    shard.parent.mkdir(exist_ok=True)
    shard.write_bytes(data[1:])
    reader = ShardedReader(LocalStore(folder), scale, spec, 64)
    error = None
    for cell in scale.grid.cells():
        try:
            chunk = reader.read(cell)
            assert chunk is None or len(chunk) <= 64 or spec.data_encoding == "raw"
        except FormatError as raised:
            error = raised
    if error is not None:
        raise error


def _mesh(data: bytes, folder: Path) -> None:
    if not data:
        raise FormatError("no mesh")
    kind = seeds.MESH_KINDS[data[0] % len(seeds.MESH_KINDS)]
    data = data[1:]
    if kind == "fragment":
        decode_fragment(data)
    elif kind == "manifest":
        decode_manifest(data)
    elif kind == "multilod":
        manifest = MultilodManifest.from_bytes(data)
        assert manifest.data_size >= 0
    else:
        path = folder / "mesh"
        path.write_bytes(data)
        mesh = read_mesh(path, kind=kind)
        assert mesh.triangles.max() < len(mesh.vertices_nm)
        assert np.isfinite(mesh.vertices_nm).all()


def _labels(data: bytes, folder: Path) -> None:
    path = folder / "table"
    path.write_bytes(data)
    table = read_label_table(path)
    assert table.labels


def _layer(data: bytes, folder: Path) -> None:
    del folder
    if not data:
        raise FormatError("no layer")
    kind, data = seeds.LAYERS[data[0] % len(seeds.LAYERS)], data[1:]
    if kind == "annotations":
        info = AnnotationInfo.from_json(data)
        assert AnnotationInfo.from_json(info.to_json()) == info
    elif kind == "skeletons":
        skeletons = SkeletonInfo.from_json(data)
        assert SkeletonInfo.from_json(skeletons.to_json()) == skeletons
    elif kind == "skeleton":
        skeleton = Skeleton.from_bytes(data, seeds.SKELETON_INFO)
        assert skeleton.to_bytes(seeds.SKELETON_INFO) == data
    elif kind == "by_id":
        found, (segments,) = decode_annotation(data, seeds.annotation_info("point"))
        assert len(found) == 1
        assert segments.dtype == np.uint64
    else:
        found = decode_list(data, seeds.annotation_info(kind))
        assert np.isfinite(found.geometry).all()


def _points(data: bytes, folder: Path) -> None:
    if not data:
        raise FormatError("no points")
    ending = seeds.POINTS[data[0] % len(seeds.POINTS)]
    path = folder / f"points{ending}"
    path.write_bytes(data[1:])
    if ending == ".swc":
        neuron = read_swc(path)
        assert np.isfinite(neuron.points).all()
        assert neuron.edges.max(initial=0) < len(neuron.points)
    elif ending in (".trk", ".tck", ".trx"):
        tracts = open_tracts(path)
        for lines in tracts.lines():
            assert lines.offsets[-1] == len(lines.points)
        tracts.close()
    else:
        table = open_table(path)
        roles = find_roles(table, "point", columns={}, id=None, group=None, relations={}, skip=())
        spool = Spool(folder)
        try:
            rows = SpooledTable(table, roles, spool)
            assert sum(len(block) for block in RowBlocks(rows).full()) == rows.count
        finally:
            spool.close()


def _chunk(data: bytes, folder: Path) -> None:
    del folder
    if not data:
        raise FormatError("no chunk")
    encoding, data_type, channels = seeds.CHUNKS[data[0] % len(seeds.CHUNKS)]
    block_size = (8, 8, 8) if encoding == "compressed_segmentation" else None
    scale = ScaleInfo(
        "s",
        size=seeds.CHUNK_SHAPE,
        resolution=(1, 1, 1),
        chunk_sizes=[seeds.CHUNK_SHAPE],
        encoding=encoding,
        compressed_segmentation_block_size=block_size,
    )
    info = VolumeInfo("image", data_type, channels, (scale,))
    shape = (*seeds.CHUNK_SHAPE, channels)
    codec = make_encoding(info, scale)
    ends = [sorted((byte % (side + 1), side - byte // 16 % side)) for byte, side in _box_of(data)]
    box = (*(slice(*pair) for pair in ends), slice(0, channels))
    part = np.empty([stop - start for start, stop in ends] + [channels], data_type)
    try:
        voxels = codec.decode(data[1:], shape)
    except FormatError:
        # Of a box, only the blocks that it touches are looked at: these may be valid.
        with contextlib.suppress(FormatError):
            codec.decode_box(data[1:], shape, box, part)
        raise
    assert (voxels.shape, voxels.dtype) == (shape, np.dtype(data_type))
    codec.decode_box(data[1:], shape, box, part)
    assert np.array_equal(part, voxels[box], equal_nan=np.dtype(data_type).kind == "f")


def _box_of(data: bytes) -> Iterator[tuple[int, int]]:
    """Yield a byte and a side for each axis, by which a box is chosen."""
    return zip(data[-3:].rjust(3, b"\0"), seeds.CHUNK_SHAPE, strict=True)


def _nifti(data: bytes, folder: Path) -> None:
    if not data:
        raise FormatError("no NIfTI")
    kind, data = data[0] % 3, data[1:]
    path = folder / ("a.nii" if kind == 0 else "a.nii.gz")
    path.write_bytes(gzip.compress(data, 1, mtime=0) if kind == 1 else data)
    _read_source(path)


def _tiff(data: bytes, folder: Path) -> None:
    path = folder / "a.tif"
    path.write_bytes(data)
    _read_source(path)


def _volume(data: bytes, folder: Path) -> None:
    if not data:
        raise FormatError("no volume")
    ending = seeds.VOLUME_ENDINGS[data[0] % len(seeds.VOLUME_ENDINGS)]
    path = folder / f"a{ending}"
    path.write_bytes(data[1:])
    (folder / "a.img").write_bytes(bytes(200))
    _read_source(path)


def _format(data: bytes, folder: Path) -> None:
    if not data:
        raise FormatError("no volume")
    path = folder / f"a{seeds.FORMAT_ENDINGS[data[0] % len(seeds.FORMAT_ENDINGS)]}"
    path.write_bytes(data[1:])
    _read_source(path)


def _metadata(data: bytes, folder: Path) -> None:
    is_n5 = b'"dimensions"' in data
    path = folder / ("fuzzed.n5" if is_n5 else "fuzzed.zarr")
    shutil.rmtree(path, ignore_errors=True)
    block = bytes(range(60))
    if is_n5:
        (path / "0/0").mkdir(parents=True)
        (path / "0/0/0").write_bytes(b"\0\0\0\3\0\0\0\5\0\0\0\4\0\0\0\3" + block)
        (path / "attributes.json").write_bytes(data)
    else:
        for chunk in ("c/0/0/0", "0/c/0/0/0"):
            (path / chunk).parent.mkdir(parents=True)
            (path / chunk).write_bytes(block)
        (path / "zarr.json").write_bytes(data)
        (path / "0/zarr.json").write_bytes(next(seeds.metadata()))
    _read_source(path)


def _read_source(path: Path) -> None:
    with open_source(path, workers=1) as source:
        axis = source.stream_axis
        planes = source.shape[axis]
        size = int(np.prod(source.shape, dtype=object)) * source.dtype.itemsize
        if size > MOST_VOXEL_BYTES:
            return
        shape = list(source.shape)
        step = 2 if source.cost.is_concurrent else planes
        read = source
        if source.cost.access == "unpack":
            spool = path.with_name("spool")
            spool.unlink(missing_ok=True)
            read = source.spooled(spool)
        with read:
            for start in range(0, planes, step):
                shape[axis] = min(step, planes - start)
                out = np.empty(shape, source.dtype, order=read.memory_order)
                read.read(planes_box(read, start, start + shape[axis]), out)
            read.finish()


def _packed(data: bytes, folder: Path) -> None:
    """Take a kind of compression, or a zip of which every entry is read."""
    encoding = {b"b": "br", b"z": "zstd", b"g": "gzip"}.get(data[:1])
    if encoding is not None:
        decode_content(data[1:], encoding, max_size=1 << 20)
        return
    path = folder / "v.zip"
    path.write_bytes(data[1:])
    store = open_store(path)
    assert isinstance(store, ZipStore)
    for name in store.list():
        store.get(name)
        store.get(name, 1, 5)


TARGETS = {
    "info": Target(seeds.info, _info, is_json=True),
    "shards": Target(seeds.shards, _shards),
    "meshes": Target(seeds.meshes, _mesh),
    "labels": Target(seeds.labels, _labels),
    "layers": Target(seeds.layers, _layer),
    "points": Target(seeds.points, _points),
    "chunks": Target(seeds.chunks, _chunk),
    "nifti": Target(seeds.nifti, _nifti),
    "tiff": Target(seeds.tiff, _tiff),
    "volumes": Target(seeds.volumes, _volume),
    "formats": Target(seeds.formats, _format),
    "packed": Target(seeds.packed, _packed),
    "metadata": Target(seeds.metadata, _metadata, is_json=True),
}
