"""`ngcore repair`: a volume that Neuroglancer can't load, written so that it can."""

import json
from typing import TYPE_CHECKING, Any

import click

from ngcore.cli._made import say_made
from ngcore.cli._options import fsync_option, resume_option
from ngcore.cli._progress import progress_bar
from ngcore.cli._report import FAULTS_FOUND, OK, resumable_by_hand, say

if TYPE_CHECKING:
    from ngcore.repairing.repair import RepairReport


@click.command("repair")
@click.argument("src")
@click.argument("dest")
@click.option(
    "--flat", is_flag=True, help="Lay chunk files flat, for hosts that can't rewrite URLs."
)
@click.option(
    "--no-gzip",
    is_flag=True,
    help="Decompress .gz files, for hosts that can't send Content-Encoding.",
)
@click.option(
    "--accept-changes",
    is_flag=True,
    help="Accept what others changed since ngcore wrote SRC.",
)
@resume_option
@click.option("--overwrite", is_flag=True, help="Replace the volume in DEST.")
@fsync_option
@click.option(
    "--workers", type=click.IntRange(1), metavar="N", help="Threads.  [default: all cores]"
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def repair(src: str, dest: str, *, no_gzip: bool, as_json: bool, **options: Any) -> None:
    """Write the volume SRC to DEST, fixed where Neuroglancer can't load it.

    Copies what is valid as it is, makes a lost coarser scale again from the one before it, and
    leaves SRC alone. Prints what was changed, what could not be fixed and what to do about it, and
    whether DEST is valid. Exit status: 0 valid, 1 faults remain.

    \b
    Example:
      ngcore repair sub-01_T1w repaired
    """
    from ngcore.repairing.repair import repair as repair_volume

    with (
        resumable_by_hand(overwrite=options["overwrite"]),
        progress_bar("repairing") as progress,
    ):
        report = repair_volume(src, dest, gzip=not no_gzip, progress=progress, **options)
    if as_json:
        click.echo(json.dumps(report.to_json(), indent=2))
    else:
        _print(report)
        if report.is_sound:
            say_made(dest)
    click.get_current_context().exit(OK if report.is_sound else FAULTS_FOUND)


def _print(report: "RepairReport") -> None:
    from ngcore.cli.validate import print_report
    from ngcore.repairing.changes import KINDS

    for kind, count in report.changes.items():
        say(f"fixed: {count} {KINDS[kind]}")
    if not report.changes:
        say("nothing was changed: every file is copied as it is")
    if report.left_out:
        say(f"left out: {report.left_out} files that are not part of what info describes")
    for finding in report.failures:
        say(f"not fixed: {finding}")
    if rest := report.failure_count - len(report.failures):
        say(f"not fixed: {rest} more")
    print_report(report.validation)
    for step in report.next_steps:
        say(f"next: {step}")


commands = [repair]
