"""What one slice's file gives, whatever its format: layout from the header, then pixels."""

from __future__ import annotations

import lzma
import struct
import zlib
from abc import ABC, abstractmethod
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ngcore.errors import FormatError, InputError, InputNotFoundError, NgcoreError, StorageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np

DECODE_ERRORS = (
    # Pillow
    SyntaxError,
    EOFError,
    struct.error,
    # tifffile, and both on broken tags; imagecodecs raises RuntimeErrors
    AssertionError,
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    AttributeError,
    RuntimeError,
    # the compressors
    zlib.error,
    lzma.LZMAError,
)
"""What the libraries raise on malformed files, beside OSError."""

ORIENTATION = 274
"""The tag of TIFF, and of EXIF in JPEG, that says where rows and columns begin."""

FORMATS_EXTRA = 'pip install "ngcore-neuroglancer[formats]"'


@dataclass(frozen=True, slots=True)
class PlaneLayout:
    """Size and pixel type of one slice.

    Attributes
    ----------
    columns, rows : int
        Width and height in pixels.
    samples : int
        Channels per pixel.
    dtype : numpy.dtype
        Of each sample, native byte order.
    is_binary : bool
        Pixels have one bit and become 0 or 1 of uint8.
    """

    columns: int
    rows: int
    samples: int
    dtype: np.dtype[Any]
    is_binary: bool = False

    @property
    def row_bytes(self) -> int:
        """Bytes of one decoded row."""
        return self.columns * self.samples * self.dtype.itemsize

    @property
    def plane_bytes(self) -> int:
        """Bytes of the decoded slice."""
        return self.rows * self.row_bytes

    def __str__(self) -> str:
        pixel = "1-bit" if self.is_binary else str(self.dtype)
        channels = "1 channel" if self.samples == 1 else f"{self.samples} channels"
        return f"{self.columns} x {self.rows} pixels of {pixel}, {channels}"


class SliceFile(ABC):
    """A file that holds one slice, its header read.

    Attributes
    ----------
    layout : PlaneLayout
        From the header.
    scratch_bytes : int
        Memory that `read` takes, beside the array that it fills.
    is_uncompressed : bool
        Any window can be read without reading the whole slice.
    notes : tuple of str
        How pixels were understood, where a user should know.
    """

    layout: PlaneLayout
    scratch_bytes: int = 0
    is_uncompressed: bool = False
    notes: tuple[str, ...] = ()

    def close(self) -> None:  # noqa: B027 - most formats open the file again where they decode it
        """Let go of the file."""

    @abstractmethod
    def read(self, into: np.ndarray[Any, Any], rows: slice, columns: slice) -> None:
        """Fill `into`, of shape (row, column, sample) and any strides, with a window of pixels."""


@contextmanager
def decoding(where: str) -> Iterator[None]:
    """Turn what libraries raise on malformed files into one line that names `where`.

    Raises
    ------
    FormatError
        If the bytes are malformed.
    InputError
        If there is not enough memory for what the file says it holds.
    StorageError
        If reading failed, rather than decoding.
    """
    try:
        yield
    except MemoryError as error:
        raise InputError(f"{where}: not enough memory to decode it") from error
    except NgcoreError:
        raise
    except FileNotFoundError as error:
        raise InputNotFoundError(
            f"{where}: no such file; check that every slice is there"
        ) from error
    except OSError as error:
        # Pillow raises OSError for malformed bytes too, but then without an error number
        if error.errno is not None:
            raise StorageError(
                f"{where}: can't be read ({error.strerror}); check its access rights and the disk"
            ) from error
        raise FormatError(f"{where}: {_one_line(error)}; the file is damaged") from error
    except DECODE_ERRORS as error:
        raise FormatError(f"{where}: {_one_line(error)}; the file is damaged") from error


def check_plausible_size(
    where: str, decoded_bytes: int, encoded_bytes: int, greatest_ratio: int
) -> None:
    """Refuse a header that promises more pixels than its compression could yield.

    Raises
    ------
    FormatError
        If `decoded_bytes` exceed what `encoded_bytes` can hold, with some room for overheads.
    """
    if decoded_bytes > greatest_ratio * encoded_bytes + 65536:
        raise FormatError(
            f"{where}: its header promises {decoded_bytes} bytes of pixels, more than can "
            f"come from {encoded_bytes} bytes; the file is damaged"
        )


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"can't be decoded ({text[:200] or type(error).__name__})"


def turned(orientation: object) -> tuple[str, ...]:
    """Return a note where a picture says that viewers mirror or turn it: nothing does here."""
    if not isinstance(orientation, int) or not 2 <= orientation <= 8:
        return ()
    return (
        f"its orientation tag ({orientation}) makes viewers mirror or turn it; pixels are kept as "
        "stored, so left and right may be other than you see them there",
    )
