"""`ngcore volume-to-precomputed-pyramid`: `convert` as users of neuroglancer-scripts know it."""

from __future__ import annotations

from typing import Any

import click

from ngcore.cli._progress import progress_bar
from ngcore.cli._steps import chunk_file_options, input_options, sharding_option, sharding_spec


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
    type=click.Choice(["raw", "png", "jpeg", "compressed_segmentation"]),
    help="Chunk encoding.  [default: that of `ngcore convert`]",
)
@click.option(
    "--downsampling",
    "--downscaling-method",
    type=click.Choice(["average", "majority", "stride", "min", "max", "auto"]),
    default="auto",
    show_default=True,
    help="auto: average for images, majority for segmentations.",
)
@click.option(
    "--outside-value",
    type=float,
    metavar="V",
    help="average: pad odd edges with V.  [default: average the voxels present]",
)
@click.option("--overwrite", is_flag=True, help="Replace the volume in DEST.")
@input_options
@sharding_option
@chunk_file_options
def volume_to_precomputed_pyramid(
    volume: str,
    dest: str,
    *,
    volume_type: str | None,
    encoding: str | None,
    sharding: tuple[int, int, int] | None,
    flat: bool,
    no_gzip: bool,
    **options: Any,
) -> None:
    """Do `ngcore convert --no-sharding --layout nested --gzip` on VOLUME.

    \b
    Example:
      ngcore volume-to-precomputed-pyramid sub-01_T1w.nii.gz out
    """  # noqa: D301 - click wants the escape
    from ngcore.pipelines.pyramid import volume_to_pyramid

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


commands: list[click.Command] = [volume_to_precomputed_pyramid]
