"""Every command that writes, one after the other, as somebody would run them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Step:
    """A command that writes below FOLDER/disk.

    Attributes
    ----------
    words : str
        Of the command line; FOLDER/ stands before what has a slash.
    place : str
        The folder, of those in FOLDER/disk, that it writes.
    again : str
        What to pass after a run that was interrupted.
    """

    words: str
    place: str
    again: str = ""

    def command(self, folder: Path, *more: str, after: Path | None = None) -> list[str]:
        """Return the arguments of the command line; AFTER/disk is written if that is given."""
        words = [*self.words.split(), *(word for word in more if word)]
        disk = after or folder
        return [
            str((disk if word[:7] == "./disk/" else folder) / word[2:])
            if word[:2] == "./"
            else word
            for word in words
        ]


_CONVERT = "convert ./labels.npy ./disk/{} --type segmentation --resolution 8,8,8 --chunk-size 16"
_SCALES = "generate-scales-info ./{}.json ./disk/{} --encoding {} --target-chunk-size 16"
STEPS = {
    "convert": Step(_CONVERT.format("seg"), "seg", "--resume"),
    "labels": Step("labels ./disk/seg ./names.csv", "seg"),
    "labels, others": Step("labels ./disk/seg ./others.csv", "seg"),
    "mesh-to-precomputed": Step("mesh-to-precomputed ./a.stl ./disk/seg", "seg"),
    "stl-to-precomputed": Step("stl-to-precomputed ./b.stl ./disk/seg", "seg"),
    "link-mesh-fragments": Step("link-mesh-fragments ./links.csv ./disk/seg", "seg"),
    "mesh": Step(
        "mesh ./disk/meshed --no-sharding --label 3=three --workers 1", "meshed", "--overwrite"
    ),
    "export": Step("export ./disk/seg ./disk/out/a.nii", "out", "--overwrite"),
    "preview": Step("preview ./disk/seg ./disk/out/a.png --size 64", "out", "--overwrite"),
    "mesh-to-vtk": Step("mesh-to-vtk ./a.stl ./disk/out/a.vtk", "out", "--overwrite"),
    "generate-info": Step(
        "volume-to-raw-chunks ./labels.nii ./disk/steps --generate-info", "steps"
    ),
    "generate-scales-info": Step(
        "generate-scales-info ./disk/steps/info_fullres.json ./disk/steps --target-chunk-size 16",
        "steps",
    ),
    "volume-to-raw-chunks": Step("volume-to-raw-chunks ./labels.nii ./disk/steps", "steps"),
    "compute-scales": Step("compute-scales ./disk/steps", "steps"),
    "convert-chunks": Step("convert-chunks ./disk/steps ./disk/copy --copy-info", "copy"),
    "generate-scales-info, jpeg": Step(_SCALES.format("image", "jpeg", "jpeg"), "jpeg"),
    "slices-to-raw-chunks": Step("slices-to-raw-chunks ./slices ./disk/jpeg", "jpeg"),
    "compute-scales, jpeg": Step("compute-scales ./disk/jpeg", "jpeg"),
    "generate-scales-info, again": Step(_SCALES.format("image", "again", "jpeg"), "again"),
    "convert-chunks-to-jpeg": Step("convert-chunks-to-jpeg ./disk/jpeg ./disk/again", "again"),
    "generate-scales-info, labels": Step(
        _SCALES.format("labels", "small", "compressed_segmentation"), "small"
    ),
    "compress-segmentation-chunks": Step(
        "compress-segmentation-chunks ./disk/seg ./disk/small", "small"
    ),
    "annotations": Step("annotations ./points.csv ./disk/points", "points", "--resume"),
    "skeletons": Step("skeletons ./1.swc ./disk/lines", "lines", "--resume"),
    "tracts": Step("tracts ./a.tck ./disk/tracts --density 4mm", "tracts", "--overwrite"),
    "pack": Step("pack ./disk/seg ./disk/out/seg.zip", "out", "--overwrite"),
    "repair": Step("repair ./disk/seg ./disk/repaired", "repaired", "--overwrite"),
    "gallery": Step("gallery ./disk/repaired", "repaired"),
    "link": Step(
        "link ./disk/seg --url http://example.org/seg --state ./disk/out/state.json",
        "out",
        "--overwrite",
    ),
    "export zarr": Step("export ./disk/seg ./disk/out/a.zarr", "out", "--overwrite"),
    "export points": Step("export ./disk/points ./disk/out/points.csv", "out", "--overwrite"),
    "overwrite": Step(_CONVERT.format("seg") + " --overwrite", "seg", "--overwrite"),
}
"""Where another command comes before the one that is named, `PREPARED` says so."""
PREPARED = {"mesh": [_CONVERT.format("meshed")]}


def make_inputs(folder: Path) -> None:
    """Write what the commands read."""
    import nibabel
    from PIL import Image

    x, y, z = np.indices((36, 20, 34)) // 12
    labels = (1 + x + 3 * y + 9 * z).astype(np.uint32)
    np.save(folder / "labels.npy", labels)
    image = nibabel.Nifti1Image(labels.astype(np.uint8), np.eye(4))
    nibabel.save(image, folder / "labels.nii")
    (folder / "slices").mkdir()
    for number, plane in enumerate(np.moveaxis(labels.astype(np.uint8), 2, 0)):
        Image.fromarray(plane.T).save(folder / "slices" / f"{number:02}.png")
    for kind, data_type in (("image", "uint8"), ("labels", "uint32")):
        scale = {"encoding": "raw", "size": labels.shape, "resolution": (8, 8, 8)}
        scale |= {"voxel_offset": (0, 0, 0), "chunk_sizes": [], "key": "full"}
        info = {"type": "segmentation" if kind == "labels" else kind, "data_type": data_type}
        info |= {"num_channels": 1, "scales": [scale]}
        (folder / f"{kind}.json").write_text(json.dumps(info))
    (folder / "names.csv").write_text("id,name\n1,one\n2,two\n")
    (folder / "others.csv").write_text("id,name,color\n1,eins,#ff0000\n3,drei,#00ff00\n")
    (folder / "links.csv").write_text("1,a\n2,a,b\n")
    (folder / "points.csv").write_text("x,y,z,seen\n1,2,3,yes\n4,5,6,no\n")
    (folder / "1.swc").write_text("1 1 0 0 0 1 -1\n2 3 5 0 0 1 1\n3 3 9 2 0 1 2\n")
    lines = [np.cumsum(np.ones((5, 3), np.float32), axis=0) + shift for shift in range(3)]
    tractogram = nibabel.streamlines.Tractogram(lines, affine_to_rasmm=np.eye(4))
    nibabel.streamlines.save(tractogram, str(folder / "a.tck"))
    for name, size in (("a", 1), ("b", 2)):
        corners = [f"vertex {x * size} {y * size} 0" for x, y in ((0, 0), (1, 0), (0, 1))]
        lines = ["solid", "facet normal 0 0 0", "outer loop", *corners]
        lines += ["endloop", "endfacet", "endsolid", ""]
        (folder / f"{name}.stl").write_text("\n".join(lines))
