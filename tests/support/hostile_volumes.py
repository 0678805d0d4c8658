"""Segmentations whose `info`, files and links mean ill, and every command to try on them."""

from __future__ import annotations

import json
import os
import shutil
from typing import TYPE_CHECKING, Any

import nibabel
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

EVIL = "\x1b[2Jx\nerror: forged\x9b31m\u202e<script>alert(1)<"


def key_of(folder: Path) -> str:
    """Return the key of the finest scale."""
    return str(json.loads((folder / "info").read_text())["scales"][0]["key"])


def _edit(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    document = json.loads((folder / "info").read_text())
    change(document)
    (folder / "info").write_text(json.dumps(document))


def _scale(**members: Any) -> Callable[[Path, Path], None]:
    return lambda folder, _: _edit(folder, lambda info: info["scales"][0].update(members))


def _key(name: str) -> Callable[[Path, Path], None]:
    """`OUT` in a name stands for the folder outside, `KEY` for the scale's own."""

    def change(folder: Path, outside: Path) -> None:
        key = name.replace("OUT", str(outside)).replace("KEY", key_of(folder))
        _edit(folder, lambda info: info["scales"][0].update(key=key))

    return change


def _member(member: str, name: str) -> Callable[[Path, Path], None]:
    def change(folder: Path, outside: Path) -> None:
        place = name.replace("OUT", str(outside)).replace("KEY", key_of(folder))
        _edit(folder, lambda info: info.update({member: place}))

    return change


def _link(name: str) -> Callable[[Path, Path], None]:
    """Put a symbolic link to a file or folder of the other volume in the place of this one's."""

    def change(folder: Path, outside: Path) -> None:
        place = name.replace("KEY", key_of(folder))
        if place.endswith("/*"):
            first = min(path for path in (folder / place[:-2]).iterdir() if path.is_file())
            place = str(first.relative_to(folder))
        path = folder / place
        if path.is_dir():
            shutil.rmtree(path)
        elif path.exists():
            path.unlink()
        path.symlink_to(outside / "volume" / place if path.name != ".ngcore" else outside)

    return change


def _manifest(folder: Path, _: Path) -> None:
    """Single meshes of which one label's fragments lie elsewhere."""
    shutil.rmtree(folder / "mesh")
    (folder / "mesh").mkdir()
    (folder / "mesh/info").write_text('{"@type": "neuroglancer_legacy_mesh"}')
    names = ["../../outside/secret.txt", "/etc/passwd", EVIL, "a" * 5000, "\0"]
    (folder / "mesh/1:0").write_text(json.dumps({"fragments": names}))


def _bytes_as_names(folder: Path, _: Path) -> None:
    strange = folder / os.fsdecode(b"\xff\xfe")
    strange.mkdir()
    for path in (strange / "info", folder / key_of(folder) / os.fsdecode(b"\xff0-64_0-64_0-64")):
        path.write_bytes(b"{}")


def _text(name: str, text: str) -> Callable[[Path, Path], None]:
    return lambda folder, _: (folder / name).write_text(text) and None


def _span(info: dict[str, Any]) -> None:
    """Claim 2^51 voxels, of which a chunk is there."""
    del info["scales"][1:]
    info["scales"][0]["size"] = [2**17] * 3


_SHARDING = {"@type": "neuroglancer_uint64_sharded_v1", "hash": "identity", "preshift_bits": 0}
_IDS = [str(number) for number in range(100_000)]
_LABELS = {"id": "label", "type": "label", "values": [EVIL] * len(_IDS)}

VARIANTS: dict[str, Callable[[Path, Path], None]] = {
    **{f"key {name[:12]!r}": _key(name) for name in ("../outside/volume/KEY", "OUT/volume/KEY")},
    **{f"key {name[:12]!r}": _key(name) for name in ("", ".", "a\0b", "a\udc80", "a/" * 3000)},
    **{f"key {name!r}": _key(name) for name in ("s3://x/y", ".ngcore", "mesh", "info", EVIL)},
    **{f"mesh {name!r}": _member("mesh", name) for name in ("../outside/volume/mesh", "OUT", ".")},
    "mesh is a scale": _member("mesh", "KEY"),
    **{
        f"names {name!r}": _member("segment_properties", name)
        for name in ("../outside/volume/segment_properties", "OUT", ".", "KEY", EVIL)
    },
    **{f"skeletons {name!r}": _member("skeletons", name) for name in ("../outside", "OUT", ".")},
    **{
        f"link {name}": _link(name)
        for name in ("KEY", "KEY/*", "mesh", "segment_properties", "info", ".ngcore")
    },
    **{f"link {name}": _link(name) for name in ("transform.json", "provenance")},
    "manifest": _manifest,
    "names that are not text": _bytes_as_names,
    "size": _scale(size=[2**50] * 3),
    "long": _scale(size=[2**62, 1, 1]),
    "large chunks": _scale(chunk_sizes=[[2**31] * 3]),
    "small chunks": _scale(chunk_sizes=[[1, 1, 1]], size=[2**20] * 3),
    "spans much": lambda folder, _: _edit(folder, _span),
    "resolution": _scale(resolution=[1e-300, 1e300, 5]),
    "no resolution": _scale(resolution=["1", None, True]),
    "offset": _scale(voxel_offset=[2**53, -(2**53), 0]),
    "bits": _scale(sharding={**_SHARDING, "minishard_bits": 60, "shard_bits": 60}),
    "shards": _scale(
        size=[2**20] * 3, sharding={**_SHARDING, "minishard_bits": 0, "shard_bits": 40}
    ),
    "channels": lambda folder, _: _edit(folder, lambda info: info.update(num_channels=2**50)),
    "scales": lambda f, _: _edit(f, lambda info: info.update(scales=info["scales"] * 2000)),
    "transform": _text("transform.json", "[[1e308,0,0,0],[0,1e-308,0,0],[0,0,1,1],[0,0,0,1]]"),
    "deep transform": _text("transform.json", "[" * 100_000),
    "steps": _text("provenance", '{"processing":[' + "{}," * 100_000 + "{}]}"),
    "names": _text(
        "segment_properties/info",
        json.dumps(
            {
                "@type": "neuroglancer_segment_properties",
                "inline": {"ids": _IDS, "properties": [_LABELS]},
            }
        ),
    ),
}

COMMANDS = """
info V
info V --json
validate V
validate V --quick
validate V --json
repair V O
repair V O --accept-changes
repair V O --flat --no-gzip
export V O.nii.gz
export V O.npy
export V O.zarr
export V O.ome.tif
convert V O
convert V O --encoding png --type image
convert V O --dry-run
convert I/labels_dseg.nii V
convert I/labels_dseg.nii V --resume
convert I/labels_dseg.nii V --overwrite
repair C V --overwrite
labels V I/names.csv
mesh V
mesh V --overwrite
mesh V --resume
mesh V --labels 1
mesh-to-precomputed I/a.stl V
mesh-to-precomputed I/a.stl V --mesh-dir mesh --mesh-name ../../outside/x
stl-to-precomputed I/a.stl V
link-mesh-fragments I/fragments.csv V
annotations I/points.csv O --like V
annotations I/points.csv V
annotations I/points.csv V --overwrite
tracts I/lines.tck O --like V
tracts I/lines.tck V --overwrite
skeletons I/1.swc O --like V
skeletons I/1.swc V --overwrite
pack V O.zip
link V --url http://example.org/
link V --url http://example.org/ --state O.json
gallery P
preview V O.png
scale-stats V
compute-scales V
generate-scales-info I/full.json V
volume-to-raw-chunks I/labels_dseg.nii V
volume-to-raw-chunks I/labels_dseg.nii V --generate-info
slices-to-raw-chunks I V
convert-chunks-to-jpeg V O
convert-chunks-to-jpeg C V
compress-segmentation-chunks V O
compress-segmentation-chunks C V
convert-chunks V O --copy-info
convert-chunks C V --copy-info
""".strip().splitlines()
"""V is the hostile volume, P the folder above it, C one like it that is not, O an output, and I
where `write_inputs` wrote."""


def write_inputs(folder: Path) -> None:
    """Write what the commands take beside volumes."""
    folder.mkdir()
    voxels = (np.arange(40 * 30 * 30) % 4).astype(np.uint8).reshape(40, 30, 30)
    affine = np.diag([0.5, 0.5, 1, 1])
    nibabel.save(nibabel.Nifti1Image(voxels, affine), folder / "labels_dseg.nii")
    (folder / "names.csv").write_text("id,name\n1,a\n2,b\n")
    (folder / "points.csv").write_text("x,y,z\n1,2,3\n")
    (folder / "1.swc").write_text("1 1 0 0 0 1 -1\n2 1 5 5 5 1 1\n")
    (folder / "fragments.csv").write_text("1,fragment\n")
    corners = "".join(f"vertex {x} {y} 0\n" for x, y in ((0, 0), (1, 0), (0, 1)))
    (folder / "a.stl").write_text(
        f"solid a\nfacet normal 0 0 0\nouter loop\n{corners}endloop\nendfacet\nendsolid a\n"
    )
    line = np.array([[0, 0, 0], [5, 5, 5]], np.float32)
    streamlines = nibabel.streamlines.Tractogram([line], affine_to_rasmm=np.eye(4))
    nibabel.streamlines.save(streamlines, str(folder / "lines.tck"))
    scale = {"size": [40, 30, 30], "resolution": [5e5, 5e5, 1e6], "encoding": "raw"}
    members = {"type": "segmentation", "data_type": "uint32", "num_channels": 1}
    (folder / "full.json").write_text(json.dumps({**members, "scales": [scale]}))


def contents(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Return what a folder holds, with times, so that nothing is written without being seen."""
    return {
        str(path.relative_to(folder)): (
            path.lstat().st_mtime_ns,
            path.read_bytes() if path.is_file() else b"",
        )
        for path in folder.rglob("*")
    }
