import gzip
import threading

import nibabel
import numpy as np
import pytest
import zstandard
from planes import planes_box
from source_contract import SourceContract, nibabel_places
from volume_files import AFFINE, read_all, save_nifti, set_fields, voxels

from ngcore.errors import FormatError, InputError, InputNotFoundError
from ngcore.sources import open_source
from ngcore.sources.volumes.nifti_fields import HEADER_TYPES

SHAPE = (13, 11, 7)
TYPES = ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8"]


@pytest.mark.parametrize("ending", ["nii", "nii.gz", "img", "hdr", "img.gz", "hdr.gz"])
@pytest.mark.parametrize("byte_order", ["<", ">"])
def test_every_container_and_byte_order_gives_the_same_voxels(tmp_path, ending, byte_order):
    values = voxels(SHAPE, byte_order + "i2")
    is_single = ending.startswith("nii")
    kind = nibabel.Nifti1Image if is_single else nibabel.Nifti1Pair
    header = kind.header_class(endianness=byte_order)
    header.set_data_dtype(values.dtype)
    path = tmp_path / f"volume.{ending}"
    nibabel.save(kind(values, AFFINE, header), path)
    source = open_source(path)
    assert source.shape == (*SHAPE, 1)
    assert source.dtype == np.int16
    assert source.header.resolution_nm == (2e6, 3e6, 4e6)
    assert source.cost.is_sequential == ending.endswith("gz")
    np.testing.assert_array_equal(source.header.affine_voxel_to_mm, AFFINE)
    np.testing.assert_array_equal(read_all(source)[..., 0], values)


@pytest.mark.parametrize("kind", [nibabel.Nifti1Header, nibabel.Nifti2Header])
def test_header_fields_lie_where_nibabel_has_them(kind):
    template = kind.template_dtype.newbyteorder("<")
    ours = HEADER_TYPES[template.itemsize]
    assert ours.names
    assert {name: ours.fields[name] for name in ours.names} == {
        name: template.fields[name] for name in ours.names
    }


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("ending", ["nii", "nii.gz"])
def test_every_data_type_is_read(tmp_path, dtype, ending):
    values = voxels(SHAPE, dtype)
    source = open_source(save_nifti(tmp_path / f"volume.{ending}", values))
    assert source.dtype == values.dtype
    np.testing.assert_array_equal(read_all(source)[..., 0], values)


@pytest.mark.parametrize("kind", [nibabel.Nifti2Image, nibabel.Nifti2Pair])
def test_nifti_2_is_read(tmp_path, kind):
    values = voxels(SHAPE)
    path = tmp_path / ("volume.nii.gz" if kind is nibabel.Nifti2Image else "volume.img")
    nibabel.save(kind(values, AFFINE), path)
    np.testing.assert_array_equal(read_all(open_source(path))[..., 0], values)


@pytest.mark.parametrize("order", ["F", "C"])
@pytest.mark.parametrize("ending", ["nii", "nii.gz"])
def test_a_buffer_of_any_layout_is_filled(tmp_path, order, ending):
    values = voxels((70, 60, 9), ">i4")
    header = nibabel.Nifti1Header(endianness=">")
    header.set_data_dtype(values.dtype)
    path = tmp_path / f"volume.{ending}"
    nibabel.save(nibabel.Nifti1Image(values, AFFINE, header), path)
    np.testing.assert_array_equal(read_all(open_source(path), order=order)[..., 0], values)


