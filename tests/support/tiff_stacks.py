"""TIFF stacks, written for tests and read by ngcore."""

import tifffile
from slice_stacks import read_all

from ngcore.sources.slices.tiff import open_tiff_stack

COMPRESSIONS = ["zlib", "lzw", "packbits", "zstd", "lzma"]


def read_stack(path, **options):
    with open_tiff_stack(path, str(path), **options) as source:
        return read_all(source)


def write_stack(path, planes, **options):
    tifffile.imwrite(path, planes, **{"photometric": "minisblack", **options})
    return path
