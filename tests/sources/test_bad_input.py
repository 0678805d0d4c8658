"""Every kind of bad input is one line that names the file and says what to do."""

import gzip
import tracemalloc
from pathlib import Path

import nibabel
import numpy as np
import pytest
import thorough
from unprivileged import bound_by_permissions
from volume_files import read_all, save_nifti, voxels

from ngcore.errors import FormatError, InputError, InputNotFoundError, NgcoreError
from ngcore.sources import open_source
from ngcore.sources.registry import formats

ENDINGS = ["nii", "nii.gz", "img", "hdr", "mgh", "mgz", "mnc", "par", "npy", "nii.bz2", "head"]
DATA = Path(nibabel.__file__).parent / "tests" / "data"


def one_line(error):
    text = str(error.value)
    assert "\n" not in text
    return text


@pytest.mark.parametrize("ending", [*ENDINGS, "xyz", ""])
def test_a_missing_file_is_not_found(tmp_path, ending):
    path = tmp_path / f"volume.{ending}"
    with pytest.raises(InputNotFoundError, match=r"volume\.") as error:
        open_source(path)
    assert "no such file" in one_line(error)


@pytest.mark.parametrize(
    ("there", "other"),
    [("nifti1.hdr", "nifti1.img"), ("analyze.hdr", "analyze.img"), ("T1.PAR", "T1.REC"),
     ("scaled+tlrc.HEAD", "scaled+tlrc.BRIK"), ("scaled+tlrc.BRIK", "scaled+tlrc.HEAD")],
)  # fmt: skip
def test_the_other_file_of_a_pair_is_named_where_it_is_missing(tmp_path, there, other):
    (tmp_path / there).write_bytes((DATA / there).read_bytes())
    with pytest.raises(InputNotFoundError) as error:
        open_source(tmp_path / there)
    assert f"'{other}', which belongs to it, is missing" in one_line(error)


@pytest.mark.parametrize("ending", [*ENDINGS, "xyz"])
def test_an_empty_file_is_refused(tmp_path, ending):
    path = tmp_path / f"volume.{ending}"
    path.touch()
    if ending in ("img", "hdr"):
        path.with_suffix(".hdr").touch()
        path.with_suffix(".img").touch()
    with pytest.raises((FormatError, InputError), match=r"volume\.") as error:
        open_source(path)
    one_line(error)


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("text", ["hello", "x" * 5000, "\0" * 1000])
def test_a_file_of_something_else_is_refused(tmp_path, ending, text):
    path = tmp_path / f"volume.{ending}"
    path.write_text(text)
    with pytest.raises((FormatError, InputError), match=r"volume\.") as error:
        read_all(open_source(path))
    one_line(error)