def test_windows_are_read_from_several_threads(tmp_path):
    values = voxels((67, 59, 31), "f4")
    source = open_source(save_nifti(tmp_path / "volume.nii", values))
    assert source.cost.is_concurrent
    faults = []

    def check(seed):
        rng = np.random.default_rng(seed)
        for _ in range(30):
            low = [int(rng.integers(0, length)) for length in values.shape]
            high = [
                int(rng.integers(start + 1, length + 1))
                for start, length in zip(low, values.shape, strict=True)
            ]
            x, y, z = (slice(*pair) for pair in zip(low, high, strict=True))
            shape = (x.stop - x.start, y.stop - y.start, z.stop - z.start, 1)
            out = np.empty(shape, "f4", order="F" if seed % 2 else "C")
            source.read(planes_box(source, z.start, z.stop, (x, y)), out)
            if not np.array_equal(out[..., 0], values[x, y, z]):
                faults.append((x, y, z))

    threads = [threading.Thread(target=check, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    source.close()
    assert not faults


def test_a_fourth_axis_becomes_channels(tmp_path):
    values = voxels((*SHAPE, 5))
    source = open_source(save_nifti(tmp_path / "volume.nii", values))
    assert source.shape == (*SHAPE, 5)
    assert source.header.suggested_type == ("image", "it has 5 channels")
    np.testing.assert_array_equal(read_all(source), values)


def test_gzipped_channels_are_spooled_once(tmp_path):
    values = voxels((*SHAPE, 5))
    source = open_source(save_nifti(tmp_path / "volume.nii.gz", values))
    assert source.cost.access == "unpack"
    spooled = source.spooled(tmp_path / "spool")
    assert spooled.cost.is_concurrent
    assert (tmp_path / "spool").stat().st_size == values.nbytes
    np.testing.assert_array_equal(read_all(spooled), values)


def test_any_gzipped_volume_can_be_spooled(tmp_path):
    values = voxels(SHAPE)
    source = open_source(save_nifti(tmp_path / "volume.nii.gz", values))
    assert source.cost.access != "unpack"
    np.testing.assert_array_equal(read_all(source.spooled(tmp_path / "spool"))[..., 0], values)


def test_two_axes_become_one_slice(tmp_path):
    values = voxels((13, 11))
    source = open_source(save_nifti(tmp_path / "volume.nii.gz", values))
    assert source.shape == (13, 11, 1, 1)
    assert source.stream_axis == 1
    np.testing.assert_array_equal(read_all(source)[:, :, 0, 0], values)


@pytest.mark.parametrize("shape", [(4, 5, 6, 1, 1), (4, 5, 6, 3, 1), (4, 5, 6, 1, 1, 1, 1)])
def test_axes_of_length_one_beyond_the_fourth_are_dropped(tmp_path, shape):
    values = voxels(shape)
    source = open_source(save_nifti(tmp_path / "volume.nii", values))
    np.testing.assert_array_equal(read_all(source), values.reshape(shape[:4]))


@pytest.mark.parametrize("ending", ["nii", "nii.gz"])
def test_vectors_and_colours_of_one_time_point_become_channels(tmp_path, ending):
    values = voxels((4, 5, 6, 1, 3), "f4")
    path = save_nifti(tmp_path / f"warp.{ending}", values, intent_code=1007)
    with open_source(path) as source:
        assert source.header.suggested_type.type == "image"
        if source.cost.access == "unpack":
            source = source.spooled(tmp_path / "spool")
        np.testing.assert_array_equal(read_all(source), values[:, :, :, 0])


def test_cifti_is_refused_for_what_it_is(tmp_path):
    axes = nibabel.cifti2.cifti2_axes
    cells = axes.BrainModelAxis.from_mask(np.ones((4, 4, 4), bool), affine=np.eye(4), name="other")
    image = nibabel.Cifti2Image(np.zeros((1, 64), np.float32), (axes.ScalarAxis(["a"]), cells))
    nibabel.save(image, tmp_path / "x.dscalar.nii")
    with pytest.raises(InputError, match=r"x\.dscalar\.nii: is CIFTI, .*`wb_command"):
        open_source(tmp_path / "x.dscalar.nii")


def test_a_plain_file_may_have_the_ending_of_gzip(tmp_path):
    values = voxels(SHAPE)
    save_nifti(tmp_path / "a.nii", values).rename(tmp_path / "a.nii.gz")
    with open_source(tmp_path / "a.nii.gz") as source:
        assert "is not gzipped, though its name says so" in source.header.notes[0]
        np.testing.assert_array_equal(read_all(source)[..., 0], values)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("version https://git-lfs.github.com/spec/v1\noid sha256:4d\nsize 12\n", "git lfs pull"),
        ("/annex/objects/MD5E-s12--01234567.nii.gz\n", "git annex get .*a.nii.gz"),
    ],
)
def test_pointers_of_git_are_named_as_what_they_are(tmp_path, content, message):
    for name in ("a.nii.gz", "a.npy", "a.nrrd", "a.tif", "a.png", "a"):
        (tmp_path / name).write_text(content)
        with pytest.raises(InputError, match=message.replace("a.nii.gz", name)):
            open_source(tmp_path / name)


