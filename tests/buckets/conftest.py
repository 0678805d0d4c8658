"""Servers of S3 and of Google's storage for the tests here, and a bucket for each."""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple

import pytest
from bucket_servers import (
    VARIABLES,
    gcs_server,
    make_gcs_bucket,
    objects_of,
    s3_client,
    s3_server,
    uploads_of,
)

_NUMBERS = itertools.count()


class Place(NamedTuple):
    """A bucket on the server."""

    endpoint: str
    bucket: str
    client: Any

    @property
    def url(self) -> str:
        return f"s3://{self.bucket}"

    def objects(self, folder: str = "") -> dict[str, bytes]:
        """Return objects below a folder by their names in it."""
        prefix = f"{folder}/" if folder else ""
        found = objects_of(self.client, self.bucket)
        return {key[len(prefix) :]: data for key, data in found.items() if key.startswith(prefix)}

    def uploads(self) -> list[str]:
        return uploads_of(self.client, self.bucket)


@pytest.fixture(scope="session")
def s3_endpoint():
    with s3_server() as url:
        yield url


@pytest.fixture(scope="session")
def gcs_endpoint():
    with gcs_server() as url:
        yield url


@pytest.fixture
def gcs_url(gcs_endpoint, monkeypatch):
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", gcs_endpoint)
    name = f"bucket-{next(_NUMBERS)}"
    make_gcs_bucket(gcs_endpoint, name)
    return f"gs://{name}"


@pytest.fixture
def place(s3_endpoint, monkeypatch):
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_endpoint)
    client = s3_client(s3_endpoint)
    bucket = f"bucket-{next(_NUMBERS)}"
    client.create_bucket(Bucket=bucket)
    return Place(s3_endpoint, bucket, client)
