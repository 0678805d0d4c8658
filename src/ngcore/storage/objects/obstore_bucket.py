"""Buckets of S3 and Azure, and one in memory, through obstore.

https://developmentseed.org/obstore
"""

from __future__ import annotations

import itertools
import re
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, PreconditionError

from ngcore.errors import DestinationError, InputError, StorageError
from ngcore.storage.objects.bucket import Bucket, StoredObject, failure
from ngcore.storage.objects.parts import PART_BYTES, PARTS_AT_ONCE, pieces_of, room_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from obstore.store import ClientConfig, ObjectStore, RetryConfig
    from typing_extensions import Buffer

CLIENT: ClientConfig = {
    "allow_http": True,
    "connect_timeout": timedelta(seconds=10),
    "timeout": timedelta(seconds=300),
    "read_timeout": timedelta(seconds=60),
}
RETRIES: RetryConfig = {
    "max_retries": 6,
    "retry_timeout": timedelta(seconds=120),
    "backoff": {
        "init_backoff": timedelta(seconds=0.1),
        "max_backoff": timedelta(seconds=5),
        "base": 2,
    },
}
_TRIES = 3
_BATCH = 1000
"""Keys in one request; S3 deletes no more."""
_FAILURES = (BaseError, OSError, ValueError)

_STATUS = re.compile(r"status code: (\d{3}) ?([A-Za-z ]*)")
_CODE = re.compile(r"<Code>(\w+)</Code>")
_HOST = re.compile(r"https?://[^/\s]+")


