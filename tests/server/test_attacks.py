"""No volume that is served, and no request, takes the server's memory or keeps it from others."""

import concurrent.futures
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import urlencode

import numpy as np
import pytest
from attacks import ATTACKS, write_volume
from isal import igzip
from thorough import IS_THOROUGH

pytest.importorskip("starlette", reason="the extra view is not installed")
pytest.importorskip("uvicorn", reason="the extra view is not installed")

from serving import running

from ngcore.errors import FormatError
from ngcore.server import content
from ngcore.server.content import open_content

MEBIBYTE = 1 << 20


def sparse_chunk_of_4_gibibytes(folder):
    size = [1000, 1000, 4000]
    write_volume(folder, size=size, chunk_sizes=[size])
    with (folder / "1_1_1" / "0-1000_0-1000_0-4000").open("wb") as file:
        file.truncate(1000 * 1000 * 4000)


def plane_of_4_million_labels(folder):
    size = [2048, 2048, 1]
    write_volume(folder, size=size, chunk_sizes=[size], data_type="uint64")
    labels = np.arange(2048 * 2048, dtype="<u8") << np.uint64(30)
    (folder / "1_1_1" / "0-2048_0-2048_0-1").write_bytes(labels.tobytes())


SERVED = (*ATTACKS, sparse_chunk_of_4_gibibytes, plane_of_4_million_labels)


def answer(address, path, timeout=60):
    """Return the status, and the seconds it took to be there."""
    begin = time.monotonic()
    try:
        with urllib.request.urlopen(address + path, timeout=timeout) as response:
            status = response.status
    except urllib.error.HTTPError as error:
        status = error.code
    return status, time.monotonic() - begin


def peak_mebibytes(process):
    status = Path(f"/proc/{process.pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if "VmHWM" in line) / 1024


@pytest.mark.skipif(not IS_THOROUGH, reason="it is quick, but a process of its own")
@pytest.mark.skipif(sys.platform != "linux", reason="Linux tells the peak of another process")
def test_hostile_volumes_cost_a_server_little_memory_even_if_asked_for_at_once(tmp_path):
    for attack in SERVED:
        (tmp_path / attack.__name__).mkdir()
        attack(tmp_path / attack.__name__)
    with running("serve", tmp_path, "--port", 0) as (process, line):
        address = line.removeprefix("precomputed://")
        paths = [
            f"/v/ngcore/{page}?{urlencode([('volume', attack.__name__)] * 50)}"
            for attack in SERVED
            for page in ("picture", "open")
        ]
        with concurrent.futures.ThreadPoolExecutor(20) as threads:
            asked = [threads.submit(answer, address, path) for path in paths]
            # Whoever asks for something small is not kept waiting by the others.
            assert answer(address, "/huge_info/info")[1] < 3
            assert not all(one.done() for one in asked)
            answers = [one.result() for one in asked]
        assert {status for status, _ in answers} <= {200, 404, 500}
        for path in ("/", "/bomb/1_1_1/0-64_0-64_0-64"):
            assert answer(address, path)[0] == 200
        assert peak_mebibytes(process) < 300


def test_gzip_that_unpacks_to_more_than_any_chunk_is_not_unpacked_to_its_end(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(content, "MOST_UNPACKED", MEBIBYTE)
    path = tmp_path / "0-64_0-64_0-64.gz"
    path.write_bytes(igzip.compress(bytes(MEBIBYTE)))
    assert open_content(path, unpacks=True).size == MEBIBYTE
    path.write_bytes(igzip.compress(bytes(MEBIBYTE + 1)))
    with pytest.raises(FormatError, match=r"unpacks to more than 1048576 bytes; ask for it with"):
        open_content(path, unpacks=True)
