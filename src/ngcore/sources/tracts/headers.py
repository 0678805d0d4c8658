"""Headers of streamline files, as nibabel reads them, with its complaints as ours."""

from __future__ import annotations

import logging
import warnings
from typing import TYPE_CHECKING, Any

from ngcore.errors import FormatError

if TYPE_CHECKING:
    from pathlib import Path

logger = logging.getLogger(__name__)


def read_header(path: Path) -> dict[str, Any]:
    """Return the header of a ``.trk`` or ``.tck`` file, without reading streamlines.

    Raises
    ------
    FormatError
        It is damaged.
    """
    import nibabel.streamlines

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            load: Any = nibabel.streamlines.load
            header = dict(load(path, lazy_load=True).header)
        except Exception as error:  # nibabel's own, of many kinds
            text = str(error).strip().split("\n", 1)[0] or type(error).__name__
            raise FormatError(f"{path}: not a valid streamline file: {text}") from error
    for warning in caught:
        logger.warning("%s: %s", path, " ".join(str(warning.message).split()))
    return header