def test_links_of_git_annex_to_content_that_is_elsewhere_are_named(tmp_path):
    (tmp_path / "a.nii.gz").symlink_to("../.git/annex/objects/xx/MD5E/MD5E")
    with pytest.raises(InputNotFoundError, match=r"link of git-annex to .* `git annex get"):
        open_source(tmp_path / "a.nii.gz")


@pytest.mark.parametrize(("unit", "step"), [(8, 2.5), (16, 2500), (24, 2.5e6)])
def test_the_step_in_time_is_kept_in_seconds(tmp_path, unit, step):
    values = voxels((3, 4, 5, 2))
    path = save_nifti(
        tmp_path / "a.nii", values, pixdim=[1, 2, 3, 4, step, 1, 1, 1], xyzt_units=2 + unit
    )
    with open_source(path) as source:
        assert source.header.facts["time_step"] == 2.5


class TestZstd(SourceContract):
    format_name = "NIfTI"
    file_name = "a.nii.zst"
    keeps_affine = True

    def write(self, path, values, affine):
        plain = save_nifti(path.with_suffix(""), values, affine)
        data = plain.read_bytes()
        plain.unlink()
        half = len(data) // 2
        compress = zstandard.ZstdCompressor().compress
        path.write_bytes(compress(data[:half]) + compress(data[half:]))


class TestNifti(SourceContract):
    format_name = "NIfTI"
    file_name = "a.nii"
    keeps_affine = True
    keeps_sizes = True
    keeps_origin = True
    head_says_it = False

    def write(self, path, values, affine):
        save_nifti(path, values, affine)

    def reference(self, path, values, affine):
        del values, affine
        return nibabel_places(path)


class TestGzip(TestNifti):
    file_name = "a.nii.gz"


@pytest.mark.parametrize("shape", [(4, 5, 6, 2, 2), (4, 5, 6, 1, 3, 2)])
def test_longer_axes_beyond_the_fourth_are_refused(tmp_path, shape):
    path = save_nifti(tmp_path / "volume.nii", voxels(shape))
    with pytest.raises(InputError, match=r"volume\.nii: shape \(4, 5, 6, .*\) has more axes"):
        open_source(path)


@pytest.mark.parametrize(("colors", "ending"), [("RGB", "nii"), ("RGBA", "nii.gz")])
def test_colours_become_channels(tmp_path, colors, ending):
    dtype = np.dtype([(color, "u1") for color in colors])
    flat = voxels((*SHAPE, len(colors)), "u1")
    values = np.ascontiguousarray(flat).view(dtype)[..., 0]
    source = open_source(save_nifti(tmp_path / f"volume.{ending}", values))
    assert source.shape == (*SHAPE, len(colors))
    assert source.dtype == np.uint8
    assert source.cost.access != "unpack"
    np.testing.assert_array_equal(read_all(source), flat)


def test_big_endian_colours_are_the_same_bytes(tmp_path):
    dtype = np.dtype([(color, "u1") for color in "RGB"])
    flat = voxels((*SHAPE, 3), "u1")
    header = nibabel.Nifti1Header(endianness=">")
    header.set_data_dtype(dtype)
    image = nibabel.Nifti1Image(np.ascontiguousarray(flat).view(dtype)[..., 0], AFFINE, header)
    nibabel.save(image, tmp_path / "volume.nii")
    np.testing.assert_array_equal(read_all(open_source(tmp_path / "volume.nii")), flat)


def test_colours_and_time_are_too_many_axes(tmp_path):
    values = np.zeros((4, 5, 6, 2), [(color, "u1") for color in "RGB"])
    with pytest.raises(InputError, match="of colours has more axes"):
        open_source(save_nifti(tmp_path / "volume.nii", values))


def test_scaling_is_told_not_applied(tmp_path):
    path = save_nifti(tmp_path / "volume.nii", voxels(SHAPE), scl_slope=0.5, scl_inter=-3)
    with open_source(path) as source:
        assert (source.header.slope, source.header.intercept) == (0.5, -3)
    with open_source(path, ignore_scaling=True) as source:
        assert (source.header.slope, source.header.intercept) == (1, 0)


@pytest.mark.parametrize("slope", [0, np.nan, np.inf])
def test_a_slope_that_is_none_means_no_scaling(tmp_path, slope):
    path = save_nifti(tmp_path / "volume.nii", voxels(SHAPE), scl_slope=slope, scl_inter=9)
    with open_source(path) as source:
        assert (source.header.slope, source.header.intercept) == (1, 0)


