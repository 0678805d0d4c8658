"""`ngcore pack`: a volume as one zip file."""

import click

from ngcore.cli._made import say_made


@click.command("pack")
@click.argument("volume")
@click.argument("out", metavar="OUT.zip")
@click.option("--overwrite", is_flag=True, help="Replace OUT.  [default: refuse]")
def pack(volume: str, out: str, *, overwrite: bool) -> None:
    """Write VOLUME as one zip file, which Neuroglancer opens without unpacking it.

    In Neuroglancer its URL ends in OUT.zip|zip: (with the colon). Entries are stored, not
    compressed, info and coarse scales first; gzipped chunks are unpacked. Annotations and
    skeletons are packed too. Every command that reads a volume reads OUT.zip.

    \b
    Example:
      ngcore pack brain brain.zip
    """
    from ngcore.packing.pack import pack as pack_volume

    pack_volume(volume, out, overwrite=overwrite)
    say_made(out)


commands = [pack]
