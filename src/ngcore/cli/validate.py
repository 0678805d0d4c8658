"""`ngcore validate`: whether a volume is what it says it is."""

import json
from typing import TYPE_CHECKING

import click

from ngcore.cli._progress import progress_bar
from ngcore.cli._report import FAULTS_FOUND, OK, say

if TYPE_CHECKING:
    from ngcore.validating.validate import Report


@click.command("validate")
@click.argument("dest")
@click.option(
    "--quick",
    is_flag=True,
    help="Check names, sizes and indexes only: don't decode chunks or compare digests.",
)
@click.option(
    "--workers", type=click.IntRange(1), metavar="N", help="Threads.  [default: all cores]"
)
@click.option(
    "--dask",
    metavar="ADDRESS",
    help="Check chunks on the Dask scheduler at ADDRESS; `local` starts worker processes here. "
    "DEST must lie where all workers can read it.  [default: threads here]",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def validate(
    dest: str, *, quick: bool, workers: int | None, dask: str | None, as_json: bool
) -> None:
    """Check that the volume DEST is valid, and is what ngcore wrote.

    DEST may also be a folder of annotations, skeletons or meshes. Prints each fault with its file
    and place. Exit status: 0 valid (warnings are allowed), 1 faults found, 2 not a volume.

    \b
    Example:
      ngcore validate sub-01_T1w
    """
    from ngcore.validating.validate import validate as validate_volume

    with progress_bar("validating") as progress:
        report = validate_volume(dest, quick=quick, workers=workers, dask=dask, progress=progress)
    if as_json:
        click.echo(json.dumps(report.to_json(), indent=2))
    else:
        print_report(report)
    click.get_current_context().exit(OK if report.is_sound else FAULTS_FOUND)


def print_report(report: "Report") -> None:
    """Print what was found, and the verdict."""
    for finding in report.findings:
        say(f"{finding.severity}: {finding}")
    for (severity, kind), count in report.unlisted.items():
        say(f"{severity}: and {count} more of kind {kind}")
    verdict = "valid" if report.is_sound else "damaged"
    agreeing = _counted(len(report.digests), "scale")
    noun = "chunk" if report.what == "volume" else "entry"
    digests = f"; digests agree in {agreeing}" if report.digests else ""
    say(
        f"{report.path}: {verdict}; {_counted(report.chunks, noun)}, "
        f"{_counted(report.errors, 'error')}, {_counted(report.warnings, 'warning')}{digests}"
    )


def _counted(count: int, noun: str) -> str:
    if count != 1:
        noun = "entries" if noun == "entry" else f"{noun}s"
    return f"{count} {noun}"


commands = [validate]
