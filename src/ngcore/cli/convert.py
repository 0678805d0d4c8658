"""`ngcore convert`: a source to a whole volume in one go."""

from typing import Any

import click

from ngcore.cli._made import say_made
from ngcore.cli._options import (
    CHUNK_SIZE,
    ENCODING,
    RESOLUTION,
    WHOLE_VECTOR,
    downsampling_option,
    fsync_option,
    max_scales_option,
    outside_value_option,
    resume_option,
)
from ngcore.cli._progress import progress_bar
from ngcore.cli._report import resumable_by_hand

_DATA_TYPES = ["uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "float32"]


@click.command("convert")
@click.argument("source", required=False)
@click.argument("dest", required=False)
@click.argument("rest", nargs=-1, metavar="")
@click.option(
    "--type",
    type=click.Choice(["image", "segmentation", "auto"]),
    default="auto",
    show_default=True,
    help="What the voxels are. auto goes by header intent and by the names of BIDS, FreeSurfer "
    "and atlases.",
)
@click.option(
    "--data-type",
    type=click.Choice(_DATA_TYPES),
    help="Type of the voxels written.  [default: from the source]",
)
@click.option(
    "--encoding",
    type=click.Choice([*ENCODING.choices, "auto"]),
    help="Chunk encoding; auto is the lossless one that is smallest on a sample.  "
    "[default: compressed_segmentation for segmentations of uint32 or uint64, else raw]",
)
@click.option(
    "--jpeg-quality",
    type=click.IntRange(1, 100),
    default=95,
    show_default=True,
    metavar="N",
    help="Quality, where the encoding is jpeg.",
)
@click.option(
    "--chunk-size",
    type=CHUNK_SIZE,
    help="Voxels per chunk, for every scale, no side over 2048.  [default: near-cubic in nm, "
    "about 64 cubed, at most 4 MiB with all channels]",
)
@downsampling_option
@max_scales_option
@click.option(
    "--sharding/--no-sharding",
    default=True,
    show_default=True,
    help="Pack chunks into shard files.",
)
@click.option(
    "--layout",
    type=click.Choice(["flat", "nested"]),
    default="flat",
    show_default=True,
    help="Unsharded only: KEY/X_Y_Z or KEY/X/Y/Z.",
)
@click.option(
    "--gzip/--no-gzip",
    default=None,
    help="Sharded: gzip inside the shards; unsharded: NAME.gz files.  [default: if sharded]",
)
@click.option(
    "--resolution",
    type=RESOLUTION,
    help="Voxel size in nanometres, or with units such as 1mm or 8nm,8nm,40nm, along the axes of "
    "the volume written: after --input-orientation and --orient.  [default: from the source]",
)
@click.option(
    "--voxel-offset",
    type=WHOLE_VECTOR,
    help="Global position of the first voxel.  [default: from the source, or 0,0,0]",
)
@click.option("--input-min", type=float, metavar="V", help="See --input-max.  [default: 0]")
@click.option(
    "--input-max",
    type=float,
    metavar="V",
    help="Map the values from --input-min to this one to the full range of the integer type "
    "written (float32: 0 to 1).  [default: no mapping]",
)
@click.option(
    "--input-orientation",
    metavar="CODE",
    help="Slices and TIFF stacks: direction of increasing column, row and slice; the volume "
    "then has a place in the world.  [default: RAS, with no place in the world]",
)
@click.option(
    "--gaps",
    type=click.Choice(["keep", "blank"]),
    default="keep",
    show_default=True,
    help="Section numbers missing in a folder of slices: stack the slices that are there, or "
    "leave blank ones for those that are not.",
)
@click.option(
    "--axes",
    metavar="CODE",
    help="Arrays without named axes, TIFF stacks: what each stored axis is, slowest first, such "
    "as zyx, tzyx or zyxc.  [default: from the file]",
)
@click.option(
    "--level",
    type=int,
    metavar="N",
    help="Which resolution of a source that has several.  [default: the finest, 0]",
)
@click.option(
    "--affine",
    metavar="FILE|NUMBERS",
    help="Affine of voxel centres to millimetres, instead of the source's: a file of 4 x 4 "
    "numbers, or 12 or 16 numbers with commas between them, row-major.  "
    "[default: from the source]",
)
@click.option(
    "--form",
    type=click.Choice(["auto", "sform", "qform"]),
    default="auto",
    show_default=True,
    help="Which affine of a NIfTI file to use.",
)
@click.option(
    "--orient",
    metavar="CODE",
    help="Reorder the axes on the way in, affine included, such as RAS.  [default: as stored]",
)
@click.option(
    "--ignore-scaling", is_flag=True, help="Use stored values; ignore slope and intercept."
)
@click.option(
    "--label-tolerance",
    type=float,
    metavar="E",
    help="Round labels that are within E of a whole number, and count them.  [default: 0.001 "
    "where the file stores them with a slope, else 0]",
)
@outside_value_option
@click.option(
    "--memory",
    default="1G",
    show_default=True,
    metavar="SIZE",
    help="Bound on resident memory, such as 512M.",
)
@click.option(
    "--workers",
    type=click.IntRange(1),
    metavar="N",
    help="Threads; with --dask local, those of all processes together; with another scheduler, "
    "those of each work item.  [default: all cores; 1 for each work item]",
)
@click.option(
    "--tmp",
    type=click.Path(exists=True, file_okay=False),
    metavar="DIR",
    help="Where to put temporary files.  [default: a hidden folder in DEST]",
)
@fsync_option
@click.option(
    "--dask",
    metavar="ADDRESS",
    help="Do the work on the Dask scheduler at ADDRESS; `local` starts worker processes here. "
    "SOURCE, DEST and --tmp must lie where all workers see them; DEST may be in a bucket.  "
    "[default: threads here]",
)
@resume_option
@click.option("--overwrite", is_flag=True, help="Replace the volume in DEST.")
@click.option(
    "--dry-run",
    is_flag=True,
    help="Print scales, chunks, shards, bytes, memory and work items; write nothing.",
)
@click.option(
    "--shape",
    type=WHOLE_VECTOR,
    help="With --dry-run: size of a volume that need not exist; give --resolution and "
    "--data-type too.  [default: that of SOURCE]",
)
@click.option("--json", "as_json", is_flag=True, help="Print what was made, or the plan, as JSON.")
def convert(
    source: str | None,
    dest: str | None,
    rest: tuple[str, ...],
    *,
    dry_run: bool,
    dask: str | None,
    shape: tuple[int, int, int] | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Convert SOURCE to a precomputed volume DEST with every scale, in one pass.

    SOURCE is a volume that nibabel reads (NIfTI, MGH, MINC, Analyze, ...), NRRD, MetaImage, MRC, a
    folder of DICOM, OME-Zarr, Zarr, N5, HDF5, Imaris, NWB, a .npy file, a TIFF stack, a folder or
    quoted glob of slices, or another precomputed volume. FILE:/path names one of several arrays.

    \b
    Example:
      ngcore convert sub-01_T1w.nii.gz sub-01_T1w
    """
    if rest:
        raise click.UsageError(
            f"convert takes one SOURCE and one DEST, got {len(rest) + 2} arguments; quote a "
            "pattern such as 'slices/*.png', or pass the folder"
        )
    if options["chunk_size"] is not None and len(options["chunk_size"]) == 1:
        options["chunk_size"] = options["chunk_size"][0]
    if dry_run:
        from ngcore.conversion.estimate import estimate

        if shape is not None:  # there is no SOURCE, so what comes first is DEST
            if dest is not None:
                raise click.UsageError("--shape stands in for SOURCE; pass DEST alone")
            source, dest = None, source
        found = estimate(source, dest=dest, shape=shape, executor=dask, **options)
        from ngcore.cli._tables import print_plan

        print_plan(found, as_json=as_json)
        return
    if shape is not None:
        raise click.UsageError("--shape is for --dry-run")
    if source is None or dest is None:
        raise click.UsageError("SOURCE and DEST are needed")

    from ngcore.conversion.convert import convert as convert_volume

    with (
        resumable_by_hand(overwrite=options["overwrite"]),
        progress_bar("converting") as progress,
    ):
        convert_volume(source, dest, progress=progress, executor=dask, **options)
    say_made(dest, as_json=as_json)


commands = [convert]
