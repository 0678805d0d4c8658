import re
import threading
import tracemalloc
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import tifffile
from PIL import Image
from planes import planes_box
from slice_stacks import (
    CODES,
    random_volume,
    read_all,
    read_slices,
    slices_of,
    write_picture,
    write_png_slices,
)
from source_contract import SourceContract

from ngcore.errors import FormatError, InputError, InputNotFoundError
from ngcore.sources import open_source
from ngcore.sources.geometry import AskedGeometry
from ngcore.sources.slices.folder import SlicesSource, list_slices
from ngcore.sources.slices.names import is_slice_pattern
from ngcore.sources.slices.natural_order import natural_key


class TestSlices(SourceContract):
    format_name = "a folder of slices"
    file_name = "slices"
    options: ClassVar = {"resolution": (1e6, 1e6, 1e6)}
    dtypes = ("uint8", "uint16")

    def write(self, path, values, affine):
        del affine
        write_png_slices(path, slices_of(values))


@pytest.mark.parametrize("code", CODES)
def test_slices_written_in_every_orientation_come_back_as_the_same_volume(tmp_path, code):
    volume = random_volume((5, 7, 9))
    folder = write_png_slices(tmp_path, slices_of(volume, code))
    with SlicesSource([folder], input_orientation=code) as source:
        assert source.shape == (5, 7, 9, 1)
        assert (
            source.stream_axis
            == {"R": 0, "A": 1, "S": 2}[code[2].translate(str.maketrans("LPI", "RAS"))]
        )
        assert np.array_equal(read_all(source)[..., 0], volume)
        assert np.array_equal(read_all(source, step=2)[..., 0], volume)


@pytest.mark.parametrize("code", CODES)
def test_window_is_the_same_part_of_the_volume_in_every_orientation(tmp_path, code):
    volume = random_volume((6, 7, 8, 3))
    folder = write_png_slices(tmp_path, slices_of(volume, code))
    with SlicesSource([folder], input_orientation=code) as source:
        box = [slice(1, 4), slice(2, 7), slice(3, 5)]
        axis = source.stream_axis
        window = tuple(part for other, part in enumerate(box) if other != axis)
        out = np.empty((3, 5, 2, 3), np.uint8)
        source.read(planes_box(source, box[axis].start, box[axis].stop, window), out)
    assert np.array_equal(out, volume[tuple(box)])


def test_orientation_code_may_be_lower_case(tmp_path):
    volume = random_volume((5, 7, 9))
    folder = write_png_slices(tmp_path, slices_of(volume, "LIP"))
    assert np.array_equal(read_slices(folder, input_orientation="lip")[..., 0], volume)


@pytest.mark.parametrize("code", ["RAR", "RA", "RASL", "XYZ", "", "RLS"])
def test_code_that_is_none_of_the_48_is_refused(tmp_path, code):
    folder = write_png_slices(tmp_path, random_volume((2, 4, 4)))
    with pytest.raises(InputError, match="one each of R or L, A or P, S or I"):
        SlicesSource([folder], input_orientation=code)


def test_there_are_48_codes():
    assert len({*CODES}) == 48


def test_slice10_comes_after_slice2(tmp_path):
    planes = random_volume((12, 4, 4))
    folder = write_png_slices(tmp_path, planes)
    assert np.array_equal(read_slices(folder)[..., 0], slices_of(planes.transpose(2, 1, 0)).T)


def test_natural_order_compares_numbers_anywhere_and_letters_without_case():
    names = ["b1.png", "A10_z2.png", "a9.png", "a10_z10.png", "A10.png", "a010_z1.png"]
    ordered = sorted((Path(name) for name in names), key=natural_key)
    expected = ["a9.png", "A10.png", "a010_z1.png", "A10_z2.png", "a10_z10.png", "b1.png"]
    assert [path.name for path in ordered] == expected


def test_folders_are_channels_in_their_order(tmp_path):
    red, green = random_volume((4, 5, 6)), random_volume((4, 5, 6, 3), seed=1)
    volume = read_slices(
        write_png_slices(tmp_path / "a", slices_of(red)),
        write_png_slices(tmp_path / "b", slices_of(green)),
    )
    assert np.array_equal(volume[..., 0], red)
    assert np.array_equal(volume[..., 1:], green)


