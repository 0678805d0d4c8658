"""`ngcore serve`, `view` and `link` as processes."""

import http.client
import json
import re
import signal
import socket
import sys
import urllib.parse

import numpy as np
import pytest

import ngcore

pytest.importorskip("starlette", reason="the extra view is not installed")
pytest.importorskip("uvicorn", reason="the extra view is not installed")

from serving import running, served
from shown_states import name_volumes

from ngcore.cli import run

posix = pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")


@pytest.fixture(scope="module")
def volumes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("volumes")
    image = np.random.default_rng(0).integers(0, 200, (30, 40, 20)).astype(np.uint8)
    atlas = np.ones((30, 40, 20), np.uint32)
    ngcore.convert(image, folder / "T1 & w", resolution=(1e6, 1e6, 2e6), fsync=False)
    ngcore.convert(
        atlas, folder / "atlas", type="segmentation", resolution=(1e6, 1e6, 2e6), fsync=False
    )
    (folder / "notes").mkdir()
    return folder


@pytest.fixture(scope="module")
def origin(volumes):
    """Where the folder of volumes is served."""
    with served(volumes) as origin:
        yield origin


@pytest.fixture
def fails(capsys):
    """Return a function that runs a command in this process and returns its one line of error."""

    def run_it(*arguments):
        assert run(list(map(str, arguments))) == 2
        done = capsys.readouterr()
        assert done.out == ""
        (line,) = done.err.splitlines()
        assert line.startswith("ngcore: error: ")
        return line

    return run_it


@pytest.fixture
def link(capsys):
    """Return a function that runs `ngcore link` in this process and returns its output."""

    def run_it(*arguments):
        assert run(["link", *map(str, arguments)]) == 0
        return capsys.readouterr().out.strip()

    return run_it


def fetch(origin, path):
    address = urllib.parse.urlsplit(origin)
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=20)
    connection.request("GET", path)
    response = connection.getresponse()
    body = response.read()
    connection.close()
    return response, body


def state_in(url):
    return json.loads(urllib.parse.unquote(url.partition("#!")[2]))


def test_serve_prints_the_source_first_and_the_index_of_one_volume_opens_it(volumes):
    with running("serve", volumes / "atlas", "--port", 0) as (_, line):
        assert re.fullmatch(r"precomputed://http://127\.0\.0\.1:\d+", line)
        origin = line.removeprefix("precomputed://")
        response, body = fetch(origin, "/info")
        assert response.status == 200
        assert ngcore.VolumeInfo.from_json(body).type == "segmentation"
        assert "/v/ngcore/open?volume=" in fetch(origin, "/")[1].decode()
        response, _ = fetch(origin, "/v/ngcore/open?volume=")
        (item,) = state_in(response.getheader("Location"))["layers"]
        assert (item["name"], item["source"]) == ("atlas", line)


def test_what_serve_has_to_say_are_warnings_of_one_line(tmp_path):
    with running("serve", tmp_path, "--port", 0) as (process, line):
        address = urllib.parse.urlsplit(line.removeprefix("precomputed://"))
        with socket.create_connection((address.hostname, address.port), timeout=20) as client:
            client.sendall(b"\x16\x03\x01 is how https would begin\r\n\r\n")
            assert b"400" in client.recv(100)
        process.terminate()
        first, second = process.communicate()[1].splitlines()
    assert first.startswith("ngcore: warning: no volume in ")
    assert second == "ngcore: warning: Invalid HTTP request received."


@pytest.mark.parametrize("content", ['{"scales": [', '{"type": "image", "scales": []}'])
def test_serve_warns_of_an_info_that_the_client_will_refuse(tmp_path, content):
    (tmp_path / "brain").mkdir()
    (tmp_path / "brain/info").write_text(content)
    with running("serve", tmp_path, "--port", 0) as (process, _):
        process.terminate()
        (line,) = process.communicate()[1].splitlines()
    assert line.startswith("ngcore: warning: ")
    assert "brain/info: " in line


