"""Volumes that are filled in any order are those that convert writes, byte for byte."""

import contextlib
import multiprocessing
import pickle
import signal
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from peers import read_with_cloudvolume, read_with_tensorstore
from thorough import amount

import ngcore
from ngcore.conversion.voxel_file import VoxelFile
from ngcore.errors import DestinationError, InputError, StorageError, VolumeIndexError
from ngcore.precomputed.chunks import Box

RNG = np.random.default_rng(0)
SHAPE = (45, 37, 29)
OPTIONS = {"resolution": (8, 8, 8), "chunk_size": 8, "fsync": False}

WAYS = {
    "labels in shards": ("uint64", {"type": "segmentation", "voxel_offset": (3, -5, 1)}),
    "image in files": ("uint8", {"sharding": False, "encoding": "png"}),
    "floats": ("float32", {"gzip": False, "downsampling": "max"}),
}


def voxels_of(dtype, shape=SHAPE):
    if np.dtype(dtype).kind == "f":
        return RNG.normal(0, 1, shape).astype(dtype)
    return RNG.integers(0, 200, shape).astype(dtype)


def boxes(shape=SHAPE, sides=(7, 20, 11)):
    """Boxes that cover a volume and go along no grid of chunks."""
    starts = [range(0, n, side) for n, side in zip(shape, sides, strict=False)]
    found = [
        tuple(slice(at, at + side) for at, side in zip(start, sides, strict=True))
        for start in np.stack(np.meshgrid(*starts), -1).reshape(-1, 3).tolist()
    ]
    return [found[index] for index in RNG.permutation(len(found))]


def all_bytes(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def made(folder, dtype="uint8", shape=SHAPE, **options):
    return ngcore.create(folder, shape=shape, data_type=dtype, **{**OPTIONS, **options})


def assign(scale, box, block):
    scale[box] = block


@pytest.mark.parametrize("name", WAYS)
def test_threads_fill_unaligned_boxes_in_any_order(tmp_path, name):
    dtype, options = WAYS[name]
    voxels = voxels_of(dtype)
    with made(tmp_path / "created", dtype, **options) as volume, ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda box: assign(volume.scales[0], box, voxels[box]), boxes()))
    ngcore.convert(voxels, tmp_path / "converted", **OPTIONS, **options)
    assert all_bytes(tmp_path / "created") == all_bytes(tmp_path / "converted")
    for read in (read_with_tensorstore, read_with_cloudvolume):
        np.testing.assert_array_equal(read(tmp_path / "created")[..., 0], voxels)


@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_processes_fill_a_volume_that_is_pickled(tmp_path, method):
    voxels = voxels_of("uint16", (*SHAPE, 2))
    context = multiprocessing.get_context(method)
    with (
        made(tmp_path / "created", "uint16", voxels.shape) as volume,
        ProcessPoolExecutor(2, mp_context=context) as pool,
    ):
        work = [pool.submit(assign, volume.scales[0], box, voxels[box]) for box in boxes()[:-1]]
        for done in work:
            done.result()
        copy = pickle.loads(pickle.dumps(volume))
        last = boxes()  # all again, in this process
        for box in last:
            copy.scales[0][box] = voxels[box]
        with pytest.raises(InputError, match="entered only once"):
            copy.__enter__()
    ngcore.convert(voxels, tmp_path / "converted", **OPTIONS)
    assert all_bytes(tmp_path / "created") == all_bytes(tmp_path / "converted")


def test_what_nobody_assigned_is_zero(tmp_path):
    with made(tmp_path) as volume:
        volume.scales[0][3:5, 7] = 9
        assert volume.scales[0][4, 7:9, 1].tolist() == [[9], [0]]
        assert not (tmp_path / "info").exists()
    expected = np.zeros(SHAPE, np.uint8)
    expected[3:5, 7] = 9
    np.testing.assert_array_equal(ngcore.open(tmp_path).scales[0][..., 0], expected)
    assert not (tmp_path / ".ngcore").exists()


