"""Labels that nobody said are labels are warned of; images are not."""

from functools import reduce

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, zoom

import ngcore
from ngcore.conversion import likeness
from ngcore.conversion.likeness import Likeness, likeness_of
from ngcore.work.serial import SerialExecutor

RNG = np.random.default_rng(0)


def blobs(values, dtype):
    """Large regions, each of one of some values."""
    which = zoom(RNG.integers(0, len(values), (8, 8, 8)), 8, order=0)
    return np.asarray(values, dtype)[which]


def seen(volume):
    """What the middle planes of a few boxes tell."""
    planes = [volume[:, :, index] for index in range(0, volume.shape[2], 7)]
    return reduce(Likeness.plus, map(likeness_of, planes), Likeness())


LABELS = {
    "ids of any size": blobs(RNG.integers(1, 2**31, 40), np.uint32),
    "a few tissues": blobs([0, 1, 2, 3, 4, 5, 6, 7], np.uint8),
    "labels as floats": blobs([0, 10, 11, 12, 49, 50], np.float32),
    "signed labels": blobs([0, 2001, 2002, 9170, 1], np.int16),
    "labels without regions": RNG.choice([0, 2001, 2002, 9170], (40, 40, 40)).astype(np.int16),
}

SMOOTH = gaussian_filter(RNG.normal(0, 1, (64, 64, 64)), 3)
IMAGES = {
    "noise": RNG.integers(0, 255, (40, 40, 40), np.uint8),
    "scan": (SMOOTH * 4000 + 1000 + RNG.normal(0, 20, SMOOTH.shape)).clip(0).astype(np.int16),
    "smooth 8-bit image": (SMOOTH * 300 + 60).clip(0, 255).astype(np.uint8),
    "masked scan": np.where(SMOOTH > 0, SMOOTH * 4000 + 100, 0).astype(np.uint16),
    "floats": SMOOTH.astype(np.float32),
    "ramp": np.broadcast_to(np.arange(64, dtype=np.uint8), (64, 64, 64)),
    "a box": np.pad(np.full((20, 20, 20), 200, np.uint8), 20),
    "nothing": np.zeros((20, 20, 20), np.uint8),
    "NaN": np.full((20, 20, 20), np.nan, np.float32),
    "stretched 8 bits": (RNG.integers(0, 255, (40, 40, 40)) * 257).astype(np.uint16),
}


@pytest.mark.parametrize("name", LABELS)
def test_labels_look_like_labels(name):
    assert seen(LABELS[name]).is_of_labels


@pytest.mark.parametrize("name", IMAGES)
def test_images_do_not(name):
    assert not seen(IMAGES[name]).is_of_labels


@pytest.mark.parametrize("executor", [None, SerialExecutor()])
@pytest.mark.parametrize(("options", "warns"), [({}, True), ({"type": "image"}, False)])
def test_labels_taken_for_an_image_are_warned_of_once(tmp_path, caplog, executor, options, warns):
    ngcore.convert(
        LABELS["ids of any size"],
        tmp_path,
        resolution=(8, 8, 8),
        chunk_size=16,
        executor=executor,
        fsync=False,
        **options,
    )
    assert caplog.text.count("look like labels") == warns


def test_one_sample_tells_the_encoding_and_that_it_looks_like_labels(
    tmp_path, caplog, monkeypatch
):
    """With `--encoding auto`: nothing is looked at again while chunks are written."""
    monkeypatch.setattr(likeness.LikenessSample, "look", None)
    options = {"resolution": (8, 8, 8), "chunk_size": 16, "encoding": "auto", "fsync": False}
    ngcore.convert(LABELS["ids of any size"], tmp_path / "labels", **options)
    assert caplog.text.count("look like labels") == 1
    ngcore.convert(IMAGES["noise"], tmp_path / "image", **options)
    ngcore.convert(LABELS["ids of any size"], tmp_path / "asked", type="image", **options)
    assert caplog.text.count("look like labels") == 1


def test_labels_of_one_chunk_are_seen_in_several_planes(tmp_path, caplog):
    labels = np.zeros((40, 40, 40), np.int16)
    labels[5:15, 5:15, 5:15] = 1
    labels[20:30, 20:35, 3:12] = 20
    labels[20:30, 20:35, 12:35] = 70
    labels[5:15, 20:35, 25:39] = 40
    ngcore.convert(labels, tmp_path / "out", resolution=(1e6, 1e6, 1e6))
    assert "look like labels" in caplog.text
