"""Checks what lies beside `info`: transform.json, provenance, and what belongs to no volume."""

from __future__ import annotations

import os
import posixpath
from typing import TYPE_CHECKING

from ngcore.errors import FormatError, StorageError
from ngcore.precomputed.names import PROVENANCE_NAME, TRANSFORM_NAME
from ngcore.precomputed.transform import parse_transform
from ngcore.storage.local import WORK_FOLDER
from ngcore.transaction.journal import MESH_WORK_FOLDER
from ngcore.validating.files import names_of_others, read_limited
from ngcore.volume.provenance import CONVERT, MAX_SIZE, Provenance

if TYPE_CHECKING:
    from ngcore.precomputed.info import VolumeInfo
    from ngcore.storage import LocalStore, ReadableStore
    from ngcore.validating.findings import Findings

_MAX_SIZE = 4 << 20
_RUNS = {WORK_FOLDER: "a conversion", MESH_WORK_FOLDER: "a run of `ngcore mesh`"}
_METHODS = ("average", "majority", "stride", "min", "max")


def read_provenance(store: ReadableStore, findings: Findings) -> Provenance:
    """Return what the `provenance` file says; a damaged one is a warning, and says nothing."""
    try:
        document = read_limited(store, PROVENANCE_NAME, MAX_SIZE)
        provenance = Provenance() if document is None else Provenance.from_json(document)
    except FormatError as error:
        findings.warning("provenance", PROVENANCE_NAME, f"{error}; digests can't be compared")
        return Provenance()
    if provenance.fault:
        findings.warning(
            "provenance", PROVENANCE_NAME, f"{provenance.fault}; digests can't be compared"
        )
    return provenance


def downsampling_of(provenance: Provenance) -> tuple[str | None, float | None]:
    """Return how `convert` made coarser scales, and with what it padded; None if it didn't."""
    conversion = provenance.method_of(CONVERT) or {}
    method, outside = conversion.get("downsampling"), conversion.get("outside_value")
    return (
        method if method in _METHODS else None,
        float(outside) if isinstance(outside, int | float) else None,
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
    known = names_of_others(info, ".")
    is_scale_here = any(posixpath.normpath(scale.key) == "." for scale in info.scales)
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
        elif name not in known and not is_scale_here:
            findings.warning("stray", name, "is not part of what info describes")
