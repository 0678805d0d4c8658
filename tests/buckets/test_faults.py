"""What goes wrong on the way to a bucket: failing servers, killed and doubled runs, no access."""

from __future__ import annotations

import http.server
import itertools
import os
import random
import signal
import subprocess
import sys
import threading
import time

import nibabel.streamlines
import numpy as np
import pytest
from bucket_servers import content_of
from faulty_proxy import FAULTS, faulty
from thorough import amount

import ngcore
from ngcore.cli import run
from ngcore.storage import writable_store

VOXELS = np.random.default_rng(0).integers(0, 99, (70, 60, 50)).astype(np.uint8)
OPTIONS = {"resolution": (8, 8, 8), "chunk_size": 16}
NGCORE = [sys.executable, "-c", "from ngcore.cli import main; main()"]


@pytest.mark.parametrize("sharding", [True, False])
def test_a_server_that_fails_every_tenth_request_loses_nothing(
    place, tmp_path, monkeypatch, sharding
):
    with faulty(place.endpoint, 0.1, seed=int(sharding)) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        # Stores are kept by the name of their bucket: another one, for another endpoint.
        url = f"{place.url}/v"
        made = ngcore.convert(VOXELS, url, sharding=sharding, **OPTIONS)
        assert np.array_equal(made.scales[0][..., 0], VOXELS)
        assert sum(proxy.failed.values()) > 0.04 * proxy.requests
    ngcore.convert(VOXELS, tmp_path / "v", sharding=sharding, **OPTIONS)
    assert place.objects("v") == content_of(tmp_path / "v")
    assert place.uploads() == []


@pytest.mark.parametrize("fault", FAULTS)
def test_large_objects_survive_each_fault(place, monkeypatch, fault):
    data = random.Random(0).randbytes(20 << 20)
    with faulty(place.endpoint, 0.25, faults=(fault,), seed=1) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        store = writable_store(f"{place.url}/v")
        store.put_parts("large", [data[:1000], data[1000:]])
        assert store.get("large") == data
        assert store.create("new", b"of us")
        assert not store.create("new", b"of others")
        store.delete_unfinished()  # begun, and nobody heard of it
    assert place.uploads() == []


def start(*arguments, env=None):
    return subprocess.Popen(
        [*NGCORE, *map(str, arguments)],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **(env or {})},
    )


def test_killed_runs_go_on_and_leave_nothing_behind(place, tmp_path):
    np.save(tmp_path / "a.npy", np.tile(VOXELS, (amount(1, 2), 1, 2)))
    command = ["convert", tmp_path / "a.npy", f"{place.url}/v", "--resolution", "8,8,8"]
    command += ["--chunk-size", "16", "--no-sharding", "--resume", "--tmp", tmp_path]
    kills, chance, store = 0, random.Random(0), writable_store(f"{place.url}/v")
    for number in itertools.count():
        if number >= amount(2, 20) and kills:
            break
        assert number < 100, "no run was killed before its end"
        process = start(*command)
        deadline = time.monotonic() + 60
        while not store.entries(".ngcore") and process.poll() is None:
            assert time.monotonic() < deadline
        time.sleep(chance.random() / 2)
        process.send_signal(signal.SIGKILL)
        kills += process.wait() == -signal.SIGKILL
        assert process.communicate()[1] == ""
    place.client.create_multipart_upload(Bucket=place.bucket, Key="v/8_8_8/0.shard")
    assert run([*map(str, command)]) == 0
    arguments = [str(tmp_path / "v") if "s3:" in str(part) else str(part) for part in command]
    assert run(arguments) == 0
    assert place.objects("v") == content_of(tmp_path / "v")
    assert place.uploads() == []
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.npy", "v"]


def test_uploads_in_parts_that_are_killed_go_on_and_leave_nothing_behind(place, tmp_path):
    """Shards of some 20 MiB, which go up in parts."""
    voxels = np.random.default_rng(0).integers(0, 256, (256, 256, 320), np.uint8)
    np.save(tmp_path / "a.npy", voxels)
    command = ["convert", tmp_path / "a.npy", f"{place.url}/v", "--resolution", "8,8,8"]
    command += ["--encoding", "raw", "--no-gzip", "--resume", "--tmp", tmp_path, "--max-scales", 1]
    begun, chance = 0, random.Random(1)
    for number in itertools.count():
        if number >= amount(1, 20) and begun:
            break
        assert number < 100, "no run was killed while it uploaded"
        process = start(*command)
        deadline = time.monotonic() + 60
        while not place.uploads() and process.poll() is None:
            assert time.monotonic() < deadline
        time.sleep(chance.random() / 20)
        process.send_signal(signal.SIGKILL)
        assert process.communicate()[1] == ""
        if process.returncode == -signal.SIGKILL:
            begun += len(place.uploads())
    assert run([*map(str, command)]) == 0
    assert run([str(tmp_path / "v") if "s3:" in str(part) else str(part) for part in command]) == 0
    assert place.objects("v") == content_of(tmp_path / "v")
    assert place.uploads() == []


