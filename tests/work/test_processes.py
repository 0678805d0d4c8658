import os
import signal
from pathlib import Path

import pytest

from ngcore.errors import FormatError, StorageError
from ngcore.work.processes import WorkerProcesses
from ngcore.work.threads import for_each


@pytest.fixture(scope="module")
def processes():
    with WorkerProcesses(2) as workers:
        yield workers


def test_calls_are_made_elsewhere_and_come_back(processes):
    assert processes.call(os.getpid) not in (os.getpid(), None)
    assert processes.call(divmod, 17, 5) == (3, 2)
    large = os.urandom(3 << 20)
    assert processes.call(bytes, large) == large


def test_errors_are_raised_where_the_call_was_made(processes):
    with pytest.raises(ZeroDivisionError):
        processes.call(divmod, 1, 0)
    assert processes.call(divmod, 1, 1) == (1, 0)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no named pipes in folders")
def test_several_threads_use_as_many_processes(processes, tmp_path):
    """Each of two calls waits for what the other one does: one after the other they would hang."""
    os.mkfifo(tmp_path / "pipe")
    found = []

    def run(call):
        found.append(processes.call(*call))

    there = str(tmp_path / "pipe")
    for_each(
        [(Path.read_bytes, Path(there)), (Path.write_bytes, Path(there), b"12")], run, workers=2
    )
    assert sorted(map(str, found)) == ["2", "b'12'"]


def test_what_is_printed_is_no_result(processes, capfd):
    assert processes.call(os.system, "echo to standard output") == 0
    assert processes.call(print, "and this") is None
    assert processes.call(divmod, 7, 2) == (3, 1)
    assert capfd.readouterr().out == ""


def test_process_that_is_killed_is_an_error_and_not_a_hang():
    with WorkerProcesses(2) as workers:
        with pytest.raises(StorageError, match=r"a worker process was killed \((signal|status)"):
            workers.call(os.kill, workers.call(os.getpid), signal.SIGTERM)
        assert workers.call(divmod, 7, 2) == (3, 1)  # the other one


def test_end_of_the_block_ends_what_still_runs():
    with WorkerProcesses(2) as workers:
        pid = workers.call(os.getpid)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_one_worker_is_this_process():
    with WorkerProcesses(1) as workers:
        assert workers.call(os.getpid) == os.getpid()
        with pytest.raises(FormatError):
            workers.call(_fail)


def _fail():
    raise FormatError("as it is")


def test_for_each_raises_the_first_error_and_stops_the_others():
    with WorkerProcesses(2) as workers:

        def work(number):
            if number:
                raise ValueError(number)
            workers.call(signal.pause)  # for ever, but for what ends it

        with pytest.raises(ValueError, match="1"):
            for_each([0, 1], work, workers=2, stop=workers.kill)
