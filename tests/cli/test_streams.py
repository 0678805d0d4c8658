"""Standard streams that are closed, full, or narrow."""

import os
import struct
import subprocess
import sys

import numpy as np
import pytest

import ngcore

fcntl, pty, termios = map(pytest.importorskip, ("fcntl", "pty", "termios"))  # not on Windows

NGCORE = [sys.executable, "-m", "ngcore"]

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="/dev/full is Linux's")


def shell(command, folder):
    """Return the exit status and stderr of a shell command, in which NGCORE is this ngcore."""
    text = command.replace("NGCORE", f"{sys.executable} -m ngcore")
    done = subprocess.run(
        ["bash", "-c", text], cwd=folder, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stderr


@pytest.fixture
def clipped(tmp_path):
    """A conversion whose values must be clipped, which is warned of: its arguments."""
    np.save(tmp_path / "a.npy", np.full((20, 20, 20), 9, np.int16))
    return "convert a.npy out --type image --resolution 1,1,1 --data-type uint8 --input-max 2"


@pytest.mark.parametrize("stderr", ["2>&-", "2>/dev/full", "0<&- >&- 2>&-"])
def test_conversion_goes_on_where_nobody_can_be_told_of_it(tmp_path, clipped, stderr):
    status, _ = shell(f"NGCORE {clipped} {stderr}", tmp_path)
    assert status == 0
    assert np.asarray(ngcore.open(tmp_path / "out").scales[0][...]).min() == 255


def test_error_has_its_status_where_nobody_can_be_told_of_it(tmp_path):
    assert shell("NGCORE convert nope out 2>/dev/full", tmp_path)[0] == 2
    assert shell("NGCORE convert nope out 2>&-", tmp_path)[0] == 2


def test_full_standard_output_is_named(tmp_path):
    status, stderr = shell("NGCORE --help >/dev/full", tmp_path)
    assert status == 3
    assert stderr.startswith("ngcore: error: can't write to the standard output: No space left")
    assert stderr.count("\n") == 1


def test_reader_who_has_seen_enough_is_no_fault(tmp_path):
    status, stderr = shell("(sleep 1; NGCORE --help) | true; exit ${PIPESTATUS[0]}", tmp_path)
    assert (status, stderr) == (141, "")


def test_warnings_are_one_line_on_a_narrow_terminal(tmp_path, clipped):
    ours, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 40, 0, 0))
    with subprocess.Popen(
        [*NGCORE, *clipped.split()], cwd=tmp_path, stderr=terminal, stdout=subprocess.DEVNULL
    ) as process:
        os.close(terminal)
        written = b""
        try:
            while part := os.read(ours, 4096):
                written += part
        except OSError:
            pass  # the other end is closed
        assert process.wait() == 0
    os.close(ours)
    lines = written.decode().replace("\r", "\n").split("\n")
    assert any(
        "warning: a.npy: 8000 voxels were clipped to the range of uint8" in x for x in lines
    )
