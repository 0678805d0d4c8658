"""Voxels of HDF5 that lie in other files are read from where they were looked for, or refused."""

import subprocess
import sys

import numpy as np
import pytest

import ngcore
from ngcore.errors import FormatError, InputNotFoundError

h5py = pytest.importorskip("h5py")

VALUES = np.arange(1, 65, dtype="u1").reshape(4, 4, 4)
OTHERS = np.full_like(VALUES, 7)
OPTIONS = {"resolution": (8, 8, 8), "axes": "zyx", "fsync": False}


def virtual(path, source, name="d", part=..., shape=VALUES.shape):
    path.parent.mkdir(exist_ok=True)
    layout = h5py.VirtualLayout(VALUES.shape, VALUES.dtype)
    layout[part] = h5py.VirtualSource(str(source), name, shape)
    with h5py.File(path, "w") as file:
        file.create_virtual_dataset("d", layout)
    return path


def plain(path, values=VALUES):
    path.parent.mkdir(exist_ok=True)
    with h5py.File(path, "w") as file:
        file["d"] = values
    return path


def external(path, name="x.raw"):
    path.parent.mkdir(exist_ok=True)
    with h5py.File(path, "w") as file:
        file.create_dataset("d", VALUES.shape, VALUES.dtype, external=[(name, 0, VALUES.nbytes)])
    return path


def raw(path, values=VALUES):
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(values.tobytes())


def is_read(path, tmp_path, values=VALUES):
    volume = ngcore.convert(path, tmp_path / "out", **OPTIONS)
    np.testing.assert_array_equal(volume.scales[0][..., 0], values.transpose(2, 1, 0))


def is_refused(path, tmp_path, error, match):
    with pytest.raises(error, match=match):
        ngcore.convert(path, tmp_path / "out", **OPTIONS)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("other", [None, b"", OTHERS.tobytes()])
def test_external_files_are_read_from_beside_the_file_wherever_one_is(
    tmp_path, monkeypatch, other
):
    raw(tmp_path / "a/x.raw")
    path = external(tmp_path / "a/e.h5")
    (tmp_path / "elsewhere").mkdir()
    if other is not None:
        (tmp_path / "elsewhere/x.raw").write_bytes(other)
    monkeypatch.chdir(tmp_path / "elsewhere")
    is_read(path, tmp_path)


def test_external_files_that_lie_in_the_current_folder_alone_are_refused(tmp_path, monkeypatch):
    raw(tmp_path / "elsewhere/x.raw")
    path = external(tmp_path / "a/e.h5")
    monkeypatch.chdir(tmp_path / "elsewhere")
    is_refused(
        path, tmp_path, InputNotFoundError, "'x.raw', which does not exist; put it into .*a"
    )


def test_external_files_beside_the_target_of_a_link_are_read(tmp_path):
    raw(tmp_path / "a/x.raw")
    (tmp_path / "link.h5").symlink_to(external(tmp_path / "a/e.h5"))
    is_read(tmp_path / "link.h5", tmp_path)


@pytest.mark.parametrize("prefix", ["{}/raw", "${{ORIGIN}}/../raw"])
def test_external_files_are_read_from_where_the_variable_of_hdf5_says(
    tmp_path, monkeypatch, prefix
):
    raw(tmp_path / "raw/x.raw")
    raw(tmp_path / "a/x.raw", OTHERS)
    external(tmp_path / "a/e.h5")
    # HDF5 reads it once, as it is loaded.
    monkeypatch.setenv("HDF5_EXTFILE_PREFIX", prefix.format(tmp_path))
    command = ["convert", "a/e.h5", "out", "--resolution", "8nm", "--axes", "zyx", "--no-fsync"]
    subprocess.run([sys.executable, "-m", "ngcore", *command], check=True, cwd=tmp_path)
    voxels = ngcore.open(tmp_path / "out").scales[0][..., 0]
    np.testing.assert_array_equal(voxels, VALUES.transpose(2, 1, 0))


def test_external_files_of_a_source_need_the_variable_of_hdf5(tmp_path, monkeypatch):
    raw(tmp_path / "a/x.raw")
    external(tmp_path / "a/e.h5")
    virtual(tmp_path / "m.h5", "a/e.h5")
    command = [sys.executable, "-m", "ngcore", "convert", "m.h5", "out", "--resolution", "8nm"]
    options = {"cwd": tmp_path, "capture_output": True, "text": True}
    refused = subprocess.run([*command, "--quiet"], **options)
    (line,) = refused.stderr.splitlines()
    assert refused.returncode == 2
    assert "set the variable HDF5_EXTFILE_PREFIX to '${ORIGIN}'" in line
    monkeypatch.setenv("HDF5_EXTFILE_PREFIX", "${ORIGIN}")
    subprocess.run([*command, "--axes", "zyx"], check=True, **options)
    voxels = ngcore.open(tmp_path / "out").scales[0][..., 0]
    np.testing.assert_array_equal(voxels, VALUES.transpose(2, 1, 0))
    raw(tmp_path / "a/x.raw", VALUES[:3])
    (tmp_path / "out").rename(tmp_path / "before")
    is_refused(tmp_path / "m.h5", tmp_path, FormatError, "truncated: .*'x.raw' has 48 bytes")


