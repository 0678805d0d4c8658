import os
import pickle
import shutil
import signal
import subprocess
import sys
import threading
import time
from itertools import product

import nibabel
import numpy as np
import pytest
from peers import read_with_tensorstore
from PIL import Image
from thorough import IS_THOROUGH, amount

import ngcore
from ngcore.conversion import work_item
from ngcore.conversion.options import ConvertOptions
from ngcore.conversion.prepare import make_info
from ngcore.conversion.spread_plan import spread_plan
from ngcore.conversion.work_item import check_worker
from ngcore.errors import DestinationError, InputError, StorageError
from ngcore.precomputed.chunks import Box
from ngcore.precomputed.sharding import ShardGrid
from ngcore.sources import open_source
from ngcore.storage.local import LocalStore
from ngcore.work.dask import DaskExecutor, LocalDask
from ngcore.work.serial import SerialExecutor

distributed = pytest.importorskip("distributed")
resource = pytest.importorskip("resource", reason="Windows has no limits of resources")

OPTIONS = {"resolution": (8, 8, 8), "chunk_size": 4, "fsync": False}


def all_bytes(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def client():
    with (
        distributed.LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            memory_limit=0,
            dashboard_address=":0",
            silence_logs=50,
        ) as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
    ):
        yield client


@pytest.fixture(scope="module")
def voxels():
    edge = amount(1, 2)
    found = np.random.default_rng(0).integers(0, 255, (70 * edge, 36 * edge, 20 * edge), np.uint8)
    found[:40] = 0
    return found


def npy(voxels, folder):
    np.save(folder / "source.npy", voxels)
    return folder / "source.npy"


def nifti(voxels, folder, ending=".nii"):
    path = folder / f"source{ending}"
    nibabel.save(nibabel.Nifti1Image(voxels, np.diag([8e-6, 8e-6, 8e-6, 1])), path)
    return path


def nifti_gz(voxels, folder):
    return nifti(voxels, folder, ".nii.gz")


def slices(voxels, folder):
    (folder / "slices").mkdir()
    for index in range(voxels.shape[2]):
        Image.fromarray(voxels[:, :, index]).save(folder / "slices" / f"{index}.png")
    return folder / "slices"


def precomputed(voxels, folder):
    ngcore.convert(voxels, folder / "volume", **{**OPTIONS, "chunk_size": 16})
    return folder / "volume"


SOURCES = [
    (npy, {"voxel_offset": (1, -3, 5)}),
    (nifti_gz, {"sharding": False, "layout": "nested", "gzip": True}),
    (slices, {"voxel_offset": (1, 1, 1), "encoding": "jpeg"}),
    (precomputed, {"voxel_offset": (0, 1, 0), "orient": "LPS", "downsampling": "min"}),
    (npy, {"voxel_offset": (7, 7, -1), "sharding": False, "type": "segmentation"}),
    (nifti, {}),
]


@pytest.mark.parametrize(("make", "options"), SOURCES[: amount(3, 6)])
def test_dask_writes_the_bytes_that_threads_write(client, voxels, tmp_path, make, options):
    source = make(voxels, tmp_path)
    ngcore.convert(source, tmp_path / "threads", **OPTIONS, **options)
    calls = []
    ngcore.convert(
        source,
        tmp_path / "dask",
        executor=client,
        progress=lambda done, total: calls.append((done, total)),
        **OPTIONS,
        **options,
    )
    assert all_bytes(tmp_path / "dask") == all_bytes(tmp_path / "threads")
    assert calls[-1][0] == calls[-1][1] > 0
    assert len(calls) > 2


