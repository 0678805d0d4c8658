"""The whole classic chain side by side with neuroglancer-scripts 1.2: equal chunk files."""

import json
import shutil

import numpy as np
import pytest
from classic_peer import decompressed_chunks, neuroglancer_scripts
from real_data import nilearn_data
from thorough import amount
from volume_files import save_nifti

import ngcore
from ngcore.cli import run

DATA_TYPES = ("uint16", "float32", "float64", "uint8", "uint32")
OBLIQUE = np.array([[0.5, 0.1, 0, -30], [-0.1, 0.5, 0.1, 12], [0, -0.1, 1.5, 4], [0, 0, 0, 1]])


def ours(*steps):
    for step in steps:
        assert run(list(map(str, step))) == 0


def run_chain(program, source, dest, options):
    volume_to_chunks = "volume-to-precomputed"
    program(
        (volume_to_chunks, source, dest, "--generate-info"),
        ("generate-scales-info", dest / "info_fullres.json", dest, *options),
        (volume_to_chunks, source, dest),
        ("compute-scales", dest, "--downscaling-method", "average"),
    )


def assert_chains_agree(source, tmp_path, options=()):
    """Compare the scales that both have: ours go on until every axis fits in one chunk."""
    run_chain(neuroglancer_scripts, source, tmp_path / "theirs", options)
    run_chain(ours, source, tmp_path / "ours", options)
    theirs = decompressed_chunks(tmp_path / "theirs")
    mine = decompressed_chunks(tmp_path / "ours")
    assert len(mine) >= len(theirs)
    for their_scale, my_scale in zip(theirs, mine, strict=False):
        assert my_scale.keys() == their_scale.keys()
        different = [name for name in my_scale if my_scale[name] != their_scale[name]]
        assert not different
    return theirs


@pytest.mark.parametrize("data_type", DATA_TYPES[: amount(3, 5)])
def test_odd_anisotropic_volume(tmp_path, data_type):
    rng = np.random.default_rng(3)
    values = rng.normal(120, 40, (83, 61, 28)).clip(0, 255).astype(data_type)
    source = save_nifti(tmp_path / "odd.nii.gz", values, OBLIQUE)
    theirs = assert_chains_agree(source, tmp_path, ["--target-chunk-size", 16])
    assert len(theirs) == 3


def test_scaled_volume_of_several_channels(tmp_path):
    values = np.random.default_rng(4).integers(-900, 900, (40, 37, 21, 3)).astype(np.int16)
    header = {"scl_slope": 0.25, "scl_inter": 3.5}
    source = save_nifti(tmp_path / "scaled.nii", values, OBLIQUE, **header)
    assert_chains_agree(source, tmp_path, ["--target-chunk-size", 16])


def test_compressed_labels(tmp_path):
    blocks = np.arange(5 * 4 * 3, dtype=np.uint16).reshape(5, 4, 3)
    values = blocks.repeat(9, 0).repeat(9, 1).repeat(9, 2)[:41, :35]
    source = save_nifti(tmp_path / "labels.nii", values, OBLIQUE)
    options = ["--type", "segmentation", "--encoding", "compressed_segmentation"]
    for program, dest in ((neuroglancer_scripts, "theirs"), (ours, "ours")):
        run_chain(program, source, tmp_path / dest, options)
    # Encoders lay their tables out as they like: compare the voxels.
    mine, theirs = ngcore.open(tmp_path / "ours"), ngcore.open(tmp_path / "theirs")
    assert mine.info.data_type == theirs.info.data_type == "uint32"
    for my_scale, their_scale in zip(mine.scales, theirs.scales, strict=False):
        assert np.array_equal(my_scale[...], their_scale[...])


def test_steps_go_on_with_a_volume_that_the_other_began(tmp_path):
    values = np.random.default_rng(5).integers(0, 255, (70, 41, 1)).astype(np.uint8)
    source = save_nifti(tmp_path / "thin.nii", values, np.diag([0.5, 0.5, 2, 1]))
    options = ["--target-chunk-size", 16]
    run_chain(neuroglancer_scripts, source, tmp_path / "theirs", options)
    before = decompressed_chunks(tmp_path / "theirs")
    assert len(before) > 2
    info = json.loads((tmp_path / "theirs" / "info").read_text())
    for scale in info["scales"][1:]:
        shutil.rmtree(tmp_path / "theirs" / scale["key"])
    ours(("compute-scales", tmp_path / "theirs"))
    assert decompressed_chunks(tmp_path / "theirs") == before
    fullres = tmp_path / "theirs" / "info_fullres.json"
    scales = ["--max-scales", 2, "--encoding", "png"]
    ours(
        ("generate-scales-info", fullres, tmp_path / "png", *options, *scales),
        ("convert-chunks", tmp_path / "theirs", tmp_path / "png"),
    )
    assert np.array_equal(ngcore.open(tmp_path / "png").scales[0][..., 0], values)


def test_the_mni_brain(tmp_path):
    brain = nilearn_data("mni_icbm152_t1_tal_nlin_sym_09a_converted.nii.gz")
    theirs = assert_chains_agree(brain, tmp_path)
    assert len(theirs) == 2
