"""The states that `ngcore view` makes, for volumes whose sources a test chooses."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ngcore.server.look import layers_of, make_ready
from ngcore.server.states import viewer_state

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def name_volumes(places: Sequence[Path]) -> dict[str, Path]:
    """Return volumes by the names of their layers."""
    return {item.name: Path(item.place) for item in make_ready(places, Path())}


def state_of(
    volumes: Mapping[str, Path], urls: Mapping[str, str], **options: Any
) -> dict[str, Any]:
    """Return a state that shows volumes, by name, whose sources are `urls`, by name."""
    shown = make_ready(list(volumes.values()), Path())
    names = {item.root: item.name for item in shown}
    options.setdefault("layout", "native")
    return viewer_state(layers_of(shown, lambda _, root: urls[names[root]]), **options)