def test_an_intercept_that_is_not_finite_is_refused(tmp_path):
    path = save_nifti(tmp_path / "volume.nii", voxels(SHAPE), scl_slope=2, scl_inter=np.nan)
    with pytest.raises(FormatError, match=r"intercept nan.*--ignore-scaling"):
        open_source(path)
    open_source(path, ignore_scaling=True).close()


@pytest.mark.parametrize(("code", "name"), [(32, "complex64"), (1536, "float128"), (1, "bits")])
def test_types_that_cannot_be_converted_are_named(tmp_path, code, name):
    path = save_nifti(tmp_path / "volume.nii", voxels(SHAPE), datatype=code)
    with pytest.raises(InputError, match=rf"volume\.nii: voxels are .*{name}"):
        open_source(path)


def test_the_offset_of_the_voxels_is_obeyed(tmp_path):
    values = voxels(SHAPE)
    path = save_nifti(tmp_path / "volume.nii", values)
    data = bytearray(path.read_bytes())
    path.write_bytes(data[:352] + b"\0" * 1000 + data[352:] + b"more")
    set_fields(path, vox_offset=1352)
    np.testing.assert_array_equal(read_all(open_source(path))[..., 0], values)


@pytest.mark.parametrize("offset", [-1, 100, np.nan, 1e30])
def test_an_offset_that_cannot_be_is_refused(tmp_path, offset):
    path = save_nifti(tmp_path / "volume.nii", voxels(SHAPE), vox_offset=offset)
    with pytest.raises(FormatError, match=r"vox_offset|truncated"):
        open_source(path)


def test_a_gzipped_file_under_a_plain_name_is_still_read(tmp_path):
    values = voxels(SHAPE)
    path = save_nifti(tmp_path / "volume.nii", values)
    path.write_bytes(gzip.compress(path.read_bytes()))
    np.testing.assert_array_equal(read_all(open_source(path))[..., 0], values)


def test_intent_chooses_the_type(tmp_path):
    path = save_nifti(tmp_path / "volume.nii", voxels(SHAPE, "u1"), intent_code=1002)
    with open_source(path) as source:
        assert source.header.suggested_type == ("segmentation", "its intent is 'label'")
    path = save_nifti(tmp_path / "sub_mask.nii", voxels(SHAPE, "u1"), intent_code=5)
    with open_source(path) as source:
        assert source.header.suggested_type.type == "image"


def test_a_stream_is_read_forward_only(tmp_path):
    source = open_source(save_nifti(tmp_path / "volume.nii.gz", voxels(SHAPE)))
    out = np.empty((13, 11, 2, 1), "i2")
    source.read(planes_box(source, 0, 2), out)
    with pytest.raises(ValueError, match="forward"):
        source.read(planes_box(source, 0, 2), out)
    with pytest.raises(ValueError, match="forward"):
        source.read(planes_box(source, 3, 5), out)
    source.close()


@pytest.mark.parametrize(
    ("start", "stop", "shape", "dtype"),
    [(0, 8, (13, 11, 8, 1), "i2"), (2, 2, (13, 11, 0, 1), "i2"), (-1, 1, (13, 11, 2, 1), "i2"),
     (0, 2, (13, 11, 3, 1), "i2"), (0, 2, (13, 11, 2), "i2"), (0, 2, (13, 11, 2, 1), "u2")],
)  # fmt: skip
def test_a_request_that_does_not_fit_is_refused(tmp_path, start, stop, shape, dtype):
    with (
        open_source(save_nifti(tmp_path / "volume.nii", voxels(SHAPE))) as source,
        pytest.raises(ValueError, match=r"volume.nii: "),
    ):
        source.read(planes_box(source, start, stop), np.empty(shape, dtype))


@pytest.mark.parametrize(("sform", "advice"), [(0, "--affine"), (1, "--form sform")])
def test_what_is_advised_for_a_qform_that_is_no_rotation_helps(tmp_path, sform, advice):
    path = save_nifti(tmp_path / "a.nii", voxels(SHAPE, "u1"))
    set_fields(path, qform_code=1, sform_code=sform, quatern_b=1, quatern_c=1, quatern_d=1)
    with pytest.raises(FormatError, match=f"not a rotation; pass {advice}"):
        open_source(path, form="qform")
    options = {"form": "sform"} if sform else {"affine": AFFINE}
    with open_source(path, **options) as source:
        np.testing.assert_allclose(source.header.affine_voxel_to_mm, AFFINE)
