import concurrent.futures
import gzip
import http.client
import json
import re
import socket
import time
import urllib.parse

import pytest
import thorough

pytest.importorskip("starlette", reason="the extra view is not installed")
pytest.importorskip("uvicorn", reason="the extra view is not installed")

from serving import served

from ngcore.precomputed.mesh_multilod import MultilodManifest

CHUNK = bytes(range(256)) * 300
ANY_SITE = "*"
INFO = {
    "@type": "neuroglancer_multiscale_volume",
    "type": "image",
    "data_type": "uint8",
    "num_channels": 1,
    "scales": [
        {
            "key": "k",
            "size": [96, 80, 10],
            "resolution": [8, 8, 40],
            "voxel_offset": [0, 0, 0],
            "chunk_sizes": [[96, 80, 10]],
            "encoding": "raw",
        }
    ],
}


@pytest.fixture(scope="module")
def dest(tmp_path_factory):
    folder = tmp_path_factory.mktemp("app") / "dest"
    files = {
        "info": json.dumps(INFO).encode(),
        "k/0-96_0-80_0-10": CHUNK,
        "gz/0-96_0-80_0-10.gz": gzip.compress(CHUNK, mtime=0),
        "nested/-5-91/0-80/0-10.gz": gzip.compress(CHUNK, mtime=0),
        "s/0.shard": CHUNK * 40,
        "broken/0-1_0-1_0-1.gz": gzip.compress(CHUNK)[:-20],
        "mesh/7": b'{"fragments": ["a"]}',
        "mesh/info": b'{"@type": "neuroglancer_legacy_mesh"}',
        "multilod/info": b'{"@type": "neuroglancer_multilod_draco"}',
        "empty": b"",
        ".hidden": b"secret",
        "../secret": b"secret",
    }
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


@pytest.fixture(scope="module")
def address(dest):
    with served(dest) as origin:
        yield urllib.parse.urlsplit(origin).netloc


def ask(address, path, method="GET", **headers):
    """Return the response to a request, and its body, with nothing added or decoded."""
    connection = http.client.HTTPConnection(address, timeout=20)
    try:
        connection.putrequest(method, path, skip_accept_encoding=True)
        for name, value in headers.items():
            connection.putheader(name.replace("_", "-"), value)
        connection.endheaders()
        response = connection.getresponse()
        body = response.read()
    finally:
        connection.close()
    assert response.getheader("Access-Control-Allow-Origin") == ANY_SITE
    return response, body


def test_file_is_served_whole(address):
    response, body = ask(address, "/k/0-96_0-80_0-10")
    assert (response.status, body) == (200, CHUNK)
    assert response.getheader("Content-Length") == str(len(CHUNK))
    assert response.getheader("Accept-Ranges") == "bytes"
    assert response.getheader("Content-Encoding") is None


def test_info_is_json(address):
    response, body = ask(address, "/info?cache=no")
    assert response.getheader("Content-Type") == "application/json"
    assert json.loads(body) == INFO


def test_gz_file_goes_as_stored_to_clients_that_accept_gzip(address):
    for path in ("/gz/0-96_0-80_0-10", "/nested/-5-91_0-80_0-10"):
        response, body = ask(address, path, Accept_Encoding="gzip, br")
        assert response.getheader("Content-Encoding") == "gzip"
        assert response.getheader("Vary") == "Accept-Encoding"
        assert body == gzip.compress(CHUNK, mtime=0)


@pytest.mark.parametrize("accepts", [None, "br", "gzip;q=0", "identity"])
def test_gz_file_goes_decompressed_to_others(address, accepts):
    headers = {} if accepts is None else {"Accept_Encoding": accepts}
    for path in ("/gz/0-96_0-80_0-10", "/nested/-5-91_0-80_0-10"):
        response, body = ask(address, path, **headers)
        assert response.status == 200
        assert response.getheader("Content-Encoding") is None
        assert response.getheader("Vary") == "Accept-Encoding"
        assert response.getheader("Content-Length") == str(len(CHUNK))
        assert body == CHUNK


