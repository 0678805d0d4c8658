"""Fixtures that every test may take, and the order in which they run."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings
from thorough import amount

if TYPE_CHECKING:
    from xdist.scheduler import LoadFileScheduling

pytest_plugins = ["browser", "made_volumes"]

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell starts background jobs deaf to Ctrl-C, and processes that tests start inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)

# How long an example takes says more about the machine, and its other users, than the code.
settings.register_profile("ngcore", deadline=None, max_examples=amount(20, 500))
settings.load_profile("ngcore")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Start with the browser's tests, which wait more than they work: others fill the gaps."""
    items.sort(key=lambda item: item.get_closest_marker("browser") is None)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadFileScheduling:
    """Share out whole files, which share what is slow to start; one worker has the browser."""
    from xdist.scheduler import LoadFileScheduling

    class OneBrowser(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file: str = super()._split_scope(nodeid)
            folder = "tests/viewer/"
            return folder if file.startswith(folder) else file

    return OneBrowser(config, log)
