"""Values of voxels to colours, as Neuroglancer's shaders of the same appearance make them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ngcore.previewing.appearance import Appearance, at_channel
from ngcore.volume.segment_colours import default_colours

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from ngcore.volume.segment_colours import Colour


def paint_image(values: NDArray[Any], appearance: Appearance) -> NDArray[np.float64]:
    """Return red, green, blue (0 to 255) and opacity (0 to 1), shape (..., 4).

    Parameters
    ----------
    values : ndarray, shape (..., channel)
    appearance : Appearance
    """
    if appearance.mode in ("colour", "direction"):
        return _as_they_are(values, appearance)
    raw = values[..., at_channel(appearance).channel or 0].astype(np.float64)
    painted = np.empty((*raw.shape, 4))
    is_known = np.isfinite(raw)
    known = np.where(is_known, raw, 0)
    shown = appearance.shown
    low, high = (0.0, 1.0) if shown is None else (float(shown.low), float(shown.high))
    if appearance.mode == "diverging":
        size = np.abs(known)
        places = (size - low) / (high - low)
        above = appearance.colour_map.colours(places.clip(0, 1))
        below = appearance.colour_map.colours(places.clip(0, 1), is_below=True)
        painted[..., :3] = np.where((known < 0)[..., np.newaxis], below, above)
        is_shown = size >= low
    else:
        places = (known - low) / (high - low)
        painted[..., :3] = appearance.colour_map.colours(places.clip(0, 1))
        is_shown = (places >= 0) | (not appearance.hides_below)
    if appearance.hides_zero or appearance.mode == "diverging":
        is_shown = is_shown & (known != 0)
    painted[..., 3] = (is_shown & is_known) * appearance.opacity
    return painted


def _as_they_are(values: NDArray[Any], appearance: Appearance) -> NDArray[np.float64]:
    full = 1.0 if values.dtype.kind == "u" else 255.0
    scaled = np.nan_to_num(values.astype(np.float64)) * full
    painted = np.empty((*values.shape[:-1], 4))
    painted[..., :3] = (
        np.abs(scaled[..., :3]) if appearance.mode == "direction" else scaled[..., :3]
    ).clip(0, 255)
    has_alpha = appearance.mode == "colour" and values.shape[-1] == 4
    alpha = scaled[..., 3] / 255 if has_alpha else np.ones(values.shape[:-1])
    painted[..., 3] = alpha.clip(0, 1) * appearance.opacity
    return painted


def paint_labels(
    labels: NDArray[Any], table: Mapping[int, Colour], opacity: float
) -> NDArray[np.float64]:
    """Return red, green, blue (0 to 255) and opacity (0 to 1) of labels, shape (..., 4).

    Labels have the colours of their table, else those of Neuroglancer; 0 is transparent.
    """
    ids, places = np.unique(labels, return_inverse=True)
    colours = default_colours(ids).astype(np.float64)
    for number, label in enumerate(ids.tolist()):
        if label in table:
            colours[number] = table[label]
    painted = np.empty((*labels.shape, 4))
    painted[..., :3] = colours[places.reshape(labels.shape)]
    painted[..., 3] = (labels != 0) * opacity
    return painted


def blend(below: NDArray[np.float64], above: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return an opaque picture, (..., 3), with another layer, (..., 4), over it."""
    share = above[..., 3:]
    mixed: NDArray[np.float64] = below * (1 - share) + above[..., :3] * share
    return mixed