def test_range_gives_a_part(address):
    for path in ("/k/0-96_0-80_0-10", "/gz/0-96_0-80_0-10"):
        response, body = ask(address, path, Range="bytes=1000-1999")
        assert (response.status, body) == (206, CHUNK[1000:2000])
        assert response.getheader("Content-Range") == f"bytes 1000-1999/{len(CHUNK)}"
        assert response.getheader("Content-Length") == "1000"


def test_range_of_a_gz_file_counts_the_bytes_that_are_sent(address):
    stored = gzip.compress(CHUNK, mtime=0)
    response, body = ask(address, "/gz/0-96_0-80_0-10", Range="bytes=-8", Accept_Encoding="gzip")
    assert (response.status, body) == (206, stored[-8:])
    assert response.getheader("Content-Range") == (
        f"bytes {len(stored) - 8}-{len(stored) - 1}/{len(stored)}"
    )


def test_large_range_of_a_shard_is_streamed_without_content_encoding(address):
    shard = CHUNK * 40
    response, body = ask(address, "/s/0.shard", Range="bytes=5-2999999", Accept_Encoding="gzip")
    assert (response.status, body) == (206, shard[5:3000000])
    assert response.getheader("Content-Encoding") is None


@pytest.mark.parametrize("value", ["bytes=76800-", "bytes=9-3", "bytes=-0", "bytes=x-y"])
def test_bad_range_is_416(address, value):
    response, _ = ask(address, "/k/0-96_0-80_0-10", Range=value)
    assert response.status == 416
    assert response.getheader("Content-Range") == f"bytes */{len(CHUNK)}"


def test_several_ranges_give_the_whole(address):
    response, body = ask(address, "/k/0-96_0-80_0-10", Range="bytes=0-1,5-6")
    assert (response.status, body) == (200, CHUNK)


def test_empty_file_is_served(address):
    response, body = ask(address, "/empty")
    assert (response.status, body) == (200, b"")


@pytest.mark.parametrize("path", ["/k/0-96_0-80_0-10", "/gz/0-96_0-80_0-10", "/s/0.shard"])
@pytest.mark.parametrize("accepts", ["gzip", "identity"])
def test_head_is_get_without_the_body(address, path, accepts):
    head, nothing = ask(address, path, "HEAD", Accept_Encoding=accepts)
    get, _ = ask(address, path, Accept_Encoding=accepts)
    assert nothing == b""
    assert head.status == 200

    def lasting(response):
        return sorted(item for item in response.getheaders() if item[0].lower() != "date")

    assert lasting(head) == lasting(get)


def test_preflight_allows_what_was_asked(address):
    response, _ = ask(
        address,
        "/k/0-96_0-80_0-10",
        "OPTIONS",
        Origin="https://example.org",
        Access_Control_Request_Method="GET",
        Access_Control_Request_Headers="range, x-more",
        Access_Control_Request_Private_Network="true",
    )
    assert response.status == 204
    assert "GET" in response.getheader("Access-Control-Allow-Methods")
    assert response.getheader("Access-Control-Allow-Headers") == "range, x-more"
    assert response.getheader("Access-Control-Allow-Private-Network") == "true"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "TRACE", "PROPFIND"])
def test_other_methods_are_405(address, method):
    for path in ("/info", "/", "/absent", "/v/ngcore/"):
        response, _ = ask(address, path, method)
        assert response.status == 405
        assert response.getheader("Allow") == "GET, HEAD, OPTIONS"


@pytest.mark.parametrize(
    "path",
    [
        "/absent",
        "/k/0-96_0-80_0-11",
        "/k",
        "/k/",
        "/../secret",
        "/%2e%2e/secret",
        "/%2e%2e%2fsecret",
        "/..%2fsecret",
        "/%252e%252e/secret",
        "/k/../../secret",
        "/k/..%5c..%5csecret",
        "/..\\secret",
        "//secret",
        "//etc/passwd",
        "/%2fetc/passwd",
        "/%2Fetc%2Fpasswd",
        "/C:/secret",
        "/C%3A%5Csecret",
        "/info%00",
        "/%00",
        "/info%0a",
        "/%ff%fe",
        "/%c0%ae%c0%ae/secret",
        "/.hidden",
        "/%2ehidden",
        "/v/ngcore/../../info",
        "/v/ngcore/..%2f..%2fsecret",
        "/v/ngcore/%00",
        "/v/other/",
        "/" + "a" * 3000,
    ],
)
def test_what_is_not_there_is_404(address, path):
    response, body = ask(address, path)
    assert response.status == 404
    assert b"secret" not in body


