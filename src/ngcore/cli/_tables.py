"""Tables and JSON on stdout."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ngcore.conversion.estimate import Estimate
    from ngcore.precomputed.info import VolumeInfo


def print_table(titles: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print rows under their titles, each column as wide as it needs."""
    cells = [list(titles), *[[str(cell) for cell in row] for row in rows]]
    widths = [max(len(row[column]) for row in cells) for column in range(len(titles))]
    for row in cells:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        click.echo(line.rstrip())


def print_volume(info: VolumeInfo, *, as_json: bool) -> None:
    """Print what a volume holds; as JSON, that is its `info`."""
    if as_json:
        click.echo(info.to_json().rstrip())
        return
    channels = f", {info.num_channels} channels" if info.num_channels > 1 else ""
    click.echo(f"{info.type} of {info.data_type}{channels}")
    for name, folder in (
        ("mesh", info.mesh),
        ("skeletons", info.skeletons),
        ("segment properties", info.segment_properties),
    ):
        if folder is not None:
            click.echo(f"{name}: {folder}")
    click.echo()
    print_table(
        ["scale", "key", "size", "resolution (nm)", "offset", "chunks", "encoding", "sharded"],
        [
            (
                index,
                scale.key,
                times(scale.size),
                times(scale.resolution),
                ",".join(map(str, scale.voxel_offset)),
                f"{scale.grid.count} of {times(scale.chunk_size)}",
                scale.encoding,
                "no" if scale.sharding is None else "yes",
            )
            for index, scale in enumerate(info.scales)
        ],
    )


def print_plan(estimate: Estimate, *, as_json: bool) -> None:
    """Print what a conversion would do."""
    if as_json:
        click.echo(json.dumps(estimate.to_json(), indent=2))
        return
    channels = f", {estimate.num_channels} channels" if estimate.num_channels > 1 else ""
    click.echo(f"{estimate.type} of {estimate.data_type}{channels}, {estimate.encoding}")
    click.echo()
    print_table(
        ["scale", "size", "resolution (nm)", "chunk", "chunks", "shards", "before compression"],
        [
            (
                scale.key,
                times(scale.size),
                times(scale.resolution),
                times(scale.chunk_size),
                scale.chunks,
                "-" if scale.shards is None else scale.shards,
                byte_size(scale.bytes),
            )
            for scale in estimate.scales
        ],
    )
    click.echo()
    click.echo(f"files:       {estimate.files}")
    click.echo(f"bytes:       {byte_size(estimate.bytes)} before compression")
    click.echo(f"memory:      {byte_size(estimate.memory_bytes)} at most")
    click.echo(f"work items:  {estimate.work_items} in {estimate.passes} passes")


def times(numbers: Sequence[float]) -> str:
    """Return numbers such as ``64 x 64 x 1``, without needless decimals."""
    return " x ".join(f"{number:.10g}" for number in numbers)


def byte_size(count: int) -> str:
    """Return a number of bytes as people read it, such as ``1.5 GiB``."""
    size, unit = float(count), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB", "PiB", "EiB"):
        if size < 1024:
            break
        size, unit = size / 1024, larger
    if unit == "B":
        return f"{count} B"
    return f"{size:.0f} {unit}" if size >= 100 else f"{size:.3g} {unit}"