def test_folders_of_unequal_counts_are_refused_by_name(tmp_path):
    a = write_png_slices(tmp_path / "a", random_volume((3, 4, 4)))
    b = write_png_slices(tmp_path / "b", random_volume((2, 4, 4)))
    with pytest.raises(InputError, match="2 slices, but 3 in"):
        SlicesSource([a, b])


def test_folders_of_unequal_types_are_refused(tmp_path):
    a = write_png_slices(tmp_path / "a", random_volume((3, 4, 4)))
    b = write_png_slices(tmp_path / "b", random_volume((3, 4, 4), np.uint16))
    with pytest.raises(InputError, match=r"slice0\.png: the slice has .*uint16.*uint8"):
        SlicesSource([a, b])


def test_glob_pattern_takes_the_files_it_matches(tmp_path):
    planes = random_volume((11, 4, 4))
    write_png_slices(tmp_path, planes)
    write_png_slices(tmp_path, random_volume((3, 9, 9)), name="other{}.png")
    pattern = str(tmp_path / "slice*.png")
    assert is_slice_pattern(pattern)
    assert np.array_equal(read_slices(pattern)[..., 0].T, planes)


def test_folder_whose_name_looks_like_a_pattern_is_a_folder(tmp_path):
    folder = write_png_slices(tmp_path / "brain[1]", random_volume((2, 4, 4)))
    assert not is_slice_pattern(folder)
    assert len(list_slices(folder)[0].paths) == 2


def test_hidden_and_system_files_are_passed_over_in_silence(tmp_path):
    write_png_slices(tmp_path, random_volume((2, 4, 4)))
    for name in (".DS_Store", "._slice0.png", "Thumbs.db", "desktop.ini"):
        (tmp_path / name).write_bytes(b"no slice")
    found = list_slices(tmp_path)[0]
    assert [path.name for path in found.paths] == ["slice0.png", "slice1.png"]
    assert found.notes == ()


def test_other_files_are_passed_over_with_a_note(tmp_path):
    write_png_slices(tmp_path, random_volume((2, 4, 4)))
    for name in ("a.txt", "b.xml", "c.csv", "d.json"):
        (tmp_path / name).touch()
    (note,) = list_slices(tmp_path)[0].notes
    assert note.endswith("not slices, so skipped: a.txt, b.xml, c.csv and 1 more")


def test_missing_number_gives_a_note_and_no_error(tmp_path):
    write_png_slices(tmp_path, random_volume((12, 4, 4)))
    (tmp_path / "slice5.png").unlink()
    (tmp_path / "slice8.png").unlink()
    (tmp_path / "slice9.png").unlink()
    found = list_slices(tmp_path)[0]
    assert len(found.paths) == 9
    assert "jump from 4 to 6" in found.notes[0]
    assert "3 in all may be missing" in found.notes[0]


@pytest.mark.parametrize("name", ["z{}0.png", "{}_of_9.png"])
def test_numbers_in_steps_are_no_gap(tmp_path, name):
    write_png_slices(tmp_path, random_volume((6, 4, 4)), name=name)
    assert list_slices(tmp_path)[0].notes == ()


def test_number_that_two_slices_have_gives_a_note(tmp_path):
    write_png_slices(tmp_path, random_volume((3, 4, 4)))
    write_png_slices(tmp_path, random_volume((1, 4, 4)), name="slice02.png")
    assert "the same number" in list_slices(tmp_path)[0].notes[0]


def test_missing_folder_is_named(tmp_path):
    with pytest.raises(InputNotFoundError, match="nowhere"):
        SlicesSource([tmp_path / "nowhere"])


def test_pattern_that_matches_nothing_is_named(tmp_path):
    with pytest.raises(InputNotFoundError, match="matches the pattern"):
        SlicesSource([str(tmp_path / "*.png")])


def test_folder_without_slices_says_what_is_there(tmp_path):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(InputError, match=r"no slices .* only notes\.txt"):
        SlicesSource([tmp_path])


def test_folder_with_slices_of_two_formats_is_refused(tmp_path):
    write_png_slices(tmp_path, random_volume((2, 4, 4)))
    tifffile.imwrite(tmp_path / "slice0.tif", random_volume((4, 4)))
    with pytest.raises(InputError, match=r"several formats \(2 \.png, 1 \.tif\)"):
        SlicesSource([tmp_path])


