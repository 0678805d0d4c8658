"""Options that `serve`, `view` and `link` share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from ngcore.server.serve import DEFAULT_HOST

if TYPE_CHECKING:
    from collections.abc import Callable


class ThingType(click.Path):
    """A path or URL, with settings after colons; shells complete it as they do paths."""

    name = "thing"


THING = ThingType()

host_option = click.option(
    "--host",
    metavar="ADDRESS",
    default=DEFAULT_HOST,
    show_default=True,
    help="Address to listen on; 0.0.0.0 lets other machines in.",
)
space_option = click.option(
    "--space",
    type=click.Choice(["native", "world"]),
    default="world",
    show_default=True,
    help="world: volumes lie where their transform.json says. native: transform.json is ignored.",
)

layout_option = click.option(
    "--layout",
    type=click.Choice(["anatomical", "native"]),
    help="anatomical: axial, coronal and an upright sagittal panel, and 3-D. native: "
    "Neuroglancer's four panels.  [default: anatomical where there is a world]",
)


def port_option(default: int) -> Callable[[Any], Any]:
    """Return the option --port with a default of the command's own."""
    return click.option(
        "--port",
        type=click.IntRange(0, 65535),
        metavar="PORT",
        default=default,
        show_default=True,
        help="Port to listen on; 0 takes a free one.",
    )
