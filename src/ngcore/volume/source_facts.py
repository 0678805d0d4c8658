"""What `provenance` keeps of a volume's source beside its name: its time step, unknown sides."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from ngcore.errors import FormatError
from ngcore.volume.provenance import Provenance

if TYPE_CHECKING:
    from ngcore.volume.read import Volume

_FACTS = ("time_step", "left_is_unknown", "sform_code", "qform_code")


def source_facts(volume: Volume) -> dict[str, Any]:
    """Return the facts of a volume's source that shape how it is shown; those that are known."""
    document = volume.store.get("provenance")
    if document is None:
        return {}
    try:
        steps = Provenance.from_json(document).processing
    except FormatError:
        return {}
    facts: dict[str, Any] = {}
    for method in (step.method for step in steps):
        if isinstance(method, str):
            continue
        # They stand in the conversion's own parameters, or in a group of them.
        groups = [method, *(value for value in method.values() if isinstance(value, dict))]
        facts |= {name: group[name] for group in groups for name in _FACTS if name in group}
    return facts


def time_step_seconds(volume: Volume) -> float | None:
    """Return the seconds from one channel to the next; None where channels are not times."""
    if volume.info.num_channels < 2:
        return None
    value = source_facts(volume).get("time_step")
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    return float(value) if math.isfinite(value) and value > 0 else None
