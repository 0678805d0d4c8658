"""TIFF files that are missing, cut off or damaged."""

import numpy as np
import pytest
import tifffile
from slice_stacks import random_volume
from tiff_stacks import COMPRESSIONS, read_stack, write_stack

from ngcore.errors import FormatError, InputNotFoundError
from ngcore.sources.slices.tiff import TiffStackSource


def test_missing_file_is_named(tmp_path):
    with pytest.raises(InputNotFoundError, match=r"nowhere\.tif"):
        TiffStackSource(tmp_path / "nowhere.tif")


@pytest.mark.parametrize("compression", [None, *COMPRESSIONS, "jpeg"])
@pytest.mark.parametrize("keep", [0.1, 0.5, 0.95])
def test_truncated_stack_is_named(tmp_path, compression, keep):
    path = write_stack(
        tmp_path / "a.tif", random_volume((4, 64, 64)), compression=compression, metadata=None
    )
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content))])
    with pytest.raises(FormatError, match=r"a\.tif") as caught:
        read_stack(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("compression", ["zlib", "zstd", "lzma"])
def test_damaged_strip_is_named(tmp_path, compression):
    path = write_stack(tmp_path / "a.tif", random_volume((2, 64, 64)), compression=compression)
    with tifffile.TiffFile(path) as tiff:
        offset = tiff.pages[1].dataoffsets[0]
    content = bytearray(path.read_bytes())
    content[offset : offset + 30] = bytes(30)
    path.write_bytes(content)
    with pytest.raises(FormatError, match=r"a\.tif, page 1, strip or tile 0|a\.tif, page 1: "):
        read_stack(path)


def test_strip_that_was_never_written_is_named(tmp_path):
    path = write_stack(tmp_path / "a.tif", random_volume((64, 64)), compression="zlib")
    with tifffile.TiffFile(path, mode="r+") as tiff:
        tiff.pages[0].tags["StripByteCounts"].overwrite(0)
    with pytest.raises(FormatError, match="never written"):
        TiffStackSource(path)


def test_deflate_bomb_is_refused(tmp_path):
    path = write_stack(tmp_path / "a.tif", np.zeros((64, 64), np.uint8), compression="zlib")
    with tifffile.TiffFile(path, mode="r+") as tiff:
        for tag in ("ImageWidth", "ImageLength", "RowsPerStrip"):
            tiff.pages[0].tags[tag].overwrite(2**30)
    with pytest.raises(FormatError, match="promises"):
        TiffStackSource(path)
