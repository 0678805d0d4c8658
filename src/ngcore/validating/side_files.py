"""Checks what lies beside `info`: transform.json, provenance, and what belongs to no volume."""

from __future__ import annotations

import os
import posixpath
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from ngcore.errors import FormatError, StorageError
from ngcore.precomputed.transform import TRANSFORM_NAME, parse_transform
from ngcore.storage.local import WORK_FOLDER
from ngcore.transaction.journal import MESH_WORK_FOLDER
from ngcore.validating.files import read_limited
from ngcore.volume.digest import ALGORITHM
from ngcore.volume.provenance import TASK, last_method

if TYPE_CHECKING:
    from ngcore.precomputed.info import VolumeInfo
    from ngcore.storage import LocalStore, ReadableStore
    from ngcore.validating.findings import Findings

_MAX_SIZE = 4 << 20
SIDE_FILES = ("info", "info_fullres.json", "transform.json", "provenance")
_RUNS = {WORK_FOLDER: "a conversion", MESH_WORK_FOLDER: "a run of `ngcore mesh`"}
_METHODS = ("average", "majority", "stride", "min", "max")


@dataclass(frozen=True, slots=True)
class Provenance:
    """What the `provenance` file says that can be checked.

    Attributes
    ----------
    is_ours : bool
        Whether `convert` wrote the volume, so that its own stricter rules hold.
    method : str or None
        How it made the coarser scales.
    outside_value : float or None
        With what it padded.
    digests : dict of str to str
        By key of the scale.
    """

    is_ours: bool = False
    method: str | None = None
    outside_value: float | None = None
    digests: dict[str, str] = field(default_factory=dict)


def read_provenance(store: ReadableStore, findings: Findings) -> Provenance:
    """Return what the `provenance` file says; a damaged one is a warning, and says nothing."""
    try:
        document = read_limited(store, "provenance", _MAX_SIZE)
        method: dict[str, Any] = last_method(document) if document is not None else {}
    except FormatError as error:
        findings.warning("provenance", "provenance", f"{error}; digests can't be compared")
        return Provenance()
    task = method.get("task")
    if not isinstance(task, str) or not task.startswith("ngcore "):
        return Provenance()
    downsampling, outside = method.get("downsampling"), method.get("outside_value")
    digests = method.get("digests", {"algorithm": ALGORITHM, "scales": {}})
    scales = digests.get("scales") if isinstance(digests, dict) else None
    if not isinstance(scales, dict) or not all(isinstance(v, str) for v in scales.values()):
        findings.warning(
            "provenance",
            "provenance: processing[].method.digests",
            "an algorithm and a text for each scale expected; digests can't be compared",
        )
        scales = None
    elif digests.get("algorithm") != ALGORITHM:
        findings.warning(
            "provenance",
            "provenance: processing[].method.digests.algorithm",
            "not one that this version of ngcore knows; digests can't be compared",
        )
        scales = None
    is_ours = task == TASK  # the steps write digests too, but may work on volumes of others
    return Provenance(
        is_ours=is_ours,
        method=downsampling if is_ours and downsampling in _METHODS else None,
        outside_value=float(outside) if isinstance(outside, int | float) else None,
        digests=scales or {},
    )


def check_transform(store: ReadableStore, findings: Findings) -> None:
    """Check that transform.json, if it is there, is an affine matrix that can be inverted."""
    try:
        document = read_limited(store, TRANSFORM_NAME, _MAX_SIZE)
        if document is not None:
            parse_transform(document, "it")
    except FormatError as error:
        findings.error("transform", TRANSFORM_NAME, error)


def check_strays(store: LocalStore, info: VolumeInfo, findings: Findings) -> None:
    """Warn of what lies in the volume's folder and belongs to nothing that `info` names."""
    folders = {scale.key for scale in info.scales}
    folders |= {name for name in (info.mesh, info.skeletons, info.segment_properties) if name}
    first_parts = {PurePosixPath(posixpath.normpath(name)).parts[0] for name in folders}
    try:
        names = sorted(entry.name for entry in os.scandir(store.path))
    except OSError as error:
        raise StorageError(
            f"can't list {store.location}: {error.strerror}; check its access rights"
        ) from error
    for name in names:
        if name in _RUNS:
            findings.warning(
                "stray", name, f"left by {_RUNS[name]} that did not end, or is still running"
            )
        elif name.removesuffix(".gz") not in SIDE_FILES and name not in first_parts:
            findings.warning("stray", name, "belongs to nothing that info names")
