"""`ngcore tracts`: streamlines of tractography."""

from typing import Any

import click

from ngcore.cli._made import say_made
from ngcore.cli._options import (
    fsync_option,
    layer_memory_option,
    like_option,
    overwrite_layer_option,
    resume_option,
    sharded_layer_option,
    tmp_option,
)
from ngcore.cli._report import resumable_by_hand


class _Count(click.ParamType[int]):
    """A number such as ``500k`` or ``2M``."""

    name = "count"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Parse the text of an option."""
        if isinstance(value, int):
            return value
        text = str(value).strip()
        factor = {"k": 1000, "M": 1_000_000}.get(text[-1:], 1)
        try:
            count = int(float(text[:-1] if factor > 1 else text) * factor)
        except (ValueError, OverflowError):
            count = 0
        if count < 2:
            self.fail(f"expected a number such as 500k or 2M, got {value!r}", param, ctx)
        return count


def _millimetres(_ctx: click.Context, _param: click.Parameter, value: str | None) -> float | None:
    if value is None:
        return None
    text = value.strip()
    factor = next((f for unit, f in (("mm", 1.0), ("um", 1e-3), ("nm", 1e-6)) if unit in text), 1)
    number = text.removesuffix("mm").removesuffix("um").removesuffix("nm")
    try:
        size = float(number) * factor
    except ValueError:
        size = 0
    if not 0 < size < 1e6:
        raise click.BadParameter(f"expected a voxel size such as 1mm or 500um, got {value!r}")
    return size


@click.command("tracts")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.argument("dest")
@click.option(
    "--max-vertices",
    type=_Count(),
    default="2M",
    show_default=True,
    metavar="N",
    help="Limit on the vertices of all skeletons together: fewer show fewer lines, and are drawn "
    "sooner. 50k suits browsers without a graphics card.",
)
@click.option(
    "--density",
    callback=_millimetres,
    metavar="VOXEL",
    help="Write a volume too that counts streamlines in voxels of this size, such as 1mm.  "
    "[default: none]",
)
@like_option
@sharded_layer_option
@layer_memory_option
@tmp_option
@fsync_option
@resume_option
@overwrite_layer_option
def tracts(files: tuple[str, ...], dest: str, **options: Any) -> None:
    """Convert streamlines (.trk, .tck, .trx) to bundles, annotations and their density in DEST.

    DEST/bundles has a skeleton for each bundle (a file, or a group of a TRX), coloured by
    direction; DEST/streamlines has every streamline, related to its bundle.

    \b
    Example:
      ngcore tracts cst_left.tck cst_right.tck tracts --density 1mm
    """
    from ngcore.tracing.tracts import tracts as write_tracts

    with resumable_by_hand(overwrite=options["overwrite"]):
        write_tracts(files, dest, **options)
    say_made(dest)


commands = [tracts]
