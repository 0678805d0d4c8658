"""`ngcore server-config` in the real nginx, Apache and Caddy, where they are installed."""

import contextlib
import gzip
import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest

import ngcore
from ngcore.cli import run
from ngcore.errors import InputError, InputNotFoundError
from ngcore.precomputed.mesh_multilod import MultilodInfo, empty_manifest
from ngcore.precomputed.names import EMPTY_MANIFEST_NAME
from ngcore.server.web_servers import web_server_config
from ngcore.validating.validate import validate

APACHE_MODULES = Path("/usr/lib/apache2/modules")
OFFSET = (-70, 3, 0)


@pytest.fixture(scope="module")
def published():
    """A folder that servers running as another user may read, with two volumes and manifests."""
    folder = Path(tempfile.mkdtemp(prefix="ngcore public "))
    folder.chmod(0o755)
    image = np.random.default_rng(0).integers(0, 9, (150, 60, 40)).astype(np.uint16)
    shared = {"resolution": (8, 8, 8), "chunk_size": 32, "voxel_offset": OFFSET, "fsync": False}
    ngcore.convert(image, folder / "nested", sharding=False, layout="nested", gzip=True, **shared)
    ngcore.convert(image, folder / "plain", sharding=False, layout="nested", **shared)
    ngcore.convert(image, folder / "flat files", sharding=False, gzip=True, **shared)
    ngcore.convert(image, folder / "sharded", **shared)
    mesh = folder / "nested" / "mesh"
    mesh.mkdir()
    (mesh / "info").write_bytes(b'{"@type": "neuroglancer_legacy_mesh"}')
    (mesh / "7").write_bytes(b'{"fragments": []}')
    (mesh / "8.gz").write_bytes(gzip.compress(b'{"fragments": ["a"]}'))
    multilod = folder / "nested" / "multilod"
    multilod.mkdir()
    (multilod / "info").write_text(MultilodInfo(16, (1.0, 0, 0, 0) * 3, 1.0).to_json())
    (multilod / "7.index").write_bytes(b"of 7")
    (multilod / EMPTY_MANIFEST_NAME).write_bytes(empty_manifest())
    (folder / ".hidden").mkdir()
    (folder / ".hidden" / "7.index").write_bytes(b"hidden")
    (folder / ".secret").write_bytes(b"hidden")
    yield folder
    shutil.rmtree(folder)


def nginx(config, folder):
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if program is None:
        pytest.skip("nginx is not installed")
    (folder / "ngcore.conf").write_text(config)
    user = "user root;" if os.geteuid() == 0 else ""
    paths = " ".join(
        f"{kind}_temp_path {folder}/{kind};"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "nginx.conf").write_text(
        f"{user} daemon off; pid {folder}/pid; error_log stderr; events {{}}\n"
        f"http {{ access_log off; {paths} include {folder}/ngcore.conf; }}"
    )
    return [program, "-p", folder, "-e", "stderr", "-c", folder / "nginx.conf"]


def apache(config, folder):
    program = shutil.which("apache2") or shutil.which("apache2", path="/usr/sbin")
    if program is None or not APACHE_MODULES.is_dir():
        pytest.skip("Debian's apache2 is not installed")
    modules = ["mpm_event", "authz_core", "alias", "rewrite", "headers", "filter", "deflate"]
    modules += ["mime", "dir"]
    loads = [f"LoadModule {m}_module {APACHE_MODULES}/mod_{m}.so" for m in modules]
    user = ["User www-data", "Group www-data"] if os.geteuid() == 0 else []
    (folder / "mime.types").write_text("application/gzip gz\ntext/html html\n")
    lines = [
        "ServerName localhost",
        f"TypesConfig {folder}/mime.types",
        f"PidFile {folder}/pid",
        "ErrorLog /dev/stderr",
        *loads,
        *user,
        config,
    ]
    (folder / "apache.conf").write_text("\n".join(lines))
    return [program, "-DFOREGROUND", "-d", folder, "-f", folder / "apache.conf"]


def caddy(config, folder):
    program = shutil.which("caddy")
    if program is None:
        pytest.skip("caddy is not installed")
    (folder / "Caddyfile").write_text("{\n    admin off\n}\n" + config)
    return [program, "run", "--adapter", "caddyfile", "--config", folder / "Caddyfile"]


SERVERS = {"nginx": nginx, "apache": apache, "caddy": caddy}


