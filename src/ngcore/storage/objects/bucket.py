"""What every kind of bucket can do, whoever's it is: keys, bytes, and writes with a condition."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ngcore.errors import DestinationError, InputError, StorageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from typing_extensions import Buffer


@dataclass(frozen=True, slots=True)
class StoredObject:
    """What lies under a key.

    Attributes
    ----------
    data : bytes or memoryview
        Those that were asked for.
    size : int, in bytes
        Of the whole object.
    version : str
        Changes with every write.
    encoding : str or None
        Its Content-Encoding.
    """

    data: bytes | memoryview = field(repr=False)
    size: int
    version: str
    encoding: str | None = None


class Bucket(ABC):
    """A bucket, or a container, safe to use from several threads at once.

    Every method raises StorageError with one line where the service can't be reached, refuses or
    fails again and again, and DestinationError where a write is not allowed.
    """

    url: str
    """Such as ``s3://bucket``."""
    is_unsigned: bool = False
    """Whether no credentials were found."""

    @abstractmethod
    def read(
        self,
        key: str,
        start: int = 0,
        stop: int | None = None,
        *,
        max_size: int | None = None,
        must_be_allowed: bool = False,
    ) -> StoredObject | None:
        """Return an object, or a range of it; None where there is none.

        Parameters
        ----------
        key : str
        start, stop : int, in bytes
            A range past the end gives fewer bytes, or none.
        max_size : int, in bytes
            Leave out the data of an object that is larger.
        must_be_allowed : bool
            Take 403 for an error, and not for absence.
        """

    @abstractmethod
    def head(self, key: str) -> StoredObject | None:
        """Return an object without its data."""

    @abstractmethod
    def write(self, key: str, parts: Iterable[Buffer], headers: Mapping[str, str]) -> None:
        """Store parts one after the other; nothing changes where that fails."""

    @abstractmethod
    def create(self, key: str, data: bytes, headers: Mapping[str, str]) -> str | None:
        """Store an object under a key that is free, and return its version; None if it isn't."""

    @abstractmethod
    def replace(
        self, key: str, data: bytes, version: str, headers: Mapping[str, str]
    ) -> str | None:
        """Store an object over one of a version, and return the new one; None if it is another."""

    @abstractmethod
    def delete(self, keys: Iterable[str]) -> None:
        """Remove objects; those that are absent are passed over."""

    @abstractmethod
    def listed(self, folder: str) -> Iterator[tuple[str, int]]:
        """Yield all keys below a folder, sorted, with their sizes in bytes; see `keys`."""

    def keys(self, folder: str) -> Iterator[str]:
        """Yield all keys below a folder, sorted; all of the bucket if it is empty."""
        return (key for key, _ in self.listed(folder))

    @abstractmethod
    def entries(self, folder: str) -> Iterator[str]:
        """Yield the first part below a folder of every key, each once."""

    def abort_uploads(self, folder: str) -> None:  # noqa: B027 (not all have such)
        """Give up uploads in parts below a folder, whose processes are gone."""


_OTHER_REGION = (
    "PermanentRedirect",
    "AuthorizationHeaderMalformed",
    "IllegalLocationConstraintException",
)
_NO_BUCKET = ("NoSuchBucket", "ContainerNotFound", "InvalidBucketName")


def failure(
    bucket: Bucket,
    action: str,
    key: str,
    reason: str,
    status: int | None,
    code: str | None,
    *,
    must_be_allowed: bool = False,
) -> StorageError | InputError | DestinationError | None:
    """Return what to raise where a service refuses or fails; None where nothing is there.

    Those who may not list a bucket are told 403 of what is absent. Of `info`, which must be there,
    that is an error.

    Parameters
    ----------
    bucket : Bucket
    action : str
        Such as ``read`` or ``write``.
    key : str
    reason : str
        What happened.
    status : int or None
        What the service answered.
    code : str or None
        The service's own name of what is wrong.
    must_be_allowed : bool
        Take 403 for an error, and not for absence.
    """
    if code in _NO_BUCKET:
        what = f"there is no bucket {bucket.url}; make it, or check the URL"
        return InputError(what) if action in ("read", "list") else DestinationError(what)
    is_info = key.rpartition("/")[2] == "info"
    may_be_absent = status == 403 and code in (None, "AccessDenied") and action == "read"
    if may_be_absent and not (is_info or must_be_allowed):
        return None
    hint = "check the URL, the endpoint and the network"
    if code in _OTHER_REGION or status == 301:
        hint = "set AWS_REGION to the region of the bucket"
    elif status in (400, 401, 403):
        hint = f"check that your credentials allow to {action} it"
        if bucket.is_unsigned:
            hint = "no credentials were found, so none were sent: set them, or check the URL"
    what = f"can't {action} {bucket.url}/{key}: {reason}; {hint}"
    is_refused = status in (401, 403) and action not in ("read", "list")
    return DestinationError(what) if is_refused else StorageError(what)