class ObstoreBucket(Bucket):
    """A bucket that obstore knows.

    Parameters
    ----------
    url : str
    store : obstore store
        Of the whole bucket.
    is_unsigned : bool
        Whether no credentials were found.
    abort_uploads : callable, optional
        Gives up what is unfinished below a folder.
    """

    def __init__(
        self,
        url: str,
        store: ObjectStore,
        *,
        is_unsigned: bool = False,
        abort_uploads: Callable[[str], None] | None = None,
    ) -> None:
        self.url = url
        self._store = store
        self.is_unsigned = is_unsigned
        self._abort_uploads = abort_uploads

    def read(
        self,
        key: str,
        start: int = 0,
        stop: int | None = None,
        *,
        max_size: int | None = None,
        must_be_allowed: bool = False,
    ) -> StoredObject | None:
        """Return an object or a range of it; see `Bucket.read`."""
        if stop is not None and stop <= start:
            return self.head(key)
        options: dict[str, Any] = {}
        if stop is not None:
            options["range"] = (start, stop)
        elif start:
            options["range"] = {"offset": start}
        for last in (False, False, True):
            try:
                found = obstore.get(self._store, key, options=options or None)  # type: ignore[arg-type]
                meta = found.meta
                is_wanted = max_size is None or meta["size"] <= max_size
                data = memoryview(found.bytes()) if is_wanted else b""
                return StoredObject(
                    data, meta["size"], _version(meta), found.attributes.get("Content-Encoding")
                )
            except FileNotFoundError as error:
                self._check_bucket(error, "read", key)
                return None
            except _FAILURES as error:
                if _answer(error)[0] == 416 or "Wanted range starting" in str(error):
                    return self.head(key)  # the range begins after its end
                found_failure = self._failure("read", key, error, must_be_allowed=must_be_allowed)
                if found_failure is None:
                    return None
                if last or not _is_worth_another_try(error):
                    raise found_failure from error
        raise AssertionError("the last try returns or raises")

    def head(self, key: str) -> StoredObject | None:
        """Return what is known of an object; see `Bucket.head`."""
        try:
            meta = obstore.head(self._store, key)
        except FileNotFoundError:
            return None
        except _FAILURES as error:
            found = self._failure("read", key, error)
            if found is None:
                return None
            raise found from error
        return StoredObject(b"", meta["size"], _version(meta))

    def write(self, key: str, parts: Iterable[Buffer], headers: Mapping[str, str]) -> None:
        """Store an object; see `Bucket.write`.

        An upload in parts that fails is aborted. It starts again where its parts can be had again.
        """
        with room_for(parts) as keep:
            for last in (False,) * (_TRIES - 1) + (True,):
                pieces = pieces_of(parts)
                start = list(itertools.islice(pieces, 2))
                is_large = len(start) > 1
                if not is_large:
                    parts = start  # which can be had again
                    keep(sum(memoryview(piece).nbytes for piece in start))
                can_again = iter(parts) is not parts
                try:
                    self._put(key, start, pieces if is_large else None, headers)
                    return
                except StorageError:
                    raise  # from the parts
                except _FAILURES as error:
                    if last or not can_again or not _is_worth_another_try(error):
                        raise self._failure("write", key, error) or error from error

    def _put(
        self,
        key: str,
        start: list[Buffer],
        others: Iterator[Buffer] | None,
        headers: Mapping[str, str],
    ) -> None:
        """Store pieces; `start` is emptied of them where others follow."""
        data: Any = start[0] if start else b""
        if others is not None:
            data = itertools.chain(_taken_from(start), others)
        obstore.put(
            self._store,
            key,
            data,
            attributes=dict(headers),
            use_multipart=others is not None,
            chunk_size=PART_BYTES,
            max_concurrency=PARTS_AT_ONCE,
        )

    def create(self, key: str, data: bytes, headers: Mapping[str, str]) -> str | None:
        """Store an object under a key that is free; see `Bucket.create`."""
        return self._put_if(key, data, headers, "create")

    def replace(
        self, key: str, data: bytes, version: str, headers: Mapping[str, str]
    ) -> str | None:
        """Store an object over a version of it; see `Bucket.replace`."""
        return self._put_if(key, data, headers, {"e_tag": version})

    def _put_if(self, key: str, data: bytes, headers: Mapping[str, str], mode: Any) -> str | None:
        try:
            put = obstore.put(self._store, key, data, attributes=dict(headers), mode=mode)
        except (AlreadyExistsError, PreconditionError, FileNotFoundError) as error:
            self._check_bucket(error, "write", key)
            return None
        except _FAILURES as error:
            # The answer may have been lost on its way, after it was done.
            found = self.read(key) if _is_worth_another_try(error) else None
            if found is not None and found.data == data:
                return found.version
            raise self._failure("write", key, error) or error from error
        return str(put["e_tag"])

    def delete(self, keys: Iterable[str]) -> None:
        """Remove objects; see `Bucket.delete`."""
        remaining = iter(keys)
        while batch := list(itertools.islice(remaining, _BATCH)):
            try:
                obstore.delete(self._store, batch)
            except FileNotFoundError as error:
                self._check_bucket(error, "remove", batch[0])
                for key in batch if len(batch) > 1 else []:
                    with suppress(FileNotFoundError):
                        obstore.delete(self._store, key)
            except _FAILURES as error:
                raise self._failure("remove", batch[0], error) or error from error

    def listed(self, folder: str) -> Iterator[tuple[str, int]]:
        """Yield keys below a folder with their sizes; see `Bucket.listed`."""
        try:
            for batch in obstore.list(self._store, folder or None, chunk_size=_BATCH):
                yield from sorted((meta["path"], meta["size"]) for meta in batch)
        except _FAILURES as error:
            raise self._failure("list", folder, error) or error from error

    def entries(self, folder: str) -> Iterator[str]:
        """Yield what lies directly in a folder; see `Bucket.entries`."""
        try:
            found = obstore.list_with_delimiter(self._store, folder or None)
        except _FAILURES as error:
            raise self._failure("list", folder, error) or error from error
        yield from (prefix.rstrip("/").rpartition("/")[2] for prefix in found["common_prefixes"])
        yield from (meta["path"].rpartition("/")[2] for meta in found["objects"])

    def abort_uploads(self, folder: str) -> None:
        """Give up unfinished uploads; see `Bucket.abort_uploads`."""
        if self._abort_uploads is not None:
            self._abort_uploads(folder)

    def _check_bucket(self, error: Exception, action: str, key: str) -> None:
        """Tell a bucket that is absent from an object that is."""
        if "NoSuchBucket" in str(error) or "ContainerNotFound" in str(error):
            raise self._failure(action, key, error) or error from error

    def _failure(
        self, action: str, key: str, error: Exception, *, must_be_allowed: bool = False
    ) -> StorageError | InputError | DestinationError | None:
        status, code = _answer(error)
        reason = _reason(error, status, code)
        return failure(self, action, key, reason, status, code, must_be_allowed=must_be_allowed)


def _taken_from(pieces: list[Buffer]) -> Iterator[Buffer]:
    while pieces:
        yield pieces.pop(0)


def _version(meta: Any) -> str:
    return str(meta["e_tag"])


def _answer(error: Exception) -> tuple[int | None, str | None]:
    """Return the status and the service's own code that an error tells of."""
    text = str(error)
    if "redirect without LOCATION" in text:  # as S3 answers for buckets of other regions
        return 301, "PermanentRedirect"
    status, code = _STATUS.search(text), _CODE.search(text)
    return int(status[1]) if status else None, code[1] if code else None


def _reason(error: Exception, status: int | None, code: str | None) -> str:
    if status is not None:
        return f"HTTP {status}" + (f" {code}" if code else "")
    host = _HOST.search(str(error))
    if host is not None:
        return f"can't connect to {host[0]}, or it doesn't answer"
    return str(error).splitlines()[0]


def _is_worth_another_try(error: Exception) -> bool:
    """Whether the service may do better: it failed, or a connection was cut."""
    status, _ = _answer(error)
    if status is not None:
        return status in (408, 429) or status >= 500
    return isinstance(error, BaseError) and not isinstance(error, FileNotFoundError)