def test_of_two_runs_at_once_one_is_refused(place, tmp_path):
    np.save(tmp_path / "a.npy", np.tile(VOXELS, (3, 3, 5)))
    command = ["convert", tmp_path / "a.npy", f"{place.url}/v", "--resolution", "8,8,8"]
    both = [start(*command, "--chunk-size", "32") for _ in range(2)]
    errors = [process.communicate()[1] for process in both]
    assert sorted(process.returncode for process in both) == [0, 2]
    (error,) = filter(None, errors)
    assert error.count("\n") == 1
    assert "in use by another ngcore" in error or "holds a" in error


def commands(folder, base):
    """Return each command that writes, with a destination below `base`."""
    volume, labels = str(folder / "v"), str(folder / "lut.txt")
    np.save(folder / "a.npy", VOXELS[:20, :20, :20])
    options = ["--resolution", "8,8,8", "--type", "segmentation", "--data-type", "uint32"]
    if not (folder / "v").exists():
        assert run(["convert", str(folder / "a.npy"), volume, *options]) == 0
    (folder / "points.csv").write_text("x,y,z\n1,2,3\n")
    (folder / "7.swc").write_text("1 0 0 0 0 1 -1\n2 0 1 0 0 1 1\n")
    (folder / "lut.txt").write_text("7 Seven 255 0 0 0\n")
    lines = [np.arange(12, dtype=np.float32).reshape(4, 3)]
    tractogram = nibabel.streamlines.Tractogram(lines, affine_to_rasmm=np.eye(4))
    nibabel.streamlines.save(tractogram, folder / "a.tck")
    written = [
        ["convert", str(folder / "a.npy"), "OUT", *options],
        ["volume-to-raw-chunks", volume, "OUT", "--generate-info"],
        ["repair", volume, "OUT"],
        ["annotations", str(folder / "points.csv"), "OUT"],
        ["skeletons", str(folder / "7.swc"), "OUT"],
        ["tracts", str(folder / "a.tck"), "OUT"],
        ["export", volume, "OUT.nii"],
        ["preview", volume, "OUT.png"],
        ["pack", volume, "OUT.zip"],
        ["link", volume, "--url", "https://host", "--state", "OUT.json"],
        ["labels", "OUT", labels],
        ["mesh", "OUT"],
        ["gallery", "OUT"],
        ["compute-scales", "OUT"],
        ["repair", "OUT", str(folder / "r")],
    ]
    return [
        [word.replace("OUT", f"{base}/{number}") for word in command]
        for number, command in enumerate(written)
    ]


class Denying(http.server.BaseHTTPRequestHandler):
    """What S3 says to those who may do nothing; moto takes what nobody signed."""

    def log_message(self, *_):
        """Say nothing."""

    def answer(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b"<Error><Code>AccessDenied</Code></Error>"
        self.send_response(403)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = answer  # noqa: N815


@pytest.fixture
def denied(monkeypatch):
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Denying) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
        yield
        server.shutdown()


@pytest.mark.parametrize("how", ["no such bucket", "denied", "no credentials"])
def test_each_command_says_in_one_line_why_it_can_not_write(
    place, tmp_path, monkeypatch, capsys, request, how
):
    base, words = "s3://no-such-bucket-here/x", "there is no bucket s3://no-such-bucket-here"
    if how != "no such bucket":
        request.getfixturevalue("denied")
        base, words = f"{place.url}/x", "HTTP 403"
    if how == "no credentials":
        words = "no credentials were found"
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.delenv(name)
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    every = commands(tmp_path, base)
    capsys.readouterr()
    for command in every:
        assert run(command) in (2, 3), command
        (line,) = capsys.readouterr().err.splitlines()
        assert words in line, (command, line)


def test_access_denied_is_one_line_and_names_the_missing_credentials(
    place, tmp_path, monkeypatch, capsys
):
    ngcore.convert(VOXELS, f"{place.url}/v", **OPTIONS)
    np.save(tmp_path / "a.npy", VOXELS)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    source = str(tmp_path / "a.npy")
    for command in (
        ["info", f"{place.url}/v"],
        ["convert", source, f"{place.url}/w", "--resolution", "8,8,8"],
    ):
        assert run(command) in (2, 3)
        (line,) = capsys.readouterr().err.splitlines()
        assert "HTTP 403" in line
        assert "no credentials were found" in line
