"""Mends the folder of meshes: writes the `info` that legacy meshes need.

Without it Neuroglancer takes meshes for legacy ones today, other programs none. What
multi-resolution meshes need in theirs nobody can tell from the meshes.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ngcore.precomputed.mesh_legacy import encode_mesh_info

if TYPE_CHECKING:
    from collections.abc import Collection

    from ngcore.repairing.changes import Changes
    from ngcore.storage import Store

_MANIFEST = re.compile(r"[0-9]+:[0-9]+(\.gz)?")
_INDEX = re.compile(r"[0-9]+\.index|[0-9a-f]+\.shard")


def mend_mesh_info(dest: Store, folder: str, names: Collection[str], changes: Changes) -> None:
    """Write the `info` of a folder of meshes, if it is missing.

    Parameters
    ----------
    dest : Store
    folder : str
    names : collection of str
        The files that the folder holds.
    changes : Changes
    """
    if "info" in names or "info.gz" in names:
        return
    if any(_INDEX.fullmatch(name) for name in names):
        changes.fail(f"{folder}/info", "is missing, and these meshes can't be read without it")
    elif any(_MANIFEST.fullmatch(name) for name in names):
        dest.put(f"{folder}/info", encode_mesh_info())
        changes.add("mesh info")
