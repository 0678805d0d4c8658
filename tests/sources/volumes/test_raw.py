import itertools
import os
import pickle

import numpy as np
import pytest
import thorough
from hypothesis import given, settings
from hypothesis import strategies as st
from planes import planes_box
from volume_files import read_all, voxels

from ngcore.errors import FormatError, StorageError
from ngcore.sources import SourceHeader, SuggestedType
from ngcore.sources.volumes.raw import BLOCK_BYTES, RawSource, spool_planes

ORDERS = list(itertools.permutations(range(4)))


def raw_source(path, values, order, *, offset=0):
    """Write (x, y, z, channel) values in an order of axes, and open the file."""
    data = np.ascontiguousarray(values.transpose(order[::-1])).tobytes()
    path.write_bytes(b"\xaa" * offset + data)
    header = SourceHeader(
        "raw", values.shape, values.dtype.newbyteorder("="), SuggestedType("image", "a test")
    )
    return RawSource(header, path, offset, order, values.dtype)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("raw")


@settings(max_examples=thorough.amount(60, 4000), deadline=None)
@given(data=st.data())
def test_any_box_in_any_order_is_what_slicing_gives(folder, data):
    order = data.draw(st.sampled_from(ORDERS))
    shape = data.draw(st.tuples(*[st.integers(1, 12)] * 3, st.integers(1, 3)))
    dtype = data.draw(st.sampled_from(["u1", ">i2", "<f4", ">f8"]))
    values = voxels(shape, dtype)
    box = []
    for length in shape[:3]:
        start = data.draw(st.integers(0, length - 1))
        box.append(slice(start, data.draw(st.integers(start + 1, length))))
    with raw_source(folder / "raw", values, order, offset=data.draw(st.integers(0, 9))) as source:
        axis = source.stream_axis
        window = [part for other, part in enumerate(box) if other != axis]
        room = np.empty([part.stop - part.start + 2 for part in box] + [shape[3]], source.dtype)
        out = room.copy(order=data.draw(st.sampled_from("FC")))[1:-1, 1:-1, 1:-1]
        out = out if data.draw(st.booleans()) else np.asfortranarray(out)
        source.read(planes_box(source, box[axis].start, box[axis].stop, tuple(window)), out)
    np.testing.assert_array_equal(out, values[tuple(box)])


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 2, 1, 0), (3, 0, 1, 2)])
@pytest.mark.parametrize("dtype", ["<i2", ">i2"])
def test_more_than_one_block_is_read(tmp_path, order, dtype):
    values = voxels((301, 203, 17, 2), dtype)
    assert values.nbytes > 3 * BLOCK_BYTES
    source = raw_source(tmp_path / "raw", values, order)
    with source:
        for out_order in "FC":
            out = np.empty(values.shape, source.dtype, order=out_order)
            source.read(planes_box(source, 0, values.shape[source.stream_axis]), out)
            np.testing.assert_array_equal(out, values)
        part = np.empty((90, 80, 17, 2), source.dtype)
        if source.stream_axis == 2:
            source.read(planes_box(source, 0, 17, (slice(100, 190), slice(7, 87))), part)
            np.testing.assert_array_equal(part, values[100:190, 7:87])


def test_rows_longer_than_a_block_are_cut(tmp_path):
    values = voxels((BLOCK_BYTES + 77, 3, 1, 1), ">i2")
    source = raw_source(tmp_path / "raw", values, (0, 1, 2, 3))
    np.testing.assert_array_equal(read_all(source, order="C"), values)


def test_a_file_that_shrinks_while_it_is_read_is_truncated(tmp_path):
    values = voxels((5, 6, 7, 1))
    source = raw_source(tmp_path / "raw", values, (0, 1, 2, 3))
    with source:
        (tmp_path / "raw").write_bytes(b"\0" * 100)
        with pytest.raises(FormatError, match="ends at byte 100"):
            source.read(planes_box(source, 0, 7), np.empty(values.shape, values.dtype, order="F"))


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 2, 1, 0)])
def test_a_spool_holds_the_same_voxels(tmp_path, order):
    values = voxels((23, 29, 31, 2), ">i2")
    spooled = spool_planes(raw_source(tmp_path / "raw", values, order), tmp_path / "spool")
    assert spooled.cost.is_concurrent
    assert spooled.stream_axis == (2 if order[0] == 0 else 0)
    assert (tmp_path / "spool").stat().st_size == values.nbytes
    np.testing.assert_array_equal(read_all(spooled), values)


def test_a_spool_has_the_stream_axis_of_its_source_even_of_length_1_and_even_pickled(tmp_path):
    source = raw_source(tmp_path / "raw", voxels((7, 5, 1, 1)), (0, 1, 2, 3))
    source.stream_axis = 2
    with spool_planes(source, tmp_path / "spool") as spooled:
        assert spooled.stream_axis == 2
        with pickle.loads(pickle.dumps(spooled)) as copy:
            assert copy.stream_axis == 2


def test_a_spool_that_cannot_be_made_is_named(tmp_path):
    with raw_source(tmp_path / "raw", voxels((5, 6, 7, 1)), (0, 1, 2, 3)) as source:
        (tmp_path / "spool").mkdir()
        with pytest.raises(StorageError, match=r"spool: can't be created.*--tmp"):
            source.spooled(tmp_path / "spool")


@pytest.mark.skipif(os.name == "nt", reason="Windows has no limit on the size of files")
def test_a_spool_without_room_is_named_and_removed(tmp_path):
    import resource
    import signal

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    with raw_source(tmp_path / "raw", voxels((50, 60, 7, 1)), (0, 1, 2, 3)) as source:
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
            with pytest.raises(StorageError, match=r"spool: writing failed.*--tmp"):
                source.spooled(tmp_path / "spool")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
            signal.signal(signal.SIGXFSZ, handler)
    assert not (tmp_path / "spool").exists()
