"""Folders for temporary files that a killed step leaves behind, and those that are in use."""

import signal
import subprocess
import sys

import numpy as np
import pytest
from volume_files import save_nifti, voxels

from ngcore.classic.chunks_from_source import volume_to_raw_chunks
from ngcore.classic.fullres_info import generate_fullres_info
from ngcore.classic.scales_info import generate_scales_info
from ngcore.errors import DestinationError
from ngcore.transaction.work_folder import owned_folder

KILLED_STEP = """
import os, signal, sys
from pathlib import Path
from ngcore.transaction.work_folder import owned_folder

with owned_folder(Path(sys.argv[1])) as folder:
    (folder / "large").write_bytes(bytes(100))
    os.kill(os.getpid(), signal.SIGKILL)
"""


def hidden(folder):
    return sorted(path for path in folder.iterdir() if path.name.startswith("."))


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_what_a_killed_step_left_goes_with_the_next_one_and_what_is_in_use_stays(tmp_path):
    out = tmp_path / "out"
    source = save_nifti(tmp_path / "t1.nii", voxels((20, 10, 5), "uint16"), np.eye(4))
    generate_fullres_info(source, out)
    generate_scales_info(out / "info_fullres.json", out)
    killed = subprocess.run([sys.executable, "-c", KILLED_STEP, out], check=False)
    assert killed.returncode == -signal.SIGKILL
    (left,) = hidden(out)
    with owned_folder(out) as in_use:
        assert hidden(out) == [in_use]
        assert in_use != left
        volume_to_raw_chunks(source, out)
        assert hidden(out) == [in_use]
    assert not hidden(out)


def test_a_folder_that_was_not_locked_yet_is_made_again(tmp_path, monkeypatch):
    def other_is_first(_lock):
        monkeypatch.undo()
        with owned_folder(tmp_path):
            assert len(hidden(tmp_path)) == 1
        return True

    monkeypatch.setattr("ngcore.transaction.work_folder.lock_file", other_is_first)
    with owned_folder(tmp_path) as folder:
        assert hidden(tmp_path) == [folder]


def test_a_folder_that_is_not_there_is_named_in_one_line(tmp_path):
    with (
        pytest.raises(DestinationError, match="nowhere can't be written: No such file"),
        owned_folder(tmp_path / "nowhere"),
    ):
        pass
