"""A program that uses all of the public API: mypy reads it as a downstream author would.

It is checked with the package (`files` in pyproject.toml) and never run.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import ngcore
from ngcore import classic, compressed_segmentation, downsampling, testing

a: NDArray[np.uint16] = np.zeros((4, 4, 4), np.uint16)


def bar(done: int, total: int) -> None:
    print(done, total)


v: ngcore.Volume = ngcore.convert(
    a,
    "out",
    type="image",
    data_type="uint16",
    encoding="raw",
    chunk_size=64,
    resolution=(8, 8, 40),
    voxel_offset=(0, 0, 0),
    affine=np.eye(4),
    axes="xyz",
    progress=True,
    workers=2,
    memory="2G",
    sharding=False,
    layout="nested",
    gzip=True,
    overwrite=True,
    resume=False,
    tmp=Path("/tmp"),
)
v = ngcore.convert(
    a, Path("out"), progress=bar, dask="local", input_min=0, input_max=5.0, label_tolerance=0.1
)
v = ngcore.open("s3://x/y", workers=2, cache_bytes=1 << 20)
info: ngcore.VolumeInfo = v.info
text: str = info.to_json()
info = ngcore.VolumeInfo.from_json(text)
m = v.affine
if m is not None:
    print(m.shape)
names: dict[int, str] = dict(v.labels)
x = v.at_mm(1, 2.0, 3)
s: ngcore.ScaleArray = v.scales[0]
shape: tuple[int, int, int, int] = s.shape
dt: np.dtype[Any] = s.dtype
r: tuple[float, float, float] = s.resolution
o: tuple[int, int, int] = s.voxel_offset
c: tuple[int, int, int] = s.chunk_size
blk: NDArray[Any] = s[10:20, :, 5]
for box, block in s.blocks(workers=8):
    sl: tuple[slice, slice, slice] = box
    b: NDArray[Any] = block
with ngcore.create(
    "out",
    shape=(4, 4, 4),
    data_type="uint64",
    type="segmentation",
    resolution=(8, 8, 40),
    progress=True,
) as w:
    w.scales[0][0:2, 0:2, 0:2] = np.zeros((2, 2, 2), np.uint64)
    w.scales[0][0] = 0
    wi: ngcore.VolumeInfo = w.info
enc: bytes = compressed_segmentation.encode(np.zeros((8, 8, 8), np.uint64), block_size=(8, 8, 8))
dec: NDArray[Any] = compressed_segmentation.decode(
    enc,
    (8, 8, 8),
    "uint64",
    block_size=(8, 8, 8),
    region=(slice(0, 1), slice(0, 1), slice(0, 1)),
    out=None,
)
dec = compressed_segmentation.decode(enc, (8, 8, 8), np.uint64)
d: NDArray[Any] = downsampling.downsample(
    a, (2, 2, 2), method="average", offset=(0, 0, 0), outside_value=None
)
testing.assert_same_volume("a", v)
testing.random_volume("a", shape=(1, 2, 3), seed=4)
rep = ngcore.validate("out", quick=True, workers=2, progress=True)
print(rep)
ngcore.repair("a", "b", overwrite=True, progress=bar)
ngcore.export("a", "b.nii.gz", scale=1, progress=True)
ngcore.labels("a", "t.tsv")
ids: tuple[int, ...] = ngcore.mesh(
    "a", labels=[1, 2], surfaces={1: "a.stl"}, names={1: "x"}, sharding=False
)
ngcore.annotations(
    "t.csv",
    "out",
    kind="point",
    columns={"x": "X"},
    units="mm",
    id="i",
    relations={"a": "b"},
    like="v",
    max_per_cell=5,
    sharding=False,
)
ngcore.tracts(["a.trk"], "out", max_vertices=5, density=1.0, like=Path("v"))
ngcore.skeletons("a.swc", "out", units="um")
ngcore.preview(["a", "b"], "out.png", at=(1, 2, 3), size=300)
url: str = ngcore.link("a", url="https://x/")
ngcore.pack("a", "b.zip")
ngcore.gallery("a", url="https://x")
e = ngcore.estimate(None, shape=(1, 2, 3), resolution=(1, 2, 3), data_type="uint8", dask="local")
print(e.bytes, e.to_json())
dsc = ngcore.info("a")
print(dsc)
ngcore.view("a", browser=False, layout="native")
ngcore.serve("a", port=0)
classic.volume_to_raw_chunks("a.nii", "out", input_max=5.0)
classic.generate_fullres_info("a.nii", "out", type="image")
classic.compute_scales("out", downsampling="average", progress=True)
classic.mesh_to_precomputed("a.gii", "out", mesh_name="x", coord_transform=np.eye(4))
classic.stl_to_precomputed("a.stl", "out", voxel_size=1.0)
classic.mesh_to_vtk("a", "b")
classic.link_mesh_fragments("a.csv", "out", colon_suffix=False)
classic.scale_stats("out")
try:
    ngcore.open("x")
except (
    ngcore.FormatError,
    ngcore.InputError,
    ngcore.StorageError,
    ngcore.DestinationError,
) as error:
    print(error)
v.view()
html: str = v._repr_html_()
