"""The command with its base dependencies alone, as `pip install` without an extra leaves it."""

import json
import subprocess
import sys

import nibabel
import numpy as np
import pytest
import trimesh

EXTRAS = (
    *("starlette", "uvicorn", "neuroglancer"),
    *("dask", "distributed"),
    *("obstore", "urllib3", "google", "requests"),
    *("imagecodecs", "h5py", "zarr", "nrrd", "mrcfile", "zstandard", "pydicom"),
    *("DracoPy", "zmesh"),
    *("scipy", "pandas", "tensorstore", "cloudvolume"),
)

# A name that is None there can't be imported: Python's own way to hide a module.
SCRIPT = """
import contextlib, io, json, sys
for name in json.loads(sys.argv[1]):
    sys.modules[name] = None
from ngcore.cli import run
results = []
for line in json.loads(sys.argv[2]):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = run(line)
    results.append([status, out.getvalue(), err.getvalue()])
print(json.dumps(results))
"""

WORKING = """
convert t1.nii.gz t1
convert t1.nii.gz t1-png --encoding png --no-sharding --layout nested --gzip
convert t1.nii.gz t1-jpeg --encoding jpeg
convert t1 again --downsampling max --resume
convert aseg.nii aseg
convert aseg.nii aseg3 --dry-run --json
info aseg --json
validate aseg
convert aseg.nii aseg2
labels aseg lut.txt
preview aseg aseg.png
export aseg back.nii.gz
link aseg --url https://example.org/aseg
server-config nginx
mesh-to-precomputed box.ply aseg --mesh-name box
mesh-to-vtk box.ply box.vtk
stl-to-precomputed box.stl aseg --mesh-name solid
link-mesh-fragments links.csv aseg
volume-to-raw-chunks t1.nii.gz steps --generate-info
generate-scales-info steps/info_fullres.json steps
volume-to-raw-chunks t1.nii.gz steps
compute-scales steps
scale-stats steps
""".strip().splitlines()

LACKING = {
    "serve t1 --port 0": "view",
    "view t1 --no-browser": "view",
    "info https://example.org/volume": "cloud",
    "convert minc2.mnc out": "formats",
    "convert a.h5 out": "formats",
    "convert a.zarr out": "formats",
    "convert a.n5 out": "formats",
    "convert a.nrrd out": "formats",
    "convert a.mrc out": "formats",
    "convert a.nii.zst out": "formats",
    "convert a.dcm out": "dicom",
    "export aseg out.zarr": "formats",
    "mesh aseg2 --labels 1": "mesh",
}


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Exit status, stdout and stderr of every line, all run in one process without extras."""
    folder = tmp_path_factory.mktemp("bare")
    voxels = np.arange(40 * 30 * 20, dtype=np.uint8).reshape(40, 30, 20)
    nibabel.save(nibabel.Nifti1Image(voxels, np.eye(4)), folder / "t1.nii.gz")
    nibabel.save(nibabel.Nifti1Image(voxels // 64, np.eye(4)), folder / "aseg.nii")
    rows = [f"{label} Region{label} 70 130 {label} 0\n" for label in range(4)]
    (folder / "lut.txt").write_text("".join(rows))
    (folder / "minc2.mnc").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(500))
    (folder / "a.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(500))
    (folder / "a.nrrd").write_bytes(b"NRRD0004\n")
    (folder / "a.mrc").write_bytes(bytes(208) + b"MAP " + bytes(900))
    (folder / "a.nii.zst").write_bytes(b"\x28\xb5\x2f\xfd" + bytes(90))
    (folder / "a.dcm").write_bytes(bytes(128) + b"DICM" + bytes(90))
    for place, name in (("a.zarr", "zarr.json"), ("a.n5", "attributes.json")):
        (folder / place).mkdir()
        (folder / place / name).write_text('{"dimensions": [4, 4, 4]}')
    (folder / "links.csv").write_text("1,box\n")
    for ending in ("ply", "stl"):
        trimesh.creation.box().export(folder / f"box.{ending}")
    lines = [line.split() for line in (*WORKING, *LACKING)]
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(EXTRAS), json.dumps(lines)],
        capture_output=True,
        text=True,
        cwd=folder,
        check=True,
    )
    return dict(zip((*WORKING, *LACKING), json.loads(done.stdout), strict=True))


@pytest.mark.parametrize("line", WORKING)
def test_command_needs_no_extra(results, line):
    status, _, err = results[line]
    assert (status, err) == (0, "")


@pytest.mark.parametrize(("line", "extra"), LACKING.items())
def test_command_says_in_one_line_which_extra_it_lacks(results, line, extra):
    status, out, err = results[line]
    assert (status, out) == (2, "")
    assert err.startswith("ngcore: error: ")
    assert err.count("\n") == 1
    assert f"pip install 'ngcore-neuroglancer[{extra}]'" in err.replace('"', "'")
