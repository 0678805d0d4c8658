"""Who may read what is served, and what lies outside of the fence."""

import http.client
import json
import os
import subprocess
import sys
import urllib.parse

import numpy as np
import pytest

import ngcore

pytest.importorskip("starlette", reason="the extra view is not installed")
pytest.importorskip("uvicorn", reason="the extra view is not installed")

from serving import NGCORE, running, served

from ngcore.errors import InputError
from ngcore.server.access import Access, checked_origin
from ngcore.server.content import open_content
from ngcore.server.negotiation import ByteRange

resource = pytest.importorskip("resource", reason="no limits of descriptors here")

VALUES = np.random.default_rng(0).integers(1, 200, (20, 24, 18)).astype(np.uint8)
STRANGER = "https://stranger.example"


def convert(dest, **options):
    ngcore.convert(VALUES, dest, resolution=(1e6, 1e6, 1e6), fsync=False, **options)
    return dest


def ask(origin, path, **headers):
    address = urllib.parse.urlsplit(origin)
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=20)
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request("GET", path, headers=names)
    response = connection.getresponse()
    body = response.read()
    connection.close()
    return response, body


def test_view_answers_its_own_page_alone(tmp_path):
    convert(tmp_path / "v")
    with running("view", tmp_path / "v", "--no-browser") as (_, line):
        origin = line.partition("/v/")[0]
        response, _ = ask(origin, "/v/info")
        assert response.status == 200
        assert response.getheader("Access-Control-Allow-Origin") is None
        assert ask(origin, "/v/info", Origin=origin)[0].status == 200
        port = origin.rpartition(":")[2]
        assert ask(origin, "/v/info", Host=f"localhost:{port}")[0].status == 200
        for headers in ({"Origin": STRANGER}, {"Host": f"rebound.example:{port}"}, {"Host": ""}):
            for path in ("/v/info", "/v/ngcore/", "/v/ngcore/picture?volume=v"):
                response, body = ask(origin, path, **headers)
                assert response.status == 403
                assert b"scales" not in body
                assert response.getheader("Access-Control-Allow-Origin") is None


def test_serve_is_open_or_open_to_the_origins_named(tmp_path):
    convert(tmp_path / "v")
    with served(tmp_path) as origin:
        response, _ = ask(origin, "/v/info", Origin=STRANGER)
        assert response.getheader("Access-Control-Allow-Origin") == "*"
    options = ("--port", 0, "--allow-origin", "https://Friend.example/")
    with running("serve", tmp_path, *options) as (_, line):
        origin = line.removeprefix("precomputed://")
        response, _ = ask(origin, "/v/info", Origin="https://friend.example")
        assert response.getheader("Access-Control-Allow-Origin") == "https://friend.example"
        assert "Origin" in response.getheader("Vary")
        response, _ = ask(origin, "/v/info", Origin=STRANGER)
        assert response.getheader("Access-Control-Allow-Origin") is None


@pytest.mark.parametrize("text", ["friend.example", "https://a.b/path", "*", "https://"])
def test_what_is_no_origin_is_refused(text):
    with pytest.raises(InputError, match="is not an origin"):
        checked_origin(text)


def test_without_hosts_every_name_is_answered():
    assert Access().refusal({"host": "anything"}) is None


def test_pages_keep_within_the_fence_that_files_keep(tmp_path):
    secret = convert(tmp_path / "outside" / "secret")
    shelf = tmp_path / "shelf"
    convert(shelf / "good")
    (shelf / "linked").symlink_to(secret)
    keyed = convert(shelf / "keyed")
    info = json.loads((keyed / "info").read_text())
    key = info["scales"][0]["key"]
    info["scales"][0]["key"] = f"../../outside/secret/{key}"
    (keyed / "info").write_text(json.dumps(info))
    with served(shelf) as origin:
        page = ask(origin, "/")[1].decode()
        assert "good" in page
        assert "linked" not in page
        for name, status in (("good", 200), ("linked", 404), ("keyed", 200)):
            response, body = ask(origin, f"/v/ngcore/picture?volume={name}")
            assert response.status == status
            assert str(tmp_path).encode() not in body
        good = ask(origin, "/v/ngcore/picture?volume=good")[1]
        assert ask(origin, "/v/ngcore/picture?volume=keyed")[1] != good
        assert ask(origin, "/v/ngcore/open?volume=linked")[0].status == 404
        (shelf / "good" / "transform.json").write_text("[1]")
        for page in ("open", "picture"):
            response, body = ask(origin, f"/v/ngcore/{page}?volume=good")
            assert response.status >= 400
            assert str(tmp_path).encode() not in body


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere names are text")
def test_names_that_no_url_can_carry_are_not_listed(tmp_path):
    for name in (b"odd\xff", b"new\nline", b"back\\slash", b"plain"):
        convert(tmp_path / os.fsdecode(name))
    with served(tmp_path) as origin:
        response, body = ask(origin, "/")
        assert response.status == 200
        assert body.count(b'type="checkbox"') == 1
        assert b"plain" in body


def test_a_range_is_sent_only_if_the_file_is_still_the_same(tmp_path):
    convert(tmp_path / "v")
    with served(tmp_path) as origin:
        response, whole = ask(origin, "/v/info")
        etag, changed = response.getheader("ETag"), response.getheader("Last-Modified")
        part = {"Range": "bytes=2-5"}
        assert ask(origin, "/v/info", If_Range=etag, **part)[1] == whole[2:6]
        assert ask(origin, "/v/info", If_Range=changed, **part)[0].status == 206
        for other in ('"other"', f"W/{etag}", "Mon, 01 Jan 2001 00:00:00 GMT"):
            response, body = ask(origin, "/v/info", If_Range=other, **part)
            assert (response.status, body) == (200, whole)
        (tmp_path / "v" / "info").write_bytes(whole + b" ")
        assert ask(origin, "/v/info", If_Range=etag, **part)[0].status == 200


def test_a_file_that_is_replaced_meanwhile_is_sent_as_it_was(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"a" * 1_000_000)
    content = open_content(path, unpacks=False)
    blocks = content.blocks(ByteRange(0, content.size))
    first = next(blocks)
    (tmp_path / "new").write_bytes(b"b" * 1_000_000)
    (tmp_path / "new").replace(path)
    assert first + b"".join(blocks) == b"a" * 1_000_000
    content.close()


@pytest.mark.skipif(sys.platform != "linux", reason="needs a limit of descriptors")
def test_more_connections_than_descriptors_are_one_warning(tmp_path):
    import socket

    convert(tmp_path / "v")
    command = [sys.executable, "-c", NGCORE, "serve", str(tmp_path), "--port", "0"]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (200, 200)),
    ) as process:
        assert process.stdout is not None
        origin = process.stdout.readline().strip().removeprefix("precomputed://")
        address = urllib.parse.urlsplit(origin)
        idle = [socket.create_connection((address.hostname, address.port)) for _ in range(300)]
        assert ask(origin, "/v/info")[0].status == 200
        for connection in idle:
            connection.close()
        process.terminate()
        _, err = process.communicate(timeout=20)
    (line,) = err.splitlines()
    assert "connections are open" in line
