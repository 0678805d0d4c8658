"""Sound files of each kind, small, that fuzzers start from and mutate.

They are made here rather than kept, so that it is plain what is in them.
"""

from __future__ import annotations

import contextlib
import gzip
import importlib.util
import io
import json
import struct
import tempfile
import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nibabel
import nibabel.streamlines
import numpy as np
import tifffile
import trimesh
from PIL import Image

from ngcore import compressed_segmentation
from ngcore.codecs.zip_file import Entry, ZipParts
from ngcore.precomputed.annotation_property import AnnotationProperty
from ngcore.precomputed.annotation_records import encode_annotations, encode_list, make_records
from ngcore.precomputed.annotations import (
    AnnotationIndex,
    AnnotationInfo,
    SpatialLevel,
)
from ngcore.precomputed.encodings.jxl import JxlEncoding
from ngcore.precomputed.info import ScaleInfo, VolumeInfo
from ngcore.precomputed.mesh import Mesh
from ngcore.precomputed.mesh_legacy import encode_fragment
from ngcore.precomputed.segment_properties import SegmentProperties, TagsProperty, TextProperty
from ngcore.precomputed.shard_index import layout_shard
from ngcore.precomputed.sharding import ShardingSpec
from ngcore.precomputed.skeletons import Skeleton, SkeletonInfo, VertexAttribute
from ngcore.precomputed.vtk import encode_vtk
from ngcore.volume.provenance import Provenance
from ngcore.volume.seal import Seal

if TYPE_CHECKING:
    from collections.abc import Iterator

SHARDINGS = [
    ShardingSpec(
        preshift_bits=preshift,
        hash=hash_name,
        minishard_bits=minishard,
        shard_bits=shard,
        minishard_index_encoding=index,
        data_encoding=data,
    )
    for preshift, minishard, shard in [(0, 0, 0), (3, 2, 1), (1, 4, 1)]
    for hash_name in ("identity", "murmurhash3_x86_128")
    for index, data in [("raw", "raw"), ("raw", "gzip"), ("gzip", "raw")]
]
"""How the shards of the fuzzer may be: the first byte of its input chooses."""

MESH_KINDS = (
    "gii", "stl", "ply", "obj", "off", "freesurfer", "fragment", "manifest", "multilod", "vtk",
    "mni",
)  # fmt: skip
"""What the first byte of a fuzzed mesh chooses from."""

VOLUME_ENDINGS = (".npy", ".mgh", ".mgz", ".hdr", ".png", ".jpg", ".mnc", ".PAR", ".BRIK")
"""The same for volumes that are neither NIfTI nor TIFF."""

CHUNKS = [
    ("raw", "uint8", 1),
    ("raw", "float32", 3),
    ("png", "uint8", 1),
    ("png", "uint16", 1),
    ("png", "uint8", 3),
    ("jpeg", "uint8", 1),
    ("jpeg", "uint8", 3),
    ("jxl", "uint8", 1),
    ("compressed_segmentation", "uint32", 1),
    ("compressed_segmentation", "uint64", 2),
]
"""The same for chunks: encoding, type of the voxels, channels."""

CHUNK_SHAPE = (9, 8, 5)
_RANDOM = np.random.default_rng(7)


