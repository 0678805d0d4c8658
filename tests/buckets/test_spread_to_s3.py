"""Work items that share nothing but a bucket: the same bytes, nothing left behind."""

from __future__ import annotations

import gzip
import pickle

import nibabel
import numpy as np
import pytest
from bucket_servers import content_of
from elsewhere import ElsewhereExecutor

import ngcore
from ngcore.conversion.work_item import check_worker
from ngcore.errors import DestinationError
from ngcore.sources import chunked
from ngcore.sources.chunked import ChunkedSource
from ngcore.storage import writable_store
from ngcore.storage.stored_path import StoredPath

VOXELS = np.random.default_rng(0).integers(0, 99, (40, 12, 12)).astype(np.uint8)
OPTIONS = {"resolution": (8, 8, 8), "chunk_size": 4}


def source_of(kind, folder):
    path = folder / "source.npy"
    np.save(path, VOXELS)
    if kind == "npy":
        return path
    if kind == "nii.gz":
        image = nibabel.Nifti1Image(VOXELS, np.diag([8e-6, 8e-6, 8e-6, 1]))
        (folder / "source.nii.gz").write_bytes(gzip.compress(image.to_bytes()))
        return folder / "source.nii.gz"
    return VOXELS


@pytest.mark.parametrize(
    ("kind", "sharding"),
    [("npy", True), ("nii.gz", True), ("array", True), ("npy", False), ("LPS", True)],
)
def test_items_write_what_a_local_run_does(place, tmp_path, kind, sharding):
    options = {**OPTIONS, "sharding": sharding, "tmp": tmp_path}
    if kind == "LPS":
        kind, options["orient"] = "nii.gz", kind
    source = source_of(kind, tmp_path)
    ngcore.convert(source, f"{place.url}/v", executor=ElsewhereExecutor(), **options)
    options.pop("tmp")
    ngcore.convert(source, tmp_path / "v", **options)
    assert place.objects("v") == content_of(tmp_path / "v")
    assert place.uploads() == []
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_a_volume_in_the_bucket_is_a_source_there_and_processes_do_the_work(place, tmp_path):
    pytest.importorskip("distributed", reason="the extra dask is not installed")
    ngcore.convert(VOXELS, f"{place.url}/a", **OPTIONS)
    ngcore.convert(
        f"{place.url}/a", f"{place.url}/v", chunk_size=4, dask="local", workers=1, type="image"
    )
    ngcore.convert(f"{place.url}/a", tmp_path / "v", chunk_size=4, type="image")
    found, expected = place.objects("v"), content_of(tmp_path / "v")
    assert found == expected


@pytest.mark.parametrize("kind", ["zarr in the bucket", "zarr", "n5", "hdf5", "orient"])
def test_items_read_the_chunks_that_they_need_and_nothing_is_unpacked(
    place, tmp_path, monkeypatch, kind
):
    zarr = pytest.importorskip("zarr", reason="the extra formats is not installed")
    source, options = tmp_path / "a.zarr", {**OPTIONS, "tmp": tmp_path}
    if kind == "n5":
        ts = pytest.importorskip("tensorstore", reason="the extra formats is not installed")
        source = tmp_path / "a.n5"
        metadata = {"dimensions": VOXELS.shape, "blockSize": (8, 8, 8), "dataType": "uint8"}
        spec = {"driver": "n5", "kvstore": f"file://{source}/s0/"}
        spec["metadata"] = {**metadata, "compression": {"type": "raw"}}
        ts.open(spec, create=True).result().write(VOXELS).result()
    elif kind == "hdf5":
        h5py = pytest.importorskip("h5py", reason="the extra formats is not installed")
        source = tmp_path / "a.h5"
        with h5py.File(source, "w") as file:
            file.create_dataset("v", data=VOXELS.transpose(2, 1, 0), chunks=(8, 8, 8))
        options |= {"axes": "zyx"}
    else:
        zarr.create_array(source, data=VOXELS.transpose(2, 1, 0), chunks=(8, 8, 8))
        options |= {"axes": "zyx"} | ({"orient": "LPS"} if kind == "orient" else {})
    there = str(source)
    if kind == "zarr in the bucket":
        for path in source.rglob("*"):
            if path.is_file():
                key = f"a.zarr/{path.relative_to(source).as_posix()}"
                place.client.put_object(Bucket=place.bucket, Key=key, Body=path.read_bytes())
        there = f"{place.url}/a.zarr"
    elif kind == "zarr":
        monkeypatch.chdir(tmp_path)  # and workers may be in another folder
        there = "a.zarr"
    ngcore.convert(source, tmp_path / "v", **options)
    expected = content_of(tmp_path / "v")
    with monkeypatch.context() as patch:
        patch.setattr(ChunkedSource, "spooled", lambda *_: pytest.fail("it was unpacked"))
        ngcore.convert(there, f"{place.url}/v", executor=ElsewhereExecutor(), **options)
    monkeypatch.setattr(chunked, "MOST_SHARED_SIDE", 7)  # then it is, as chunks are too large
    ngcore.convert(there, f"{place.url}/w", executor=ElsewhereExecutor(), **options)
    assert place.objects("w") == place.objects("v")
    found = place.objects("v")
    for content in (found, expected):
        del content["provenance"]  # the name of the source, and by what it is known
    assert found == expected


class _BlindExecutor(ElsewhereExecutor):
    """Has workers that don't see a file."""

    def __init__(self, path):
        self._path = path

    def everywhere(self, function, *arguments):
        hidden = self._path.rename(self._path.with_suffix(".hidden"))
        try:
            return super().everywhere(function, *arguments)
        finally:
            hidden.rename(self._path)


def test_hdf5_that_workers_do_not_see_is_unpacked_for_them(place, tmp_path, caplog):
    h5py = pytest.importorskip("h5py", reason="the extra formats is not installed")
    path, options = tmp_path / "a.h5", {**OPTIONS, "axes": "zyx", "tmp": tmp_path}
    with h5py.File(path, "w") as file:
        file.create_dataset("v", data=VOXELS.transpose(2, 1, 0), chunks=(8, 8, 8))
    ngcore.convert(path, f"{place.url}/v", **options)
    ngcore.convert(path, f"{place.url}/w", executor=_BlindExecutor(path), **options)
    assert place.objects("w") == place.objects("v")
    assert (
        "a.h5 is unpacked once, by this process, because not all workers can open it"
        in caplog.text
    )


def test_a_worker_without_access_is_named(place, monkeypatch):
    store = writable_store(f"{place.url}/v")
    tmp = StoredPath(store, ".ngcore/x")
    with pytest.raises(DestinationError, match=r"the worker on .* can't write to s3://.*/v"):
        check_worker(store, tmp, None, "")
    store.put(".ngcore/x/alive", b"")
    check_worker(store, tmp, None, "")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    elsewhere = pickle.loads(pickle.dumps(store))
    with pytest.raises(DestinationError, match="it needs the same credentials and endpoint"):
        check_worker(elsewhere, StoredPath(elsewhere, ".ngcore/x"), None, "")
