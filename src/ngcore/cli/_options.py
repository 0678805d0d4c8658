"""Options, and types of their values, that more than one command takes."""

from typing import Any

import click


class Numbers(click.ParamType[tuple[float, ...]]):
    """Comma-separated numbers, such as ``8,8,40``.

    Parameters
    ----------
    number : type
        int or float.
    counts : tuple of int
        How many numbers are right.
    metavar : str
        How help shows the value.
    """

    def __init__(self, number: type[int] | type[float], counts: tuple[int, ...], metavar: str):
        self.name = metavar
        self._number = number
        self._counts = counts

    # The signature is click's.
    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:  # noqa: ARG002
        """Return how help shows the value."""
        return self.name

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, ...]:
        """Parse the text of an option."""
        if isinstance(value, tuple):
            return value
        try:
            numbers = tuple(self._number(part) for part in str(value).split(","))
        except ValueError:
            numbers = ()
        if len(numbers) not in self._counts:
            self.fail(f"expected {self.name}, got {value!r}", param, ctx)
        return numbers


class Lengths(click.ParamType[tuple[float, ...]]):
    """Sizes of a voxel in nanometres or with units, such as ``8,8,40`` or ``1mm``."""

    name = "X,Y,Z"

    # The signature is click's.
    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:  # noqa: ARG002
        """Return how help shows the value."""
        return self.name

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, ...]:
        """Parse the text of an option."""
        from ngcore.arrays.lengths import parse_lengths_nm

        try:
            return value if isinstance(value, tuple) else parse_lengths_nm(str(value))
        except ValueError:
            self.fail(
                f"expected X,Y,Z in nanometres or with units such as 8nm,8nm,40nm or 1mm, "
                f"got {value!r}",
                param,
                ctx,
            )


def label_numbers(
    _ctx: click.Context, _param: click.Parameter, value: str | None
) -> tuple[int, ...] | None:
    """Parse ``1,2,17``."""
    if value is None:
        return None
    try:
        return tuple(int(word) for word in value.split(","))
    except ValueError:
        raise click.BadParameter(f"expected numbers such as 1,2,17, got {value!r}") from None


units_option = click.option(
    "--units",
    type=click.Choice(["nm", "um", "mm"]),
    help="Unit of a surface's coordinates.  [default: what its header says, else mm]",
)

RESOLUTION = Lengths()
WHOLE_VECTOR = Numbers(int, (3,), "X,Y,Z")
CHUNK_SIZE = Numbers(int, (1, 3), "N|X,Y,Z")
ENCODING = click.Choice(["raw", "png", "jpeg", "jxl", "compressed_segmentation"])

downsampling_option = click.option(
    "--downsampling",
    "--downscaling-method",
    type=click.Choice(["average", "majority", "stride", "min", "max", "auto"]),
    default="auto",
    show_default=True,
    help="auto: average for images, majority for segmentations.",
)
outside_value_option = click.option(
    "--outside-value",
    type=float,
    metavar="V",
    help="average: pad odd edges with V.  [default: average the voxels present]",
)
max_scales_option = click.option(
    "--max-scales",
    type=click.IntRange(1),
    metavar="N",
    help="Limit on the number of scales.  [default: until every axis fits in one chunk]",
)
fsync_option = click.option(
    "--fsync/--no-fsync",
    default=True,
    show_default=True,
    help="Survive power loss: sync the data before `info` is written.",
)
scale_option = click.option(
    "--scale",
    type=click.IntRange(0),
    metavar="N",
    default=0,
    show_default=True,
    help="Which scale to read; 0 is full resolution.",
)
resume_option = click.option(
    "--resume",
    is_flag=True,
    help="Continue an interrupted run; start one where there is none.",
)
dask_option = click.option(
    "--dask",
    metavar="ADDRESS",
    help="Do the work on the Dask scheduler at ADDRESS; `local` starts worker processes here. "
    "DEST must lie where all workers see it, or in a bucket.  [default: here]",
)
like_option = click.option(
    "--like",
    type=click.Path(),
    metavar="VOLUME",
    help="A volume whose world these data share.  [default: none]",
)
layer_memory_option = click.option(
    "--memory",
    default="1G",
    show_default=True,
    metavar="SIZE",
    help="Limit on resident memory, such as 512M.",
)
tmp_option = click.option(
    "--tmp",
    type=click.Path(exists=True, file_okay=False),
    metavar="DIR",
    help="Where to put temporary files.  [default: a hidden folder in DEST]",
)
sharded_layer_option = click.option(
    "--sharding/--no-sharding",
    default=True,
    show_default=True,
    help="Pack entries into shard files, or write a file for each.",
)
overwrite_layer_option = click.option(
    "--overwrite", is_flag=True, help="Replace the layer in DEST."
)
