import itertools
import subprocess
import sys
import threading
import time

import pytest

from ngcore.work.threads import (
    LATER,
    URGENT,
    TaskGroup,
    ThreadPool,
    _standing_pool,
    for_each,
    share,
)


def test_wait_returns_when_every_task_of_the_group_has_run():
    done = []
    with ThreadPool(3) as pool:
        group = TaskGroup()
        for number in range(100):
            pool.submit(lambda number=number: done.append(number), group)
        pool.wait(group)
        assert sorted(done) == list(range(100))


def test_threads_for_short_work_stay_whatever_their_number():
    """Most reads want another number, for which threads were made anew."""
    made = _standing_pool.cache_info().misses
    for workers in (9, 2, 3, 4, 5, 6, 7, 8, 9, 40):
        together = threading.Barrier(workers, timeout=60)  # each thread does one
        share(range(workers), lambda _, wait=together.wait: wait(), workers)
    assert _standing_pool.cache_info().misses - made <= 2  # one for 40


def test_urgent_tasks_overtake_those_that_wait():
    order = []
    gate = threading.Event()
    with ThreadPool(1) as pool:
        group = TaskGroup()
        pool.submit(gate.wait, group)
        pool.submit(lambda: order.append("later"), group, urgency=LATER)
        pool.submit(lambda: order.append("urgent"), group, urgency=URGENT)
        gate.set()
        pool.wait(group)
    assert order == ["urgent", "later"]


def test_first_error_reaches_whoever_waits_and_stops_the_rest():
    ran, is_told = [], threading.Event()

    def fail():
        raise ZeroDivisionError("first")

    def work():
        assert is_told.wait(60)
        ran.append(1)

    def run(pool):
        group = TaskGroup()
        pool.submit(fail, group)
        for _ in range(1000):
            pool.submit(work, group)
        pool.wait(group)

    with ThreadPool(2) as pool:
        with pytest.raises(ZeroDivisionError, match="first"):
            run(pool)
        is_told.set()
    assert len(ran) <= 1  # the one that the other thread had begun


def test_leaving_without_an_error_finishes_the_queue():
    ran = []
    with ThreadPool(2) as pool:
        for _ in range(50):
            pool.submit(lambda: ran.append(1), TaskGroup())
    assert len(ran) == 50


def test_error_of_the_caller_drops_the_queue():
    ran = []

    def run():
        with ThreadPool(1) as pool:
            for _ in range(1000):
                pool.submit(lambda: (time.sleep(0.001), ran.append(1)), TaskGroup())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run()
    assert len(ran) < 1000


def test_for_each_takes_items_one_by_one_and_does_all():
    taken, done = [], []

    def items():
        for number in range(50):
            taken.append(number)
            yield number

    def work(number):
        assert len(taken) <= len(done) + 4
        done.append(number)

    for_each(items(), work, workers=3)
    assert sorted(done) == list(range(50))


FEW_THREADS = """
import resource
from ngcore.work.threads import TaskGroup, ThreadPool
with open("/proc/self/status") as status:
    kilobytes = next(int(line.split()[1]) for line in status if line.startswith("VmSize:"))
resource.setrlimit(resource.RLIMIT_AS, ((kilobytes + (256 << 10)) << 10,) * 2)
with ThreadPool(2000) as pool:
    done, group = [], TaskGroup()
    for number in range(3000):
        pool.submit(lambda: done.append(1), group)
    pool.wait(group)
    print(len(done), len(pool._threads))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits the memory for stacks")
def test_threads_that_the_system_does_not_allow_are_done_without():
    code = [sys.executable, "-c", FEW_THREADS]
    done = subprocess.run(code, capture_output=True, text=True, check=True)
    count, threads = map(int, done.stdout.split())
    assert count == 3000
    assert 0 < threads < 2000


def test_for_each_takes_no_item_after_an_error():
    def work(number):
        if number == 5:
            raise ValueError(number)

    with pytest.raises(ValueError, match="5"):
        for_each(itertools.count(), work, workers=3)  # it would never end
