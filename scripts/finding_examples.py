"""What `validate` prints for each finding, from volumes that are damaged one way each.

The pages of findings show these examples. Nothing in them is written by hand: a volume is made,
damaged as its sentence says, and the command is run.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import nibabel
import numpy as np
from click.testing import CliRunner

import ngcore
from ngcore.cli import cli

sys.path.append(str(Path(__file__).parents[1] / "tests/support"))

from serving import barely_served

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SIZE = (40, 30, 30)
KEYS = ("digests", "seal")
FINE, COARSE = "1000000_1000000_1000000", "2000000_2000000_2000000"
CHUNK = "0-16_0-16_0-16"


class Shown(NamedTuple):
    """What a page shows, and the kinds of findings that it shows."""

    text: str
    kinds: set[str]


class Example(NamedTuple):
    """One way to get a finding: what was done to which volume."""

    base: str
    done: str
    damage: Callable[[Path], object]
    command: str = "validate {base}"
    is_bound: bool = False
    """Whether it shows what permissions do."""


def shapes() -> np.ndarray:
    """Return two boxes of labels in a volume of zeros."""
    voxels = np.zeros(SIZE, np.uint8)
    voxels[4:20, 4:20, 4:20], voxels[24:36, 8:24, 8:24] = 1, 2
    return voxels


def make_brain(folder: Path) -> None:
    """Convert an image to flat files that are not compressed."""
    voxels = shapes() * 90
    voxels += (np.indices(SIZE).sum(0) % 8).astype(np.uint8)
    _convert(folder, voxels, sharding=False)


def make_sharded(folder: Path) -> None:
    """Convert the same image to shards."""
    _convert(folder, shapes() * 90)


def make_atlas(folder: Path) -> None:
    """Convert labels, with names and meshes."""
    _convert(folder, shapes(), type="segmentation", sharding=False)
    table = folder.parent / "names.csv"
    table.write_text("id,name,color\n1,left,#ff0000\n2,right,#0000ff\n", "utf-8")
    ngcore.labels(folder, table)
    ngcore.mesh(folder, workers=1, sharding=False)


def make_cells(folder: Path) -> None:
    """Convert points."""
    table = folder.parent / "cells.csv"
    table.write_text("x,y,z\n1,2,3\n4,5,6\n", "utf-8")
    ngcore.annotations(table, folder, sharding=False, fsync=False)


def make_neurons(folder: Path) -> None:
    """Convert a neuron."""
    neuron = folder.parent / "7.swc"
    neuron.write_text("1 1 0 0 0 2 -1\n2 3 5 0 0 1 1\n", "utf-8")
    ngcore.skeletons([neuron], folder, sharding=False, fsync=False)


BASES = {
    "brain": make_brain,
    "sharded": make_sharded,
    "atlas": make_atlas,
    "cells": make_cells,
    "neurons": make_neurons,
}


def _convert(folder: Path, voxels: np.ndarray, **options: Any) -> None:
    source = folder.parent / f"{folder.name}.nii"
    nibabel.save(nibabel.Nifti1Image(voxels, np.eye(4)), source)
    options = {"type": "image", "chunk_size": 16, "fsync": False, "workers": 1} | options
    ngcore.convert(source, folder, **options)


def edit_json(path: Path, change: Callable[[Any], object]) -> None:
    """Change the JSON of a file."""
    document = json.loads(path.read_text("utf-8"))
    change(document)
    path.write_text(json.dumps(document), "utf-8")


def edit_info(change: Callable[[Any], object]) -> Callable[[Path], None]:
    """Return what changes `info`."""
    return lambda folder: edit_json(folder / "info", change)


def cut(name: str, size: int = -1) -> Callable[[Path], None]:
    """Return what cuts a file off."""

    def damage(folder: Path) -> None:
        path = folder / name
        path.write_bytes(path.read_bytes()[:size])

    return damage


def overwrite(name: str, start: int, data: bytes) -> Callable[[Path], None]:
    """Return what writes bytes into a file."""

    def damage(folder: Path) -> None:
        path = folder / name
        old = path.read_bytes()
        path.write_bytes(old[:start] + data + old[start + len(data) :])

    return damage


def foreign(damage: Callable[[Path], object]) -> Callable[[Path], None]:
    """Return damage to a volume of another program, which writes no `provenance`."""

    def both(folder: Path) -> None:
        (folder / "provenance").unlink()
        damage(folder)

    return both


def write_long_chunks(folder: Path) -> None:
    """Write, as another program might, a volume of one long chunk."""
    shutil.rmtree(folder)
    (folder / "s0").mkdir(parents=True)
    (folder / "s0" / "0-4096_0-1_0-1").write_bytes(bytes(4096))
    scale = {"key": "s0", "size": [4096, 1, 1], "resolution": [8, 8, 8], "encoding": "raw"}
    scale |= {"chunk_sizes": [[4096, 1, 1]], "voxel_offset": [0, 0, 0]}
    info = {"@type": "neuroglancer_multiscale_volume", "type": "image", "data_type": "uint8"}
    (folder / "info").write_text(json.dumps(info | {"num_channels": 1, "scales": [scale]}))


def swap_meshes(folder: Path) -> None:
    """Give each label the mesh of the other."""
    for ending in ("", ".index"):
        one, two = folder / f"mesh/1{ending}", folder / f"mesh/2{ending}"
        first, second = one.read_bytes(), two.read_bytes()
        one.write_bytes(second)
        two.write_bytes(first)


_KILLED = """
import os, sys
from ngcore.classic import coarser_scales
write = coarser_scales.record_chunks
coarser_scales.record_chunks = lambda *_args, **_keywords: os._exit(9)
coarser_scales.compute_scales(sys.argv[1], downsampling="max", flat=True, use_gzip=False)
"""


def kill_compute_scales(folder: Path) -> None:
    """Run `compute-scales` in a process that dies when all chunks are written."""
    subprocess.run([sys.executable, "-c", _KILLED, str(folder)], check=False)


EXAMPLES: dict[str, Example] = {
    "absent": Example(
        "brain", "A chunk was deleted.", lambda folder: (folder / FINE / CHUNK).unlink()
    ),
    "added": Example(
        "brain",
        "Another program named meshes in `info`.",
        edit_info(lambda info: info.update(mesh="mesh")),
    ),
    "annotations": Example(
        "cells",
        "The file of an annotation, in a folder that another program wrote, was cut off.",
        foreign(cut("by_id/1")),
    ),
    "chunk": Example("brain", "A chunk was cut off.", cut(f"{FINE}/{CHUNK}", 1000)),
    "chunk-size": Example(
        "brain", "Another program wrote chunks of 4096 x 1 x 1 voxels.", write_long_chunks
    ),
    "digest": Example(
        "brain", "Four voxels were changed.", overwrite(f"{FINE}/{CHUNK}", 0, b"\xff" * 4)
    ),
    "digests-removed": Example(
        "brain",
        "The digests were removed from `provenance`.",
        lambda folder: edit_json(
            folder / "provenance",
            lambda it: [step["method"].pop(key, 0) for step in it["processing"] for key in KEYS],
        ),
    ),
    "duplicate": Example(
        "brain",
        "A chunk was copied under the name of a compressed one.",
        lambda folder: shutil.copy(folder / FINE / CHUNK, folder / FINE / f"{CHUNK}.gz"),
    ),
    "entries-changed": Example(
        "neurons", "A coordinate of a skeleton was changed.", overwrite("7", 8, b"\0\0\0\1")
    ),
    "file-changed": Example(
        "brain",
        "`transform.json` was edited: the volume lies 5 mm higher.",
        lambda folder: edit_json(
            folder / "transform.json", lambda rows: rows[2].__setitem__(3, rows[2][3] + 5)
        ),
    ),
    "info": Example(
        "brain",
        "Another program wrote null for a member that it did not need.",
        foreign(edit_info(lambda info: info["scales"][0].update(sharding=None))),
    ),
    "info-changed": Example(
        "brain",
        "The type was edited: the image is to be taken for labels.",
        edit_info(lambda info: info.update(type="segmentation")),
    ),
    "interrupted": Example(
        "brain", "`compute-scales` was killed while it replaced chunks.", kill_compute_scales
    ),
    "mesh": Example(
        "atlas",
        "A mesh, in a volume that another program wrote, was cut off.",
        foreign(cut("mesh/1", 40)),
    ),
    "meshes-changed": Example("atlas", "The meshes of two labels were swapped.", swap_meshes),
    "misnamed": Example(
        "brain",
        "A chunk was renamed.",
        lambda folder: (folder / FINE / CHUNK).rename(folder / FINE / "00-16_0-16_0-16"),
    ),
    "not-fixed": Example(
        "brain",
        "There are two files for a chunk, and they differ.",
        lambda folder: (folder / FINE / f"{CHUNK}.gz").write_bytes(gzip.compress(bytes(4096))),
        "repair {base} repaired",
    ),
    "properties": Example(
        "atlas",
        "Another program wrote a name too few.",
        foreign(
            lambda folder: edit_json(
                folder / "segment_properties/info",
                lambda it: it["inline"]["properties"][0]["values"].pop(),
            )
        ),
    ),
    "provenance": Example(
        "brain",
        "`provenance` was cut off.",
        cut("provenance", 100),
    ),
    "provenance-changed": Example(
        "brain",
        "The name of the source was edited in `provenance`.",
        lambda folder: edit_json(
            folder / "provenance",
            lambda it: it["processing"][0]["method"].update(source="another.nii"),
        ),
    ),
    "pyramid": Example(
        "brain",
        "A chunk of a coarser scale was overwritten, in a volume that another program wrote.",
        foreign(overwrite(f"{COARSE}/0-16_0-15_0-15", 0, b"\xff" * 3600)),
    ),
    "scale": Example(
        "brain",
        "Nobody may read the folder of a scale.",
        lambda folder: (folder / FINE).chmod(0),
        is_bound=True,
    ),
    "server": Example(
        "brain",
        "The volume is on a web server that sets no headers.",
        lambda _folder: None,
        "validate {url}/{base}",
    ),
    "shard": Example(
        "sharded",
        "The index of a shard was overwritten.",
        overwrite(f"{FINE}/0.shard", 0, b"\xff" * 8),
    ),
    "skeletons": Example(
        "neurons",
        "A skeleton, in a folder that another program wrote, was cut off.",
        foreign(cut("7")),
    ),
    "stray": Example(
        "brain",
        "A file was left in the folder.",
        lambda folder: (folder / "notes.txt").write_text("to do"),
    ),
    "transform": Example(
        "brain",
        "`transform.json` was emptied.",
        lambda folder: (folder / "transform.json").write_text("[]"),
    ),
    "unchecked": Example(
        "brain",
        "The chunks of a scale were compressed with xz.",
        lambda folder: [
            path.rename(path.with_name(f"{path.name}.xz"))
            for path in list((folder / FINE).iterdir())
        ],
    ),
}


def examples() -> dict[str, Shown]:
    """Return what each rule's page shows: what was done, the command, and all that it prints."""
    shown = {}
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        Path(folder).chmod(0o755)
        made = Path(folder) / "made"
        made.mkdir()
        for name, make in BASES.items():
            make(made / name)
        with barely_served(folder) as url:
            for rule, example in EXAMPLES.items():
                shown[rule] = _shown(example, made, url)
    return shown


def _shown(example: Example, made: Path, url: str) -> Shown:
    shutil.rmtree(example.base, ignore_errors=True)
    shutil.copytree(made / example.base, example.base)
    example.damage(Path(example.base))
    command = example.command.format(base=example.base, url=url)
    with bound_by_permissions() if example.is_bound else contextlib.nullcontext():
        output = _run(command)
        report = json.loads(_run(command.replace("repaired", "repaired-again") + " --json"))
    for path in Path(example.base).glob("*/"):
        path.chmod(0o755)
    kinds = {found["kind"] for found in report.get("findings", ())}
    kinds |= {"not-fixed"} if report.get("not_fixed") else set()
    return Shown(
        f"{example.done}\n\n``` {{.text .wrap}}\n$ ngcore {command}\n{output}```\n", kinds
    )


def _run(command: str) -> str:
    """Return what a command prints, its warnings too."""
    result = CliRunner().invoke(cli, command.split(), prog_name="ngcore")
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.output


@contextlib.contextmanager
def bound_by_permissions() -> Iterator[None]:
    """Be nobody for a while, as permissions don't stop root."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


if __name__ == "__main__":
    for rule, shown in examples().items():
        print(f"== {rule} {sorted(shown.kinds)}\n\n{shown.text}")
