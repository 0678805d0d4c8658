"""Arrays in every memory layout that a kernel may meet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from hypothesis import strategies as st

if TYPE_CHECKING:
    from numpy.typing import NDArray


def arranged(draw: st.DrawFn, array: NDArray[Any]) -> NDArray[Any]:
    """Return the same array in another order, with gaps or backwards, perhaps read-only."""
    layout = draw(st.sampled_from(["C", "F", "strided", "reversed", "transposed"]))
    if layout in "CF":
        array = np.array(array, order=layout)
    elif layout == "strided":
        room = np.zeros([2 * n + 1 for n in array.shape], array.dtype)
        gaps = (slice(1, None, 2),) * array.ndim
        room[gaps] = array
        array = room[gaps]
    elif layout == "reversed":
        array = np.array(array[::-1, :, ::-1], order="F")[::-1, :, ::-1]
    else:
        array = np.array(array.transpose(1, 3, 0, 2), order="C").transpose(2, 0, 3, 1)
    array.flags.writeable = draw(st.booleans())
    return array