SITES = {
    "nginx": "server {{ listen 127.0.0.1:{port};\n{block}\n}}",
    "apache": "Listen 127.0.0.1:{port}\n<VirtualHost 127.0.0.1:{port}>\n{block}\n</VirtualHost>",
    "caddy": "http://:{port} {{\nbind 127.0.0.1\n{block}\n}}",
}
"""Sites that are there, with nothing but our block."""


@pytest.fixture(scope="module", params=[*SERVERS, *(f"{name} /my/data" for name in SERVERS)])
def server(request, published, tmp_path_factory):
    """A running server: its name and port; or that, with the path of a block in another site."""
    if sys.platform == "win32":
        pytest.skip("servers are those of Unix")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    kind, _, location = request.param.partition(" ")
    folder = tmp_path_factory.mktemp(kind)
    config = web_server_config(kind, published, port=port, location=location or None)
    if location:
        config = SITES[kind].format(port=port, block=config)
    command = SERVERS[kind](config, folder)
    log = (folder / "log").open("wb")
    environment = {**os.environ, "HOME": str(folder), "XDG_DATA_HOME": str(folder)}
    with log, subprocess.Popen(command, stdout=log, stderr=log, env=environment) as process:
        try:
            deadline = time.monotonic() + 20
            while True:
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                    break
                assert process.poll() is None, (folder / "log").read_text()
                assert time.monotonic() < deadline, (folder / "log").read_text()
                time.sleep(0.05)
            yield kind, f"127.0.0.1:{port}{location}"
        finally:
            process.terminate()


def ask(place, path, method="GET", **headers):
    host, slash, prefix = place.partition("/")
    connection = http.client.HTTPConnection(host, timeout=20)
    with contextlib.closing(connection):
        connection.putrequest(method, slash + prefix + path, skip_accept_encoding=True)
        for name, value in headers.items():
            connection.putheader(name.replace("_", "-"), value)
        connection.endheaders()
        response = connection.getresponse()
        return response, response.read()


@pytest.mark.parametrize("name", ["nested", "plain", "flat%20files", "sharded"])
def test_tensorstore_reads_every_layout_over_http(server, published, name):
    tensorstore = pytest.importorskip("tensorstore")
    _, port = server
    volume = ngcore.open(published / name.replace("%20", " "))
    for index, scale in enumerate(volume.scales):
        opened = tensorstore.open(
            {
                "driver": "neuroglancer_precomputed",
                "kvstore": {"driver": "http", "base_url": f"http://{port}/{name}/"},
                "scale_index": index,
            },
            open=True,
        ).result()
        assert np.array_equal(opened.read().result(), scale[...])


def first_chunk(published, name):
    volume = ngcore.open(published / name)
    scale = volume.scales[0].info
    stored = volume.store.get(f"{scale.key}/{scale.grid.nested_name((0, 0, 0))}.gz")
    return f"/{name}/{scale.key}/{scale.grid.name((0, 0, 0))}", stored


def test_gzipped_chunks_are_sent_as_stored_under_their_flat_name(server, published):
    path, stored = first_chunk(published, "nested")
    assert path.rpartition("/")[2].startswith("-70--38_")
    response, body = ask(server[1], path, Accept_Encoding="gzip, deflate", Origin="http://a.b")
    assert response.status == 200
    assert response.getheader("Content-Encoding") == "gzip"
    assert response.getheader("Access-Control-Allow-Origin") == "*"
    assert response.getheader("Content-Type") != "application/gzip"
    assert body == stored


def test_clients_without_gzip_get_plain_chunks_where_the_server_can_unpack(server, published):
    name, port = server
    path, stored = first_chunk(published, "nested")
    response, body = ask(port, path)
    if name == "caddy":  # no module of it unpacks, as its configuration says
        assert (response.status, response.getheader("Content-Encoding")) == (200, "gzip")
        assert body == stored
        return
    assert (response.status, response.getheader("Content-Encoding")) == (200, None)
    assert body == gzip.decompress(stored)


def test_ranges_of_shards_are_sent_alone(server, published):
    shards = (published / "sharded").rglob("*.shard")
    shard = max(shards, key=lambda path: path.stat().st_size)
    path = f"/sharded/{shard.parent.name}/{shard.name}"
    response, body = ask(server[1], path, Range="bytes=16-99", Accept_Encoding="gzip")
    assert (response.status, response.getheader("Content-Encoding")) == (206, None)
    assert body == shard.read_bytes()[16:100]
    assert response.getheader("Content-Range").startswith("bytes 16-99/")
    response, body = ask(server[1], path, "HEAD")
    assert int(response.getheader("Content-Length")) == shard.stat().st_size


