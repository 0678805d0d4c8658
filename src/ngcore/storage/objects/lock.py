"""A lock in a bucket: an object that is created only where there is none.

It names its owner and when it expires unless it is renewed, which a thread of the owner does. One
that has expired is taken over, and so, at once, is one whose owner was a process of this machine
that is gone. Both are replaced only in the version that was read, so of all who try, one succeeds.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from ngcore.errors import NgcoreError
from ngcore.storage.base import StoreLock

if TYPE_CHECKING:
    from ngcore.storage.objects.bucket import Bucket

LIFETIME_SECONDS = 180.0
RENEW_SECONDS = 30.0
_HEADERS = {"Content-Type": "application/json"}
_MAX_BYTES = 1 << 16


class ObjectLock(StoreLock):
    """A lock that `take` has taken."""

    def __init__(self, bucket: Bucket, key: str, owner: dict[str, Any], version: str) -> None:
        self._bucket = bucket
        self._key = key
        self._owner = owner
        self._version = version
        self._is_lost = False
        self._changing = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="ngcore-lock", daemon=True)
        self._thread.start()

    @classmethod
    def take(cls, bucket: Bucket, key: str) -> Self | None:
        """Create the lock, or take over one whose owner is gone; None while it is another's."""
        owner = _this_process()
        for _ in range(3):
            version = bucket.create(key, _content(owner), _HEADERS)
            if version is None:
                found = bucket.read(key, max_size=_MAX_BYTES, must_be_allowed=True)
                if found is None:
                    continue  # released meanwhile
                other = _parse(found.data)
                if other.get("token") == owner["token"]:
                    version = found.version  # the answer to our own request was lost
                elif _is_alive(other):
                    return None
                else:
                    version = bucket.replace(key, _content(owner), found.version, _HEADERS)
            if version is not None:
                return cls(bucket, key, owner, version)
        return None

    @staticmethod
    def is_held_by_another(bucket: Bucket, key: str) -> bool:
        """Whether a process that lives, as far as can be told, has the lock."""
        found = bucket.read(key, max_size=_MAX_BYTES, must_be_allowed=True)
        return found is not None and _is_alive(_parse(found.data))

    def is_held(self) -> bool:
        """Whether the object still names this owner; see `StoreLock.is_held`."""
        found = self._bucket.read(self._key, max_size=_MAX_BYTES, must_be_allowed=True)
        return found is not None and _parse(found.data).get("token") == self._owner["token"]

    def release(self) -> None:
        """Remove the object if it is still ours; see `StoreLock.release`."""
        self._ended.set()
        self._thread.join()
        with suppress(NgcoreError):  # it expires
            if self.is_held():
                self._bucket.delete([self._key])

    def _keep(self) -> None:
        while not self._ended.wait(RENEW_SECONDS):
            with suppress(NgcoreError):  # perhaps the next time
                version = self._bucket.replace(
                    self._key, _content(self._owner), self._version, _HEADERS
                )
                if version is None:
                    found = self._bucket.read(self._key, max_size=_MAX_BYTES, must_be_allowed=True)
                    if found is None or _parse(found.data).get("token") != self._owner["token"]:
                        return  # lost
                    version = found.version
                self._version = version


def _this_process() -> dict[str, Any]:
    return {
        "token": os.urandom(16).hex(),
        "machine": _machine(),
        "pid": os.getpid(),
        "started": _start_of(os.getpid()),
    }


def _content(owner: dict[str, Any]) -> bytes:
    return json.dumps({**owner, "expires": time.time() + LIFETIME_SECONDS}).encode()


def _parse(data: bytes | memoryview) -> dict[str, Any]:
    with suppress(ValueError):
        found = json.loads(bytes(data))
        if isinstance(found, dict):
            return found
    return {}


def _is_alive(owner: dict[str, Any]) -> bool:
    """Whether an owner may be at work: not if it is known to be gone, or has not renewed."""
    expires = owner.get("expires")
    if not isinstance(expires, int | float) or time.time() > expires:
        return False
    pid = owner.get("pid")
    if owner.get("machine") != _machine() or not isinstance(pid, int) or pid < 1:
        return True
    started = _start_of(pid)
    if started is None:  # this system doesn't tell
        with suppress(PermissionError):
            try:
                os.kill(pid, 0)
            except ProcessLookupError:
                return False
        return True
    return bool(started) and started == owner.get("started")


@cache
def _machine() -> str:
    """Return what is the same for all processes that see each other, until the next start."""
    parts = [socket.gethostname()]
    with suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
    with suppress(OSError):
        parts.append(os.readlink("/proc/self/ns/pid"))  # noqa: PTH115 (it is no path)
    return " ".join(parts)


def _start_of(pid: int) -> str | None:
    """Return when a process started, "" if there is none, None if the system doesn't tell."""
    if not Path("/proc/self/stat").exists():
        return None
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] == "Z" else fields[19]