def test_large_shards_hold_the_same_bytes_whoever_lays_them_down(tmp_path):
    voxels = np.random.default_rng(0).integers(0, 255, (131, 129, 2), np.uint8)
    options = {**OPTIONS, "chunk_size": 1, "max_scales": 5, "voxel_offset": (3, -5, 1)}
    options["resolution"] = (8, 8, 800)
    volume = ngcore.convert(voxels, tmp_path / "threads", **options)
    grids = spread_plan(volume.info, ((2, 2, 1),) * 5, 2)
    assert grids[0].block_widths != grids[0].step.widths
    assert [scale.sharding.preshift_bits for scale in volume.info.scales] == [9, 9, 6, 4, 9]
    ngcore.convert(voxels, tmp_path / "items", executor=SerialExecutor(), **options)
    assert all_bytes(tmp_path / "items") == all_bytes(tmp_path / "threads")
    found = read_with_tensorstore(tmp_path / "items", 3)
    np.testing.assert_array_equal(found, volume.scales[3][...])


def test_an_array_in_memory_is_unpacked_for_the_workers(client, voxels, tmp_path):
    ngcore.convert(voxels, tmp_path / "threads", **OPTIONS)
    ngcore.convert(voxels, tmp_path / "dask", executor=client, **OPTIONS)
    assert all_bytes(tmp_path / "dask") == all_bytes(tmp_path / "threads")


def test_items_one_after_the_other_write_the_same_and_count_each_voxel_once(
    voxels, tmp_path, caplog
):
    options = {**OPTIONS, "voxel_offset": (1, 1, 1), "data_type": "int8", "type": "image"}
    source = npy(voxels, tmp_path)
    ngcore.convert(source, tmp_path / "threads", **options)
    ngcore.convert(source, tmp_path / "items", executor=SerialExecutor(), **options)
    assert all_bytes(tmp_path / "items") == all_bytes(tmp_path / "threads")
    clipped = int((voxels > 127).sum())
    said = [record.getMessage() for record in caplog.records if "clipped" in record.getMessage()]
    assert said == [f"{source}: {clipped} voxels were clipped to the range of int8"] * 2


def test_a_killed_worker_is_made_up_for(client, voxels, tmp_path):
    source = npy(voxels, tmp_path)
    ngcore.convert(source, tmp_path / "threads", **OPTIONS)
    killed = []

    def kill_half_way(done, total):
        if done > total // 3 and not killed:
            killed.append(next(iter(client.run(os.getpid).values())))
            os.kill(killed[0], signal.SIGKILL)

    ngcore.convert(source, tmp_path / "dask", executor=client, progress=kill_half_way, **OPTIONS)
    assert killed
    assert all_bytes(tmp_path / "dask") == all_bytes(tmp_path / "threads")
    client.wait_for_workers(2, timeout=60)


@pytest.mark.skipif(not IS_THOROUGH, reason="starts many workers; thorough runs only")
def test_an_item_that_kills_its_workers_is_given_up_in_one_line():
    with LocalDask(2) as executor:
        results = executor.results(lambda item: item or os._exit(1), [1, 0, 2])
        with pytest.raises(StorageError, match=r"Dask workers .*died.*: lower --memory"):
            list(results)


def test_a_frozen_worker_is_given_up_and_others_do_its_work(
    client, voxels, tmp_path, monkeypatch, caplog
):
    monkeypatch.setattr(ngcore.work.dask, "LOOK_SECONDS", 0.2)
    monkeypatch.setattr(ngcore.work.dask_workers, "FROZEN_SECONDS", 2)
    client.wait_for_workers(2, timeout=60)
    source = npy(voxels, tmp_path)
    ngcore.convert(source, tmp_path / "threads", **OPTIONS)
    stopped = []

    def stop_one(_done, _total):
        if not stopped:
            stopped.append(next(iter(client.run(os.getpid).values())))
            os.kill(stopped[0], signal.SIGSTOP)

    try:
        ngcore.convert(source, tmp_path / "dask", executor=client, progress=stop_one, **OPTIONS)
    finally:
        os.kill(stopped[0], signal.SIGKILL)  # its nanny starts another one
    assert all_bytes(tmp_path / "dask") == all_bytes(tmp_path / "threads")
    assert caplog.text.count("has said nothing for 2 s; others do its work") == 1
    client.wait_for_workers(2, timeout=60)


