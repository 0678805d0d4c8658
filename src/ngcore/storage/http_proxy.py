"""Requests that go through the proxy of the environment, by urllib3."""

from __future__ import annotations

import os
import urllib.request
from contextlib import closing
from functools import cache, partial
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import urllib3
from urllib3.exceptions import HTTPError, ReadTimeoutError

from ngcore.storage.web_connections import (
    CONNECT_SECONDS,
    CONNECTIONS,
    Answer,
    NoAnswerError,
    SilenceError,
    taken,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ngcore.storage.web_connections import Origin, Wanted


def connections() -> urllib3.PoolManager:
    """Return the connections of this process, past or through a proxy as the environment says."""
    return _pool(os.getpid())


def fetch_by_proxy(
    origin: Origin, method: str, target: str, headers: Mapping[str, str], wanted: Wanted
) -> Answer:
    """Do as `fetch` through the proxy of the environment."""
    try:
        response = connections().request(
            method,
            f"{origin.scheme}://{origin.netloc}{target}",
            headers=headers,
            preload_content=False,
            decode_content=False,
            redirect=False,
            retries=False,
            timeout=urllib3.Timeout(connect=CONNECT_SECONDS, read=wanted.seconds),
        )
        with closing(response):
            if response.status < 200:
                # Its connection, on which the answer itself may follow, is closed.
                raise NoAnswerError(f"it sends no answer but HTTP {response.status}")
            found = {key.lower(): value for key, value in response.headers.items()}
            if method == "HEAD" or response.status not in (200, 206):
                response.drain_conn()
                return Answer(response.status, found, b"")
            skip = 0 if response.status == 206 else wanted.skip
            read = partial(response.read, decode_content=False)
            body, is_cut = taken(read, wanted.limit, skip)
            if not is_cut:
                response.release_conn()
            return Answer(response.status, found, body, is_cut)
    except ReadTimeoutError as error:
        raise SilenceError("the server doesn't answer in time") from error
    except (HTTPError, OSError) as error:
        raise NoAnswerError(f"the proxy can't reach it: {str(error).splitlines()[0]}") from error


def is_proxied(origin: Origin) -> bool:
    """Whether requests to a server go through a proxy, as the environment says."""
    return _is_proxied(os.getpid(), origin.host)


@cache
def _is_proxied(_process: int, host: str) -> bool:
    return _proxy() is not None and not urllib.request.proxy_bypass(host)


def _proxy() -> str | None:
    proxies = urllib.request.getproxies()
    proxy = proxies.get("https") or proxies.get("http") or proxies.get("all")
    return proxy if proxy and proxy.startswith(("http://", "https://")) else None


@cache
def _pool(_process: int) -> urllib3.PoolManager:
    """Return the connections of this process, which a fork must not share."""
    proxy = _proxy()
    direct = urllib3.PoolManager(num_pools=16, maxsize=CONNECTIONS)
    if proxy is None:
        return direct
    return _ProxiedPool(direct, urllib3.ProxyManager(proxy, maxsize=CONNECTIONS))


class _ProxiedPool(urllib3.PoolManager):
    """Goes through a proxy, but to hosts that the environment excepts (``no_proxy``)."""

    def __init__(self, direct: urllib3.PoolManager, proxied: urllib3.PoolManager) -> None:
        super().__init__()
        self._direct, self._proxied = direct, proxied

    def request(self, method: str, url: str, **options: object) -> urllib3.BaseHTTPResponse:  # type: ignore[override]
        """Send a request the one way or the other."""
        is_excepted = urllib.request.proxy_bypass(urlsplit(url).hostname or "")
        pool = self._direct if is_excepted else self._proxied
        return pool.request(method, url, **options)  # type: ignore[arg-type]
