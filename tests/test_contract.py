"""Whole conversions against `contract.py`, which is written from the public contract alone."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

import nibabel
import numpy as np
import pytest
from contract import RefusalError, expected_data_type, expected_scales, expected_values
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from peers import read_with_tensorstore
from thorough import amount

import ngcore

STORED = ["?", "u1", "i1", "<u2", ">i2", "<u4", ">i4", "<u8", ">i8", "<f2", ">f4", "<f8"]
ASKED = ["uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "float32"]


class Sliced:
    """An array of another library: it has a shape, a dtype and slicing, no more."""

    def __init__(self, array):
        self._array = array
        self.shape, self.dtype = array.shape, array.dtype

    def __getitem__(self, index):
        return self._array[index]


@st.composite
def arrays(draw):
    """Draw an array of any type, order and strides, of one to eight voxels per axis."""
    dtype = np.dtype(draw(st.sampled_from(STORED)))
    shape = draw(st.tuples(*[st.integers(1, 8)] * draw(st.sampled_from([2, 3, 3, 3, 4]))))
    if len(shape) == 4:
        shape = (*shape[:3], min(shape[3], 4))
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        middle = st.integers(0, min(9, int(limits.max)))
        ends = st.sampled_from([int(limits.min), int(limits.max), int(limits.max) // 2])
        elements = middle if draw(st.booleans()) else middle | ends
    elif dtype.kind == "f":
        whole = st.integers(0, 9).map(float)
        odd = st.sampled_from([-1.5, 0.5, 1.5, 2.5, 1e4, -3e4, 255.5])
        bad = st.sampled_from([np.nan, np.inf, -np.inf])
        elements = draw(st.sampled_from([whole, whole | odd, whole | odd | bad]))
    else:
        elements = st.booleans()
    array = draw(hnp.arrays(dtype.newbyteorder("="), shape, elements=elements)).astype(dtype)
    axes = draw(st.permutations(range(len(shape))))
    return np.ascontiguousarray(array.transpose(axes)).transpose(np.argsort(axes))


@st.composite
def cases(draw):
    """Draw a source and options that may or may not fit each other."""
    array = draw(arrays())
    options = {
        "type": draw(st.sampled_from(["image", "image", "segmentation"])),
        "resolution": draw(
            st.sampled_from([(8, 8, 8), (4, 4, 40), (1, 3, 200), (0.5, 0.5, 2), (700, 1000, 90)])
        ),
        "voxel_offset": draw(st.tuples(*[st.integers(-5, 5)] * 3)),
        "downsampling": draw(
            st.sampled_from(["auto", "average", "majority", "stride", "min", "max"])
        ),
        "chunk_size": draw(st.none() | st.integers(1, 5) | st.tuples(*[st.integers(1, 7)] * 3)),
        "max_scales": draw(st.sampled_from([None, None, 1, 2, 3])),
        "data_type": draw(st.none() | st.sampled_from(ASKED)),
        "encoding": draw(st.sampled_from([None, None, None, "raw", "png"])),
        "outside_value": draw(st.sampled_from([None, None, None, 7])),
        "sharding": draw(st.booleans()),
        "gzip": draw(st.sampled_from([None, True, False])),
        "workers": draw(st.integers(1, 2)),
        "fsync": False,
    }
    if not options["sharding"]:
        options["layout"] = draw(st.sampled_from(["flat", "nested"]))
    if draw(st.integers(0, 4)) == 0:
        low = draw(st.sampled_from([None, -4.0, 0.0, 2.0]))
        options |= {"input_min": low, "input_max": draw(st.sampled_from([5.0, 255.0]))}
    wrap = draw(st.sampled_from(["array", "sliced", "npy", "memmap", "nii", "nii.gz"]))
    scaling = draw(st.sampled_from([(1, 0), (1, 0), (1, 5), (1, -2), (0.5, 1.0), (2, 0)]))
    return array, wrap, scaling, options


def written(array, wrap, scaling, folder):
    """Return the source in its wrapping, and whether the scaling is a part of it."""
    if wrap == "sliced":
        return Sliced(array), False
    if wrap in ("npy", "memmap"):
        np.save(folder / "a.npy", array)
        return (folder / "a.npy" if wrap == "npy" else np.load(folder / "a.npy", "r")), False
    if (
        wrap in ("nii", "nii.gz")
        and array.dtype.kind != "b"
        and array.dtype.itemsize * (array.dtype.kind == "f") != 2
    ):
        # nibabel scales while it writes, so the header's scaling is set after the voxels.
        header = nibabel.Nifti1Header(endianness=">" if array.dtype.str[0] == ">" else "<")
        header.set_data_dtype(array.dtype)
        image = nibabel.Nifti1Image(array, np.eye(4), header)
        image.header.set_slope_inter(1, 0)
        path = folder / f"a.{wrap}"
        content = bytearray(image.to_bytes())
        order = header.endianness
        content[112:120] = np.array(scaling, order + "f4").tobytes()
        if wrap == "nii.gz":
            import gzip

            content = gzip.compress(content, 1)
        path.write_bytes(content)
        return path, True
    return array, False


def expectation(array, scaling, options):
    """Return what must be in the volume: scales, clipped, rounded; or raise RefusalError."""
    stored = array
    while stored.ndim < 4:
        stored = stored[..., np.newaxis]
    is_label = options["type"] == "segmentation"
    if is_label and stored.shape[3] > 1:
        raise RefusalError("a segmentation of several channels")
    data_type = options["data_type"]
    if data_type is None:
        data_type = expected_data_type(stored.dtype, *scaling, is_label=is_label)
    if is_label and (data_type == "float32" or "input_max" in options):
        raise RefusalError("labels are whole and stay as they are")
    if is_label and stored.dtype.kind in "iu" and stored.dtype.itemsize == 8 and scaling[0] != 1:
        raise RefusalError("64-bit labels can't be scaled exactly")
    encoding = options["encoding"]
    if encoding == "png" and (data_type not in ("uint8", "uint16") or stored.shape[3] > 4):
        raise RefusalError("not for png")
    method = options["downsampling"]
    if method == "auto":
        method = "majority" if is_label else "average"
    if options["outside_value"] is not None and method != "average":
        raise RefusalError("outside value")
    input_range = None
    if "input_max" in options:
        input_range = (options["input_min"] or 0.0, options["input_max"])
    finest, clipped, rounded = expected_values(
        stored, data_type, *scaling, is_label=is_label, input_range=input_range
    )
    # Of a majority of no numbers the contract says nothing.
    assume(method != "majority" or not (finest != finest).any())
    chunk = options["chunk_size"]
    scales = expected_scales(
        finest,
        options["resolution"],
        options["voxel_offset"],
        method=method,
        chunk_size=(chunk,) * 3 if isinstance(chunk, int) else chunk,
        max_scales=options["max_scales"],
        outside_value=options["outside_value"],
    )
    return scales, clipped, rounded


def count_in(messages, what):
    found = re.search(rf"(\d+) voxels? (?:was|were) {what}", " ".join(messages))
    return int(found[1]) if found else 0


@settings(
    max_examples=amount(16, 2000),
    suppress_health_check=list(HealthCheck),
)
@given(cases())
def test_any_conversion_is_what_the_contract_says(caplog, case):
    array, wrap, scaling, options = case
    caplog.clear()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source, is_scaled = written(array, wrap, scaling, folder)
        scaling = scaling if is_scaled else (1, 0)
        out = folder / "out"
        try:
            scales, clipped, rounded = expectation(array, scaling, options)
        except RefusalError:
            with pytest.raises(ngcore.InputError):
                ngcore.convert(source, out, **options)
            assert not (out / "info").exists()
            return
        volume = ngcore.convert(source, out, **options)
        assert len(volume.scales) == len(scales)
        for index, (scale, expected) in enumerate(zip(volume.scales, scales, strict=True)):
            assert tuple(scale.resolution) == tuple(expected.resolution)
            assert scale.voxel_offset == expected.offset
            assert scale.chunk_size == expected.chunk_size
            assert scale.dtype == expected.voxels.dtype
            np.testing.assert_array_equal(scale[...], expected.voxels)
            # Of unsharded volumes it reads but one layout.
            if options["sharding"] or (options["layout"] == "flat" and not options["gzip"]):
                np.testing.assert_array_equal(read_with_tensorstore(out, index), expected.voxels)
        messages = [record.getMessage() for record in caplog.records]
        assert count_in(messages, "clipped") == clipped
        assert count_in(messages, "rounded") == rounded
