"""A progress bar with rate and time left, on a terminal only."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click

Progress = Callable[[int, int], None]


@contextmanager
def progress_bar(description: str) -> Iterator[Progress | None]:
    """Yield a function of (voxels done, voxels in all) that draws, or None where nobody looks."""
    with progress_bars(description) as (progress, _):
        yield progress


@contextmanager
def progress_bars(
    description: str, afterwards: str | None = None
) -> Iterator[tuple[Progress | None, Progress | None]]:
    """Yield two functions such as that of `progress_bar`, for work that has two parts.

    The bar of the second part, which counts no voxels, appears when it begins.
    """
    is_quiet = click.get_current_context().find_root().meta.get("ngcore.quiet", False)
    if is_quiet or not sys.stderr.isatty():
        yield None, None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:3.0f}%"),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    # Warnings pass through this console while the bar is there, and stay lines as they are.
    console = Console(stderr=True, soft_wrap=True)
    with Progress(*columns, console=console, transient=True) as bar:
        first = bar.add_task(description, total=None, rate="")
        second = bar.add_task(afterwards or "", total=None, rate="", visible=False)

        def update(done: int, total: int) -> None:
            speed = bar.tasks[first].speed
            rate = f"{speed / 1e6:,.0f} Mvoxel/s" if speed else ""
            bar.update(first, completed=done, total=total, rate=rate)

        def update_second(done: int, total: int) -> None:
            if not bar.tasks[second].visible:
                bar.reset(second, visible=True)
            bar.update(second, completed=done, total=total)

        yield update, update_second
