"""Streamlines of TRK, TCK and TRX beside nibabel and trx-python, on their own files too."""

from __future__ import annotations

import subprocess
import sys
import warnings
import zipfile
from pathlib import Path

import nibabel
import nibabel.streamlines
import numpy as np
import pytest

from ngcore.errors import FormatError, InputError
from ngcore.sources.tracts import mrtrix, trackvis
from ngcore.sources.tracts.opening import open_tracts

DATA = Path(nibabel.__file__).parent / "tests" / "data"
GOOD = ["standard.trk", "standard.LPS.trk", "complex.trk", "complex_big_endian.trk", "simple.trk"]
GOOD += ["standard.tck", "simple.tck", "simple_big_endian.tck", "matlab_nan.tck", "empty.tck"]


def lines_of(path: Path) -> list[np.ndarray]:
    found = []
    opened = open_tracts(path)
    for part in opened.lines():
        assert part.points.dtype == np.float32
        found += [part.points[a:b] for a, b in zip(part.offsets, part.offsets[1:], strict=False)]
    opened.close()
    return found


def assert_same(found: list[np.ndarray], expected: list[np.ndarray]) -> None:
    assert len(found) == len(expected)
    for line, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(line, other, atol=1e-4)


@pytest.mark.parametrize("name", GOOD)
@pytest.mark.parametrize("block", [None, 64])
def test_files_of_nibabel_read_as_nibabel_reads_them(name, block, monkeypatch):
    if block is not None:
        monkeypatch.setattr(trackvis, "_BLOCK_WORDS", block)
        monkeypatch.setattr(mrtrix, "_BLOCK_POINTS", block // 8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = nibabel.streamlines.load(DATA / name).streamlines
    assert_same(lines_of(DATA / name), list(expected))


def made(count: int = 20) -> list[np.ndarray]:
    random = np.random.default_rng(1)
    return [random.normal(size=(n, 3)).astype(np.float32) * 50 for n in range(1, count + 1)]


def test_oblique_trk_is_in_the_world(tmp_path):
    affine = np.array([[0, -2, 0, 10], [1.5, 0, 0.5, -20], [0, 0, 3, 5], [0, 0, 0, 1]], float)
    tractogram = nibabel.streamlines.Tractogram(made(), affine_to_rasmm=np.eye(4))
    header = {"voxel_to_rasmm": affine, "dimensions": (50, 60, 40), "voxel_sizes": (1.5, 2, 3)}
    nibabel.streamlines.save(tractogram, tmp_path / "a.trk", header=header)
    assert_same(lines_of(tmp_path / "a.trk"), made())


# trx-python's writer leaves its temporary folder to the collector
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_trx_has_groups(tmp_path):
    trx = pytest.importorskip("trx.trx_file_memmap")
    tractogram = nibabel.streamlines.Tractogram(made(), affine_to_rasmm=np.eye(4))
    image = nibabel.Nifti1Image(np.zeros((5, 5, 5), np.uint8), np.eye(4))
    file = trx.TrxFile.from_lazy_tractogram(
        nibabel.streamlines.LazyTractogram.from_tractogram(tractogram),
        reference=image,
        dtype_dict={"positions": np.float32, "offsets": np.uint64},
    )
    file.groups = {"left": np.array([0, 3], np.uint32), "right": np.array([3, 5], np.uint32)}
    trx.save(file, str(tmp_path / "a.trx"))
    opened = open_tracts(tmp_path / "a.trx")
    assert_same(lines_of(tmp_path / "a.trx"), made())
    assert {name: rows.tolist() for name, rows in opened.groups.items()} == {
        "left": [0, 3],
        "right": [3, 5],
    }
    opened.close()


@pytest.mark.parametrize("name", ["standard.trk", "standard.tck"])
def test_files_that_are_cut_short_are_refused(name, tmp_path):
    data = (DATA / name).read_bytes()
    for size in (len(data) - 1, len(data) - 13, 500, 10, 0):
        path = tmp_path / name
        path.write_bytes(data[:size])
        with pytest.raises(FormatError) as caught:
            lines_of(path)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["a.trk", "a.tck"])
def test_another_number_of_streamlines_than_the_header_states_is_warned_of(name, tmp_path, caplog):
    path = tmp_path / name
    tractogram = nibabel.streamlines.Tractogram(made(), affine_to_rasmm=np.eye(4))
    nibabel.streamlines.save(tractogram, path)
    lines_of(path)
    assert caplog.text == ""
    data = path.read_bytes()
    if name == "a.trk":  # cut short between two streamlines, which nothing else tells
        path.write_bytes(data[: -4 - 12 * 20])
        stated, held = 20, 19
    else:
        path.write_bytes(data.replace(b"count: 0000000020", b"count: 0000000021"))
        stated, held = 21, 20
    lines_of(path)
    assert f"its header states {stated} streamlines, it holds {held}" in caplog.text


def test_other_files_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"streamlines are \.trk, \.tck or \.trx"):
        open_tracts(tmp_path / "a.vtk")
    with pytest.raises(InputError, match="no such file"):
        open_tracts(tmp_path / "a.trk")
    (tmp_path / "a.trx").write_bytes(b"PK nothing")
    with pytest.raises(FormatError, match="not a valid TRX file"):
        open_tracts(tmp_path / "a.trx")


def test_a_damaged_trx_is_refused_in_one_line(tmp_path):
    pytest.importorskip("trx")
    with zipfile.ZipFile(tmp_path / "a.trx", "w") as packed:
        packed.writestr("header.json", '{"DIMENSIONS": [1, 1, 1]}')
        packed.writestr("positions&3.float32", bytes(12))
    command = [sys.executable, "-m", "ngcore", "tracts", tmp_path / "a.trx", tmp_path / "out"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    (line,) = done.stderr.splitlines()
    assert (done.returncode, "a.trx: not a valid TRX file" in line) == (2, True)
    assert not (tmp_path / "out").exists()
