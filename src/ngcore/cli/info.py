"""`ngcore info`: what volumes hold, and where they lie."""

import json

import click

from ngcore.cli._tables import print_description


@click.command("info")
@click.argument("dest", nargs=-1, required=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON: an array for several.")
def info(dest: tuple[str, ...], *, as_json: bool) -> None:
    """Print what each DEST holds, where it lies in the world, and what it was made of.

    DEST is a volume, or a folder of annotations, skeletons or meshes.

    \b
    Example:
      ngcore info sub-01_T1w
    """
    from ngcore.volume.describe import describe

    found = [describe(path) for path in dest]
    if as_json:
        documents = [description.to_json() for description in found]
        click.echo(json.dumps(documents if len(documents) > 1 else documents[0], indent=2))
        return
    for number, description in enumerate(found):
        if number:
            click.echo()
        print_description(description, with_path=len(found) > 1)


commands = [info]
