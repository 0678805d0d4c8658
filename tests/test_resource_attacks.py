"""No source makes a conversion take long, or much memory, whatever it claims."""

import gzip
import json
import struct
import subprocess
import sys
import zlib

import nibabel
import numpy as np
import peak_memory
import pytest
from thorough import IS_THOROUGH

from fuzz import seeds

SCRIPT = (
    peak_memory.SCRIPT
    + """
import sys, time
from ngcore.cli import run
arguments = sys.argv[1:]
start = time.process_time()
status = run(arguments)
print(status, time.process_time() - start, peak_bytes() / 2**20)
"""
)

MEBIBYTE = 1 << 20


def nifti(path, dim, *, offset=352, voxels=b"", is_gzipped=False):
    header = nibabel.Nifti1Header()
    header.set_data_dtype(np.uint8)
    header["dim"][: len(dim) + 1] = [len(dim), *dim]
    header["pixdim"][:4] = 1
    header["vox_offset"] = offset
    header["magic"] = b"n+1"
    data = header.binaryblock + bytes(4) + voxels
    path.write_bytes(gzip.compress(data, 6) if is_gzipped else data)
    return path


def header_that_claims_too_much(folder):
    return nifti(folder / "a.nii", [2**15 - 1] * 3, voxels=bytes(1000))


def gzipped_header_that_claims_too_much(folder):
    return nifti(folder / "a.nii.gz", [2**15 - 1] * 3, voxels=bytes(MEBIBYTE), is_gzipped=True)


def bomb_behind_a_header_that_says_little(folder):
    return nifti(folder / "a.nii.gz", [4, 4, 4], voxels=bytes(64 * MEBIBYTE), is_gzipped=True)


def voxels_beyond_the_file(folder):
    return nifti(folder / "a.nii", [4, 4, 4], offset=2**40, voxels=bytes(64))


def negative_lengths(folder):
    return nifti(folder / "a.nii", [-4, 4, 4], voxels=bytes(64))


def npy_that_lies(folder):
    text = b"{'descr': '|u1', 'fortran_order': True, 'shape': (%d, %d, %d), }\n" % ((2**20,) * 3)
    data = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text
    (folder / "a.npy").write_bytes(data)
    return folder / "a.npy"


def npy_with_a_deep_header(folder):
    text = b"(" * 60_000 + b"\n"
    (folder / "a.npy").write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text)
    return folder / "a.npy"


def png_of_4_milliard_pixels(folder):
    def part(kind, data):
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", 65500, 65500, 8, 0, 0, 0, 0)
    rows = zlib.compress(bytes(MEBIBYTE))
    data = b"\x89PNG\r\n\x1a\n" + part(b"IHDR", header) + part(b"IDAT", rows) + part(b"IEND", b"")
    (folder / "a.png").write_bytes(data)
    return folder / "a.png"


def tiff_of_4_milliard_pixels(folder):
    tags = [(256, 4, 65500), (257, 4, 65500), (258, 3, 8), (259, 3, 8), (262, 3, 1), (273, 4, 200)]
    tags += [(277, 3, 1), (278, 4, 65500), (279, 4, 1000)]
    entries = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags)
    data = b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4)
    (folder / "a.tif").write_bytes(data.ljust(200, b"\0") + zlib.compress(bytes(MEBIBYTE)))
    return folder / "a.tif"


def info_of_a_huge_volume(folder):
    return _volume(folder, {"size": [2**20] * 3})


def info_that_is_deep(folder):
    (folder / "in").mkdir()
    (folder / "in" / "info").write_text('{"scales": ' + "[" * 100_000 + "]" * 100_000 + "}")
    return folder / "in"


def bomb_of_a_chunk(folder):
    source = _volume(folder, {"size": [64] * 3})
    bomb = gzip.compress(bytes(64 * MEBIBYTE), 6)
    (source / "1_1_1" / "0-64_0-64_0-64.gz").write_bytes(bomb)
    return source


SOURCES = (
    header_that_claims_too_much,
    gzipped_header_that_claims_too_much,
    voxels_beyond_the_file,
    negative_lengths,
    npy_that_lies,
    npy_with_a_deep_header,
    png_of_4_milliard_pixels,
    tiff_of_4_milliard_pixels,
    info_that_is_deep,
    bomb_of_a_chunk,
)


