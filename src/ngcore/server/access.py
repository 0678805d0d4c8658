"""Who may read what a server answers: pages of other sites, and requests under strange names.

`serve` is there for viewers elsewhere, so every page may read from it, or those of the origins
that are named. `view` answers its own page alone. A page of a stranger can reach a server of this
machine too, under a name that the stranger's DNS leads here; such a request has that name in its
`Host`, while addresses in numbers and names of this machine are no such trick.
https://fetch.spec.whatwg.org/#http-cors-protocol
"""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ngcore.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from starlette.datastructures import Headers


_LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True, slots=True)
class Access:
    """Who may read.

    Attributes
    ----------
    origins : frozenset of str, or None
        Pages that may read, such as ``https://example.org``; None lets all of them.
    hosts : frozenset of str, or None
        Names under which the server answers, beside addresses in numbers; None: under all.
    """

    origins: frozenset[str] | None = None
    hosts: frozenset[str] | None = field(default=None)

    @property
    def is_open(self) -> bool:
        """Any web page may read."""
        return self.origins is None

    def allowed_origin(self, request: Headers) -> str | None:
        """Return the value of Access-Control-Allow-Origin for a request; None leaves it out."""
        if self.origins is None:
            return "*"
        origin = request.get("origin")
        return origin if origin in self.origins else None

    def refusal(self, request: Headers) -> str | None:
        """Return why a request is not answered at all; None where it is."""
        if self.hosts is None:
            return None
        host = request.get("host", "")
        if not self._knows(host):
            return "this server only answers its own page, under its own address"
        origin = request.get("origin")
        is_own = origin is None or urlsplit(origin).netloc == host
        if not is_own and origin not in (self.origins or ()):
            return "this server only answers its own page"
        return None

    def _knows(self, host: str) -> bool:
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return name in (self.hosts or ())
        return True


def own_page_only(host: str, viewer: str | None = None) -> Access:
    """Return the access of `view`: its own page, and a viewer elsewhere if it uses one."""
    names = {host.lower(), "localhost"}
    if host.lower() not in _LOOPBACK:  # others come by the names of this machine; asking is slow
        names |= {socket.gethostname().lower(), socket.getfqdn().lower()}
    origins = frozenset() if viewer is None else frozenset({origin_of(viewer)})
    return Access(origins, frozenset(names))


def for_origins(origins: Iterable[str]) -> Access:
    """Return the access of `serve`: all pages, or those of some origins.

    Raises
    ------
    InputError
        One is not an origin.
    """
    named = frozenset(checked_origin(origin) for origin in origins)
    return Access(named or None)


def checked_origin(text: str) -> str:
    """Return an origin as browsers write it.

    Raises
    ------
    InputError
        It has no scheme or host, or a path.
    """
    try:
        parts = urlsplit(text.rstrip("/"))
    except ValueError:
        parts = urlsplit("")
    if not parts.scheme or not parts.netloc or parts.path or parts.query or parts.fragment:
        raise InputError(
            f"--allow-origin {text!r} is not an origin; pass scheme and host alone, such as "
            "https://example.org"
        )
    return f"{parts.scheme}://{parts.netloc}".lower()


def origin_of(url: str) -> str:
    """Return the origin of a page."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}".lower()
