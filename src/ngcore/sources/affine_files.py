"""Affines that a user passes: numbers, or a file of them.

Text files hold 4 x 4 or 3 x 4 numbers, row-major. Those of FSL, ITK (ANTs) and FreeSurfer (LTA)
are read by nitransforms (https://nitransforms.readthedocs.io), which gives the matrix in RAS
millimetres.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ngcore.errors import FormatError, InputError, InputNotFoundError, MissingExtraError
from ngcore.sources.geometry import asked_affine

if TYPE_CHECKING:
    from ngcore.arrays.affines import Affine

_LARGEST_TEXT = 64 << 10
_LARGEST_FILE = 16 << 20
_SEPARATORS = re.compile(r"[\s,;\[\]]+")
_COUNTS = (12, 16)


def read_affine(given: Any) -> Affine | None:
    """Return the affine that a user passes.

    Parameters
    ----------
    given : array of float, shape (4, 4), or 12 or 16 numbers, or str or path, or None
        A text is the path of a file, or comma-separated numbers, row-major.

    Returns
    -------
    ndarray of float64, shape (4, 4), or None
        From voxel centres to millimetres.

    Raises
    ------
    InputError
        If it is not an affine, or can't be turned back.
    InputNotFoundError
        If there is no such file.
    FormatError
        If the file holds something else.
    MissingExtraError
        If the file needs nitransforms, which is not installed.
    """
    if not isinstance(given, str | os.PathLike):
        return asked_affine(given)
    text = os.fspath(given)
    path = Path(text)
    numbers = _numbers(text) if "," in text and not path.is_file() else None
    if numbers is not None:
        return asked_affine(numbers)
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST_FILE)
    except FileNotFoundError:
        raise InputNotFoundError(
            f"--affine {text}: no such file; pass a file of 4 x 4 numbers, or 12 or 16 numbers "
            "with commas between them"
        ) from None
    except OSError as error:
        raise InputError(f"--affine {text} can't be read: {error.strerror}") from error
    numbers = _numbers(content.decode("latin-1")) if len(content) <= _LARGEST_TEXT else None
    if numbers is None:
        numbers = _with_nitransforms(path, content)
    try:
        return asked_affine(numbers)
    except InputError as error:
        raise FormatError(f"{text}: {error}") from error


def _numbers(text: str) -> list[float] | None:
    """Return the 12 or 16 numbers that a text is; None if it is something else."""
    lines = (line.partition("#")[0] for line in text.splitlines())
    words = [word for line in lines for word in _SEPARATORS.split(line) if word]
    if len(words) not in _COUNTS:
        return None
    try:
        return [float(word) for word in words]
    except ValueError:
        return None


def _with_nitransforms(path: Path, content: bytes) -> Any:
    kinds = {
        "itk": content.startswith((b"#Insight Transform File", b"\x89HDF", b"AffineTransform"))
        or b"AffineTransform_" in content[:64],
        "fs": b"nxforms" in content[:4096] or b"src volume info" in content[:65536],
    }
    kind = next((kind for kind, is_it in kinds.items() if is_it), None)
    if kind is None:
        raise FormatError(
            f"{path}: not an affine: expected 4 x 4 or 3 x 4 numbers, or a linear transform of "
            "ITK, ANTs or FreeSurfer (LTA)"
        )
    try:
        from nitransforms import linear
    except ImportError as error:
        raise MissingExtraError(
            f"{path}: this file needs nitransforms; pip install "
            "'ngcore-neuroglancer[formats]', or save the matrix "
            "as 4 x 4 numbers"
        ) from error
    try:
        return np.asarray(linear.load(path, fmt=kind).matrix)
    except Exception as error:  # whatever it raises at bytes that are something else
        raise FormatError(
            f"{path}: not a linear transform that nitransforms reads: {error}"
        ) from error
