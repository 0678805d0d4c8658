"""No finding on volumes that ngcore wrote, in all the ways that it writes them."""

import itertools
import random

import numpy as np
import pytest
from thorough import amount

import ngcore

_SHAPES = [(70, 65, 40), (33, 200, 5), (1, 90, 64), (130, 17, 31)]
_KINDS = [
    *(("image", dtype, "raw") for dtype in ("uint8", "int16", "uint16", "float32")),
    *(("image", "uint8", encoding) for encoding in ("png", "jpeg")),
    ("image", "uint16", "png"),
    *(("segmentation", dtype, "raw") for dtype in ("uint8", "uint32", "uint64")),
    *(("segmentation", dtype, "compressed_segmentation") for dtype in ("uint32", "uint64")),
]
_WAYS = [
    {},
    {"sharding": False},
    {"sharding": False, "gzip": False, "layout": "nested"},
    {"voxel_offset": (-7, 3, 1001)},
]
_ALL = list(itertools.product(_KINDS, _WAYS, _SHAPES))
random.Random(16).shuffle(_ALL)


@pytest.mark.parametrize(("kind", "way", "shape"), _ALL[: amount(12, 120)])
def test_volumes_of_ngcore_have_no_finding(tmp_path, kind, way, shape):
    what, dtype, encoding = kind
    rng = np.random.default_rng(len(str(kind)))
    cells = rng.integers(0, 200, [-(-side // 9) for side in shape])
    voxels = cells.repeat(9, 0).repeat(9, 1).repeat(9, 2)[tuple(slice(side) for side in shape)]
    if what == "image":
        voxels = voxels + rng.integers(0, 50, shape)
    options = {"type": what, "encoding": encoding, "resolution": (8, 8, 20), **way}
    ngcore.convert(voxels.astype(dtype), tmp_path / "volume", fsync=False, **options)
    if what == "segmentation":
        table = tmp_path / "names.csv"
        rows = [f"{label},label {label}" for label in np.unique(voxels)[1:]]
        table.write_text("\n".join(["id,name", *rows]))
        ngcore.labels(tmp_path / "volume", table)
    report = ngcore.validate(tmp_path / "volume")
    assert report.is_sound
    assert not report.findings