@pytest.mark.parametrize(
    "odd",
    [
        random_volume((4, 6)),
        random_volume((4, 5), np.uint16),
        random_volume((4, 5, 3)),
        random_volume((4, 5)) > 100,
    ],
    ids=["size", "type", "channels", "1-bit"],
)
def test_slice_unlike_the_first_is_named_with_expected_and_got(tmp_path, odd):
    write_png_slices(tmp_path, random_volume((5, 4, 5)))
    write_picture(tmp_path / "slice3.png", odd)
    with pytest.raises(
        InputError, match=r"slice3\.png: the slice has .*slice0\.png.*5 x 4 pixels"
    ):
        read_slices(tmp_path)


def test_slice_that_vanishes_midway_is_named(tmp_path):
    write_png_slices(tmp_path, random_volume((3, 4, 4)))
    with SlicesSource([tmp_path]) as source:
        (tmp_path / "slice1.png").unlink()
        with pytest.raises(InputNotFoundError, match=r"slice1\.png: no such file"):
            read_all(source)


def test_first_bad_slice_is_named_whichever_thread_meets_it_first(tmp_path):
    write_png_slices(tmp_path, random_volume((20, 40, 40)))
    for number in (7, 8, 15):
        (tmp_path / f"slice{number}.png").write_bytes(b"")
    for _ in range(5):
        with pytest.raises(FormatError, match=r"slice7\.png"):
            read_slices(tmp_path, workers=8)


def test_multi_page_tiff_among_slices_says_how_to_convert_it(tmp_path):
    pages = random_volume((3, 4, 4))
    tifffile.imwrite(tmp_path / "0.tif", pages, photometric="minisblack", metadata=None)
    with pytest.raises(InputError, match="3 pages where a slice has one; pass the file itself"):
        SlicesSource([tmp_path])


def test_open_source_takes_folders_patterns_single_pictures_and_stacks(tmp_path):
    volume = random_volume((5, 7, 9))
    folder = write_png_slices(tmp_path / "brain", slices_of(volume, "PIR"))
    tifffile.imwrite(tmp_path / "a.tif", slices_of(volume, "PIR"), photometric="minisblack")
    for source in (folder, str(folder / "*.png"), tmp_path / "a.tif"):
        with open_source(source, input_orientation="PIR", resolution=(1, 2, 3)) as opened:
            assert np.array_equal(read_all(opened)[..., 0], volume)
            assert opened.header.resolution_nm == (1, 2, 3)
        for code, has_world in ((None, False), ("RAS", True)):
            with open_source(source, input_orientation=code, resolution=(1, 2, 3)) as opened:
                assert (opened.header.affine_voxel_to_mm is not None) is has_world
    with open_source(folder / "slice0.png") as opened:
        assert opened.shape[2] == 1


def test_folder_named_like_labels_suggests_a_segmentation(tmp_path):
    folder = write_png_slices(tmp_path / "brain_seg", random_volume((2, 4, 4)))
    with SlicesSource([folder]) as source:
        assert source.header.suggested_type.type == "segmentation"


def test_resolution_and_offset_are_those_asked_for(tmp_path):
    write_png_slices(tmp_path, random_volume((2, 4, 4)))
    with SlicesSource([tmp_path], asked=AskedGeometry((1, 2, 3.5), (4, 5, -6))) as source:
        assert source.header.resolution_nm == (1.0, 2.0, 3.5)
        assert source.header.voxel_offset == (4, 5, -6)
        assert source.header.affine_voxel_to_mm is None


