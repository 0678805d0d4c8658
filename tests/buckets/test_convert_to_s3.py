"""Volumes written straight to S3: the same keys and bytes as in a folder, read by others."""

from __future__ import annotations

import json

import numpy as np
import pytest
from bucket_servers import content_of

import ngcore
from ngcore.cli import run

VOXELS = np.random.default_rng(0).integers(0, 9, (70, 60, 50)).astype(np.uint8)
VOXELS[:20] = 0
OPTIONS = {"resolution": (8, 8, 8), "chunk_size": 16}
LAYOUTS = {
    "sharded": {},
    "flat": {"sharding": False},
    "nested": {"sharding": False, "layout": "nested", "gzip": True},
    "jpeg": {"sharding": False, "encoding": "jpeg"},
    "png": {"sharding": False, "encoding": "png", "gzip": True},
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_keys_and_bytes_are_those_of_a_folder(place, tmp_path, layout):
    options = {**OPTIONS, "chunk_size": 32, **LAYOUTS[layout]}
    made = ngcore.convert(VOXELS, f"{place.url}/a/v", **options)
    ngcore.convert(VOXELS, tmp_path / "v", **options)
    found = place.objects("a/v")
    assert found == content_of(tmp_path / "v")
    assert np.array_equal(made.scales[0][...], ngcore.open(tmp_path / "v").scales[0][...])
    for name in found:
        head = place.client.head_object(Bucket=place.bucket, Key=f"a/v/{name}")
        is_chunk = "/" in name and not name.endswith(".shard")
        is_gzipped = is_chunk and bool(options.get("gzip"))
        assert (head.get("ContentEncoding") == "gzip") == is_gzipped
        kind = "application/octet-stream"
        if "/" not in name:
            kind = "application/json"
        elif layout in ("jpeg", "png"):
            kind = f"image/{layout}"
        assert head["ContentType"] == kind
    assert place.uploads() == []


@pytest.mark.parametrize("layout", ["sharded", "flat"])
def test_tensorstore_reads_it_there(place, layout):
    ts = pytest.importorskip("tensorstore")
    ngcore.convert(VOXELS, f"{place.url}/v", **OPTIONS, **LAYOUTS[layout])
    spec = {
        "driver": "neuroglancer_precomputed",
        "kvstore": {
            "driver": "s3",
            "bucket": place.bucket,
            "path": "v/",
            "endpoint": place.endpoint,
            "aws_region": "us-east-1",
            "aws_credentials": {"type": "environment"},
        },
    }
    found = np.asarray(ts.open(spec).result().read().result())
    assert np.array_equal(found[..., 0], VOXELS)


@pytest.mark.parametrize("layout", ["sharded", "flat", "jpeg"])
def test_cloudvolume_reads_it_there(place, monkeypatch, layout):
    cloudvolume = pytest.importorskip("cloudvolume")
    from cloudfiles import paths

    monkeypatch.setenv("AWS_SESSION_TOKEN", "")  # which it asks for
    paths.add_alias("loopback", f"s3://{place.endpoint}/")
    made = ngcore.convert(VOXELS, f"{place.url}/v", **OPTIONS, **LAYOUTS[layout])
    url = f"precomputed://loopback://{place.bucket}/v"
    for mip, scale in enumerate(made.scales):
        # Shards leave chunks of zeros out.
        opened = cloudvolume.CloudVolume(url, mip=mip, fill_missing=True, progress=False)
        assert np.array_equal(np.asarray(opened[:, :, :]), scale[...])


def test_overwrite_resume_and_refusals_are_those_of_folders(place, tmp_path, capsys):
    np.save(tmp_path / "a.npy", VOXELS)
    np.save(tmp_path / "b.npy", VOXELS[:40])
    a, b = str(tmp_path / "a.npy"), str(tmp_path / "b.npy")
    url = f"{place.url}/v"
    rest = ["--resolution", "8,8,8", "--chunk-size", "16"]
    assert run(["convert", a, url, *rest, "--no-sharding"]) == 0
    assert run(["convert", a, url, *rest, "--no-sharding"]) == 2
    assert run(["convert", a, url, *rest, "--no-sharding", "--resume"]) == 0
    assert run(["convert", b, url, *rest, "--resume"]) == 2
    place.client.put_object(Bucket=place.bucket, Key="v/notes.txt", Body=b"of a user")
    assert run(["convert", b, url, *rest, "--overwrite"]) == 0
    assert run(["convert", b, str(tmp_path / "b"), *rest]) == 0
    expected = content_of(tmp_path / "b")
    assert place.objects("v") == {**expected, "notes.txt": b"of a user"}
    assert run(["convert", url, f"{url}/", "--overwrite"]) == 2
    assert run(["convert", url, place.url, "--overwrite"]) == 2
    assert place.objects("v") == {**expected, "notes.txt": b"of a user"}
    err = capsys.readouterr().err
    assert err.count("ngcore: error: ") == err.count("\n") == 4


def test_a_source_under_its_web_address_is_not_replaced(place, capsys):
    ngcore.convert(VOXELS, f"{place.url}/v", **OPTIONS)
    before = place.objects()
    for name in before:
        place.client.put_object_acl(Bucket=place.bucket, Key=name, ACL="public-read")
    web = f"{place.endpoint}/{place.bucket}/v"
    assert run(["convert", web, f"{place.url}/v", "--overwrite"]) == 2
    assert "overlaps the source" in capsys.readouterr().err
    assert {name for name in place.objects() if "/.ngcore" not in name} == set(before)


def written_at(place, names):
    heads = {
        name: place.client.head_object(Bucket=place.bucket, Key=f"v/{name}") for name in names
    }
    return {name: head["LastModified"] for name, head in heads.items()}


def test_what_was_begun_goes_on_and_uploads_that_were_cut_off_are_gone(
    place, tmp_path, monkeypatch
):
    """As if the process had been killed between two shards, and within one."""
    from ngcore.storage.objects.store import ObjectStore

    options = {**OPTIONS, "sharding": False, "workers": 1}
    whole, put = [], ObjectStore.put_chunk

    def put_some(self, name, data, **rest):
        if len(whole) == 20:
            raise KeyboardInterrupt
        whole.append(name)
        put(self, name, data, **rest)

    with monkeypatch.context() as patch:
        patch.setattr(ObjectStore, "put_chunk", put_some)
        with pytest.raises(KeyboardInterrupt):
            ngcore.convert(VOXELS, f"{place.url}/v", **options)
    place.client.create_multipart_upload(Bucket=place.bucket, Key="v/8_8_8/0.shard")
    place.client.create_multipart_upload(Bucket=place.bucket, Key="w/8_8_8/0.shard")
    assert "info" not in place.objects("v")
    assert json.loads(place.objects("v")[".ngcore/plan.json"])
    times = written_at(place, whole)
    ngcore.convert(VOXELS, f"{place.url}/v", resume=True, **options)
    assert written_at(place, whole) == times
    ngcore.convert(VOXELS, tmp_path / "v", **options)
    assert place.objects("v") == content_of(tmp_path / "v")
    assert place.uploads() == ["w/8_8_8/0.shard"]


def test_dry_run_of_a_petavoxel_asks_nothing_of_the_bucket_but_whether_it_is_there(place, capsys):
    shape = ["--shape", "100000,100000,100000", "--resolution", "8,8,8", "--data-type", "uint8"]
    assert run(["convert", "--dry-run", *shape, f"{place.url}/v"]) == 0
    assert place.objects() == {}
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("variables", "url", "message"),
    [
        ({}, "s3://no-such-bucket-here/v", "there is no bucket s3://no-such-bucket-here"),
        ({"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}, "s3://unreachable/v", "can't connect to"),
    ],
)
@pytest.mark.usefixtures("place")
def test_what_stands_in_the_way_is_one_line(
    variables, url, message, tmp_path, monkeypatch, capsys
):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    np.save(tmp_path / "a.npy", VOXELS)
    for command in (
        ["convert", str(tmp_path / "a.npy"), url, "--resolution", "8,8,8"],
        ["info", url],
    ):
        assert run(command) in (2, 3)
        (line,) = capsys.readouterr().err.splitlines()
        assert message in line
