"""Commands that write the chunks of one volume into another, in another encoding."""

from __future__ import annotations

from typing import Any

import click

from ngcore.cli._made import say_made
from ngcore.cli._progress import progress_bar
from ngcore.cli._steps import chunk_file_options, load_full_volume_option, mmap_option

_jpeg_quality = click.option(
    "--jpeg-quality",
    type=click.IntRange(1, 100),
    default=95,
    show_default=True,
    metavar="N",
    help="Quality of the JPEGs.",
)
_jpeg_plane = click.option(
    "--jpeg-plane",
    type=click.Choice(["xy", "xz"]),
    default="xy",
    show_default=True,
    help="Which planes of a chunk are stacked in a JPEG.",
)


@click.command("convert-chunks-to-jpeg")
@click.argument("src")
@click.argument("dest")
@_jpeg_quality
@_jpeg_plane
@chunk_file_options
def convert_chunks_to_jpeg(src: str, dest: str, **options: Any) -> None:
    """Write the chunks of the volume SRC into DEST as JPEG, as DEST/info says.

    \b
    Example:
      ngcore generate-scales-info info_fullres.json out --encoding jpeg
      ngcore convert-chunks-to-jpeg brain-chunks out
    """
    _convert(src, dest, encoding="jpeg", **options)


@click.command("compress-segmentation-chunks")
@click.argument("src")
@click.argument("dest")
@chunk_file_options
def compress_segmentation_chunks(src: str, dest: str, **options: Any) -> None:
    """Write the chunks of the volume SRC into DEST as compressed_segmentation, as DEST/info says.

    \b
    Example:
      ngcore generate-scales-info info_fullres.json out --encoding compressed_segmentation
      ngcore compress-segmentation-chunks brain-chunks out
    """
    _convert(src, dest, encoding="compressed_segmentation", **options)


@click.command("convert-chunks", hidden=True)
@click.argument("src")
@click.argument("dest")
@click.option(
    "--copy-info", is_flag=True, help="Copy SRC/info to DEST first, and so keep its encoding."
)
@_jpeg_quality
@_jpeg_plane
@chunk_file_options
@mmap_option
@load_full_volume_option
def convert_chunks(src: str, dest: str, **options: Any) -> None:
    """Write the chunks of the volume SRC into DEST, in the encoding that DEST/info says.

    \b
    Example:
      ngcore convert-chunks brain-chunks out --copy-info --flat
    """
    _convert(src, dest, **options)


def _convert(src: str, dest: str, *, no_gzip: bool, **options: Any) -> None:
    from ngcore.classic.recode import convert_chunks as write_chunks

    with progress_bar("converting chunks") as progress:
        write_chunks(src, dest, use_gzip=not no_gzip, progress=progress, **options)
    say_made(dest)


commands: list[click.Command] = [
    convert_chunks_to_jpeg,
    compress_segmentation_chunks,
    convert_chunks,
]
