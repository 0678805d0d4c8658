"""`transform.json`: the matrix from a volume's nanometres to those of its world."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

import numpy as np

from ngcore.errors import FormatError

if TYPE_CHECKING:
    from ngcore.arrays.affines import Affine


_SMALLEST_RELATIVE_SCALE = 1e-12


def parse_transform(document: str | bytes, where: str) -> Affine:
    """Parse a `transform.json`.

    Parameters
    ----------
    document : str or bytes
        The file.
    where : str
        What to call it in errors.

    Returns
    -------
    ndarray of float64, shape (4, 4)
        Row-major, invertible, with a last row of 0 0 0 1.

    Raises
    ------
    FormatError
        It is something else.
    """
    try:
        rows = json.loads(document)
    except (ValueError, RecursionError) as error:
        raise _fault(where, f"not JSON: {error}") from error
    is_matrix = (
        isinstance(rows, list)
        and len(rows) == 4
        and all(isinstance(row, list) and len(row) == 4 for row in rows)
        and all(_is_number(value) for row in rows for value in row)
    )
    if not is_matrix:
        raise _fault(where, "expected four rows of four finite numbers")
    if rows[3] != [0, 0, 0, 1]:
        raise _fault(where, f"[3]: the last row must be [0, 0, 0, 1], got {rows[3]}")
    matrix = np.array(rows, np.float64)
    scales = np.linalg.svd(matrix[:3, :3], compute_uv=False)
    if not scales[2] > scales[0] * _SMALLEST_RELATIVE_SCALE:
        raise _fault(where, "the matrix is singular: it flattens the volume")
    return matrix


def _fault(where: str, reason: str) -> FormatError:
    return FormatError(
        f"{where} is not a 4x4 affine matrix: {reason}; remove it, or convert the volume again"
    )


def _is_number(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False
