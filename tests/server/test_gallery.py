"""The page of a folder of volumes, as files: what is written, replaced, refused and checked."""

import functools
import http.server
import json
import threading
from pathlib import Path

import numpy as np
import pytest
from serving import served

import ngcore
from ngcore.cli import run
from ngcore.errors import DestinationError, InputError
from ngcore.server.gallery import gallery

MM = (1e6, 1e6, 1e6)


def convert(folder, name, **options):
    values = np.random.default_rng(0).integers(1, 200, (30, 24, 18)).astype(np.uint8)
    ngcore.convert(values, folder / name, resolution=MM, fsync=False, **options)


@pytest.fixture
def folder(tmp_path):
    convert(tmp_path, "T1 & w")
    convert(tmp_path, "atlas", type="segmentation")
    return tmp_path


def test_each_volume_has_a_picture_a_state_and_a_tick_box(folder):
    written = gallery(folder, url="https://example.org/data/")
    page = written[0].read_text()
    assert page.count('<input type="checkbox"') == 2
    assert "T1 &amp; w" in page
    assert "T1 & w</a>" not in page
    for name in ("T1 & w", "atlas"):
        (state,) = (
            path for path in written if path.name.endswith("state.json") and name in str(path)
        )
        (layer,) = json.loads(state.read_text())["layers"]
        assert layer["source"].startswith("precomputed://https://example.org/data/")
        assert state.with_name("thumbnail.png").read_bytes().startswith(b"\x89PNG")


def test_what_has_no_voxels_has_an_empty_picture_that_is_not_broken(tmp_path):
    (tmp_path / "a.csv").write_text("x,y,z\n1,2,3\n")
    ngcore.annotations(tmp_path / "a.csv", tmp_path / "points")
    page = gallery(tmp_path)[0].read_text()
    assert 'src="data:image/svg+xml,%3Csvg' in page
    assert 'src="data:,"' not in page


def test_a_name_that_is_markup_is_text(tmp_path):
    convert(tmp_path, "<script>alert(1)")
    page = gallery(tmp_path)[0].read_text()
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)" in page


def test_a_single_volume_has_a_page_in_its_folder(folder):
    written = gallery(folder / "atlas", url="https://example.org/atlas")
    state = next(path for path in written if path.name == "state.json")
    assert "atlas" in str(state.relative_to(folder / "atlas"))
    (layer,) = json.loads(state.read_text())["layers"]
    assert layer["source"] == "precomputed://https://example.org/atlas"


def test_running_it_again_replaces_its_own_files_alone(folder):
    gallery(folder)
    convert(folder, "third")
    written = gallery(folder)
    assert len(written) == 7
    notes = folder / "index-files" / "third" / "notes.txt"
    notes.write_text("mine")
    (folder / "third" / "info").unlink()
    assert len(gallery(folder)) == 5
    assert [path.name for path in notes.parent.iterdir()] == ["notes.txt"]


def test_a_page_of_somebody_else_is_refused(folder):
    (folder / "index.html").write_text("<h1>My data</h1>")
    with pytest.raises(DestinationError, match="was not made by"):
        gallery(folder)
    assert (folder / "index.html").read_text() == "<h1>My data</h1>"


def test_a_folder_without_volumes_is_refused(tmp_path):
    with pytest.raises(InputError, match="no volume in"):
        gallery(tmp_path)


def test_a_damaged_volume_costs_its_own_entry_alone(folder, caplog):
    (folder / "atlas" / "info").write_text("{}")
    page = gallery(folder)[0].read_text()
    assert page.count('<input type="checkbox"') == 1
    assert "can&#x27;t be shown" in page
    assert "without a link" in caplog.text


class Plain(http.server.SimpleHTTPRequestHandler):
    """Python's own server: neither CORS nor ranges."""

    def log_message(self, *_):
        pass


def test_check_passes_where_serve_serves_it_and_names_what_others_lack(folder, capsys):
    pytest.importorskip("uvicorn", reason="the extra view is not installed")
    with served(folder) as origin:
        assert run(["gallery", str(folder), "--url", origin, "--check"]) == 0
        (folder / "atlas" / "info").write_text((folder / "T1 & w" / "info").read_text())
    assert capsys.readouterr().out == ""
    handler = functools.partial(Plain, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        assert run(["gallery", str(folder), "--url", url, "--check"]) == 1
        out = capsys.readouterr().out
        assert "no CORS" in out
        assert "no Range" in out
        assert run(["gallery", str(folder), "--url", f"{url}/absent", "--check"]) == 1
        assert "info can't be fetched: HTTP status 404" in capsys.readouterr().out
        server.shutdown()
    assert run(["gallery", str(folder), "--url", url, "--check"]) == 1
    assert "info can't be fetched" in capsys.readouterr().out
    assert Path(folder / "index.html").exists()


def test_check_knows_that_an_https_viewer_reads_no_http(folder, capsys):
    assert run(["gallery", str(folder), "--url", "http://no.such.host.invalid", "--check"]) == 1
    assert "mixed content" in capsys.readouterr().out
    assert run(["gallery", str(folder), "--check"]) == 2
    assert "--check needs --url" in capsys.readouterr().err