def info() -> Iterator[bytes]:
    """JSON of every kind that a volume's folder holds."""
    for encoding, data_type, channels in CHUNKS:
        is_labels = encoding == "compressed_segmentation" and channels == 1
        scales = [
            ScaleInfo(
                f"{size}_{size}_{size}",
                size=(64 // size, 32 // size, 16),
                resolution=(size, size, size),
                voxel_offset=(-3, 0, 7),
                chunk_sizes=[(8, 8, 8)],
                encoding=encoding,
                compressed_segmentation_block_size=(8, 8, 8)
                if encoding == "compressed_segmentation"
                else None,
                sharding=SHARDINGS[1] if size == 2 else None,
            )
            for size in (1, 2)
        ]
        volume_type = "segmentation" if is_labels else "image"
        yield VolumeInfo(volume_type, data_type, channels, tuple(scales)).to_json().encode()
    tags = TagsProperty(id="tags", tags=("left", "right"), values=((0,), (1,), (0, 1)))
    names = TextProperty(id="label", type="label", values=("a", "b", "c"))
    yield SegmentProperties((1, 2, 2**64 - 1), (names, tags)).to_json().encode()
    matrix = [[1.0, 0, 0, 5], [0, 2, 0, 0], [0, 0, 3, 0], [0, 0, 0, 1]]
    yield json.dumps(matrix).encode()
    yield json.dumps({"1": "#ff0000", "22": "#00ff7f"}).encode()
    multilod = {
        "@type": "neuroglancer_multilod_draco",
        "vertex_quantization_bits": 10,
        "transform": [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0],
        "lod_scale_multiplier": 1.5,
        "sharding": SHARDINGS[1].to_json(),
    }
    yield json.dumps(multilod).encode()
    yield json.dumps({"@type": "neuroglancer_legacy_mesh"}).encode()
    seal = Seal({"8_8_8": "0f"}, {"transform.json": "ab"}, {"mesh": "cd"}, {"data_type": "uint8"})
    provenance = Provenance.of(["t1.nii.gz"], "convert", {"type": "image"}).sealed(seal)
    yield provenance.to_json()


LAYERS = (*("annotations", "point", "line", "polyline", "by_id", "skeletons", "skeleton"),)
"""What the first byte of a fuzzed layer chooses from: an `info`, or the bytes it describes."""


def annotation_info(kind: str) -> AnnotationInfo:
    """An `info` with properties of each size and a relationship."""
    return AnnotationInfo(
        {"x": (0.001, "m"), "y": (0.001, "m"), "z": (0.001, "m")},
        (0, 0, 0),
        (1, 2, 3),
        kind,
        (
            AnnotationProperty("word", "uint8", None, None, (0, 1), ("a", "b")),
            AnnotationProperty("size", "float32", "in mm"),
            AnnotationProperty("colour", "rgb"),
        ),
        (AnnotationIndex("rel_cell", None, "cell"),),
        AnnotationIndex("by_id", SHARDINGS[3]),
        (SpatialLevel("spatial0", (1, 1, 1), (1, 2, 3), 100, SHARDINGS[0]),),
    )


SKELETON_INFO = SkeletonInfo(
    (VertexAttribute("radius", "float32"), VertexAttribute("o", "int8", 3))
)


def layers() -> Iterator[bytes]:
    """Annotations and skeletons: their `info` and their bytes."""
    yield _layer("annotations") + annotation_info("point").to_json().encode()
    yield _layer("skeletons") + SKELETON_INFO.to_json().encode()
    words = {"word": np.arange(3), "size": np.ones(3), "colour": np.full((3, 3), 7)}
    ids = np.arange(1, 4, dtype=np.uint64)
    for kind, floats in (("point", 3), ("line", 6), ("polyline", 3)):
        offsets = np.array([0, 2, 4, 7]) if kind == "polyline" else None
        rows = 7 if kind == "polyline" else 3
        geometry = np.arange(rows * floats, dtype=np.float32).reshape(rows, floats)
        records = make_records(annotation_info(kind), geometry, words, offsets)
        yield _layer(kind) + encode_list(records, ids)
        if kind == "point":
            single = encode_annotations(records, [(np.arange(4), ids)])
            yield _layer("by_id") + single.words[: single.offsets[1]].tobytes()
    skeleton = Skeleton(
        np.ones((3, 3), np.float32),
        np.array([[0, 1], [1, 2]], np.uint32),
        {"radius": np.ones(3), "o": np.ones((3, 3))},
    )
    yield _layer("skeleton") + skeleton.to_bytes(SKELETON_INFO)


POINTS = (".csv", ".tsv", ".npy", ".parquet", ".swc", ".trk", ".tck", ".trx")
"""The same for tables of points, neurons and streamlines."""


def points() -> Iterator[bytes]:
    """Small tables, an SWC file and streamlines."""
    yield _points(".csv") + b'x,y,z,word,size,of\n1,2,3,"a, b",0.5,7\n4,5,6,c,n/a,8;9\n'
    yield _points(".tsv") + b"x\ty\tz\tcolour\n1\t2\t3\t#ff0000\n4\t5\t6\t#00ff00\n"
    file = io.BytesIO()
    np.save(file, np.arange(12, dtype=np.float32).reshape(4, 3))
    yield _points(".npy") + file.getvalue()
    yield _points(".swc") + b"# a neuron\n1 1 0 0 0 2 -1\n2 3 5 0 0 1 1\n3 3 6 1 0 1 2\n"
    lines = [np.arange(3 * n, dtype=np.float32).reshape(n, 3) for n in (2, 5, 3)]
    for kind, form in (
        (".trk", nibabel.streamlines.TrkFile),
        (".tck", nibabel.streamlines.TckFile),
    ):
        tractogram = nibabel.streamlines.Tractogram(lines, affine_to_rasmm=np.eye(4))
        file = io.BytesIO()
        form(tractogram).save(file)
        yield _points(kind) + file.getvalue()
    if importlib.util.find_spec("trx") is not None:  # of an extra
        yield _points(".trx") + _trx(lines)


def _trx(lines: list[np.ndarray[Any, Any]]) -> bytes:
    """Return a TRX file with a group: a zip of arrays, as its specification has them."""
    offsets = np.cumsum([0, *map(len, lines)])
    head = {
        "DIMENSIONS": [5, 5, 5],
        "VOXEL_TO_RASMM": np.eye(4).tolist(),
        "NB_VERTICES": int(offsets[-1]),
        "NB_STREAMLINES": len(lines),
    }
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as packed:
        packed.writestr("header.json", json.dumps(head))
        packed.writestr("positions.3.float32", np.concatenate(lines).astype("<f4").tobytes())
        packed.writestr("offsets.uint64", offsets.astype("<u8").tobytes())
        packed.writestr("groups/some.uint32", np.array([0, 2], "<u4").tobytes())
    return file.getvalue()


def _points(ending: str) -> bytes:
    return bytes([POINTS.index(ending)])


def shards() -> Iterator[bytes]:
    """A byte that chooses the sharding, and a shard file."""
    for number, spec in enumerate(SHARDINGS):
        ids = [chunk for chunk in range(64) if spec.locate(chunk)[0] == 0][:12]
        chunks = {chunk: _RANDOM.bytes(int(_RANDOM.integers(1, 40))) for chunk in ids}
        if spec.data_encoding == "gzip":
            chunks = {chunk: gzip.compress(data, mtime=0) for chunk, data in chunks.items()}
        layout = layout_shard(spec, {chunk: len(data) for chunk, data in chunks.items()})
        data = b"".join([layout.header, *(chunks[chunk] for chunk in layout.ids), layout.trailer])
        yield bytes([number]) + data


def meshes() -> Iterator[bytes]:
    """A byte that chooses the kind, and a mesh."""
    box = trimesh.creation.box(extents=(2, 3, 4))
    vertices, faces = np.asarray(box.vertices, np.float32), np.asarray(box.faces, np.int32)
    for encoding in ("ASCII", "B64BIN", "B64GZ"):
        arrays = [
            nibabel.gifti.GiftiDataArray(vertices, "NIFTI_INTENT_POINTSET", encoding=encoding),
            nibabel.gifti.GiftiDataArray(faces, "NIFTI_INTENT_TRIANGLE", encoding=encoding),
        ]
        yield _kind("gii") + nibabel.gifti.GiftiImage(darrays=arrays).to_bytes()
    for kind, options in [
        ("stl", {}),
        ("ply", {}),
        ("ply", {"encoding": "ascii"}),
        ("obj", {}),
        ("off", {}),
    ]:
        data = box.export(file_type=kind, **options)
        yield _kind(kind) + (data.encode() if isinstance(data, str) else data)
    yield _kind("stl") + box.export(file_type="stl_ascii").encode()
    head = b"ply\nformat binary_little_endian 1.0\nelement vertex 4\nproperty float x\n"
    head += b"property float y\nproperty float z\nelement face 2\n"
    head += b"property list uchar int vertex_indices\nend_header\n"
    polygons = struct.pack("<B4iB3i", 4, 0, 1, 2, 3, 3, 0, 1, 2)
    yield _kind("ply") + head + np.eye(4, 3).astype("<f4").tobytes() + polygons
    yield _kind("vtk") + encode_vtk(Mesh.from_mm(vertices, faces))
    points = np.eye(4, 3).astype(">f4").tobytes()
    vtk = b"# vtk DataFile Version 5.1\nx\n%s\nDATASET POLYDATA\nPOINTS 4 float\n%s\n"
    cells = b"POLYGONS 2 4\nOFFSETS vtktypeint64\n%s\nCONNECTIVITY vtktypeint64\n%s\n"
    offsets, corners = np.array([0, 4], ">i8").tobytes(), np.arange(4).astype(">i8").tobytes()
    yield _kind("vtk") + vtk % (b"BINARY", points) + cells % (offsets, corners)
    strips = b"TRIANGLE_STRIPS 1 5\n4 0 1 2 3\n"
    yield _kind("vtk") + vtk % (b"ASCII", b"0 0 0 1 0 0 0 1 0 0 0 1") + strips
    corners_of_two = b"P .3 .3 .4 10 1 3\n0 0 0 1 0 0 0 1 0\n0 0 1 0 0 1 0 0 1\n2\n0 1 1 1 1\n"
    yield _kind("mni") + corners_of_two + b"3 6\n0 1 2 0 2 1\n"
    counts = struct.pack(">ii", len(vertices), len(faces))
    body = vertices.astype(">f4").tobytes() + faces.astype(">i4").tobytes()
    footer = b"\x00\x00\x00\x14valid = 1\nfilename = a\nvolume = 9 8 7\nvoxelsize = 1 1 1\n"
    footer += b"xras = -1 0 0\nyras = 0 0 -1\nzras = 0 1 0\ncras = 1 2 3\n"
    yield _kind("freesurfer") + b"\xff\xff\xfemade by hand\n\n" + counts + body + footer
    quads = bytes([0, 0, 8, 0, 0, 1]) + vertices.astype(">f4").tobytes()
    quads += bytes([0, 0, 0, 0, 0, 1, 0, 0, 3, 0, 0, 2])
    yield _kind("freesurfer") + b"\xff\xff\xfd" + quads
    yield _kind("fragment") + encode_fragment(Mesh.from_mm(vertices, faces))
    yield _kind("manifest") + json.dumps({"fragments": ["a", "b/c"]}).encode()
    header = np.array([10, 10, 10, 0, 0, 0], "<f4").tobytes() + struct.pack("<I", 2)
    lods = np.array([1, 2], "<f4").tobytes() + bytes(24) + struct.pack("<II", 2, 1)
    fine = np.array([[0, 1], [0, 0], [0, 0]], "<u4").tobytes() + struct.pack("<II", 9, 8)
    yield _kind("multilod") + header + lods + fine + bytes(12) + struct.pack("<I", 4)


def labels() -> Iterator[bytes]:
    """Label tables of every kind."""
    yield b"# LUT\n0 Unknown 0 0 0 0\n17 Left-Hippocampus 220 216 20 0\n"
    yield b'0 0 0 0 0 0 0 "Clear Label"\n20 51 51 255 0.25 1 1 "left (l5)"\n'
    yield b"index\tname\tabbreviation\tcolor\n1\tGrey matter\tGM\t#aa00ff\n2\tWhite\tWM\tn/a\n"
    yield b"id,name,r,g,b\n1,one,1,2,3\n2,two,4,5,6\n"
    yield b"3,three\n4,four\n"
    yield (
        b'<?xml version="1.0"?><atlas><header><name>n</name><type>Label</type></header>'
        b'<data><label index="0" x="1" y="2" z="3">Pole</label></data></atlas>'
    )
    table = nibabel.gifti.GiftiLabelTable()
    label = nibabel.gifti.GiftiLabel(key=3, red=0.5, green=0.2, blue=1.0, alpha=1.0)
    label.label = "three"
    table.labels.append(label)
    yield nibabel.gifti.GiftiImage(labeltable=table).to_bytes()
    yield b"1 0.47 0.07 0.51 Left (l5)\n"
    yield b"1 PN ctx-pons 25 5 25 255\n"
    yield b"Left Pons\n1 255 0 0 255\nb\n2 0 0 0 0\n"
    yield b"1 Precentral_L 2001\n2 Postcentral_L 2002\n"
    yield b",root_id,name,rgb_triplet,n,flag\n0,720575940631843533,a b,1/2/3,7,True\n1,9,b,,,\n"
    yield b"acronym,id,name,structure_id_path\nroot,1,root,/1/\nTH,2,t,/1/2/\n"
    yield b'{"msg":[{"id":1,"name":"a","hex_color":"010203","children":[{"id":2,"name":"b"}]}]}'
    yield b'{"labels":{"background":0,"a":1}}'
    entry = b"\0\0\0\1\0\0\0\2a\0" + bytes([0, 0, 0, 9] * 4)
    colours = b"\xff\xff\xff\xfe\0\0\0\2\0\0\0\2f\0\0\0\0\1" + entry
    yield b"\0\0\0\1" + bytes(8) + b"\0\0\0\1" + colours
    volume = nibabel.MGHImage(np.zeros((2, 2, 2), np.uint8), np.eye(4)).to_bytes()
    yield volume + b"\0\0\0\3" + bytes(7) + b"\2ab" + b"\0\0\0\1" + colours


def chunks() -> Iterator[bytes]:
    """A byte that chooses encoding and type, and a chunk."""
    for number, (encoding, data_type, channels) in enumerate(CHUNKS):
        shape = (*CHUNK_SHAPE, channels)
        voxels = np.asfortranarray(_RANDOM.integers(0, 200, shape)).astype(data_type)
        yield bytes([number]) + _encoded(encoding, voxels)


def nifti() -> Iterator[bytes]:
    """A byte (1: the rest is gzipped before it is read; 2: it is the file of a .nii.gz)."""
    for kind in (nibabel.Nifti1Image, nibabel.Nifti2Image):
        for data_type in ("uint8", "int16", "float32"):
            image = kind(
                _RANDOM.integers(0, 99, (5, 4, 3)).astype(data_type), np.diag([2, 3, 4, 1])
            )
            image.header["qform_code"] = 1
            image.header["scl_slope"], image.header["scl_inter"] = 2, 1
            data = image.to_bytes()
            yield b"\0" + data
            yield b"\1" + data
            yield b"\2" + gzip.compress(data, mtime=0)


def tiff() -> Iterator[bytes]:
    """Stacks, plain and compressed, strips and tiles, ImageJ's, OME's and BigTIFF."""
    planes = _RANDOM.integers(0, 999, (3, 17, 20), np.uint16)
    for options in [
        {},
        {"compression": "zlib", "predictor": 2},
        {"compression": "lzw", "rowsperstrip": 4},
        {"compression": "packbits", "tile": (16, 16)},
        {"bigtiff": True, "byteorder": ">"},
        {"imagej": True, "resolution": (2, 2), "metadata": {"spacing": 3, "unit": "um"}},
        {"ome": True, "metadata": {"axes": "ZYX", "PhysicalSizeX": 0.1}},
        {"metadata": {"axes": "ZXY"}},
        {"imagej": True, "metadata": {"axes": "CYX"}},
    ]:
        out = io.BytesIO()
        tifffile.imwrite(out, planes, photometric="minisblack", **options)
        yield out.getvalue()
    out = io.BytesIO()
    with tifffile.TiffWriter(out) as writer:
        for plane in planes:
            writer.write(plane, compression="zlib", photometric="minisblack")
    yield out.getvalue()
    out = io.BytesIO()
    tiles = (None if number % 2 else planes[0, :16, :16] for number in range(12))
    options = {"shape": planes.shape, "dtype": planes.dtype, "tile": (16, 16)}
    tifffile.imwrite(out, tiles, photometric="minisblack", **options)
    yield out.getvalue()


def volumes() -> Iterator[bytes]:
    """A byte that chooses the ending, and a volume or a slice."""
    voxels = _RANDOM.integers(0, 99, (5, 4, 3), np.uint8)
    for array in (voxels, np.asfortranarray(voxels.astype(">i2"))):
        out = io.BytesIO()
        np.save(out, array)
        yield _ending(".npy") + out.getvalue()
    data = nibabel.MGHImage(voxels, np.eye(4)).to_bytes()
    yield _ending(".mgh") + data
    yield _ending(".mgz") + gzip.compress(data, mtime=0)
    header = nibabel.AnalyzeImage(voxels, np.eye(4)).header
    yield _ending(".hdr") + header.binaryblock
    for ending, name in ((".png", "png"), (".jpg", "jpeg")):
        for array in (voxels[..., 0], np.ascontiguousarray(voxels)):
            out = io.BytesIO()
            Image.fromarray(array).save(out, name)
            yield _ending(ending) + out.getvalue()


FORMAT_ENDINGS = (".nrrd", ".mha", ".mrc", ".dcm", ".nii.zst", ".h5")
"""What the first byte of a fuzzed file of the extras' formats chooses from."""


def formats() -> Iterator[bytes]:
    """A byte that chooses the ending, and a volume that an extra reads."""
    import h5py
    import mrcfile
    import nrrd
    import pydicom.data
    import zstandard

    voxels = _RANDOM.integers(0, 99, (5, 4, 3), np.int16)
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/a"
        for encoding in ("raw", "gzip", "bzip2"):
            header = {"encoding": encoding, "space": "LPS", "space directions": np.eye(3)}
            nrrd.write(f"{path}.nrrd", voxels, header)
            yield _format(".nrrd") + Path(f"{path}.nrrd").read_bytes()
        with mrcfile.new(f"{path}.mrc") as file:
            file.set_data(voxels)
        yield _format(".mrc") + Path(f"{path}.mrc").read_bytes()
        with h5py.File(f"{path}.h5", "w") as file:
            file.create_dataset("raw", data=voxels, chunks=(2, 2, 2), compression="gzip")
        yield _format(".h5") + Path(f"{path}.h5").read_bytes()
    fields = "ObjectType = Image\nNDims = 3\nDimSize = 5 4 3\nElementType = MET_SHORT\n"
    data = voxels.tobytes(order="F")
    for packed in (False, True):
        head = f"{fields}CompressedData = {packed}\nElementDataFile = LOCAL\n".encode()
        yield _format(".mha") + head + (zlib.compress(data) if packed else data)
    image = nibabel.Nifti1Image(voxels, np.eye(4)).to_bytes()
    yield _format(".nii.zst") + zstandard.ZstdCompressor().compress(image)
    for name in ("MR_small.dcm", "MR_small_RLE.dcm", "rtdose.dcm"):
        yield _format(".dcm") + Path(pydicom.data.get_testdata_file(name)).read_bytes()


def metadata() -> Iterator[bytes]:
    """The metadata of a Zarr array, a group of OME-Zarr, and a data set of N5."""
    array = {
        "zarr_format": 3,
        "node_type": "array",
        "shape": [3, 4, 5],
        "data_type": "uint8",
        "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [3, 4, 5]}},
        "chunk_key_encoding": {"name": "default", "configuration": {"separator": "/"}},
        "fill_value": 0,
        "codecs": [{"name": "bytes"}],
        "attributes": {},
        "dimension_names": ["z", "y", "x"],
    }
    yield json.dumps(array).encode()
    axes = [{"name": name, "type": "space", "unit": "nanometer"} for name in "zyx"]
    steps = [
        {"type": "scale", "scale": [4, 3, 2]},
        {"type": "translation", "translation": [1] * 3},
    ]
    image = {"axes": axes, "datasets": [{"path": "0", "coordinateTransformations": steps}]}
    label = {"colors": [{"label-value": 1, "rgba": [1, 2, 3, 4]}], "properties": []}
    ome = {"version": "0.5", "multiscales": [image], "image-label": label}
    group = {"zarr_format": 3, "node_type": "group", "attributes": {"ome": ome}}
    yield json.dumps(group).encode()
    data_set = {
        "dimensions": [5, 4, 3],
        "blockSize": [5, 4, 3],
        "dataType": "uint8",
        "compression": {"type": "raw"},
        "resolution": [4, 4, 40],
        "units": ["nm", "nm", "nm"],
        "axes": ["x", "y", "z"],
        "offset": [0, 1, 2],
    }
    yield json.dumps(data_set).encode()


def _format(name: str) -> bytes:
    return bytes([FORMAT_ENDINGS.index(name)])


def _encoded(encoding: str, voxels: np.ndarray[Any, Any]) -> bytes:
    if encoding == "raw":
        return voxels.tobytes(order="F")
    if encoding == "compressed_segmentation":
        return compressed_segmentation.encode(voxels, block_size=(8, 8, 8))
    if encoding == "jxl":
        return JxlEncoding(voxels.dtype, 1).encode(voxels)
    x, y, z, channels = voxels.shape
    plane = voxels.reshape((x, y * z, channels), order="F").transpose(1, 0, 2)
    out = io.BytesIO()
    name = "PNG" if encoding == "png" else "JPEG"
    Image.fromarray(np.ascontiguousarray(plane[..., 0] if channels == 1 else plane)).save(
        out, name
    )
    return out.getvalue()


def packed() -> Iterator[bytes]:
    """Yield compressed bytes of each kind that is known, and zip files."""
    data = b"some voxels " * 20
    yield b"g" + gzip.compress(data)
    with contextlib.suppress(ImportError):
        import brotli

        yield b"b" + brotli.compress(data)
    with contextlib.suppress(ImportError):
        import zstandard

        yield b"z" + zstandard.compress(data)
    entries = [Entry(name, len(data), lambda: [data]) for name in ("info", "8_8_8/0.shard")]
    yield b"p" + b"".join(ZipParts(entries).in_order())


def _kind(name: str) -> bytes:
    return bytes([MESH_KINDS.index(name)])


def _ending(name: str) -> bytes:
    return bytes([VOLUME_ENDINGS.index(name)])


def _layer(name: str) -> bytes:
    return bytes([LAYERS.index(name)])
