"""What a stranger may have set or typed: each is one line, and nothing is written."""

from __future__ import annotations

import http.server
import threading

import numpy as np
import pytest

import ngcore
from ngcore.cli import run

VOXELS = np.random.default_rng(0).integers(0, 99, (9, 8, 7)).astype(np.uint8)
AZURE = {"AZURE_STORAGE_ACCOUNT": "a", "AZURE_STORAGE_KEY": "eA=="}
BAD = {
    "no URL": ("s3", {"AWS_ENDPOINT_URL": "nonsense"}, "AWS_ENDPOINT_URL must be a URL"),
    "no host": ("s3", {"AWS_ENDPOINT_URL": "http://"}, "AWS_ENDPOINT_URL must be a URL"),
    "a space": ("s3", {"AWS_ENDPOINT_URL": "http://a b"}, "AWS_ENDPOINT_URL must be a URL"),
    "no web": ("s3", {"AWS_ENDPOINT_URL_S3": "ftp://a"}, "AWS_ENDPOINT_URL_S3 must be a URL"),
    "no port": ("s3", {"AWS_ENDPOINT_URL": "http://a:99999"}, "must be a URL"),
    "line end": ("s3", {"AWS_ACCESS_KEY_ID": "k\n"}, "AWS_ACCESS_KEY_ID holds characters"),
    "letters": ("s3", {"AWS_SECRET_ACCESS_KEY": "ü"}, "AWS_SECRET_ACCESS_KEY holds characters"),
    "region": ("s3", {"AWS_REGION": "no where"}, "AWS_REGION holds characters"),
    "Google": ("gs", {"STORAGE_EMULATOR_HOST": "http://"}, "STORAGE_EMULATOR_HOST must be a URL"),
    "Azure": ("az", {**AZURE, "AZURE_STORAGE_ENDPOINT": "no"}, "Azure's endpoint must be"),
    "its key": ("az", {**AZURE, "AZURE_STORAGE_KEY": "no!"}, "can't be opened: .*Access Key"),
}


@pytest.mark.parametrize("what", BAD)
def test_what_can_not_be_a_setting_is_one_line(place, monkeypatch, capfd, what):
    scheme, variables, words = BAD[what]
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ngcore.InputError, match=words) as error:
        ngcore.open(f"{scheme}://{place.bucket}/v")
    assert len(str(error.value).splitlines()) == 1
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("dest", ["out.zip", "out.zip/v", "a.nii/b/c"])
def test_a_folder_is_not_made_in_what_is_a_file(place, tmp_path, capfd, dest):
    ngcore.convert(VOXELS, tmp_path / "v", resolution=(8, 8, 8))
    for name in ("out.zip", "a.nii"):
        place.client.put_object(Bucket=place.bucket, Key=name, Body=b"x")
    place.client.put_object(Bucket=place.bucket, Key="empty", Body=b"")
    before = place.objects()
    np.save(tmp_path / "a.npy", VOXELS)
    url = f"{place.url}/{dest}"
    assert run(["convert", str(tmp_path / "a.npy"), url, "--resolution", "8,8,8"]) == 2
    assert run(["export", str(tmp_path / "v"), f"{url}/x.npy"]) == 2
    if dest != "out.zip":  # which a zip may replace
        assert run(["pack", str(tmp_path / "v"), f"{url}/x.zip"]) == 2
    lines = capfd.readouterr().err.splitlines()
    assert all("out.zip" in line or "a.nii is a file, not a folder" in line for line in lines)
    assert place.objects() == before
    ngcore.convert(VOXELS, f"{place.url}/empty/v", resolution=(8, 8, 8))


@pytest.mark.parametrize("key", ["..", "../v", "a/../../v"])
def test_a_url_does_not_lead_out_of_its_bucket(place, key):
    with pytest.raises(ngcore.InputError, match="leads out of its bucket"):
        ngcore.convert(VOXELS, f"{place.url}/{key}", resolution=(8, 8, 8))
    assert place.objects() == {}


def test_a_bucket_of_another_region_says_which_variable_to_set(place, monkeypatch):
    class Elsewhere(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            body = b"<Error><Code>PermanentRedirect</Code></Error>"
            self.send_response(301)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            """Say nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_port}")
        try:
            with pytest.raises(ngcore.NgcoreError, match="set AWS_REGION to the region") as error:
                ngcore.open(f"{place.url}/v")
        finally:
            server.shutdown()
    assert len(str(error.value).splitlines()) == 1