def gifti_of_a_milliard_laughs(folder):
    entities = "".join(
        f'<!ENTITY l{number} "{f"&l{number - 1};" * 10}">' for number in range(1, 10)
    )
    text = (
        f'<!DOCTYPE GIFTI [<!ENTITY l0 "lol">{entities}]><GIFTI><MetaData>&l9;</MetaData></GIFTI>'
    )
    (folder / "a.gii").write_text('<?xml version="1.0"?>' + text)
    return folder / "a.gii"


def gifti_of_huge_dimensions(folder):
    data = next(seeds.meshes())[1:]
    changed = data.replace(b'Dim0="8"', b'Dim0="1099511627776"')
    assert changed != data
    (folder / "a.gii").write_bytes(changed)
    return folder / "a.gii"


def stl_that_lies(folder):
    (folder / "a.stl").write_bytes(bytes(80) + struct.pack("<I", 2**32 - 1) + bytes(500))
    return folder / "a.stl"


def surface_that_lies(folder):
    data = b"\xff\xff\xfeby hand\n\n" + struct.pack(">ii", 2**31 - 1, 2**31 - 1) + bytes(100)
    (folder / "lh.pial").write_bytes(data)
    return folder / "lh.pial"


def gzipped_mesh_that_is_a_bomb(folder):
    (folder / "a.stl.gz").write_bytes(gzip.compress(bytes(200 * MEBIBYTE), 6))
    return folder / "a.stl.gz"


MESHES = (
    gifti_of_a_milliard_laughs,
    gifti_of_huge_dimensions,
    stl_that_lies,
    surface_that_lies,
    gzipped_mesh_that_is_a_bomb,
)


def _volume(folder, scale):
    members = {"key": "1_1_1", "resolution": [1] * 3, "chunk_sizes": [[64] * 3], "encoding": "raw"}
    info = {"type": "image", "data_type": "uint8", "num_channels": 1, "scales": [members | scale]}
    (folder / "in" / "1_1_1").mkdir(parents=True)
    (folder / "in" / "info").write_text(json.dumps(info))
    return folder / "in"


def outcome(arguments):
    """Run the command line in a process of its own; return status, lines, seconds and MiB."""
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    status, seconds, mebibytes = run.stdout.split()[-3:]
    return int(status), run.stderr.splitlines(), float(seconds), float(mebibytes)


def check(arguments):
    status, lines, seconds, mebibytes = outcome(arguments)
    assert status == 2, lines
    assert len(lines) == 1
    assert lines[0].startswith("ngcore: error: ")
    assert "unexpected" not in lines[0]
    assert seconds < 3  # one on a machine of its own
    assert mebibytes < 300


@pytest.mark.parametrize(
    "attack", SOURCES if IS_THOROUGH else SOURCES[:2], ids=lambda a: a.__name__
)
def test_hostile_source_is_refused_soon_and_in_little_memory(attack, tmp_path):
    source = attack(tmp_path)
    check(["convert", source, tmp_path / "out", "--resolution", "1,1,1"])
    assert not (tmp_path / "out" / "info").exists()


@pytest.mark.parametrize("attack", MESHES if IS_THOROUGH else MESHES[:1], ids=lambda a: a.__name__)
def test_hostile_mesh_is_refused_soon_and_in_little_memory(attack, tmp_path):
    source = _volume(tmp_path, {"size": [64] * 3})
    check(["mesh-to-precomputed", attack(tmp_path), source])


@pytest.mark.skipif(not IS_THOROUGH, reason="it is quick, but a process of its own")
def test_bomb_behind_a_header_that_says_little_is_passed_over(tmp_path):
    source = bomb_behind_a_header_that_says_little(tmp_path)
    status, lines, seconds, mebibytes = outcome(["convert", source, tmp_path / "out"])
    assert (status, lines) == (0, [])
    assert seconds < 3
    assert mebibytes < 300


@pytest.mark.skipif(not IS_THOROUGH, reason="it is quick, but a process of its own")
def test_huge_volume_is_opened_soon_and_in_little_memory(tmp_path):
    status, lines, seconds, mebibytes = outcome(["info", info_of_a_huge_volume(tmp_path)])
    assert (status, lines) == (0, [])
    assert seconds < 3
    assert mebibytes < 300