def test_several_threads_may_read_at_once(tmp_path):
    planes = random_volume((24, 20, 30))
    write_png_slices(tmp_path, planes)
    out = np.empty((30, 20, 24, 1), np.uint8, order="F")
    with SlicesSource([tmp_path], workers=3) as source:
        threads = [
            threading.Thread(
                target=source.read,
                args=(planes_box(source, first, first + 6), out[:, :, first : first + 6]),
            )
            for first in range(0, 24, 6)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert np.array_equal(out[..., 0].T, planes)


def test_folder_opens_by_its_first_slice_alone(tmp_path):
    write_picture(tmp_path / "0.png", random_volume((4, 4)))
    for number in range(1, 2000):
        (tmp_path / f"{number}.png").touch()
    with SlicesSource([tmp_path]) as source:
        assert source.shape == (4, 4, 2000, 1)


def test_uncompressed_slices_take_no_memory_beside_the_callers(tmp_path):
    for number in range(6):
        plane = random_volume((1000, 1000), np.uint16, seed=number)
        tifffile.imwrite(tmp_path / f"{number}.tif", plane)
    for code, limit in (("RAS", 300_000), ("LSP", 3_000_000)):
        with SlicesSource([tmp_path], input_orientation=code, workers=2) as source:
            out = np.empty(source.shape, source.dtype, order=source.memory_order)
            planes = source.shape[source.stream_axis]
            source.read(planes_box(source, 0, planes), out)
            tracemalloc.start()
            source.read(planes_box(source, 0, planes), out)
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        assert peak < limit


def write_grid(folder, pattern, slices=6, channels=2, **options):
    array = random_volume((slices, channels, 8, 10), np.uint16)
    for z in range(slices):
        for c in range(channels):
            tifffile.imwrite(folder / pattern.format(z=z, c=c), array[z, c], **options)
    return array


@pytest.mark.parametrize(
    "pattern",
    [
        "img_Z{z:03d}_C{c:02d}.tif",
        "img_C{c}_Z{z}.tif",
        "imgZ{z:03d}C{c:02d}.tif",
        "s_z{z}_ch{c}.tif",
        "slice-{z}_channel-{c}.tif",
        "a_slice{z:02d}_w{c}.tif",
    ],
)
def test_channels_that_names_number_are_channels(tmp_path, pattern):
    array = write_grid(tmp_path, pattern)
    with SlicesSource([tmp_path]) as source:
        assert np.array_equal(read_all(source), array.transpose(3, 2, 0, 1))
        assert source.header.notes == ()


def test_a_slice_that_a_channel_lacks_is_named(tmp_path):
    write_grid(tmp_path, "img_Z{z:03d}_C{c:02d}.tif")
    (tmp_path / "img_Z003_C01.tif").unlink()
    with pytest.raises(InputError, match="slice 3 of channel 1 is missing, though names such as"):
        SlicesSource([tmp_path])


def test_names_that_count_two_things_of_unknown_meaning_are_warned_of(tmp_path):
    write_grid(tmp_path, "img_{z}_{c}.tif")
    (slices,) = list_slices(tmp_path)
    assert "count more than slices (6 x 2), but all 12 are taken as slices" in slices.notes[0]


@pytest.mark.parametrize(
    "names",
    [
        ["a_C0.tif", "a_C1.tif"],
        ["a_1_DAPI.tif", "a_1_GFP.tif", "a_2_DAPI.tif", "a_2_GFP.tif"],
        [f"a_T{t}_Z{z}_C{c}.tif" for t in range(2) for z in range(3) for c in range(2)],
    ],
)
def test_names_that_count_more_than_slices_are_warned_of(tmp_path, names):
    for name in names:
        tifffile.imwrite(tmp_path / name, random_volume((4, 5)))
    (slices,) = list_slices(tmp_path)
    assert "count more than slices" in slices.notes[0]


def test_missing_sections_are_left_blank_if_that_is_asked_for(tmp_path):
    volume = random_volume((10, 8, 7))
    for number in (0, 1, 2, 4, 6):
        Image.fromarray(volume[:, :, number].T).save(tmp_path / f"s{number + 10}.png")
    with SlicesSource([tmp_path]) as source:
        assert source.shape[2] == 5
        assert "2 in all may be missing; the slices that are there" in source.header.notes[0]
        assert "--gaps blank" in source.header.notes[0]
    with SlicesSource([tmp_path], gaps="blank") as source:
        expected = volume.copy()
        expected[:, :, [3, 5]] = 0
        assert np.array_equal(read_all(source)[..., 0], expected)
        assert "2 in all may be missing; they are left blank" in source.header.notes[0]
    with SlicesSource([tmp_path], gaps="blank", input_orientation="RAI") as source:
        assert np.array_equal(read_all(source)[..., 0], expected[:, :, ::-1])


def test_missing_sections_of_channels_are_left_blank_too(tmp_path):
    array = write_grid(tmp_path, "img_Z{z:03d}_C{c:02d}.tif")
    for channel in range(2):
        (tmp_path / f"img_Z002_C{channel:02d}.tif").unlink()
    with SlicesSource([tmp_path], gaps="blank") as source:
        array[2] = 0
        assert np.array_equal(read_all(source), array.transpose(3, 2, 0, 1))


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["a.png", "b.png", "c.png"], "needs names that differ in one number"),
        (["1.png", "2.png", "3.png", "1000.png"], "would leave 996 sections blank beside 4"),
    ],
)
def test_gaps_that_cannot_be_left_blank_are_refused(tmp_path, names, message):
    for name in names:
        Image.fromarray(np.zeros((4, 5), np.uint8)).save(tmp_path / name)
    with pytest.raises(InputError, match=message):
        SlicesSource([tmp_path], gaps="blank")


