"""Checks of what the environment says about a service, before a library meets it."""

from __future__ import annotations

from urllib.parse import urlsplit

from ngcore.errors import InputError


def checked_endpoint(url: str, variable: str) -> str:
    """Return the URL of a service, without a slash at its end.

    Parameters
    ----------
    url : str
    variable : str
        What says so, for messages.

    Raises
    ------
    InputError
        It is no URL of a web server.
    """
    try:
        parts = urlsplit(url)
        is_sound = parts.scheme in ("http", "https") and bool(parts.hostname)
        is_sound = is_sound and (parts.port is None or parts.port > 0)
    except ValueError:  # the port is no number, or a bracket is open
        is_sound = False
    if not is_sound or not _is_plain(url):
        raise InputError(
            f"{variable} must be a URL such as https://storage.example.org, got {url!r}; "
            "correct it"
        )
    return url.rstrip("/")


def check_secret(value: str, variable: str) -> None:
    """Refuse what can't be sent as a key, such as one that was copied with the end of its line.

    Raises
    ------
    InputError
        The message does not show it.
    """
    if not _is_plain(value):
        raise InputError(f"{variable} holds characters that a key can't have; copy it again")


def _is_plain(text: str) -> bool:
    return text.isascii() and text.isprintable() and " " not in text
