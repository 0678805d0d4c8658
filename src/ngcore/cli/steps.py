"""The classic pipeline, step by step: from a volume or slices to chunks, and coarser scales."""

from __future__ import annotations

import json
from typing import Any, Literal

import click

from ngcore.cli._made import say_made
from ngcore.cli._options import (
    ENCODING,
    RESOLUTION,
    downsampling_option,
    max_scales_option,
    outside_value_option,
)
from ngcore.cli._progress import progress_bar
from ngcore.cli._steps import (
    alias,
    chunk_file_options,
    input_options,
    jpeg_options,
    load_full_volume_option,
    mmap_option,
    options_about_chunk_files,
    sharding_option,
    sharding_spec,
)
from ngcore.cli._tables import byte_size, print_table


@click.command("volume-to-raw-chunks")
@click.argument("volume")
@click.argument("dest", default=".")
@click.option(
    "--generate-info",
    is_flag=True,
    help="Write info_fullres.json and transform.json instead of chunks.",
)
@input_options
@click.option(
    "--type",
    "volume_type",
    type=click.Choice(["image", "segmentation"]),
    help="With --generate-info.  [default: by header intent and name, else image]",
)
@click.option(
    "--data-type",
    metavar="TYPE",
    help="With --generate-info: type of the voxels.  [default: from the source]",
)
@click.option(
    "--resolution",
    type=RESOLUTION,
    help="With --generate-info: voxel size in nanometres.  [default: from the source]",
)
@sharding_option
@jpeg_options
@chunk_file_options
def volume_to_raw_chunks(
    volume: str,
    dest: str,
    *,
    generate_info: bool,
    volume_type: Literal["image", "segmentation"] | None,
    data_type: str | None,
    resolution: tuple[float, ...] | None,
    sharding: tuple[int, int, int] | None,
    flat: bool,
    no_gzip: bool,
    **options: Any,
) -> None:
    """Write the full-resolution chunks of VOLUME for DEST/info; DEST is the current folder.

    If there is no info file yet, --generate-info writes DEST/info_fullres.json, from which
    generate-scales-info makes DEST/info.

    \b
    Example:
      ngcore volume-to-raw-chunks sub-01_T1w.nii.gz out --generate-info
      ngcore generate-scales-info out/info_fullres.json out
      ngcore volume-to-raw-chunks sub-01_T1w.nii.gz out
      ngcore compute-scales out
    """
    spec = sharding_spec(sharding, is_gzipped=not no_gzip)
    if generate_info:
        from ngcore.classic.fullres_info import generate_fullres_info
        from ngcore.storage.opening import place_in

        reading = ("ignore_scaling", "input_min", "input_max")  # others are for writing chunks
        generate_fullres_info(
            volume,
            dest,
            sharding=spec,
            type=volume_type or "auto",
            data_type=data_type,
            resolution=resolution,
            **{name: options[name] for name in reading},
        )
        say_made(place_in(dest, "info_fullres.json"), "generate-scales-info")
        return
    for name, value in (
        ("type", volume_type),
        ("data-type", data_type),
        ("resolution", resolution),
    ):
        if value is not None:
            raise click.UsageError(f"--{name} is for --generate-info; otherwise DEST/info says it")
    from ngcore.classic.chunks_from_source import volume_to_raw_chunks as write_chunks

    with progress_bar("writing chunks") as progress:
        write_chunks(
            volume,
            dest,
            sharding=spec,
            flat=flat,
            use_gzip=not no_gzip,
            progress=progress,
            **options,
        )
    say_made(dest, "compute-scales")