@pytest.mark.parametrize("name", ["volume.xyz", "volume", "notes.txt", "mesh.stl"])
def test_an_unknown_format_is_refused_with_a_list_of_those_known(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(b"anything" * 100)
    with pytest.raises(InputError, match=r"ngcore reads DICOM, .*NIfTI") as error:
        open_source(path)
    assert name in one_line(error)


def test_a_file_without_a_volume_is_refused():
    with pytest.raises(InputError, match="no volume"):
        open_source(DATA / "ascii.gii" if (DATA / "ascii.gii").exists() else _gifti())


def _gifti():
    return next((DATA.parent.parent / "gifti" / "tests" / "data").glob("ascii.gii"))


@pytest.mark.parametrize("ending", ["nii", "nii.gz", "npy", "mgz", "mnc"])
def test_a_folder_where_a_file_is_due_is_refused(tmp_path, ending):
    path = tmp_path / f"volume.{ending}"
    path.mkdir()
    with pytest.raises(InputError, match=r"volume\.") as error:
        open_source(path)
    one_line(error)


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_file_that_may_not_be_read_is_refused(tmp_path, ending):
    path = tmp_path / f"volume.{ending}"
    for locked in {path, path.with_suffix(".hdr") if ending == "img" else path}:
        locked.write_bytes(b"secret")
        locked.chmod(0)
    with bound_by_permissions(), pytest.raises(InputError, match="permission"):
        open_source(path)


@pytest.mark.parametrize("ending", ["nii", "nii.gz", "mgh", "mgz"])
def test_every_truncation_is_found(tmp_path, ending):
    values = voxels((9, 8, 7))
    path = tmp_path / f"volume.{ending}"
    if ending.startswith("nii"):
        save_nifti(path, values)
    else:
        nibabel.save(nibabel.MGHImage(values, np.eye(4)), path)
    data = path.read_bytes()
    # After its voxels an MGH file may hold tags, which the writer left empty or short.
    end = len(data) if ending != "mgh" else 284 + values.nbytes
    for length in sorted({*range(1, end, thorough.amount(97, 7)), end - 1}):
        path.write_bytes(data[:length])
        with pytest.raises(FormatError, match=rf"volume\.{ending}: ") as error:
            read_all(open_source(path))
        one_line(error)


@pytest.mark.parametrize("ending", ["img", "img.gz"])
def test_either_half_of_a_pair_may_be_missing_or_short(tmp_path, ending):
    path = save_nifti(tmp_path / f"volume.{ending}", voxels((9, 8, 7)))
    header = tmp_path / f"volume.{ending}".replace("img", "hdr")
    data = path.read_bytes()
    path.write_bytes(data[:-20])
    with pytest.raises(FormatError, match=r"volume\."):
        read_all(open_source(header))
    path.unlink()
    with pytest.raises(InputNotFoundError, match=r"volume\."):
        open_source(header)
    path.write_bytes(data)
    header.unlink()
    with pytest.raises(InputNotFoundError, match=r"volume\."):
        open_source(path)


@pytest.mark.parametrize("ending", ["nii", "nii.gz"])
@pytest.mark.parametrize("lengths", [(1 << 14,) * 4, (1 << 14,) * 3])
def test_a_header_that_claims_too_much_is_found_at_once_in_little_memory(
    tmp_path, ending, lengths
):
    dim = [len(lengths), *lengths, *[1] * (7 - len(lengths))]
    path = save_nifti(tmp_path / f"volume.{ending}", voxels((9, 8, 7)), dim=dim)
    formats()  # importing them takes memory too
    tracemalloc.start()
    with pytest.raises(FormatError, match=r"truncated: its header says .* voxels"):
        open_source(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2 << 20


def test_an_absurd_nifti_2_header_is_found_at_once(tmp_path):
    path = tmp_path / "volume.nii"
    nibabel.save(nibabel.Nifti2Image(voxels((9, 8, 7)), np.eye(4)), path)
    data = bytearray(path.read_bytes())
    np.frombuffer(data, nibabel.Nifti2Header.template_dtype, 1)["dim"][0, 1] = 1 << 60
    path.write_bytes(data)
    with pytest.raises(FormatError, match="truncated: its header says"):
        open_source(path)


@pytest.mark.parametrize("rank", [0, -1, 8, 20000])
def test_a_rank_that_cannot_be_is_refused(tmp_path, rank):
    path = save_nifti(tmp_path / "volume.nii", voxels((9, 8, 7)), dim=[rank, 9, 8, 7, 1, 1, 1, 1])
    with pytest.raises(FormatError, match=rf"dim\[0\] is {rank}"):
        open_source(path)


@pytest.mark.parametrize("length", [0, -5])
def test_axes_without_voxels_are_refused(tmp_path, length):
    dim = [3, 9, length, 7, 1, 1, 1, 1]
    path = save_nifti(tmp_path / "volume.nii", voxels((9, 8, 7)), dim=dim)
    with pytest.raises(InputError, match="at least one voxel along every axis"):
        open_source(path)


def test_a_datatype_that_is_none_is_refused(tmp_path):
    path = save_nifti(tmp_path / "volume.nii", voxels((9, 8, 7)), datatype=999)
    with pytest.raises(FormatError, match="datatype 999"):
        open_source(path)


@pytest.mark.parametrize("name", ["volume.nii", "volume.mgh", "volume.npy", "tiny.mnc"])
def test_damaged_headers_open_or_raise_but_never_crash(tmp_path, name):
    path = tmp_path / name
    if name.endswith("nii"):
        save_nifti(path, voxels((9, 8, 7)))
    elif name.endswith("mgh"):
        nibabel.save(nibabel.MGHImage(voxels((9, 8, 7)), np.eye(4)), path)
    elif name.endswith("npy"):
        np.save(path, voxels((9, 8, 7)))
    else:
        path.write_bytes((DATA / name).read_bytes())
    data = path.read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(thorough.amount(120, 5000)):
        bad = bytearray(data)
        for place in rng.integers(0, min(352, len(data)), rng.integers(1, 5)):
            bad[place] = int(rng.integers(0, 256))
        path.write_bytes(bad)
        try:
            with open_source(path) as source:
                if source.header.voxel_count < 1 << 20:
                    read_all(source)
        except NgcoreError as error:
            assert "\n" not in str(error)  # noqa: PT017 - opening may as well succeed


def test_a_gzip_bomb_is_read_in_little_memory(tmp_path):
    path = save_nifti(tmp_path / "volume.nii.gz", voxels((9, 8, 7), "u1"))
    plain = gzip.decompress(path.read_bytes())
    path.write_bytes(gzip.compress(plain + bytes(64 << 20), 9))
    formats()  # importing them takes memory too
    tracemalloc.start()
    read_all(open_source(path))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 << 20
