"""NumPy's `.npy` files, read in place: never mapped, never unpickled.

https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
"""

from __future__ import annotations

import tokenize
import warnings
from typing import TYPE_CHECKING, Any

from numpy.lib import format as npy_format

from ngcore.errors import FormatError, InputError, StorageError
from ngcore.sources.base import color_count, stored_type
from ngcore.sources.files import open_binary
from ngcore.sources.geometry import placed_header, shape_with_channels
from ngcore.sources.registry import Asked, Found, SourceFormat, register
from ngcore.sources.type_hints import suggest_type
from ngcore.sources.volumes.raw import (
    C_ORDER,
    FORTRAN_ORDER,
    INTERLEAVED_ORDER,
    RawSource,
    order_of,
)

if TYPE_CHECKING:
    import numpy as np

PARSING_ERRORS = (
    MemoryError,
    OverflowError,
    RecursionError,
    SyntaxError,
    TypeError,
    ValueError,
    tokenize.TokenError,
)
"""What NumPy raises while it reads malformed headers, which are Python literals."""


def open_npy(found: Found, choices: Asked) -> RawSource:
    """Open a `.npy` file in C or Fortran order.

    Raises
    ------
    FormatError
        If it is not a valid `.npy` file, or shorter than its header says.
    InputError
        If its values can't be converted: objects, complex numbers, texts.
    """
    path, name, asked = found.path, found.name, choices.geometry
    open_binary(path, name).close()  # says what is wrong with the path, as for every format
    with path.open("rb") as file:
        shape, is_fortran, dtype = _header(file, name)
        offset = file.tell()
    colors = color_count(dtype)
    stored = stored_type(dtype, name)
    if choices.axes is None:
        volume_shape = shape_with_channels(shape, name, colors)
        fortran = INTERLEAVED_ORDER if colors > 1 else FORTRAN_ORDER
        order = fortran if is_fortran else C_ORDER
    else:
        from ngcore.sources.axes import axes_of  # seldom

        axes = axes_of(shape, asked=choices.axes, colors=colors)
        volume_shape = axes.shape
        fast_to_slow = axes.code if is_fortran else axes.code[::-1]
        order = order_of(("c" if colors > 1 else "") + fast_to_slow.replace("t", "c"))
    header = placed_header(
        None,
        asked,
        shape=volume_shape,
        dtype=stored.newbyteorder("="),
        suggested_type=suggest_type(name, volume_shape[3]),
        files=(path,),
    )
    return RawSource(header, path, offset, order, stored)


def _header(file: Any, name: str) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    try:
        version = npy_format.read_magic(file)
        readers = {
            (1, 0): npy_format.read_array_header_1_0,
            (2, 0): npy_format.read_array_header_2_0,
            # 2.0 but for the names of fields, which are UTF-8. No field that is read has such a
            # name, and of the others `stored_type` says that they can't be converted.
            (3, 0): npy_format.read_array_header_2_0,
        }
        if version not in readers:
            raise InputError(
                f"{name}: .npy version {version[0]}.{version[1]} is not known; save the array "
                f"with numpy.save"
            )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of headers that Python 2 wrote
            shape, is_fortran, dtype = readers[version](file)
    except InputError:
        raise
    except OSError as error:
        raise StorageError(
            f"{name}: reading failed: {error.strerror or error}; check the disk or mount"
        ) from error
    except PARSING_ERRORS as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise FormatError(f"{name}: not a valid .npy file: {reason}; save it again") from error
    return shape, is_fortran, dtype


register(
    SourceFormat(
        name="NumPy's .npy",
        open=open_npy,
        is_it=lambda found: found.head.startswith(b"\x93NUMPY"),
        endings=(".npy",),
        takes=frozenset({"axes"}),
    )
)
