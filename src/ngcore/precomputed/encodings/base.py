"""What every chunk encoding promises, and which there are."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple, Self

import numpy as np

from ngcore.errors import InputError
from ngcore.precomputed.info import ENCODINGS

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from typing_extensions import Buffer

    from ngcore.precomputed.info import ScaleInfo, VolumeInfo

Shape4 = tuple[int, int, int, int]
"""Voxels along x, y, z, and channels."""


JpegPlane = Literal["xy", "xz"]
"""Which axis runs along the rows of a JPEG picture, and which down its columns."""


class Span(NamedTuple):
    """Bytes of an encoded chunk that hold a box of its voxels as they lie in memory.

    Attributes
    ----------
    start, stop : int
        In the chunk.
    size : int
        Of the chunk, in bytes; one of another size is damaged.
    dtype : dtype
        Of the voxels, in the byte order in which they lie there.
    strides : tuple of int, in bytes
        From one voxel of the box to the next along x, y, z and channel.
    """

    start: int
    stop: int
    size: int
    dtype: np.dtype[Any]
    strides: tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class ChunkEncoding(ABC):
    """Turns chunks into the bytes of one encoding, and back.

    Safe to use from several threads at once.

    Attributes
    ----------
    dtype : dtype
        Type of the voxels, in the byte order of this machine.
    channels : int
    """

    name: ClassVar[str]
    """The `encoding` of `info`."""

    decodes_boxes: ClassVar[bool] = False
    """Whether `decode_box` takes less time than `decode`, the smaller the box the less."""

    dtype: np.dtype[Any]
    channels: int

    @classmethod
    def of_scale(
        cls,
        dtype: np.dtype[Any],
        channels: int,
        scale: ScaleInfo,  # noqa: ARG003 - for those that have settings there
        jpeg: tuple[int, JpegPlane],  # noqa: ARG003
    ) -> Self:
        """Return that of a scale of a volume.

        Parameters
        ----------
        dtype : dtype
        channels : int
        scale : ScaleInfo
        jpeg : tuple
            The quality of JPEG, and its plane, which are not in `info`.
        """
        return cls(dtype, channels)

    @abstractmethod
    def __post_init__(self) -> None:
        """Raise InputError where the encoding can't hold such voxels."""

    @abstractmethod
    def encode(self, chunk: NDArray[Any]) -> bytes:
        """Encode one chunk.

        Parameters
        ----------
        chunk : ndarray of `dtype`, shape (x, y, z, channel)
            Any memory order; Fortran order is the fastest.

        Raises
        ------
        InputError
            The encoding can't hold these voxels.
        """

    @abstractmethod
    def decode(self, data: Buffer, shape: Shape4) -> NDArray[Any]:
        """Decode one chunk.

        Parameters
        ----------
        data : bytes-like
        shape : tuple of int, (x, y, z, channel)
            What the chunk must hold.

        Returns
        -------
        ndarray of `dtype`, shape (x, y, z, channel), Fortran order, writable

        Raises
        ------
        FormatError
            The bytes are not a chunk of this encoding, shape and dtype.
        """

    def decode_box(
        self, data: Buffer, shape: Shape4, box: tuple[slice, ...], out: NDArray[Any]
    ) -> None:
        """Decode a box of one chunk.

        Parameters
        ----------
        data : bytes-like
        shape : tuple of int, (x, y, z, channel)
            What the chunk must hold.
        box : tuple of four slices, (x, y, z, channel)
            Ascending, inside of `shape`; steps are allowed.
        out : ndarray of `dtype`, of the shape of the box
            Filled, whatever its strides.

        Raises
        ------
        FormatError
            The bytes are not a chunk of this encoding, shape and dtype. Encodings that decode
            boxes alone don't look at the rest.
        """
        out[...] = self.decode(data, shape)[box]

    def span_of(self, shape: Shape4, box: tuple[slice, ...]) -> Span | None:
        """Return which bytes of a chunk hold a box; see `decode_box`.

        None where voxels don't lie in chunks as they do in memory, or the box needs all bytes.
        """
        _ = shape, box
        return None

    def max_encoded_size(self, shape: Shape4) -> int:
        """Return how many bytes an honest chunk of this shape may take; a bound against bombs."""
        return 2 * self.decoded_size(shape) + 2**20

    def decoded_size(self, shape: Shape4) -> int:
        """Return the bytes that the voxels of a chunk take in memory."""
        x, y, z, channels = shape
        return x * y * z * channels * self.dtype.itemsize

    def _voxels(self, chunk: NDArray[Any]) -> NDArray[Any]:
        """Return `chunk` once its shape and dtype are known to be right."""
        if chunk.ndim != 4 or chunk.shape[3] != self.channels or 0 in chunk.shape:
            raise InputError(
                f"a chunk to encode as {self.name} must have shape (x, y, z, {self.channels}), "
                f"got {chunk.shape}"
            )
        if chunk.dtype != self.dtype:
            raise InputError(
                f"a chunk to encode as {self.name} must be {self.dtype}, got {chunk.dtype}"
            )
        return chunk


_REGISTERED: dict[str, type[ChunkEncoding]] = {}
_FROM_ELSEWHERE: set[str] = set()


def register(encoding: type[ChunkEncoding]) -> type[ChunkEncoding]:
    """Make an encoding known to `info`, to all that reads and to all that writes chunks."""
    if encoding.name not in ENCODINGS:
        ENCODINGS.append(encoding.name)
        _FROM_ELSEWHERE.add(encoding.name)
    _REGISTERED[encoding.name] = encoding
    return encoding


def unregister(encoding: type[ChunkEncoding]) -> None:
    """Forget an encoding that was registered; one of ngcore's own that it replaced is back."""
    if _REGISTERED.pop(encoding.name, None) is not None and encoding.name in _FROM_ELSEWHERE:
        ENCODINGS.remove(encoding.name)
        _FROM_ELSEWHERE.remove(encoding.name)


def make_encoding(
    info: VolumeInfo, scale: ScaleInfo, *, jpeg_quality: int = 95, jpeg_plane: JpegPlane = "xy"
) -> ChunkEncoding:
    """Return the encoding of a scale's chunks.

    Parameters
    ----------
    info : VolumeInfo
    scale : ScaleInfo
        One of its scales.
    jpeg_quality : int, 1 to 100
    jpeg_plane : "xy" or "xz"
        Only encoders heed these two.

    Raises
    ------
    InputError
        ngcore does not know the encoding, or it can't hold the volume's voxels.
    MissingExtraError
        It needs a library that is not installed.
    """
    name = scale.encoding
    if name not in ENCODINGS:
        raise InputError(
            f"scale {scale.key}: ngcore can't read or write the encoding {name!r}, only "
            + ", ".join(ENCODINGS)
        )
    if name not in _REGISTERED:
        _REGISTERED[name] = import_module(f"ngcore.precomputed.encodings.{name}").Encoding
    encoding = _REGISTERED[name]
    dtype, channels = np.dtype(info.data_type), info.num_channels
    return encoding.of_scale(dtype, channels, scale, (jpeg_quality, jpeg_plane))