@click.command("slices-to-raw-chunks")
@click.argument("folders", nargs=-1, required=True, metavar="FOLDER...")
@click.argument("dest")
@click.option(
    "--input-orientation",
    default="RAS",
    show_default=True,
    metavar="CODE",
    help="Direction of increasing column, row and slice, such as RIA.",
)
@jpeg_options
@chunk_file_options
@mmap_option
@load_full_volume_option
def slices_to_raw_chunks(
    folders: tuple[str, ...], dest: str, *, flat: bool, no_gzip: bool, **options: Any
) -> None:
    """Write the full-resolution chunks of 2-D slices for DEST/info.

    FOLDER holds PNG, JPEG or TIFF slices, taken in natural order; the slices of several folders
    are channels. The volume is in RAS order, whatever the order of the slices.

    \b
    Example:
      ngcore generate-scales-info info_fullres.json out
      ngcore slices-to-raw-chunks slices out --input-orientation RIA
    """
    from ngcore.classic.chunks_from_source import slices_to_raw_chunks as write_chunks

    with progress_bar("writing chunks") as progress:
        write_chunks(folders, dest, flat=flat, use_gzip=not no_gzip, progress=progress, **options)
    say_made(dest, "compute-scales")


@click.command("generate-scales-info")
@click.argument("fullres")
@click.argument("dest", default=".")
@click.option(
    "--target-chunk-size",
    type=click.IntRange(1),
    metavar="N",
    help="Side of a chunk, a power of two, if voxels are cubes; other chunks hold about as many "
    "voxels.  [default: 64, less where a chunk would have more than 4 MiB]",
)
@max_scales_option
@click.option(
    "--type",
    type=click.Choice(["image", "segmentation"]),
    help="[default: what FULLRES says, else image]",
)
@click.option(
    "--encoding",
    type=ENCODING,
    help="Chunk encoding. compressed_segmentation makes narrower integers uint32.  "
    "[default: what FULLRES says, else raw]",
)
@options_about_chunk_files
def generate_scales_info(fullres: str, dest: str, **options: Any) -> None:
    """Write DEST/info, with every scale, from FULLRES; DEST is the current folder.

    FULLRES is JSON of one scale: volume-to-raw-chunks --generate-info writes it, or you do.

    \b
    Example:
      ngcore generate-scales-info info_fullres.json out --encoding jpeg
    """
    from ngcore.classic.scales_info import generate_scales_info as write_info
    from ngcore.storage.opening import place_in

    write_info(fullres, dest, **options)
    say_made(place_in(dest, "info"), "volume-to-raw-chunks VOLUME", at=dest)


@click.command("scale-stats")
@click.argument("dest", default=".")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@options_about_chunk_files
def scale_stats(dest: str, *, as_json: bool) -> None:
    """Print how many chunks, folders, files and bytes DEST/info describes.

    Folders are those of the nested layout, files are chunks or shards, and bytes are those of the
    voxels before compression. DEST is the current folder.

    \b
    Example:
      ngcore scale-stats brain
    """
    from ngcore.classic.volume_stats import scale_stats as count

    stats = count(dest)
    if as_json:
        click.echo(json.dumps(stats.to_json(), indent=2))
        return
    rows = [
        (scale.key, scale.chunks, scale.folders, scale.files, byte_size(scale.bytes))
        for scale in stats.scales
    ]
    total = ("total", stats.chunks, stats.folders, stats.files, byte_size(stats.bytes))
    print_table(["scale", "chunks", "folders", "files", "bytes"], [*rows, total])


@click.command("compute-scales")
@click.argument("dest", default=".")
@downsampling_option
@outside_value_option
@jpeg_options
@chunk_file_options
def compute_scales(dest: str, *, flat: bool, no_gzip: bool, **options: Any) -> None:
    """Write every coarser scale of DEST from the one before; DEST is the current folder.

    \b
    Example:
      ngcore compute-scales brain-chunks
    """
    from ngcore.classic.coarser_scales import compute_scales as compute

    with progress_bar("computing scales") as progress:
        compute(dest, flat=flat, use_gzip=not no_gzip, progress=progress, **options)
    say_made(dest)


commands: list[click.Command] = [
    volume_to_raw_chunks,
    slices_to_raw_chunks,
    generate_scales_info,
    scale_stats,
    compute_scales,
    alias(volume_to_raw_chunks, "volume-to-precomputed"),
    alias(slices_to_raw_chunks, "slices-to-precomputed"),
]