def test_serve_takes_a_folder_of_volumes(origin):
    for path in ("/atlas/info", "/T1%20%26%20w/info"):
        response, body = fetch(origin, path)
        assert response.status == 200
        ngcore.VolumeInfo.from_json(body)


def test_serve_gives_out_a_zip_as_it_lies(volumes, tmp_path):
    ngcore.pack(volumes / "atlas", tmp_path / "my atlas.zip")
    with running("serve", tmp_path / "my atlas.zip", "--port", 0) as (_, line):
        assert line.endswith("/my%20atlas.zip|zip:|neuroglancer-precomputed:")
        url = line.partition("|")[0]
        response, body = fetch(url.rpartition("/")[0], "/my%20atlas.zip")
    assert response.status == 200
    assert body == (tmp_path / "my atlas.zip").read_bytes()


def test_serve_takes_an_ipv6_host(volumes):
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            pass
    except OSError:
        pytest.skip("no IPv6 here")
    with running("serve", volumes, "--port", 0, "--host", "::1") as (_, line):
        assert re.fullmatch(r"precomputed://http://\[::1\]:\d+", line)
        assert fetch(line.removeprefix("precomputed://"), "/atlas/info")[0].status == 200


@posix
@pytest.mark.parametrize(("number", "status"), [("SIGINT", 0), ("SIGTERM", 0)])
@pytest.mark.parametrize("command", ["serve", "view"])
def test_signal_stops_it_cleanly_with_clients_connected(volumes, command, number, status):
    options = ["--no-browser"] if command == "view" else []
    with running(command, volumes / "atlas", "--port", 0, *options) as (process, line):
        origin = line.removeprefix("precomputed://").partition("/v/")[0]
        address = urllib.parse.urlsplit(origin)
        events = http.client.HTTPConnection(address.hostname, address.port, timeout=20)
        events.request("GET", "/events/ngcore")
        response = events.getresponse()
        assert response.getheader("Content-Type").startswith("text/event-stream")
        process.send_signal(getattr(signal, number))
        out, err = process.communicate(timeout=10)
        events.close()
        assert process.returncode == status
        assert out == ""
        assert err == ""


def test_port_in_use_is_one_line(volumes, fails):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        line = fails("serve", volumes, "--port", port)
    assert f"can't listen on 127.0.0.1 port {port}" in line
    assert "--port 0" in line


def test_bad_arguments_are_one_line(volumes, tmp_path, fails):
    (tmp_path / "file").write_text("")
    assert "no folder" in fails("serve", tmp_path / "absent")
    assert "not a folder" in fails("serve", tmp_path / "file")
    assert "unknown host" in fails("serve", volumes, "--host", "no.such.host.invalid")
    assert "no volume in" in fails("view", volumes / "notes", "--no-browser")
    assert "no volume in" in fails("link", tmp_path / "absent", "--url", "https://a.b")
    assert "has no scheme" in fails("link", volumes, "--url", "a.b/c")
    viewer = ("--viewer", "example.org")
    assert "has no scheme" in fails("link", volumes, "--url", "http://a.b/c", *viewer)
    assert "--port" in fails("serve", volumes, "--port", 65536)


def test_view_prints_the_page_with_its_state(volumes):
    with running("view", volumes / "T1 & w", volumes / "atlas", "--no-browser") as (_, line):
        origin = line.partition("/v/")[0]
        state = state_in(line)
        assert [item["name"] for item in state["layers"]] == ["T1 & w", "atlas"]
        assert [item["source"] for item in state["layers"]] == [
            f"precomputed://{origin}/T1_w",
            f"precomputed://{origin}/atlas",
        ]
        for path in ("/T1_w/info", "/atlas/info", "/", "/v/ngcore/"):
            assert fetch(origin, path)[0].status == 200
        assert fetch(origin, "/info")[0].status == 404
        client = re.findall(r'(?:src|href)="([^"]+)"', fetch(origin, "/v/ngcore/")[1].decode())
        assert client
        for name in client:
            response, body = fetch(origin, f"/v/ngcore/{name}")
            assert response.status == 200
            assert len(body) > 1000


