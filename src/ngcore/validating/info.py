"""Checks `info`: against the format's rules, and its scales against each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ngcore.errors import FormatError, InputNotFoundError
from ngcore.precomputed.info import ScaleInfo, VolumeInfo, info_warnings, scale_factors
from ngcore.precomputed.json_members import dump, parse_object
from ngcore.precomputed.scales import LARGEST_CHUNK_SIDE
from ngcore.storage import LocalStore
from ngcore.storage.completeness import refuse_unfinished
from ngcore.validating.files import read_limited

if TYPE_CHECKING:
    from ngcore.storage import ReadableStore
    from ngcore.validating.findings import Findings

_MAX_SIZE = 4 << 20


def read_members(store: ReadableStore, findings: Findings) -> dict[str, Any] | None:
    """Return the members of `info`, whatever kind of layer it is of; None where it is damaged.

    Raises
    ------
    InputError, InputNotFoundError
        There is none.
    """
    document = _read(store, findings)
    if document is None:
        return None
    try:
        return parse_object(document)
    except FormatError as error:
        findings.error("info", "info", error)
        return None


def check_info(members: dict[str, Any], findings: Findings) -> VolumeInfo | None:
    """Return a volume's info; None where it is too damaged to go on.

    ``"sharding": null`` is one fault that does not end the validation: everybody can see what is
    meant.
    """
    _drop_null_shardings(members, findings)
    try:
        info = VolumeInfo.from_json(dump(members))
    except FormatError as error:
        _report_each(members, error, findings)
        return None
    _check_chunk_sides(info, findings)
    for warning in info_warnings(info):
        path, _, message = warning.partition(": ")
        findings.warning("info", f"info: {path}", message)
    return info


def _check_chunk_sides(info: VolumeInfo, findings: Findings) -> None:
    for index, scale in enumerate(info.scales):
        for number, size in enumerate(scale.chunk_sizes):
            sides = [min(pair) for pair in zip(size, scale.size, strict=True)]
            if max(sides) > LARGEST_CHUNK_SIDE:
                findings.error(
                    "chunk-size",
                    f"info: scales[{index}].chunk_sizes[{number}]",
                    f"a side has {max(sides)} voxels; Neuroglancer draws chunks with a side over "
                    f"{LARGEST_CHUNK_SIDE} black",
                )


def check_geometry(info: VolumeInfo, findings: Findings) -> None:
    """Check that every scale covers just what the one before does, rounded outwards.

    Every volume that `convert` writes is so; others are free to cut their scales.
    """
    for index in range(1, len(info.scales)):
        fine, coarse = info.scales[index - 1], info.scales[index]
        factors = scale_factors(fine, coarse)
        if factors is None:
            findings.error(
                "info",
                f"info: scales[{index}].resolution",
                f"{list(coarse.resolution)} is not a whole multiple of {list(fine.resolution)} "
                "of the scale before",
            )
            continue
        for axis, factor in enumerate(factors):
            start = fine.bounds.start[axis] // factor
            stop = -(-fine.bounds.stop[axis] // factor)
            found = (coarse.bounds.start[axis], coarse.bounds.stop[axis])
            if found != (start, stop):
                findings.error(
                    "info",
                    f"info: scales[{index}].size[{axis}]",
                    f"covers voxels {found[0]} to {found[1]}, but the scale before gives "
                    f"{start} to {stop}",
                )


def _read(store: ReadableStore, findings: Findings) -> bytes | None:
    try:
        document = read_limited(store, "info", _MAX_SIZE)
    except FormatError as error:
        findings.error("info", "info", error)
        return None
    if document is None:
        refuse_unfinished(store)
        if not isinstance(store, LocalStore):
            raise InputNotFoundError(
                f"not a precomputed volume: {store.location} has no info; check the URL"
            )
        what = "has no info file" if store.path.is_dir() else "is not a folder"
        raise InputNotFoundError(
            f"not a precomputed volume: {store.location} {what}; pass the folder of a volume"
        )
    return document


def _drop_null_shardings(members: dict[str, Any], findings: Findings) -> None:
    scales = members.get("scales")
    for index, scale in enumerate(scales if isinstance(scales, list) else []):
        if isinstance(scale, dict) and "sharding" in scale and scale["sharding"] is None:
            findings.error(
                "info",
                f"info: scales[{index}].sharding",
                "null, which Neuroglancer rejects; remove the member",
            )
            del scale["sharding"]


def _report_each(members: dict[str, Any], first: FormatError, findings: Findings) -> None:
    """Report the first fault of each scale, and of what is not in a scale."""
    messages = set()
    scales = members.get("scales")
    for index, scale in enumerate(scales if isinstance(scales, list) else []):
        try:
            ScaleInfo.from_json(scale)
        except FormatError as error:
            messages.add(f"scales[{index}].{error}")
    if not any(str(first) == message for message in messages):
        messages.add(str(first))
    for message in messages:
        findings.error_in_json("info", "info", FormatError(message))