def test_workers_that_are_gone_are_told_of_and_waited_for_where_others_may_come(
    monkeypatch, caplog
):
    monkeypatch.setattr(ngcore.work.dask, "LOOK_SECONDS", 0.2)
    monkeypatch.setattr(ngcore.work.dask_workers, "GONE_SECONDS", 0.5)
    with (
        distributed.LocalCluster(n_workers=0, processes=False, dashboard_address=":0") as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
    ):
        executor = DaskExecutor(client)
        monkeypatch.setattr(executor, "is_local", True)
        with pytest.raises(StorageError, match=r"all Dask workers of this machine died"):
            list(executor.results(abs, [-1]))
        monkeypatch.setattr(executor, "is_local", False)
        threading.Timer(1, cluster.scale, [1]).start()
        assert sorted(executor.results(abs, [-1, 2, -3])) == [1, 2, 3]
    told = [record.getMessage() for record in caplog.records]
    assert sum("no workers left; waiting for some" in line for line in told) == 1


def test_dask_is_the_executor_by_the_name_of_the_option(client, voxels, tmp_path):
    source = npy(voxels, tmp_path)
    address = client.scheduler.address
    ngcore.convert(source, tmp_path / "threads", **OPTIONS)
    ngcore.convert(source, tmp_path / "dask", dask=address, **OPTIONS)
    assert all_bytes(tmp_path / "dask") == all_bytes(tmp_path / "threads")
    with pytest.raises(InputError, match="pass one of them"):
        ngcore.convert(source, tmp_path / "both", dask=address, executor=client, **OPTIONS)


def test_a_worker_that_meets_bad_input_ends_the_run_with_that_error(client, tmp_path):
    voxels = np.zeros((70, 36, 20), np.float32)
    voxels[60, 3, 3] = np.nan
    source = npy(voxels, tmp_path)
    with pytest.raises(InputError, match=r"1 of .* voxels read are NaN"):
        ngcore.convert(source, tmp_path / "out", executor=client, data_type="uint8", **OPTIONS)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("again", ["dask", "threads"][: amount(1, 2)])
