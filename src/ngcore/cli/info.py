"""`ngcore info`: what a volume holds."""

import click

from ngcore.cli._tables import print_volume


@click.command("info")
@click.argument("dest")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def info(dest: str, *, as_json: bool) -> None:
    """Print what the volume DEST holds.

    \b
    Example:
      ngcore info sub-01_T1w
    """
    from ngcore.volume.read import open as open_volume

    print_volume(open_volume(dest).info, as_json=as_json)


commands = [info]
