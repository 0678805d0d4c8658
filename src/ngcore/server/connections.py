"""As many connections as there are descriptors for: idle ones make room for new ones.

Without a bound a server that has no descriptor left can answer nobody, and says so without end.
"""

from __future__ import annotations

import contextlib
import logging
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio

logger = logging.getLogger(__name__)

BACKLOG = 64
"""Connections that wait to be taken: as many may be taken at once, before any is counted."""
_MOST = 4096
_OTHERS = 64
"""Descriptors of everything else: the event loop, logs, pictures that are being made."""


def raise_file_limit() -> None:
    """Let this process open as many files as it may."""
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = 4 * _MOST if hard == resource.RLIM_INFINITY else min(hard, 4 * _MOST)
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft < wanted:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def most_connections() -> int:
    """Return how many connections there may be: each may have a file open, too."""
    try:
        import resource
    except ImportError:  # Windows
        return 512
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(8, min(_MOST, (soft - BACKLOG - _OTHERS) // 2))


def bounded_protocol(most: int) -> type[asyncio.Protocol]:
    """Return the server's protocol for HTTP with at most so many connections at once.

    A connection above that closes the one that has been idle longest, or itself where all are
    busy; one warning tells of it.
    """
    from uvicorn.protocols.http.auto import AutoHTTPProtocol

    has_warned = False

    class Bounded(AutoHTTPProtocol):  # type: ignore[misc, valid-type]
        """Counts connections, and closes idle ones."""

        def connection_made(self, transport: Any) -> None:
            self.last_used = time.monotonic()
            super().connection_made(transport)
            if len(self.connections) <= most:
                return
            nonlocal has_warned
            if not has_warned:
                has_warned = True
                logger.warning(
                    "%d connections are open, the most that this process may have; idle ones "
                    "are closed to make room for new ones (ulimit -n raises the limit)",
                    most,
                )
            others = [x for x in self.connections if x is not self and _is_idle(x)]
            victim = min(others, key=lambda x: x.last_used, default=self)
            victim.transport.close()
            self.connections.discard(victim)

        def data_received(self, data: bytes) -> None:
            self.last_used = time.monotonic()
            super().data_received(data)

    return Bounded


def _is_idle(connection: Any) -> bool:
    cycle = getattr(connection, "cycle", None)
    return cycle is None or cycle.response_complete
