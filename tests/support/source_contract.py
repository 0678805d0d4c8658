"""What every format of sources must do; the test of each format inherits it."""

from __future__ import annotations

import contextlib
import io
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

import nibabel
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from planes import planes_box
from volume_files import read_all, voxels

import ngcore
from ngcore.cli import run
from ngcore.errors import FormatError, InputError, InputNotFoundError
from ngcore.sources import Source, open_source
from ngcore.sources.registry import Found, find_format

if TYPE_CHECKING:
    from pathlib import Path

CODES = ("RAS", "LPS", "LAS", "PIR", "SRA", "ASL", "IPR", "RSA")
"""All kinds of exchange and flip that the 48 orientations have."""


def oblique(code: str, angles: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> np.ndarray:
    """Return an affine whose axes run as `code` says, turned by angles around x, y and z."""
    target = nibabel.orientations.axcodes2ornt(tuple(code))
    affine = np.zeros((4, 4))
    for axis, (world, sign) in enumerate(target):
        affine[int(world), axis] = sign * (1.5, 2.0, 3.25)[axis]
    turn = nibabel.eulerangles.euler2mat(*angles)
    affine[:3, :3] = turn @ affine[:3, :3]
    affine[:, 3] = (-11.5, 20.25, 7.0, 1)
    return affine


AFFINES = [
    *(oblique(code) for code in CODES),
    oblique("RAS", (0.1, -0.2, 0.3)),
    oblique("LPI", (0.4, 0.3, -0.2)),
    oblique("SAL", (0.0, 0.0, 0.7)),
    oblique("PIR", (-0.3, 0.1, 0.15)),
]
"""Twelve places in the world, four of them oblique."""


class SourceContract(ABC):
    """Inherit this, and write a file.

    Attributes
    ----------
    format_name : str
        What `SourceFormat.name` says.
    file_name : str
        Of the files that `write` makes.
    keeps_affine, keeps_sizes, keeps_origin : bool
        The format holds any affine; voxel sizes; the place of the first voxel.
    options : dict
        Passed to `open_source`, as a resolution where the format has none.
    dtypes : tuple of str
        Types of voxels that the format holds.
    damages : int
        How many truncations are tried, of one file.
    """

    format_name = ""
    file_name = ""
    keeps_affine = False
    keeps_sizes = False
    keeps_origin = False
    options: ClassVar[dict[str, Any]] = {}
    dtypes: tuple[str, ...] = ("uint8", "int16", "uint16", "float32")
    truncations = 12
    head_says_it = True

    @abstractmethod
    def write(self, path: Path, values: np.ndarray, affine: np.ndarray) -> None:
        """Write voxels of shape (x, y, z) to a file of the format, with a library of its own."""

    def open(self, path: Path, **options: Any) -> Source:
        return open_source(path, **{**self.options, **options})

    def file(self, folder: Path, values: np.ndarray, affine: np.ndarray | None = None) -> Path:
        path = folder / self.file_name
        self.write(path, values, oblique("LPS") if affine is None else affine)
        return path

    def test_it_is_known(self, tmp_path):
        path = self.file(tmp_path, voxels((5, 4, 3), self.dtypes[0]))
        assert find_format(Found.at(str(path))).name == self.format_name
        if self.head_says_it and path.is_file():
            other = path.rename(tmp_path / "another_name")
            assert find_format(Found.at(str(other))).name == self.format_name

    def test_values_are_exact(self, tmp_path):
        for number, dtype in enumerate(self.dtypes):
            folder = tmp_path / dtype
            folder.mkdir()
            values = voxels((7, 6, 5), dtype, number)
            with self.open(self.file(folder, values)) as source:
                assert source.shape == (7, 6, 5, 1)
                assert source.dtype == np.dtype(dtype)
                assert_array_equal(read_all(source)[..., 0], values)

    def test_any_box_is_read_where_the_source_says_so(self, tmp_path):
        values = voxels((9, 8, 7), self.dtypes[0], 3)
        with self.open(self.file(tmp_path, values)) as source:
            axis = source.stream_axis
            box = [slice(2, 7), slice(1, 8), slice(3, 6)]
            if not source.cost.can_be_cut:
                first = box[axis]
                box = [slice(0, length) for length in source.shape[:3]]
                box[axis] = slice(0, first.stop) if source.cost.is_sequential else first
            if source.cost.access == "unpack":
                return
            lengths = [part.stop - part.start for part in box]
            out = np.empty((*lengths, 1), source.dtype)
            others = tuple(part for number, part in enumerate(box) if number != axis)
            window = (others[0], others[1]) if source.cost.can_be_cut else None
            source.read(planes_box(source, box[axis].start, box[axis].stop, window), out)
            assert_array_equal(out[..., 0], values[tuple(box)])

    def reference(
        self, path: Path, values: np.ndarray, affine: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return voxels and affine as another reader of the format finds them in the file."""
        del path
        return values, affine

    @pytest.mark.parametrize("affine", AFFINES)
    def test_landmarks_of_its_volume_lie_where_another_reader_has_them(self, tmp_path, affine):
        values = voxels((7, 6, 5), self.dtypes[0], 5)
        path = self.file(tmp_path, values, affine)
        options = self.options
        if self.keeps_affine:
            values, affine = self.reference(path, values, affine)
            with self.open(path) as source:
                assert_allclose(source.header.affine_voxel_to_mm, affine, atol=1e-5)
        else:
            options = {**options, "affine": affine, "resolution": None}
        volume = ngcore.convert(path, tmp_path / "out", type="image", fsync=False, **options)
        volume = ngcore.open(tmp_path / "out")
        assert_array_equal(volume.scales[0][...][..., 0], values)
        for index in ((0, 0, 0), (6, 0, 0), (0, 5, 0), (0, 0, 4), (6, 5, 4), (3, 1, 2)):
            landmark = (affine @ [*index, 1])[:3]
            found = np.linalg.solve(volume.affine, [*landmark, 1])[:3]
            assert_allclose(found, index, atol=1e-3)
            assert volume.at_mm(*landmark) == values[index]

    @pytest.mark.parametrize("sizes", [(1.5, 2, 3.25), (4e-6, 4e-6, 4e-5)])
    def test_voxel_sizes_are_kept(self, tmp_path, sizes):
        if not self.keeps_sizes:
            pytest.skip("the format holds no voxel sizes")
        affine = np.diag([*sizes, 1.0])
        affine[:3, 3] = [3 * size for size in sizes]
        with self.open(self.file(tmp_path, voxels((5, 4, 3), self.dtypes[0]), affine)) as source:
            assert_allclose(source.header.resolution_nm, np.multiply(sizes, 1e6), rtol=1e-6)
            if self.keeps_origin:
                assert_allclose(source.header.affine_voxel_to_mm, affine, rtol=1e-6)

    def test_a_truncated_file_is_refused_in_one_line(self, tmp_path):
        path = self.file(tmp_path, voxels((9, 8, 7), self.dtypes[0]))
        if path.is_dir():
            pytest.skip("a folder")
        data = path.read_bytes()
        for length in range(1, len(data) - 1, max(1, len(data) // self.truncations)):
            path.write_bytes(data[:length])
            with pytest.raises((FormatError, InputError)) as error:
                read_all(self.open(path))
            assert "\n" not in str(error.value)
            assert str(path) in str(error.value)

    def test_a_file_that_is_not_there_is_named(self, tmp_path):
        with pytest.raises(InputNotFoundError, match="no such file"):
            self.open(tmp_path / self.file_name)

    def test_the_name_stands_once_in_a_warning(self, tmp_path):
        with self.open(self.file(tmp_path, voxels((5, 4, 3), self.dtypes[0]))) as source:
            assert source.name == str(tmp_path / self.file_name)
            assert all(note.count(source.name) == 1 for note in source.header.notes)

    def test_a_form_is_refused_where_it_means_nothing(self, tmp_path):
        path = self.file(tmp_path, voxels((5, 4, 3), self.dtypes[0]))
        if "form" in find_format(Found.at(str(path))).takes:
            pytest.skip("it has forms")
        with pytest.raises(InputError, match="--form sform is for NIfTI"):
            self.open(path, form="sform")


def itk_places(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return voxels and affine as ITK reads a file, or the series in a folder."""
    sitk = pytest.importorskip("SimpleITK")
    reader = sitk.ImageSeriesReader()
    image = sitk.ReadImage(
        reader.GetGDCMSeriesFileNames(str(path)) if path.is_dir() else str(path)
    )
    origin = np.array(image.TransformIndexToPhysicalPoint((0, 0, 0)))
    affine = np.eye(4)
    for axis in range(3):
        one = image.TransformIndexToPhysicalPoint([int(axis == other) for other in range(3)])
        affine[:3, axis] = np.array(one) - origin
    affine[:3, 3] = origin
    return sitk.GetArrayFromImage(image).transpose(2, 1, 0), np.diag([-1, -1, 1, 1]) @ affine


def nibabel_places(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return voxels and affine as nibabel reads a file."""
    image = nibabel.load(path)
    return np.asarray(image.dataobj), image.affine


def bad_input_exits_2(path: Path | str, out: Path, *options: str) -> str:
    """Convert bad input as the command does; return the one line that says why not."""
    with contextlib.redirect_stderr(io.StringIO()) as stderr:
        code = run(["convert", str(path), str(out), *options])
    lines = stderr.getvalue().splitlines()
    assert code == 2, lines
    assert len(lines) == 1
    assert lines[0].startswith("ngcore: error: ")
    assert not out.exists()
    return lines[0]
