"""A new kind of source is one object; nothing else has to know it."""

from pathlib import Path

import numpy as np
import pytest
from source_contract import SourceContract
from volume_files import voxels

import ngcore
from ngcore.errors import FormatError, InputError, MissingExtraError, naming
from ngcore.sources import open_source
from ngcore.sources.base import Cost, Source, SourceHeader, SuggestedType
from ngcore.sources.registry import (
    Found,
    SourceFormat,
    find_format,
    formats,
    register,
    unregister,
)
from ngcore.sources.volumes.raw import FORTRAN_ORDER, RawSource
from ngcore.validating.validate import validate


def open_toy(found, asked):
    """Open a file of a line with three lengths, and bytes."""
    lengths, _, _ = found.path.read_bytes().partition(b"\n")
    try:
        x, y, z = (int(word) for word in lengths.split()[1:])
    except ValueError as error:
        raise FormatError("not three lengths; write them") from error
    header = SourceHeader(
        "",
        (x, y, z, 1),
        np.dtype(np.uint8),
        SuggestedType("image", "toys are"),
        resolution_nm=asked.geometry.resolution or (1, 1, 1),
        notes=("a toy",),
        files=(found.path,),
    )
    return RawSource(header, found.path, len(lengths) + 1, FORTRAN_ORDER, np.dtype(np.uint8))


TOY = SourceFormat(
    name="toy",
    open=open_toy,
    is_it=lambda found: found.head.startswith(b"TOY "),
    endings=(".toy",),
)


@pytest.fixture(autouse=True)
def toy():
    yield register(TOY)
    unregister(TOY)


class TestToy(SourceContract):
    format_name = "toy"
    file_name = "a.toy"
    dtypes = ("uint8",)

    def write(self, path, values, _affine):
        line = "TOY {} {} {}\n".format(*values.shape)
        path.write_bytes(line.encode() + values.tobytes(order="F"))

    # The toy reads its file without asking whether it is there.
    test_a_file_that_is_not_there_is_named = None


def test_every_format_has_a_test_by_the_contract():
    tests = "".join(path.read_text() for path in Path(__file__).parent.rglob("test_*.py"))
    opened_elsewhere = {"slices", "a URL of a precomputed volume"}
    names = {one.name for one in formats()} - opened_elsewhere
    assert [name for name in names if f'format_name = "{name}"' not in tests] == []


def test_a_toy_goes_the_whole_way(tmp_path):
    values = voxels((70, 9, 8), "u1")
    TestToy().write(tmp_path / "a.toy", values, None)
    volume = ngcore.convert(tmp_path / "a.toy", tmp_path / "out", fsync=False)
    np.testing.assert_array_equal(volume.scales[0][...][..., 0], values)
    assert not list(validate(tmp_path / "out").findings)


def test_the_content_says_more_than_the_name(tmp_path):
    TestToy().write(tmp_path / "a.nii", voxels((3, 4, 5), "u1"), None)
    with open_source(tmp_path / "a.nii") as source:
        assert source.header.notes == (f"{tmp_path / 'a.nii'}: a toy",)
    np.save(tmp_path / "array.npy", voxels((3, 4, 5), "u1"))
    (tmp_path / "array.npy").rename(tmp_path / "b.toy")
    assert find_format(Found.at(str(tmp_path / "b.toy"))).name == "NumPy's .npy"


def test_a_path_inside_is_refused_for_what_has_none(tmp_path):
    TestToy().write(tmp_path / "a.toy", voxels((3, 4, 5), "u1"), None)
    with pytest.raises(InputError, match=r"a\.toy:/x/y: is toy, which holds no paths; leave out"):
        open_source(f"{tmp_path / 'a.toy'}:/x/y")


@pytest.mark.parametrize(
    ("name", "location", "inside"),
    [
        ("{}/a.h5:/x/y", "{}/a.h5", "x/y"),
        ("{}/a.h5", "{}/a.h5", None),
        ("{}/nothing.h5:/x", "{}/nothing.h5:/x", None),
        ("{}/odd:/name", "{}/odd:/name", None),
        ("http://host:80/a.zarr:/0", "http://host:80/a.zarr", "0"),
        ("http://host:80/a.zarr", "http://host:80/a.zarr", None),
    ],
)
def test_paths_inside_are_taken_apart_where_there_is_such_a_file(tmp_path, name, location, inside):
    (tmp_path / "a.h5").touch()
    (tmp_path / "odd:").mkdir()
    (tmp_path / "odd:" / "name").touch()
    found = Found.at(name.format(tmp_path))
    assert (found.location, found.inside) == (location.format(tmp_path), inside)


def test_errors_while_reading_get_the_name_too():
    class Broken(Source):
        cost = Cost("boxes")

        def __init__(self):
            hint = SuggestedType("image", "")
            self.header = SourceHeader("a.broken", (1, 1, 1, 1), np.dtype("u1"), hint)

        def _read(self, _box, _out):
            raise FormatError("corrupt at byte 7; download it again")

        def spooled(self, path):
            raise NotImplementedError

    source = Broken()
    with pytest.raises(FormatError, match=r"^a\.broken: corrupt at byte 7"):
        source.read(source.header.bounds, np.empty((1, 1, 1, 1), np.uint8))


def test_a_name_is_put_once():
    with pytest.raises(MissingExtraError) as error, naming("a.h5"), naming("a.h5"):
        raise MissingExtraError("needs h5py")
    assert str(error.value) == "a.h5: needs h5py"
