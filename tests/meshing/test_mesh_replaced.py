"""What `ngcore mesh --overwrite` removes, leaves and refuses, and what it advises."""

import json
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import ngcore
from ngcore.errors import InputError, StorageError
from ngcore.meshing.mesh import write_meshes
from ngcore.storage import LocalStore
from ngcore.transaction.journal import PLAN
from ngcore.validating.validate import validate


@pytest.fixture
def dest(tmp_path):
    labels = np.zeros((24, 24, 24), np.uint32)
    labels[2:9, 2:9, 2:9], labels[12:20, 12:20, 12:20] = 1, 2
    options = {"type": "segmentation", "resolution": (8, 8, 8), "fsync": False}
    ngcore.convert(labels, tmp_path / "volume", **options)
    write_meshes(tmp_path / "volume", labels=[1], workers=1, sharding=False)
    return tmp_path / "volume"


def visible(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_old_meshes_go_and_what_else_lies_there_stays(dest):
    mine = {"notes.txt": b"mine", "5": b"five", "picture.png": b"\x89PNG"}
    for name, content in mine.items():
        (dest / "mesh" / name).write_bytes(content)
    write_meshes(dest, workers=1, overwrite=True)
    assert visible(dest / "mesh") == mine
    assert json.loads((dest / "info").read_text())["mesh"] == "mesh-2"
    write_meshes(dest, workers=1, overwrite=True)
    assert not (dest / "mesh-2").exists()


@pytest.mark.parametrize("folder", ["8_8_8", "8_8_8/../8_8_8", "names"])
def test_meshes_in_a_folder_of_another_purpose_are_not_replaced(dest, folder):
    members = json.loads((dest / "info").read_text())
    members |= {"mesh": folder, "segment_properties": "names"}
    (dest / "info").write_text(json.dumps(members))
    before = visible(dest)
    with pytest.raises(InputError, match="overlaps"):
        write_meshes(dest, workers=1, overwrite=True)
    assert visible(dest) == before


def test_what_fails_before_it_has_begun_is_not_said_to_be_continued(dest, monkeypatch):
    before = visible(dest)
    real = LocalStore.put_durably

    def fail(store, name, data):
        if name.endswith(PLAN):
            raise StorageError("the disk is full")
        real(store, name, data)

    with monkeypatch.context() as patch:
        patch.setattr(LocalStore, "put_durably", fail)
        with pytest.raises(StorageError) as told:
            write_meshes(dest, workers=1, overwrite=True)
    assert "--resume" not in str(told.value)
    assert visible(dest) == before
    assert validate(dest).is_sound


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_ctrl_c_before_it_has_begun_does_not_advise_to_resume(dest):
    before = visible(dest)
    code = (
        "import sys, time; from ngcore.meshing import mesh; from ngcore.cli import run;"
        "mesh.check_libraries = lambda: (print('here', flush=True), time.sleep(60));"
        "sys.exit(run(sys.argv[1:]))"
    )
    words = [sys.executable, "-c", code, "mesh", str(dest), "--overwrite", "--workers", "1"]
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "here\n"
        time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=15)
    assert process.returncode == 130
    assert err == "ngcore: error: interrupted\n"
    assert visible(dest) == before