def test_a_full_disk_on_one_worker_can_be_resumed(client, voxels, tmp_path, again):
    source = npy(voxels, tmp_path)
    ngcore.convert(source, tmp_path / "whole", **OPTIONS)
    one = next(iter(client.scheduler_info()["workers"]))
    limits = resource.RLIMIT_FSIZE, (2000, resource.RLIM_INFINITY)
    client.run(resource.setrlimit, *limits, workers=[one])
    try:
        with pytest.raises(StorageError, match=r"(?i)file too large.*Dask worker.*resume=True"):
            ngcore.convert(source, tmp_path / "out", executor=client, **OPTIONS)
    finally:
        client.run(resource.setrlimit, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
    assert not (tmp_path / "out/info").exists()
    executor = client if again == "dask" else None
    ngcore.convert(source, tmp_path / "out", executor=executor, resume=True, **OPTIONS)
    assert all_bytes(tmp_path / "out") == all_bytes(tmp_path / "whole")


def test_items_look_for_stale_copies_only_where_files_were_before_the_run(
    voxels, tmp_path, monkeypatch
):
    source, out = npy(voxels[:40, :20, :8], tmp_path), tmp_path / "out"
    options = {**OPTIONS, "sharding": False, "executor": SerialExecutor()}
    deleted = []
    delete = LocalStore.delete
    monkeypatch.setattr(
        LocalStore, "delete", lambda store, name: (deleted.append(name), delete(store, name))
    )
    ngcore.convert(source, out, **options)
    assert not [name for name in deleted if not name.startswith(".ngcore/")]
    (out / "info").rename(tmp_path / "info")
    shutil.copytree(out, tmp_path / "whole")
    shutil.rmtree(out)

    def stop(_done, _total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ngcore.convert(source, out, progress=stop, **options)
    stale = out / "8_8_8/4-8_0-4_0-4.gz"
    stale.write_bytes(b"another layout")
    for path in out.glob("8_8_8/*-*"):
        if path != stale:
            path.unlink()
    ngcore.convert(source, out, resume=True, **options)
    (out / "info").unlink()
    assert all_bytes(out) == all_bytes(tmp_path / "whole")


class KillsOnce(SerialExecutor):
    """Carries out one item once more, as if the first worker had lost power before it synced."""

    is_local = False

    def results(self, function, items):
        for number, item in enumerate(items):
            if number == 1:
                with pytest.MonkeyPatch.context() as patch:
                    patch.setattr(work_item, "make_durable", lambda *_: 1 / 0)
                    with pytest.raises(ZeroDivisionError):
                        function(item)
            yield function(item)


def test_what_a_killed_worker_did_not_sync_is_made_again(voxels, tmp_path, monkeypatch):
    source, out = npy(voxels[40:56, :8, :8], tmp_path), tmp_path / "out"
    options = {**OPTIONS, "sharding": False, "max_scales": 2, "fsync": True}

    class StopsAfterOne(SerialExecutor):
        def results(self, function, items):
            yield function(next(iter(items)))
            raise StorageError("the disk is full")

    ngcore.convert(source, tmp_path / "whole", **options)
    with pytest.raises(StorageError, match="resume=True"):
        ngcore.convert(source, out, executor=StopsAfterOne(), **options)
    times = {path: path.stat().st_mtime_ns for path in out.rglob("*_*-*")}
    synced = set()
    sync = work_item.make_durable

    def note(folder, names):
        sync(folder, names)
        synced.update(folder.path / name for name in names)

    monkeypatch.setattr(work_item, "make_durable", note)
    ngcore.convert(source, out, executor=KillsOnce(), resume=True, **options)
    assert all_bytes(out) == all_bytes(tmp_path / "whole")
    assert len(times) == 9  # 8 chunks and one of the coarser scale
    assert synced == set(out.rglob("*_*-*")) - set(times)
    assert all(path.stat().st_mtime_ns == changed for path, changed in times.items())


def test_a_worker_that_does_not_see_the_folders_is_named(tmp_path):
    source = npy(np.zeros((4, 4, 4), np.uint8), tmp_path)
    with pytest.raises(DestinationError, match=r"the worker on .* can't see .*nowhere"):
        check_worker(LocalStore(tmp_path / "nowhere"), tmp_path, None, "source")
    with open_source(source, resolution=(8, 8, 8)) as opened:
        pickled = pickle.dumps(opened)
    check_worker(LocalStore(tmp_path), tmp_path, pickled, "source")
    source.unlink()
    with pytest.raises(InputError, match=r"the worker on .* can't open source: .*no such file"):
        check_worker(LocalStore(tmp_path), tmp_path, pickled, "source")


@pytest.mark.parametrize("sharding", [True, False])
@pytest.mark.parametrize("offset", [(0, 0, 0), (1, -3, 5), (7, -7, 15)])
@pytest.mark.parametrize("size", [(70, 36, 41), (300, 3, 1), (33, 64, 129), (400, 400, 1)])
def test_items_write_every_chunk_once_and_every_shard_whole(size, offset, sharding):
    info, factors = make_info(
        ConvertOptions(chunk_size=2, sharding=sharding),
        "image",
        data_type="uint8",
        size=size,
        num_channels=1,
        resolution=(8, 8, 8),
        voxel_offset=offset,
    )
    writers = {}
    for grid in spread_plan(info, factors, 2):
        blocks = [(place, block) for place in grid for block in grid.blocks_of(place)]
        assert {block for _, block in blocks} == set(grid.blocks)
        for place, block in blocks:
            taken = 0
            for level in grid.blocks.levels(block):
                x, y, z = level.needed.shape
                taken += x * y * (min(2, z) + level.factors[2] - 1)
                ends = zip(level.first_cell, level.stop_cell, strict=True)
                for cell in product(*(range(first, stop) for first, stop in ends)):
                    assert (level.scale, cell) not in writers
                    writers[level.scale, cell] = (grid.step.first_scale, place)
            assert taken <= grid.step.memory_bytes
    assert len(writers) == sum(scale.grid.count for scale in info.scales)
    rng = np.random.default_rng(0)
    for grid in spread_plan(info, factors, 2):
        scale = grid.step.last_scale
        grid = grid.blocks
        owned = {place: grid.owned_box(scale, place) for place in grid}
        for _ in range(amount(3, 50)):
            bounds = info.scales[scale].bounds
            start, last = np.sort(rng.integers(bounds.start, bounds.stop, (2, 3)), axis=0).tolist()
            box = Box(tuple(start), tuple(index + 1 for index in last))
            touched = {place for place, part in owned.items() if part and part.intersection(box)}
            assert set(grid.owners(scale, box)) == touched
    for index, scale in enumerate(info.scales):
        if scale.sharding is not None:
            shards = ShardGrid(scale.sharding, scale.grid.shape)
            whose = {(shards.shard_of(cell), writers[index, cell]) for cell in scale.grid.cells()}
            assert len(whose) == shards.count


def ngcore_command(*arguments, without=()):
    code = f"""
import sys
import time
sys.modules.update(dict.fromkeys({list(without)!r}))
from ngcore.cli import run
status = run(sys.argv[1:])
assert "--dask" in sys.argv or not {{"dask", "distributed"}} & set(sys.modules)
sys.exit(status)
"""
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True
    )


def test_dask_that_is_missing_is_named_in_one_line(tmp_path):
    source = npy(np.zeros((4, 4, 4), np.uint8), tmp_path)
    done = ngcore_command(
        "convert", source, tmp_path / "out", "--resolution", "8,8,8", "--dask", "local",
        without=("dask", "distributed"),
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr == (
        "ngcore: error: --dask needs Dask; pip install 'ngcore-neuroglancer[dask]'\n"
    )
    assert not (tmp_path / "out").exists()


def test_a_conversion_on_threads_imports_no_dask(tmp_path):
    source = npy(np.zeros((4, 4, 4), np.uint8), tmp_path)
    done = ngcore_command("convert", source, tmp_path / "out", "--resolution", "8,8,8")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("address", ["nonsense", "tcp://"])
def test_what_is_no_address_is_refused(voxels, tmp_path, address):
    with pytest.raises(InputError, match="dask must be local or the address"):
        ngcore.convert(voxels, tmp_path / "out", executor=address, **OPTIONS)
    assert not (tmp_path / "out").exists()


MAIN = "from ngcore.cli import main; main()"


@pytest.mark.skipif(not IS_THOROUGH, reason="starts a cluster of its own; thorough runs only")
def test_ctrl_c_ends_local_workers_in_one_line_and_can_be_resumed(tmp_path):
    source = npy(np.random.default_rng(0).integers(0, 255, (512, 256, 200), np.uint8), tmp_path)
    out = tmp_path / "out"
    options = ["--resolution", "8,8,8", "--chunk-size", "16"]
    command = [sys.executable, "-c", MAIN, "convert", source, out, *options]
    with subprocess.Popen(
        [*command, "--dask", "local"], stderr=subprocess.PIPE, start_new_session=True, text=True
    ) as process:
        while process.poll() is None and not list(out.glob("*/*.shard")):
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGINT)
        _, told = process.communicate(timeout=120)
    assert process.returncode == 130
    assert told == ("ngcore: error: interrupted; add --resume to the same command to continue\n")
    assert not (out / "info").exists()
    subprocess.run([*command, "--resume"], check=True)
    command[5] = tmp_path / "whole"
    subprocess.run(command, check=True)
    assert all_bytes(out) == all_bytes(tmp_path / "whole")