def test_sources_of_a_folder_that_moved_are_read(tmp_path):
    plain(tmp_path / "a/s.h5")
    virtual(tmp_path / "a/m.h5", tmp_path / "a/s.h5")
    (tmp_path / "a").rename(tmp_path / "b")
    is_read(tmp_path / "b/m.h5", tmp_path)


@pytest.mark.parametrize("is_absolute", [False, True])
def test_sources_beside_the_target_of_a_link_are_read(tmp_path, is_absolute):
    plain(tmp_path / "a/s.h5")
    named = tmp_path / "gone" / "s.h5" if is_absolute else "s.h5"
    (tmp_path / "link.h5").symlink_to(virtual(tmp_path / "a/m.h5", named))
    is_read(tmp_path / "link.h5", tmp_path)


def test_sources_are_looked_for_where_the_variable_of_hdf5_says(tmp_path, monkeypatch):
    plain(tmp_path / "first/s.h5")
    plain(tmp_path / "a/s.h5", OTHERS)
    path = virtual(tmp_path / "a/m.h5", "s.h5")
    monkeypatch.setenv("HDF5_VDS_PREFIX", f"{tmp_path}/none:{tmp_path}/first")
    is_read(path, tmp_path)
    (tmp_path / "a/s.h5").unlink()
    (tmp_path / "first/s.h5").unlink()
    (tmp_path / "out").rename(tmp_path / "before")
    is_refused(path, tmp_path, InputNotFoundError, "'s.h5', which does not exist")


def test_sources_of_sources_are_looked_for(tmp_path):
    plain(tmp_path / "s.h5")
    virtual(tmp_path / "m.h5", "s.h5")
    path = virtual(tmp_path / "top.h5", "m.h5")
    is_read(path, tmp_path)
    (tmp_path / "out").rename(tmp_path / "before")
    (tmp_path / "s.h5").unlink()
    is_refused(path, tmp_path, InputNotFoundError, "'s.h5', which does not exist")


def test_a_virtual_data_set_of_itself_is_refused(tmp_path):
    virtual(tmp_path / "a.h5", "b.h5")
    path = virtual(tmp_path / "b.h5", "a.h5")
    is_refused(path, tmp_path, FormatError, "takes voxels from itself")


@pytest.mark.parametrize("values", [VALUES[:2], VALUES[:, :, :3], VALUES.reshape(16, 4)[:8]])
@pytest.mark.parametrize("part", [..., np.s_[0:4, 0:4, 0:4]])
def test_a_source_with_fewer_voxels_than_are_taken_of_it_is_one_line(tmp_path, values, part):
    plain(tmp_path / "s.h5", values)
    virtual(tmp_path / "m.h5", "s.h5", part=part)
    command = ["convert", "m.h5", "out", "--resolution", "8nm", "--quiet"]
    run = subprocess.run(
        [sys.executable, "-m", "ngcore", *command], cwd=tmp_path, capture_output=True, text=True
    )
    (line,) = run.stderr.splitlines()
    assert run.returncode == 2
    assert "takes (4, 4, 4) voxels from 'd' in 's.h5', which has the shape" in line


def test_a_part_of_a_source_that_has_less_is_refused(tmp_path):
    layout = h5py.VirtualLayout(VALUES.shape, VALUES.dtype)
    layout[:2] = h5py.VirtualSource("s.h5", "d", VALUES.shape)[2:]
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file.create_virtual_dataset("d", layout)
    plain(tmp_path / "s.h5")
    expected = np.concatenate([VALUES[2:], np.zeros_like(VALUES[2:])])
    is_read(tmp_path / "m.h5", tmp_path, expected)
    (tmp_path / "out").rename(tmp_path / "before")
    plain(tmp_path / "s.h5", VALUES[:3])
    is_refused(tmp_path / "m.h5", tmp_path, FormatError, r"voxels up to \(4, 4, 4\) from 'd'")


def test_a_source_that_grew_since_is_read(tmp_path):
    plain(tmp_path / "s.h5", np.concatenate([VALUES, OTHERS]))
    is_read(virtual(tmp_path / "m.h5", "s.h5"), tmp_path)


def test_a_source_that_is_no_hdf5_is_named(tmp_path):
    (tmp_path / "s.h5").write_bytes(b"nothing")
    path = virtual(tmp_path / "m.h5", "s.h5")
    is_refused(path, tmp_path, FormatError, r"the file 's\.h5' can't be opened")


def test_sources_that_lead_back_to_another_data_set_of_the_file_are_read(tmp_path):
    virtual(tmp_path / "b.h5", "a.h5", name="e")
    path = virtual(tmp_path / "a.h5", "b.h5")
    with h5py.File(path, "a") as file:
        file["e"] = VALUES
    is_read(f"{path}:/d", tmp_path)