@pytest.mark.parametrize("options", [{}, {"sharding": False}])
def test_exception_inside_leaves_no_info_and_can_be_resumed(tmp_path, options):
    voxels, order = voxels_of("uint8"), boxes()
    half = len(order) // 2
    with (
        contextlib.suppress(ZeroDivisionError),
        made(tmp_path / "created", **options) as volume,
    ):
        for box in order[:half]:
            volume.scales[0][box] = voxels[box]
        raise ZeroDivisionError
    assert not (tmp_path / "created" / "info").exists()
    with pytest.raises(DestinationError, match="unfinished"):
        made(tmp_path / "created", **options)
    with (
        pytest.raises(DestinationError, match="begun with another options"),
        made(tmp_path / "created", "uint16", resume=True, **options),
    ):
        pass
    with made(tmp_path / "created", resume=True, **options) as volume:
        for box in order[half:]:
            volume.scales[0][box] = voxels[box]
    ngcore.convert(voxels, tmp_path / "converted", **OPTIONS, **options)
    assert all_bytes(tmp_path / "created") == all_bytes(tmp_path / "converted")


def test_failure_while_scales_are_written_keeps_what_was_assigned(tmp_path):
    voxels = voxels_of("int32")
    voxels[1, 2, 3] = -7
    options = {"type": "segmentation"}
    with (
        pytest.raises(InputError, match="1 of the labels read are negative"),
        made(tmp_path / "created", "int32", **options) as volume,
    ):
        volume.scales[0][...] = voxels
    assert not (tmp_path / "created" / "info").exists()
    voxels[1, 2, 3] = 7
    with made(tmp_path / "created", "int32", resume=True, **options) as volume:
        volume.scales[0][1, 2, 3] = 7
    ngcore.convert(voxels, tmp_path / "converted", data_type="int32", **OPTIONS, **options)
    assert all_bytes(tmp_path / "created") == all_bytes(tmp_path / "converted")


