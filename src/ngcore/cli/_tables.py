"""Tables and JSON on stdout."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from ngcore.cli._report import say

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ngcore.conversion.estimate import Estimate
    from ngcore.volume.describe import Description


def print_table(titles: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print rows under their titles, each column as wide as it needs."""
    cells = [list(titles), *[[str(cell) for cell in row] for row in rows]]
    widths = [max(len(row[column]) for row in cells) for column in range(len(titles))]
    for row in cells:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        say(line.rstrip())


def print_description(found: Description, *, with_path: bool) -> None:
    """Print what a folder holds."""
    if with_path:
        say(f"{found.path}:")
    info = found.info
    if info is None:
        say(found.kind)
        _print_facts(found)
        _print_layer(found)
        return
    channels = f", {info.num_channels} channels" if info.num_channels > 1 else ""
    say(f"{info.type} of {info.data_type}{channels}")
    for name, folder in (
        ("mesh", info.mesh),
        ("skeletons", info.skeletons),
        ("segment properties", info.segment_properties),
    ):
        if folder is not None:
            say(f"{name}: {folder}")
    if found.extent_mm is None:
        say("world: unknown")
    else:
        axes = (f"{low:.6g} to {high:.6g}" for low, high in zip(*found.extent_mm, strict=True))
        say(f"orientation: {found.orientation}")
        say(f"world (mm): {', '.join(axes)}")
    _print_facts(found)
    say("")
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


def _print_layer(found: Description) -> None:
    """Print what annotations or skeletons have, as far as their `info` is as it should be."""
    from ngcore.errors import FormatError
    from ngcore.precomputed.annotations import AnnotationInfo
    from ngcore.precomputed.names import ANNOTATIONS_TYPE, SKELETONS_TYPE
    from ngcore.precomputed.skeletons import SkeletonInfo

    document = json.dumps(found.members)
    try:
        if found.members.get("@type") == SKELETONS_TYPE:
            skeletons = SkeletonInfo.from_json(document)
            attributes = [
                (x.id, x.data_type, x.num_components) for x in skeletons.vertex_attributes
            ]
            say("")
            print_table(["attribute", "type", "components"], attributes)
        if found.members.get("@type") != ANNOTATIONS_TYPE:
            return
        annotations = AnnotationInfo.from_json(document)
    except FormatError:
        return  # `validate` says what is wrong
    say(
        "dimensions: "
        + ", ".join(f"{k} ({n:g} {u})" for k, (n, u) in annotations.dimensions.items())
    )
    pairs = zip(annotations.lower_bound, annotations.upper_bound, strict=True)
    say("bounds: " + ", ".join(f"{low:.6g} to {high:.6g}" for low, high in pairs))
    say(f"relations: {', '.join(x.id for x in annotations.relationships) or 'none'}")
    say("")
    print_table(
        ["property", "type", "words"],
        [(x.id, x.type, len(x.enum_labels) or "") for x in annotations.properties],
    )
    say("")
    print_table(
        ["level", "key", "cells", "limit", "sharded"],
        [
            (n, x.key, times(x.grid_shape), x.limit, "no" if x.sharding is None else "yes")
            for n, x in enumerate(annotations.spatial)
        ],
    )


def _print_facts(found: Description) -> None:
    if found.bytes is not None:
        say(f"bytes: {byte_size(found.bytes)} in {found.files} files")
    if found.sources:
        say(f"source: {', '.join(found.sources)}")
    if found.steps:
        say(f"made by: {', '.join(found.steps)}")


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