@pytest.mark.parametrize("ending", [".ome.btf", ".tf2", ".tf8", ".btf"])
def test_endings_of_big_tiff_are_slices(tmp_path, ending):
    plane = random_volume((4, 5))
    tifffile.imwrite(tmp_path / f"a{ending}", plane, bigtiff=True)
    with SlicesSource([tmp_path]) as source:
        assert np.array_equal(read_all(source)[:, :, 0, 0], plane.T)


def test_numbers_below_zero_come_first(tmp_path):
    planes = random_volume((8, 5, 4))
    for place, plane in enumerate(planes):
        write_picture(tmp_path / f"slice{place - 3}.png", plane)
    source = SlicesSource([tmp_path])
    (note,) = source.header.notes
    assert "is taken for a sign: slices go from 'slice-3.png' to 'slice4.png'" in note
    assert np.array_equal(read_all(source)[..., 0].T, planes)


def test_a_hyphen_before_every_number_is_no_sign(tmp_path):
    planes = random_volume((12, 5, 4))
    for place, plane in enumerate(planes):
        write_picture(tmp_path / f"slice-{place}.png", plane)
    source = SlicesSource([tmp_path])
    assert source.header.notes == ()
    assert np.array_equal(read_all(source)[..., 0].T, planes)


@pytest.mark.parametrize(
    ("names", "taken_for", "others"),
    [
        ("z-3 z-1 z0 z1", "a sign", ["jump from -3 to -1"]),
        ("z--2 z--1 z-0 z-1", "a sign", []),
        ("z-02 z-01 z+00 z+01", "a sign", []),
        ("z-2_0715 z-1_0723 z0_0731 z1_0744", "a sign", []),
        ("x-1_z0 x-1_z1 x-1_z2 x1_z0 x1_z1 x1_z2", "a sign", [r"more than slices \(2 x 3\)"]),
        ("scan-1 scan-2 scan-3 scan4", "a hyphen", []),
        ("scan1 scan-2 scan-3", "a hyphen", []),
        ("sub-01_run-1 sub-01_run-2 sub-01_run3", "a hyphen", []),
        ("scan-1 scan-2 scan-3 scan3", "a hyphen", ["'scan-3.png' and 'scan3.png' have the same"]),
        ("s1-1 s1-2 s2-1 s2-2", None, [r"more than slices \(2 x 2\)"]),
        ("z0 z+1 z2", None, []),
    ],
)
def test_a_minus_is_a_sign_where_numbers_then_count_evenly(tmp_path, names, taken_for, others):
    planes = random_volume((len(names.split()), 5, 4))
    for name, plane in zip(names.split(), planes, strict=True):
        write_picture(tmp_path / f"{name}.png", plane)
    source = SlicesSource([tmp_path])
    assert np.array_equal(read_all(source)[..., 0].T, planes)
    expected = [f"is taken for {taken_for}: slices go from "] if taken_for else []
    assert len(source.header.notes) == len(expected + others)
    for note, words in zip(source.header.notes, expected + others, strict=True):
        assert re.search(words, note)


def test_channels_of_numbers_below_zero_are_channels(tmp_path):
    planes = random_volume((8, 5, 4)).reshape(4, 2, 5, 4)
    for z, c in np.ndindex(4, 2):
        write_picture(tmp_path / f"z{z - 2}_c{c}.png", planes[z, c])
    source = SlicesSource([tmp_path])
    assert np.array_equal(read_all(source), planes.transpose(3, 2, 0, 1))


def test_missing_numbers_below_zero_are_left_blank(tmp_path):
    planes = random_volume((4, 5, 4))
    for z, plane in zip((-3, -1, 0, 1), planes, strict=True):
        write_picture(tmp_path / f"z{z}.png", plane)
    source = SlicesSource([tmp_path], gaps="blank")
    stack = read_all(source)[..., 0].T
    assert np.array_equal(stack[[0, 2, 3, 4]], planes)
    assert not stack[1].any()
