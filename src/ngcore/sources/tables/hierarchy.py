"""Trees of regions, as the Allen and brainglobe atlases have them: above each region its parents.

They become tags, so that Neuroglancer's list shows all parts of the thalamus for ``#TH``.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ngcore.errors import FormatError
from ngcore.sources.tables.rows import tag_of

if TYPE_CHECKING:
    from collections.abc import Mapping

_DEEPEST = 200
_NUMBERS = re.compile(r"[0-9]{1,20}")


def parent_of(cell: str, *, is_path: bool) -> int | None:
    """Return the parent's id that a cell holds; a path (``/997/8/``) ends in the region."""
    numbers = _NUMBERS.findall(cell.removesuffix(".0"))
    if is_path:
        numbers = numbers[:-1]
    return int(numbers[-1]) if numbers else None


def tags_of_ancestors(
    parents: Mapping[int, int | None], names: Mapping[int, str]
) -> dict[int, tuple[str, ...]]:
    """Return for each region the tags of the regions that hold it, and its own if it holds some.

    Parameters
    ----------
    parents : mapping of int to (int or None)
        The parent of each region.
    names : mapping of int to str
        What to call each in tags: acronyms, or names.

    Raises
    ------
    FormatError
        If a region lies within itself.
    """
    holders = {parent for parent in parents.values() if parent is not None}
    tags: dict[int, str] = {}
    taken: set[str] = set()
    for region, name in names.items():
        if region in holders:
            tag = tag_of(name).lstrip("#") or str(region)
            # Neuroglancer does not tell apart what differs in case only: ML and ml are two regions
            tags[region] = f"{tag}_{region}" if tag.casefold() in taken else tag
            taken.add(tags[region].casefold())
    return {region: tuple(_path(region, parents, tags)) for region in parents}


def _path(region: int, parents: Mapping[int, int | None], tags: Mapping[int, str]) -> list[str]:
    path: list[int] = []
    seen: set[int] = set()
    at: int | None = region
    while at is not None:
        if at in seen:
            raise FormatError(f"the region {at} lies within itself")
        if len(path) == _DEEPEST:
            raise FormatError(f"the region {region} lies within more than {_DEEPEST} others")
        seen.add(at)
        path.append(at)
        at = parents.get(at)
    return [tags[one] for one in reversed(path) if one in tags]