def test_pages_of_other_origins_may_ask_for_ranges(server):
    response, _ = ask(
        server[1],
        "/sharded/info",
        "OPTIONS",
        Origin="http://a.b",
        Access_Control_Request_Method="GET",
        Access_Control_Request_Headers="range",
    )
    assert response.status == 204
    assert response.getheader("Access-Control-Allow-Origin") == "*"
    assert "range" in response.getheader("Access-Control-Allow-Headers").lower()


def test_manifests_are_found_without_their_suffix(server):
    response, body = ask(server[1], "/nested/mesh/7:0", Accept_Encoding="gzip")
    assert (response.status, body) == (200, b'{"fragments": []}')
    response, body = ask(server[1], "/nested/mesh/8:0", Accept_Encoding="gzip")
    assert response.getheader("Content-Encoding") == "gzip"
    assert gzip.decompress(body) == b'{"fragments": ["a"]}'


def test_a_label_without_a_mesh_has_an_empty_manifest_in_a_folder_of_meshes(server):
    response, body = ask(server[1], "/nested/mesh/9:0", Accept_Encoding="gzip")
    assert (response.status, json.loads(body)) == (200, {"fragments": []})
    assert response.getheader("Access-Control-Allow-Origin") == "*"


def test_a_label_without_a_multiresolution_mesh_has_an_empty_one_too(server):
    response, body = ask(server[1], "/nested/multilod/7.index", Accept_Encoding="gzip")
    assert (response.status, body) == (200, b"of 7")
    for headers in ({"Accept_Encoding": "gzip"}, {}):
        response, body = ask(server[1], "/nested/multilod/9.index", **headers)
        assert (response.status, body) == (200, empty_manifest())
        assert response.getheader("Content-Encoding") is None
        assert response.getheader("Access-Control-Allow-Origin") == "*"
    response, _ = ask(server[1], "/nested/multilod/9.index", "HEAD")
    assert (response.status, response.getheader("Content-Length")) == (200, "64")


@pytest.mark.parametrize(
    "path",
    [
        "/nested/8_8_8/0-9_0-9_0-9",
        "/nope",
        "/.secret",
        "/.hidden/7.index",
        "/nested/8_8_8/9:0",
        "/nested/mesh/9.index",
        "/nested/multilod/9",
        "/nested/multilod/x.index",
    ],
)
def test_what_is_not_there_or_hidden_is_not_found(server, path):
    response, _ = ask(server[1], path, Accept_Encoding="gzip")
    assert response.status == 404
    assert response.getheader("Access-Control-Allow-Origin") == "*"


def test_command_prints_the_configuration(tmp_path, capsys):
    assert run(["server-config", "caddy", str(tmp_path), "--port", "9001"]) == 0
    assert "http://:9001 {" in capsys.readouterr().out


@pytest.mark.parametrize("host", ["", "a b", "a;", "0.0.0.0:80 {", "a\nb"])
def test_hosts_that_servers_misread_are_refused(tmp_path, host):
    with pytest.raises(InputError, match="--host must be"):
        web_server_config("nginx", tmp_path, host=host)


def test_folders_that_servers_misread_are_refused(tmp_path):
    (tmp_path / "50%").mkdir()
    with pytest.raises(InputError, match="has '%' in it"):
        web_server_config("nginx", tmp_path / "50%")
    with pytest.raises(InputNotFoundError, match="no folder"):
        web_server_config("nginx", tmp_path / "nope")
    with pytest.raises(InputError, match="--root must be an absolute path"):
        web_server_config("nginx", root="volumes", dest=".")
    for location in ("data", "/data/", "/a b", "/..", "/a/.b", "/x;"):
        with pytest.raises(InputError, match="--location must be"):
            web_server_config("nginx", tmp_path, location=location)


def test_a_block_is_for_a_folder_on_another_machine(capsys):
    options = ["--root", "/srv/volumes", "--location", "/data"]
    assert run(["server-config", "caddy", *options]) == 0
    assert 'root * "/srv/volumes"' in capsys.readouterr().out


@pytest.mark.parametrize("name", ["nested", "flat%20files", "sharded"])
def test_validate_finds_nothing_wrong_over_http(server, published, name):
    pytest.importorskip("urllib3", reason="the extra cloud is not installed")
    _, port = server
    folder = published / name.replace("%20", " ")
    report = validate(f"http://{port}/{folder.name}")
    assert [str(finding) for finding in report.findings if finding.severity == "error"] == []
    assert len(report.digests) == len(ngcore.open(folder).scales)
