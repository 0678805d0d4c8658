"""The index of a folder of volumes: one plain page, without scripts or files of its own."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING
from urllib.parse import quote, urlencode

from ngcore.errors import NgcoreError
from ngcore.server.client import PAGE_PATH
from ngcore.server.folders import open_volume

if TYPE_CHECKING:
    from ngcore.server.pages import Site

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 75rem; padding: 0 1rem;
       color: #ddd; background: #1c1c1e; }
a { color: #8ab4f8; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; padding: .4rem .8rem .4rem 0; border-bottom: 1px solid #3a3a3c;
         vertical-align: middle; white-space: nowrap; }
img { height: 96px; width: 96px; object-fit: contain; background: #000; display: block; }
td:last-child { white-space: normal; overflow-wrap: anywhere; }
code { font-size: 13px; color: #aaa; }
"""
_COLUMNS = ("", "Volume", "Type", "Size", "Voxel", "Scales", "Source")


def index_page(site: Site, origin: str) -> str:
    """Return the HTML page that lists volumes, by the URL paths under which they are served."""
    volumes = site.names()
    rows = "\n".join(_row(site, name, origin) for name in volumes)
    head = "".join(f"<th>{column}</th>" for column in _COLUMNS)
    body = f"<table>\n<tr>{head}</tr>\n{rows}\n</table>" if volumes else "<p>No volumes here.</p>"
    if len(volumes) > 1:
        body += f'\n<p><a href="{_link("open", *volumes)}">Open all together</a></p>'
    return (
        '<!doctype html>\n<html lang="en">\n<head><meta charset="utf-8"><title>Volumes</title>'
        f"<style>{_STYLE}</style></head>\n<body>\n<h1>Volumes</h1>\n{body}\n</body>\n</html>\n"
    )


def _row(site: Site, name: str, origin: str) -> str:
    title = escape(site.title(name))
    try:
        info = open_volume(site.store(name)).info
    except NgcoreError as error:
        return f'<tr><td></td><td>{title}</td><td colspan="5">{escape(str(error))}</td></tr>'
    scale = info.scales[0]
    channels = f" &times; {info.num_channels} channels" if info.num_channels > 1 else ""
    source = escape(f"precomputed://{origin}/{quote(name)}".rstrip("/"))
    cells = (
        f'<img alt="" loading="lazy" src="{_link("picture", name)}">',
        f'<a href="{_link("open", name)}">{title}</a>',
        f"{escape(info.type)}, {escape(info.data_type)}{channels}",
        " &times; ".join(map(str, scale.size)),
        _length(scale.resolution),
        str(len(info.scales)),
        f"<code>{source}</code>",
    )
    return "<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"


def _link(page: str, *names: str) -> str:
    return escape(f"{PAGE_PATH}{page}?{urlencode([('volume', name) for name in names])}")


def _length(resolution: tuple[float, ...]) -> str:
    unit, nm = next(
        (pair for pair in (("mm", 1e6), ("µm", 1e3)) if min(resolution) >= pair[1] / 10),
        ("nm", 1.0),
    )
    return " &times; ".join(f"{value / nm:.4g}" for value in resolution) + f" {unit}"