def test_view_gives_equal_names_numbers(volumes):
    assert list(name_volumes([volumes / "atlas", volumes / "atlas"])) == ["atlas", "atlas-2"]


def test_index_lists_volumes_and_opens_them(origin):
    response, body = fetch(origin, "/")
    page = body.decode()
    assert response.getheader("Content-Type").startswith("text/html")
    assert "T1 &amp; w" in page
    assert "T1 & w" not in page
    assert "30 &times; 40 &times; 20" in page
    assert "notes" not in page
    for volume in ("atlas", "T1+%26+w"):
        assert f"/v/ngcore/open?volume={volume}" in page
        response, _ = fetch(origin, f"/v/ngcore/open?volume={volume}")
        assert response.status == 307
        assert len(state_in(response.getheader("Location"))["layers"]) == 1
        response, picture = fetch(origin, f"/v/ngcore/picture?volume={volume}")
        assert response.status == 200
        assert picture.startswith(b"\x89PNG")
    together, _ = fetch(origin, "/v/ngcore/open?volume=atlas&volume=T1+%26+w")
    assert len(state_in(together.getheader("Location"))["layers"]) == 2
    for path in ("open", "open?volume=..", "picture?volume=../volumes/atlas", "picture"):
        assert fetch(origin, f"/v/ngcore/{path}")[0].status == 404


def sources(state):
    return [item["source"] for item in state["layers"]]


def test_link_of_one_volume_is_at_the_url_itself(volumes, link):
    url = link(volumes / "atlas", "--url", "https://example.org/data/")
    assert url.startswith("https://neuroglancer-demo.appspot.com/#!")
    assert sources(state_in(url)) == ["precomputed://https://example.org/data"]


def test_link_of_several_volumes_keeps_their_places(volumes, link):
    expected = ["precomputed://gs://bucket/a/T1%20%26%20w", "precomputed://gs://bucket/a/atlas"]
    for dests in ([volumes], [volumes / "atlas", volumes / "T1 & w"]):
        state = json.loads(link(*dests, "--url", "precomputed://gs://bucket/a", "--json"))
        assert sources(state) == expected


def test_link_takes_another_viewer(volumes, link):
    url = link(volumes / "atlas", "--url", "s3://b", "--viewer", "https://viewer.example/")
    assert url.startswith("https://viewer.example/#!")


def test_view_without_the_client_uses_the_public_viewer(volumes):
    options = ("--no-browser", "--port", 0)
    with running("view", volumes / "atlas", *options, without="neuroglancer") as (process, line):
        assert line.startswith("https://neuroglancer-demo.appspot.com/#!")
        (source,) = sources(state_in(line))
        origin = source.removeprefix("precomputed://").removesuffix("/atlas")
        assert fetch(origin, "/atlas/info")[0].status == 200
        assert fetch(origin, "/v/ngcore/")[0].status == 404
        process.terminate()
        _, err = process.communicate(timeout=10)
        (warning,) = err.splitlines()
        assert warning.startswith("ngcore: warning: the neuroglancer package is not installed")
        assert 'pip install "ngcore-neuroglancer[view]"' in warning


@pytest.mark.parametrize("package", ["starlette", "uvicorn"])
def test_serving_without_its_extra_says_what_to_install(volumes, fails, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    for command in (["serve", volumes], ["view", volumes, "--no-browser"]):
        line = fails(*command)
        assert f"serving needs {package}" in line
        assert 'pip install "ngcore-neuroglancer[view]"' in line


@posix
def test_slow_download_does_not_hold_up_the_end(tmp_path):
    (tmp_path / "large").write_bytes(bytes(50_000_000))
    with running("serve", tmp_path, "--port", 0) as (process, line):
        address = urllib.parse.urlsplit(line.removeprefix("precomputed://"))
        with socket.create_connection((address.hostname, address.port)) as slow:
            slow.sendall(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
            assert slow.recv(100)
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=10)
        assert process.returncode == 0
        assert len(err.splitlines()) == 1  # of no volume
