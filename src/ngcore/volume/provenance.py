"""The `provenance` file: where a volume came from, in the shape that CloudVolume reads.

It says what shaped the data and nothing else: no time, host, thread count or memory, so that the
same source and options always give the same bytes.

https://github.com/seung-lab/cloud-volume/wiki/Provenance-Files
"""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any, Protocol

from ngcore._version import __version__
from ngcore.errors import FormatError
from ngcore.precomputed.json_members import parse_object
from ngcore.volume.digest import ALGORITHM

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from typing_extensions import Buffer

logger = logging.getLogger(__name__)

TASK = "ngcore convert"


def provenance_json(
    sources: Sequence[str], parameters: Mapping[str, object], *, task: str = TASK
) -> bytes:
    """Return the content of a `provenance` file.

    Parameters
    ----------
    sources : sequence of str
        Names of the inputs, without the folders they lie in.
    parameters : mapping
        The options that shaped the data; values that JSON can hold.
    task : str
        The command.
    """
    document = {
        "sources": list(sources),
        "owners": [],
        "processing": [
            {
                "method": {
                    "task": task,
                    "version": __version__,
                    **parameters,
                },
                "by": "",
            }
        ],
        "description": "",
    }
    return _to_bytes(document)


def with_digests(provenance: bytes, digests: Mapping[str, str]) -> bytes:
    """Return a `provenance` file made by `provenance_json` with the digests of its scales added.

    Parameters
    ----------
    provenance : bytes
    digests : mapping of str to str
        By the key of the scale; see `ngcore.volume.digest`.
    """
    document = parse_object(provenance)
    document["processing"][-1]["method"]["digests"] = {
        "algorithm": ALGORITHM,
        "scales": dict(digests),
    }
    return _to_bytes(document)


def is_same_work(found: bytes | None, wanted: bytes) -> bool:
    """Whether two `provenance` files tell of the same conversion.

    Its source and options are compared: neither digests nor what other commands did later.
    """
    if found is None:
        return False
    try:
        return _conversion_of(found) == _conversion_of(wanted)
    except FormatError:
        return False


def _conversion_of(provenance: bytes) -> tuple[object, dict[str, Any]]:
    """Return the sources and the last conversion that a `provenance` file tells of."""
    methods = [
        step["method"]
        for step in _steps(provenance)
        if isinstance(step.get("method"), dict) and step["method"].get("task") == TASK
    ]
    conversion = methods[-1] if methods else {}
    conversion.pop("digests", None)
    return parse_object(provenance).get("sources"), conversion


class Place(Protocol):
    """Where a step is noted: a transaction, so that steps at once lose no notes."""

    @property
    def location(self) -> str:
        """Where this is, for messages."""

    def get(self, name: str) -> bytes | None:
        """Return the content of a file; None where there is none."""

    def put(self, name: str, *parts: Buffer) -> None:
        """Write a file."""


def record_step(
    store: Place,
    command: str,
    parameters: Mapping[str, object],
    digests: Mapping[str, str],
    *,
    sources: Sequence[str] | None = None,
) -> None:
    """Note a step of the classic pipeline in a volume's `provenance` file.

    Parameters
    ----------
    store : Place
        The volume, locked.
    command : str
        Name of the step. It takes the place of an earlier run of the same step.
    parameters : mapping
        The options that shaped the data.
    digests : mapping of str to str
        Of the scales it wrote, by key. Those of other scales are kept.
    sources : sequence of str, optional
        Names of the inputs, where the step starts the volume anew; else it adds to what is there.
    """
    task = f"ngcore {command}"
    step = provenance_json(sources or (), parameters, task=task)
    found = store.get("provenance") if sources is None else None
    if found is None:
        store.put("provenance", with_digests(step, digests))
        return
    try:
        known = last_method(found).get("digests")
    except FormatError as error:
        logger.warning("%s/provenance is left as it is: %s", store.location, error)
        return
    kept = known.get("scales") if isinstance(known, dict) else None
    document = parse_object(found)
    document["processing"] = [
        earlier
        for earlier in document.get("processing", [])
        if not isinstance(earlier.get("method"), dict) or earlier["method"].get("task") != task
    ] + parse_object(step)["processing"]
    all_digests = {**(kept if isinstance(kept, dict) else {}), **digests}
    store.put("provenance", with_digests(_to_bytes(document), all_digests))


def last_method(provenance: bytes) -> dict[str, Any]:
    """Return what was done last to a volume, by its `provenance` file; empty if it doesn't say.

    Raises
    ------
    FormatError
        It is not JSON, or not of CloudVolume's shape.
    """
    processing = _steps(provenance)
    method = processing[-1].get("method", {}) if processing else {}
    return method if isinstance(method, dict) else {}


def _steps(provenance: bytes) -> list[dict[str, Any]]:
    processing = parse_object(provenance).get("processing", [])
    if not isinstance(processing, list) or not all(isinstance(step, dict) for step in processing):
        raise FormatError("processing: an array of objects expected")
    return processing


def _to_bytes(document: Mapping[str, object]) -> bytes:
    # Names of files need not be text: what is none becomes an escape, which JSON has for it.
    text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    return text.encode(errors="backslashreplace")