KILLED = """
import os, signal, sys, numpy as np, ngcore
voxels = np.arange(45 * 37 * 29, dtype=np.uint32).reshape(45, 37, 29)
def kill(done, total):
    if sys.argv[2] == "writing scales":
        os.kill(os.getpid(), signal.SIGKILL)
with ngcore.create(sys.argv[1], shape=voxels.shape, data_type="uint32", resolution=(8, 8, 8),
                   chunk_size=8, workers=1, progress=kill) as volume:
    volume.scales[0][:30] = voxels[:30]
    if sys.argv[2] == "filling":
        os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("when", ["filling", "writing scales"])
def test_killed_process_can_be_resumed(tmp_path, when):
    done = subprocess.run([sys.executable, "-c", KILLED, tmp_path / "created", when], check=False)
    assert done.returncode == -signal.SIGKILL
    assert not (tmp_path / "created" / "info").exists()
    voxels = np.arange(45 * 37 * 29, dtype=np.uint32).reshape(SHAPE)
    options = {**OPTIONS, "fsync": True, "workers": 1}
    with made(tmp_path / "created", "uint32", resume=True, **options) as volume:
        volume.scales[0][30:] = voxels[30:]
    ngcore.convert(voxels, tmp_path / "converted", **options)
    assert all_bytes(tmp_path / "created") == all_bytes(tmp_path / "converted")


def test_complete_volume_is_kept_where_the_same_is_assigned_again(tmp_path):
    voxels = voxels_of("uint8")
    for resume in (False, True):
        with made(tmp_path, resume=resume, voxel_offset=(1, 2, 3)) as volume:
            volume.scales[0][...] = voxels
    with made(tmp_path, resume=True, voxel_offset=(1, 2, 3)) as volume:
        np.testing.assert_array_equal(volume.scales[0][5:9, 0, :, 0], voxels[5:9, 0])
        with pytest.raises(DestinationError, match="holds other voxels there"):
            volume.scales[0][0, 0, 0] = 250
    with pytest.raises(DestinationError, match="already holds a volume"):
        made(tmp_path)
    with made(tmp_path, overwrite=True) as volume:
        volume.scales[0][0, 0, 0] = 250
    assert ngcore.open(tmp_path).scales[0][...].sum() == 250


def test_what_does_not_fit_raises(tmp_path):
    with made(tmp_path) as volume:
        scale = volume.scales[0]
        assert (scale.shape, scale.dtype, scale.chunk_size) == ((*SHAPE, 1), np.uint8, (8, 8, 8))
        for block in (256, -1, 0.5, np.nan, np.inf, np.int64(2**40), 255.5):
            with pytest.raises(InputError, match="1 of the voxels are values that uint8"):
                scale[0, 0, 0] = block
        for index, block in [
            (np.s_[:4, :4, :4], np.zeros((4, 4, 5))),
            (np.s_[40:60, :4, :4], np.zeros((20, 4, 4))),
            (np.s_[:4], np.zeros((4, 37))),
            (np.s_[::2], 1),
            (np.s_[:, :, :, :0], 1),
            (np.s_[:2, 0, 0], ["a", "b"]),
        ]:
            with pytest.raises(InputError):
                scale[index] = np.asarray(block)
        for index in (45, (0, 37), (0, 0, -30), "x"):
            with pytest.raises(VolumeIndexError):
                scale[index] = 1
        scale[44, -1, ..., 28, 0] = 255.0
        scale[0:0] = np.zeros((0, 37, 29))
    assert ngcore.open(tmp_path).scales[0][...].sum() == 255
    with pytest.raises(StorageError, match="finished"):
        scale[0, 0, 0] = 1
    with made(tmp_path / "floats", "float32") as volume:
        volume.scales[0][0, 0, 0] = 0.1
        with pytest.raises(InputError, match="float32"):
            volume.scales[0][0, 0, 0] = 1e39
        with pytest.raises(InputError, match="float32"):
            volume.scales[0][0, 0, 0] = 2**24 + 1


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"shape": (3, 4)}, "shape must be"),
        ({"shape": (3, 4, 0)}, "shape must be"),
        ({"data_type": "int64"}, "data_type"),
        ({"resolution": (0, 1, 1)}, "resolution"),
        ({"type": "segmentation", "data_type": "float32"}, "labels must be integers"),
        ({"dest": "nowhere://host/x"}, "URLs begin with http, https, s3, gs or az"),
        ({"encoding": "auto"}, "encoding=.auto"),
        ({"encoding": "jpeg", "data_type": "uint16"}, "jpeg chunks hold uint8"),
    ],
)
def test_arguments_that_make_no_volume_are_refused(tmp_path, wrong, message):
    given = {"dest": tmp_path / "out", "shape": SHAPE, "data_type": "uint8", **OPTIONS, **wrong}
    with pytest.raises(InputError, match=message):
        ngcore.create(given.pop("dest"), **given)
    assert not (tmp_path / "out").exists()


def test_two_at_once_are_refused(tmp_path):
    with made(tmp_path), pytest.raises(DestinationError, match="in use"), made(tmp_path):
        pass


def test_affine_becomes_the_world(tmp_path):
    affine = np.diag([8e-6, 8e-6, 8e-6, 1])
    affine[:3, 3] = 1, 2, 3
    with made(tmp_path, affine=affine):
        pass
    np.testing.assert_allclose(ngcore.open(tmp_path).affine, affine)


@settings(max_examples=amount(30, 1000), deadline=None)
@given(data=st.data())
def test_voxel_file_holds_what_was_written_where(tmp_path_factory, data):
    sides = st.tuples(*[st.integers(1, 9)] * 3)
    size, chunk, channels = data.draw(sides), data.draw(sides), data.draw(st.integers(1, 3))
    path = tmp_path_factory.mktemp("voxels") / "file"
    file = VoxelFile(path, size, channels, np.dtype("uint16"), chunk, is_durable=False)
    file.make()
    expected = np.zeros((*size, channels), np.uint16)
    for value in range(1, 5):
        start = tuple(data.draw(st.integers(0, n - 1)) for n in size)
        stop = tuple(data.draw(st.integers(a + 1, n)) for a, n in zip(start, size, strict=True))
        box = Box(start, stop)
        part = expected[box.slices()]
        part[...] = np.arange(part.size).reshape(part.shape) + 1000 * value
        file.write(box, part)
        out = np.empty((*size, channels), np.uint16, order=data.draw(st.sampled_from("CF")))
        file.read(Box((0, 0, 0), size), out)
        np.testing.assert_array_equal(out, expected)
        again = np.empty_like(part)
        file.read(box, again)
        np.testing.assert_array_equal(again, part)
    file.close()
    path.unlink()


def test_a_volume_with_an_affine_is_what_convert_makes_of_it(tmp_path):
    voxels = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    options = {"resolution": (8, 8, 8), "affine": np.diag([8e-6, 8e-6, 8e-6, 1])}
    ngcore.convert(voxels, tmp_path / "converted", **options)
    with ngcore.create(
        tmp_path / "created", shape=(2, 3, 4), data_type="uint8", **options
    ) as volume:
        volume.scales[0][...] = voxels
    for name in ("provenance", "transform.json", "info"):
        created = (tmp_path / "created" / name).read_bytes()
        assert created == (tmp_path / "converted" / name).read_bytes()
