"""`ngcore volume-to-precomputed-pyramid`: `convert` as users of neuroglancer-scripts know it."""

from __future__ import annotations

from typing import Any, Literal

import click

from ngcore.cli._made import say_made
from ngcore.cli._options import ENCODING, downsampling_option, outside_value_option
from ngcore.cli._progress import progress_bar
from ngcore.cli._steps import (
    chunk_file_options,
    input_options,
    jpeg_options,
    sharding_option,
    sharding_spec,
)


@click.command("volume-to-precomputed-pyramid", hidden=True)
@click.argument("volume")
@click.argument("dest")
@click.option(
    "--type",
    "volume_type",
    type=click.Choice(["image", "segmentation"]),
    help="[default: by header intent and name, else image]",
)
@click.option(
    "--encoding",
    type=ENCODING,
    help="Chunk encoding.  [default: that of `ngcore convert`]",
)
@downsampling_option
@outside_value_option
@click.option("--overwrite", is_flag=True, help="Replace the volume in DEST.")
@input_options
@sharding_option
@jpeg_options
@chunk_file_options
def volume_to_precomputed_pyramid(
    volume: str,
    dest: str,
    *,
    volume_type: Literal["image", "segmentation"] | None,
    encoding: str | None,
    sharding: tuple[int, int, int] | None,
    flat: bool,
    no_gzip: bool,
    **options: Any,
) -> None:
    """Run `ngcore convert --no-sharding --layout nested --gzip` on VOLUME.

    \b
    Example:
      ngcore volume-to-precomputed-pyramid sub-01_T1w.nii.gz out
    """
    from ngcore.classic.pyramid import volume_to_pyramid

    spec = sharding_spec(sharding, is_gzipped=not no_gzip)
    if spec is not None and flat:
        raise click.UsageError("--flat is for chunks that are files, not for --sharding")
    # As in neuroglancer-scripts, this encoding says that there are labels.
    is_label = encoding == "compressed_segmentation"
    with progress_bar("converting") as progress:
        volume_to_pyramid(
            volume,
            dest,
            type=volume_type or ("segmentation" if is_label else "auto"),
            encoding=encoding,
            sharding=spec,
            flat=flat,
            use_gzip=not no_gzip,
            progress=progress,
            **options,
        )
    say_made(dest)


commands: list[click.Command] = [volume_to_precomputed_pyramid]