def raw(address, request):
    """Send bytes that no client library would, and return the whole answer."""
    host, port = address.split(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(request)
        answer = b""
        while block := connection.recv(65536):
            answer += block
    return answer


@pytest.mark.parametrize(
    "target",
    [b"/etc/passwd", b"http://elsewhere/../secret", b"../secret", b"/a\0b", b"/..\\secret", b"*"],
)
def test_odd_request_targets_reach_nothing(address, target):
    answer = raw(address, b"GET " + target + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert re.match(rb"HTTP/1\.1 40[04] ", answer), answer[:80]
    assert b"root:" not in answer
    assert b"secret" not in answer.partition(b"\r\n\r\n")[2]


def test_broken_gz_is_an_error_for_those_who_need_it_unpacked(address):
    response, body = ask(address, "/broken/0-1_0-1_0-1")
    assert response.status == 500
    assert b"0-1_0-1_0-1.gz is not valid gzip" in body
    response, _ = ask(address, "/broken/0-1_0-1_0-1", Accept_Encoding="gzip")
    assert response.status == 200


def test_manifest_without_suffix_is_found(address):
    response, body = ask(address, "/mesh/7:0")
    assert (response.status, json.loads(body)) == (200, {"fragments": ["a"]})


def test_label_without_a_mesh_has_an_empty_manifest_as_a_404_is_a_failure_to_the_client(address):
    response, body = ask(address, "/mesh/8:0")
    assert (response.status, json.loads(body)) == (200, {"fragments": []})
    assert response.headers["Content-Type"] == "application/json"
    for path in ("/mesh/8", "/mesh/8:1", "/mesh/x:0", "/multilod/8:0", "/s/8:0", "/8:0"):
        assert ask(address, path)[0].status == 404, path


def test_label_without_a_multiresolution_mesh_has_an_empty_manifest_too(address):
    response, body = ask(address, "/multilod/8.index")
    assert response.status == 200
    manifest = MultilodManifest.from_bytes(body)
    assert manifest.data_size == 0
    assert [len(places) for places in manifest.positions] == [1]
    for path in ("/multilod/8", "/multilod/x.index", "/mesh/8.index", "/s/8.index", "/8.index"):
        assert ask(address, path)[0].status == 404, path


def test_slow_clients_do_not_block_others(address):
    host, port = address.split(":")
    slow = []
    try:
        for _ in range(60):
            connection = socket.create_connection((host, int(port)), timeout=20)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.sendall(b"GET /s/0.shard HTTP/1.1\r\nHost: x\r\n\r\n")
            slow.append(connection)
        time.sleep(0.2)
        start = time.monotonic()
        for _ in range(20):
            assert ask(address, "/k/0-96_0-80_0-10")[0].status == 200
        assert time.monotonic() - start < 60  # they never end
    finally:
        for connection in slow:
            connection.close()


def test_many_requests_on_fifty_connections_lose_none(address):
    count = thorough.amount(500, 10_000)
    paths = ["/k/0-96_0-80_0-10", "/nested/-5-91_0-80_0-10", "/info", "/absent"]
    expected = {paths[0]: 200, paths[1]: 200, paths[2]: 200, paths[3]: 404}

    def fetch(number):
        connection = http.client.HTTPConnection(address, timeout=60)
        good = 0
        for i in range(number, count, 50):
            path = paths[i % 4]
            connection.request("GET", path)
            response = connection.getresponse()
            body = response.read()
            good += response.status == expected[path] and (i % 4 > 1 or body == CHUNK)
        connection.close()
        return good

    with concurrent.futures.ThreadPoolExecutor(50) as pool:
        assert sum(pool.map(fetch, range(50))) == count


def test_favicon_is_nothing(address):
    assert ask(address, "/favicon.ico")[0].status == 204


def test_client_may_report_its_state(address):
    response, body = ask(address, "/state/ngcore", "POST", Content_Length="0")
    assert (response.status, json.loads(body)) == (200, {"g": ""})
    assert ask(address, "/state/ngcore")[0].status == 404
    assert ask(address, "/state/other", "POST", Content_Length="0")[0].status == 405
