"""Pictures of things, which are converted on the way as `view` does it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from ngcore.errors import InputError
from ngcore.previewing.picture import DEFAULT_SIZE, check_picture, write_picture
from ngcore.previewing.scene import PictureLayer
from ngcore.server.folders import open_volume
from ngcore.server.layers import VolumeLayer
from ngcore.server.look import layers_of, make_ready, unwatched, workshop
from ngcore.storage import open_store

if TYPE_CHECKING:
    import os
    from collections.abc import Sequence

    from ngcore.server.look import Watch

logger = logging.getLogger(__name__)


def preview(
    things: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    *,
    size: int = DEFAULT_SIZE,
    at: Sequence[float] | None = None,
    overwrite: bool = False,
    watch: Watch = unwatched,
) -> None:
    """Write a PNG of three sections of things: sagittal, coronal and axial, with a scale bar.

    Parameters
    ----------
    things : path, or sequence of paths
        As `ngcore view` takes them, with settings after colons; what has no voxels is left out.
    out : path
        The `.png` file to write.
    size : int, in pixels
        Of the longest side of what is shown, 64 to 4096.
    at : three numbers, (x, y, z), in mm, optional
        Where the sections cross; default the middle of the lowest volume.
    overwrite : bool
        Replace `out` if it is there.
    watch : callable, optional
        Told of each thing that is converted.

    Raises
    ------
    InputError, FormatError
        A thing can't be read or converted, or an option is out of range.
    DestinationError
        `out` already exists, or can't be written.
    """
    check_picture(out, size, overwrite=overwrite)
    named = [things] if isinstance(things, str) or not isinstance(things, list | tuple) else things
    with workshop(None) as folder:
        shown = make_ready([str(thing) for thing in named], folder, watch)
        drawn = []
        for item, layer in zip(shown, layers_of(shown, lambda _, root: root), strict=True):
            if not isinstance(layer, VolumeLayer):
                logger.warning("%s has no voxels, so the picture is without it", item.name)
            elif layer.asked.is_visible:
                volume = open_volume(open_store(item.place))
                drawn.append(PictureLayer(volume, layer.asked, item.colours, item.name))
        if not drawn:
            raise InputError("nothing here has voxels and is visible; pass a volume too")
        write_picture(drawn, out, size=size, at=at, overwrite=overwrite)
