"""Files that hold several arrays: choosing one of them, units of length and time, lazy imports."""

from __future__ import annotations

from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

from ngcore.errors import FormatError, InputError, MissingExtraError, NgcoreError, StorageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ngcore.arrays.affines import Affine

MM_PER_UNIT = {
    "m": 1e3,
    "meter": 1e3,
    "metre": 1e3,
    "cm": 10.0,
    "centimeter": 10.0,
    "mm": 1.0,
    "millimeter": 1.0,
    "millimetre": 1.0,
    "um": 1e-3,
    "\u00b5m": 1e-3,
    "\u03bcm": 1e-3,
    "micron": 1e-3,
    "microns": 1e-3,
    "micrometer": 1e-3,
    "micrometre": 1e-3,
    "nm": 1e-6,
    "nanometer": 1e-6,
    "nanometre": 1e-6,
    "angstrom": 1e-7,
    "\u00e5": 1e-7,
    "\u00c5": 1e-7,
    "pm": 1e-9,
    "picometer": 1e-9,
}
"""Units of length, by the names that files use, in lower case and without a plural s."""

SECONDS_PER_UNIT = {
    "s": 1.0,
    "sec": 1.0,
    "second": 1.0,
    "ms": 1e-3,
    "msec": 1e-3,
    "millisecond": 1e-3,
    "us": 1e-6,
    "microsecond": 1e-6,
    "min": 60.0,
    "minute": 60.0,
    "h": 3600.0,
    "hour": 3600.0,
}


def need(module: str, what: str, extra: str = "formats") -> Any:
    """Import a library that an extra brings.

    Raises
    ------
    MissingExtraError
        That says which extra.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise MissingExtraError(
            f"{what} needs {module}; pip install 'ngcore-neuroglancer[{extra}]'"
        ) from error


@contextmanager
def foreign_errors(doing: str) -> Iterator[None]:
    """Turn whatever a library raises about a file into one line of ours.

    Parameters
    ----------
    doing : str
        What failed, such as "its header can't be read".
    """
    try:
        yield
    except NgcoreError:
        raise
    except MemoryError as error:
        raise FormatError(f"{doing}: it asks for more memory than there is") from error
    except OSError as error:
        if (
            error.errno is not None
            and error.errno > 0
            and not isinstance(error, FileNotFoundError)
        ):
            raise StorageError(f"{doing}: {one_line(error)}") from error
        raise FormatError(f"{doing}: {one_line(error)}") from error
    except Exception as error:
        raise FormatError(f"{doing}: {one_line(error)}") from error


def one_line(error: BaseException) -> str:
    """Return what an exception says, in one line of bounded length."""
    text = " ".join(str(error).partition(" [tensorstore_spec=")[0].split()) or type(error).__name__
    return text if len(text) <= 300 else text[:297] + "..."


def mm_per_unit(unit: object) -> float | None:
    """Return how many millimetres a unit of length is; None if it is none that is known."""
    name = str(unit).strip().lower()
    return MM_PER_UNIT.get(name, MM_PER_UNIT.get(name.removesuffix("s")))


def seconds_per_unit(unit: object) -> float | None:
    """Return how many seconds a unit of time is; None if it is none that is known."""
    name = str(unit).strip().lower()
    return SECONDS_PER_UNIT.get(name, SECONDS_PER_UNIT.get(name.removesuffix("s")))


def choose_one(name: str, candidates: Sequence[str], what: str = "array") -> str:
    """Return the only candidate.

    Raises
    ------
    InputError
        If there is none, or more than one: it names them.
    """
    if len(candidates) == 1:
        return candidates[0]
    if not candidates:
        raise InputError(f"holds no {what} of numbers with 2 to 5 dimensions; check its content")
    shown = ", ".join(repr(one) for one in candidates[:8])
    more = f" and {len(candidates) - 8} more" if len(candidates) > 8 else ""
    raise InputError(
        f"holds several {what}s: {shown}{more}; pass one, such as '{name}:/{candidates[0]}'"
    )


def diagonal_affine(sizes_mm: Sequence[float], first_mm: Sequence[float]) -> Affine:
    """Return the affine of voxels of some size, the centre of the first at `first_mm`."""
    affine = np.diag([*(float(size) for size in sizes_mm), 1.0])
    affine[:3, 3] = first_mm
    return affine


def sizes_are_sound(sizes: Sequence[float]) -> bool:
    """Return whether voxel sizes can be used: three, finite and positive."""
    return len(sizes) == 3 and all(np.isfinite(size) and size > 0 for size in sizes)


def unscaled(attributes: Mapping[str, Any]) -> tuple[str, ...]:
    """Return a warning of attributes by which other programs turn stored into true values.

    netCDF and xarray write them; they are of a convention, not of the format, and not followed.
    """
    neutral = {"scale_factor": 1.0, "add_offset": 0.0}
    found = []
    for name, value in neutral.items():
        number = attributes.get(name)
        if number is None:
            continue
        try:
            is_neutral = bool(np.all(np.asarray(number, np.float64) == value))
        except (TypeError, ValueError):
            is_neutral = False
        if not is_neutral:
            found.append(f"{name} {number}")
    if not found:
        return ()
    return (
        f"its attributes say {' and '.join(found)}, which are not applied: values are those "
        "that are stored",
    )
