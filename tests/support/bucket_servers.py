"""A real S3 server on loopback, with buckets of one test's own."""

from __future__ import annotations

import base64
import hmac
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

VARIABLES = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@contextmanager
def s3_server() -> Iterator[str]:
    """Start moto's server; yield its URL."""
    pytest.importorskip("moto", reason="moto is not installed")
    pytest.importorskip("obstore", reason="the extra cloud is not installed")
    port = free_port()
    code = "import moto.server, sys; moto.server.main(sys.argv[1:])"
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", code, "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, **VARIABLES},
    )
    try:
        wait_for(port)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


@contextmanager
def gcs_server() -> Iterator[str]:
    """Start an emulator of Google's storage; yield its URL."""
    pytest.importorskip("gcp_storage_emulator", reason="no emulator of Google's storage")
    pytest.importorskip("urllib3", reason="the extra cloud is not installed")
    port = free_port()
    code = "from gcp_storage_emulator.__main__ import main; import sys; main(sys.argv[1:])"
    arguments = ["start", "--host", "127.0.0.1", "--port", str(port), "--in-memory"]
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", code, *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(port)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


AZURE_KEY = (
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)
"""That of every emulator, which is no secret."""


@contextmanager
def azure_server() -> Iterator[str]:
    """Start Azurite, an emulator of Azure's storage; yield the URL of its account."""
    program = shutil.which("azurite-blob")
    if program is None:
        pytest.skip("azurite-blob is not on the PATH (npm install azurite)")
    pytest.importorskip("obstore", reason="the extra cloud is not installed")
    port = free_port()
    arguments = [
        "--inMemoryPersistence",
        "--skipApiVersionCheck",
        "--silent",
        "--disableTelemetry",
    ]
    process = subprocess.Popen(
        [program, "--blobHost", "127.0.0.1", "--blobPort", str(port), *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(port)
        yield f"http://127.0.0.1:{port}/devstoreaccount1"
    finally:
        process.kill()
        process.wait()


def make_azure_container(account: str, name: str) -> None:
    """Make a container, by a request that is signed here: no other package is needed."""
    now = datetime.now(UTC).strftime("%a, %d %b %Y %H:%M:%S GMT")
    headers = {"x-ms-date": now, "x-ms-version": "2021-08-06"}
    lines = ["PUT", *[""] * 11, *(f"{key}:{value}" for key, value in headers.items())]
    lines += [f"/devstoreaccount1/devstoreaccount1/{name}", "restype:container"]
    key = base64.b64decode(AZURE_KEY)
    digest = base64.b64encode(hmac.digest(key, "\n".join(lines).encode(), "sha256")).decode()
    headers["Authorization"] = f"SharedKey devstoreaccount1:{digest}"
    url = f"{account}/{name}?restype=container"
    urllib.request.urlopen(urllib.request.Request(url, method="PUT", headers=headers)).close()


def make_gcs_bucket(endpoint: str, name: str) -> None:
    request = urllib.request.Request(
        f"{endpoint}/storage/v1/b?project=p",
        data=json.dumps({"name": name}).encode(),
        headers={"Content-Type": "application/json"},
    )
    urllib.request.urlopen(request).close()


def wait_for(port: int) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return


def s3_client(endpoint: str) -> Any:
    """Return boto3's client: a reader and writer that is not ours."""
    import boto3

    return boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id="test",
        aws_secret_access_key="secret",
    )


def objects_of(client: Any, bucket: str) -> dict[str, bytes]:
    """Return every object of a bucket by its key."""
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket)
    keys = [found["Key"] for page in pages for found in page.get("Contents", [])]
    return {key: client.get_object(Bucket=bucket, Key=key)["Body"].read() for key in keys}


def uploads_of(client: Any, bucket: str) -> list[str]:
    """Return the keys of uploads that are unfinished."""
    found = client.list_multipart_uploads(Bucket=bucket).get("Uploads", [])
    return [upload["Key"] for upload in found]


def content_of(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder as it would lie in a bucket: gzipped chunks unmarked."""
    files = {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }
    return {
        name.removesuffix(".gz") if "/" in name else name: data for name, data in files.items()
    }
