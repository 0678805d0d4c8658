"""Every example in the help of every command, run as it is written."""

import importlib
import json
import shlex
import socket
from pathlib import Path

import nibabel
import nibabel.streamlines
import numpy as np
import pytest
import trimesh
from PIL import Image
from serving import running
from volume_files import save_nifti, voxels

import ngcore
from ngcore.cli import run
from ngcore.cli._registry import COMMANDS

SHAPE = (40, 36, 33)
SERVING = ("serve", "view")


def command_named(name):
    module = importlib.import_module(f"ngcore.cli.{COMMANDS[name].module}")
    return next(command for command in module.commands if command.name == name)


def examples_of(name):
    """Return the lines of a command's example, each as a list of words."""
    _, _, example = command_named(name).help.partition("Example:")
    lines = [line.strip() for line in example.splitlines()]
    return [shlex.split(line) for line in lines if line.startswith("ngcore ")]


def values():
    return voxels(SHAPE, "uint8") // 32


def nifti(path):
    save_nifti(path, values(), np.diag([0.5, 0.5, 0.5, 1]))


def signed_map(path):
    save_nifti(path, values().astype(np.float32) - 4, np.diag([0.5, 0.5, 0.5, 1]))


def volume(path, **options):
    shared = {"resolution": (5e5, 5e5, 5e5), "chunk_size": 32, "fsync": False}
    return ngcore.convert(values(), path, **shared, **options)


def segmentation(path):
    volume(path, type="segmentation")


def fullres(path):
    scale = {"size": SHAPE, "resolution": [5e5, 5e5, 5e5], "voxel_offset": [0, 0, 0]}
    full = {"type": "image", "data_type": "uint8", "num_channels": 1, "scales": [scale]}
    path.write_text(json.dumps(full))


def chunks(path):
    """A volume whose finest scale alone is there, as volume-to-raw-chunks leaves it."""
    fullres(path.parent / "full.json")
    assert run(["generate-scales-info", str(path.parent / "full.json"), str(path)]) == 0
    np.save(path.parent / "values.npy", values())
    assert run(["volume-to-raw-chunks", str(path.parent / "values.npy"), str(path)]) == 0


def slices(path):
    """Slices of orientation RIA: columns to the right, rows down, slices forward."""
    path.mkdir()
    for y in range(SHAPE[1]):
        Image.fromarray(values()[:, y, ::-1].T.copy()).save(path / f"slice{y}.png")


def surface(path):
    box = trimesh.creation.box()
    arrays = [
        nibabel.gifti.GiftiDataArray(box.vertices.astype(np.float32), "NIFTI_INTENT_POINTSET"),
        nibabel.gifti.GiftiDataArray(box.faces.astype(np.int32), "NIFTI_INTENT_TRIANGLE"),
    ]
    nibabel.save(nibabel.gifti.GiftiImage(darrays=arrays), path)


def streamlines(path):
    lines = np.random.default_rng(0).normal(size=(4, 20, 3)).cumsum(axis=1).astype(np.float32)
    tractogram = nibabel.streamlines.Tractogram(list(lines), affine_to_rasmm=np.eye(4))
    nibabel.streamlines.save(tractogram, path)


def fragments(path):
    """Rows for a mesh that the volume `brain` has."""
    trimesh.creation.box().export(path.parent / "left.stl")
    assert run(["stl-to-precomputed", str(path.parent / "left.stl"), "brain"]) == 0
    path.write_text("7,left\n")


INPUTS = {
    "sub-01_T1w.nii.gz": nifti,
    "sub-01_T1w": volume,
    "zmap.nii.gz": signed_map,
    "brain": volume,
    "aseg": segmentation,
    "out/brain": volume,
    "out/labels": segmentation,
    "out": lambda path: volume(path / "brain"),
    "brain-chunks": chunks,
    "info_fullres.json": fullres,
    "slices": slices,
    "lh.pial.gii": surface,
    "skull.stl": lambda path: trimesh.creation.box().export(path),
    "fragments.csv": fragments,
    "neuron.swc": lambda path: path.write_text("1 1 0 0 0 2 -1\n2 3 5 0 0 1 1\n"),
    "cst_left.tck": streamlines,
    "cst_right.tck": streamlines,
    "cells.csv": lambda path: path.write_text("x,y,z,kind,segment\n1,2,3,a,7\n4,5,6,b,\n"),
    "FreeSurferColorLUT.txt": lambda path: path.write_text(
        "0 Unknown 0 0 0 0\n7 Left 70 130 0 0\n"
    ),
}
"""What examples read, by name, each after what it needs itself."""

OUTPUTS = {"convert": ("sub-01_T1w",), "volume-to-precomputed-pyramid": ("out",)}
"""What has the name of an input, and must not be there."""


@pytest.mark.parametrize("name", COMMANDS)
def test_examples_work_as_written(name, tmp_path, monkeypatch):
    examples = examples_of(name)
    assert examples, f"the help of {name} has no example"
    assert any(words[1] == name for words in examples) or command_named(name).hidden
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FREESURFER_HOME", ".")
    used = {word.replace("$FREESURFER_HOME/", "") for words in examples for word in words[2:]}
    used |= {word.partition(":")[0] for word in used}
    for path, make in INPUTS.items():
        if path in used and path not in OUTPUTS.get(name, ()):
            Path(path).parent.mkdir(exist_ok=True)
            make(Path(path))
    for _, command, *arguments in examples:
        arguments = [word.replace("$FREESURFER_HOME", ".") for word in arguments]
        if command in SERVING:
            start(command, arguments, monkeypatch)
        else:
            assert run([command, *arguments]) == 0


def start(command, arguments, monkeypatch):
    for module in ("starlette", "uvicorn", "neuroglancer"):
        pytest.importorskip(module, reason="the extra view is not installed")
    monkeypatch.setenv("BROWSER", "true")
    if "--port" in arguments:
        port = int(arguments[arguments.index("--port") + 1])
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                pytest.skip(f"another program listens at port {port}")
    with running(command, *arguments) as (_, line):
        assert "http://127.0.0.1:" in line
