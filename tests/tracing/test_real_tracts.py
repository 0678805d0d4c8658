"""Streamlines that packages ship, converted, beside what nibabel reads: files nobody here made."""

from __future__ import annotations

import importlib.util
import warnings
from pathlib import Path

import nibabel.streamlines
import numpy as np
import pytest
from annotation_reader import Collection

from ngcore.errors import NgcoreError
from ngcore.tracing.tracts import tracts


def shipped(package: str, folder: str) -> list[Path]:
    """Return the files of streamlines in a folder of a package; none where it isn't installed."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        return []
    found = (Path(spec.origin).parent / folder).rglob("*")
    return sorted(path for path in found if path.suffix in (".trk", ".tck", ".trx"))


FILES = [*shipped("nibabel", "tests/data"), *shipped("dipy", "data"), *shipped("trx", ".")]


def lines_of_nibabel(path: Path) -> list[np.ndarray] | None:
    """Return lines of two points or more; None where nibabel refuses the file."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            found = nibabel.streamlines.load(path).streamlines
        except (ValueError, nibabel.streamlines.tractogram_file.HeaderError):
            return None
    return [line for line in found if len(line) > 1]


def assert_lines_are_there(folder: Path, expected: list[np.ndarray]) -> None:
    found = Collection(folder / "streamlines").by_id
    assert len(found) == len(expected)
    for number, line in enumerate(expected, start=1):
        np.testing.assert_allclose(found[number]["points"], line, atol=1e-3, rtol=0)


@pytest.mark.skipif(not FILES, reason="no package with streamlines is installed")
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_files_that_packages_ship_lie_where_nibabel_has_them(tmp_path, path):
    expected = lines_of_nibabel(path)
    if not expected:  # damaged, or without a line: refused in one line
        with pytest.raises(NgcoreError) as refused:
            tracts(path, tmp_path / "out", fsync=False)
        assert len(str(refused.value).splitlines()) == 1
        assert path.name in str(refused.value)
        assert not (tmp_path / "out").exists()
        return
    tracts(path, tmp_path / "out", fsync=False)
    assert_lines_are_there(tmp_path / "out", expected)


# trx-python's writer leaves its temporary folder to the collector
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_real_streamlines_through_trx_python_lie_there_too(tmp_path, caplog):
    trx = pytest.importorskip("trx.trx_file_memmap")
    found = [path for path in FILES if path.name == "tracks300.trk"]
    if not found:
        pytest.skip("dipy is not installed")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tractogram = nibabel.streamlines.load(found[0]).tractogram
    image = nibabel.Nifti1Image(np.zeros((5, 5, 5), np.uint8), np.eye(4))
    file = trx.TrxFile.from_lazy_tractogram(
        nibabel.streamlines.LazyTractogram.from_tractogram(tractogram),
        reference=image,
        extra_buffer=10_000,
        chunk_size=100_000,
        dtype_dict={"positions": np.float32, "offsets": np.uint64},
    )
    trx.save(file, str(tmp_path / "real.trx"))
    tracts(tmp_path / "real.trx", tmp_path / "out", fsync=False)
    assert "in no group" not in caplog.text
    file.groups = {"some": np.arange(10, dtype=np.uint32)}
    trx.save(file, str(tmp_path / "grouped.trx"))
    tracts(tmp_path / "grouped.trx", tmp_path / "grouped", fsync=False)
    assert f"in no bundle: {len(tractogram.streamlines) - 10} of its streamlines" in caplog.text
    expected = [line for line in tractogram.streamlines if len(line) > 1]
    assert_lines_are_there(tmp_path / "out", expected)
