"""The page of a folder of volumes: pictures, what each holds, and one link that opens several.

The same page is written by `gallery` and answered by `serve`. It needs no other file than its
pictures, and works from any web server.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ngcore.errors import NgcoreError
from ngcore.precomputed.json_members import parse_object
from ngcore.precomputed.names import VOLUME_TYPE
from ngcore.server.folders import open_volume
from ngcore.server.layouts import fit_script
from ngcore.volume.world import has_world, world_transform

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ngcore.storage import ReadableStore
    from ngcore.volume.read import Volume

GENERATOR = "ngcore gallery"
_HERE = Path(__file__).parent
_MAX_INFO = 16 << 20
_NO_PICTURE = "data:image/svg+xml,%3Csvg xmlns=%22http://www.w3.org/2000/svg%22/%3E"
"""An empty one: for anything else browsers draw the sign of a picture that is broken."""
_TIMES = "\N{MULTIPLICATION SIGN}"
_KINDS = {
    "neuroglancer_annotations_v1": "annotations",
    "neuroglancer_skeletons": "skeletons",
    "neuroglancer_legacy_mesh": "meshes",
    "neuroglancer_multilod_draco": "meshes",
}


@dataclass(frozen=True, slots=True)
class Entry:
    """One volume on the page.

    Attributes
    ----------
    name : str
        By which the page's script knows it.
    title : str
    source : str
        For Neuroglancer.
    link : str
        What opens it where there are no scripts.
    picture : str or None
        URL of its picture.
    facts : mapping of str to str
        What it holds.
    fault : str
        Why it can't be shown; empty where it can.
    """

    name: str
    title: str
    source: str
    link: str
    picture: str | None
    facts: Mapping[str, str]
    fault: str = ""


def index_page(entries: Sequence[Entry], data: Mapping[str, Any], open_all: str) -> str:
    """Return the HTML page that lists volumes.

    Parameters
    ----------
    entries : sequence of Entry
    data : mapping
        What the page's script reads: `openPath`, or `viewer`, `states`, `together`, `layers` and
        `bounds`.
    open_all : str
        What opens all of them where there are no scripts.
    """
    style, script = ((_HERE / name).read_text("utf-8") for name in ("gallery.css", "gallery.js"))
    cards = "\n".join(_card(entry, number) for number, entry in enumerate(entries))
    embedded = json.dumps(data, ensure_ascii=True).replace("<", "\\u003c")
    link = f'<a id="open" class="open" href="{escape(open_all)}">Open all together</a>'
    body = (
        f'<p class="bar">{link}</p>\n<ul class="volumes">\n{cards}\n</ul>'
        if entries
        else "<p>No volumes here.</p>"
    )
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta name="generator" content="{GENERATOR}">\n<title>Volumes</title>\n'
        '<link rel="icon" href="data:,">'
        f"<style>\n{style}</style>\n</head>\n<body>\n<main>\n<h1>Volumes</h1>\n{body}\n"
        '<p id="status" role="status"></p>\n</main>\n'
        f'<script type="application/json" id="volumes">{embedded}</script>\n'
        + (f"<script>\n{fit_script()}{script}</script>\n" if entries else "")
        + "</body>\n</html>\n"
    )


def _card(entry: Entry, number: int) -> str:
    title, name = escape(entry.title), escape(entry.name)
    picture = escape(entry.picture) if entry.picture else _NO_PICTURE
    alt = f"A slice of {title}" if entry.picture else ""
    if entry.fault:
        return (
            f'<li class="volume"><h2 class="name">{title}</h2>'
            f'<p class="fault">{escape(entry.fault)}</p></li>'
        )
    facts = "".join(
        f"<dt>{escape(key)}</dt><dd>{escape(value).replace(_TIMES, '&times;')}</dd>"
        for key, value in entry.facts.items()
    )
    source = escape(entry.source)
    return (
        f'<li class="volume"><img alt="{alt}" loading="lazy" width="96" height="96" '
        f'src="{picture}">\n'
        f'<div class="name"><input type="checkbox" id="tick-{number}" value="{name}" '
        f'aria-label="Tick {title}">'
        f'<h2><a data-volume="{name}" href="{escape(entry.link)}">{title}</a></h2></div>\n'
        f"<dl>{facts}</dl>\n"
        f'<div class="source"><button type="button" data-copies="source-{number}" '
        f'aria-label="Copy source of {title}">Copy source</button>'
        f'<code id="source-{number}" data-source="{source}">{source}</code></div></li>'
    )


def facts_of(store: ReadableStore) -> dict[str, str]:
    """Return what a volume, or something else in the format, holds, in words.

    Raises
    ------
    NgcoreError
        It is damaged.
    """
    document = store.get_whole("info", _MAX_INFO) or b"{}"
    kind = str(parse_object(document).get("@type", VOLUME_TYPE))
    if kind != VOLUME_TYPE:
        return {"Type": _KINDS.get(kind, kind)}
    volume = open_volume(store)
    info = volume.info
    scale = info.scales[0]
    channels = f", {info.num_channels} channels" if info.num_channels > 1 else ""
    facts = {
        "Type": f"{info.type}, {info.data_type}{channels}",
        "Size": f" {_TIMES} ".join(map(str, scale.size)),
        "Voxel": length_text(scale.resolution),
        "Scales": str(len(info.scales)),
    }
    has = [
        what for what, folder in (("meshes", info.mesh), ("skeletons", info.skeletons)) if folder
    ]
    if names := _names(volume):
        has.append(f"{names} named labels")
    if has:
        facts["Has"] = ", ".join(has)
    if has_world(world_transform(volume.store)):
        facts["World"] = "placed"
    return facts


def _names(volume: Volume) -> int:
    try:
        return len(volume.labels)
    except NgcoreError:
        return 0


def length_text(resolution: tuple[float, ...]) -> str:
    """Return sizes of a voxel in the unit that people use for it."""
    unit, nm = next(
        (pair for pair in (("mm", 1e6), ("µm", 1e3)) if min(resolution) >= pair[1] / 10),
        ("nm", 1.0),
    )
    return f" {_TIMES} ".join(f"{value / nm:.4g}" for value in resolution) + f" {unit}"
