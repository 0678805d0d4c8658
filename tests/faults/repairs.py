"""Small volumes that need repair, of every kind that `ngcore repair` writes."""

from __future__ import annotations

import gzip
import json
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import damage
import numpy as np

import ngcore
from ngcore.precomputed.shard_index import layout_shard
from ngcore.storage import LocalStore
from ngcore.storage.sharded_reader import ShardedReader

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class SmallRepair:
    """A repair of a small volume.

    Attributes
    ----------
    volume : str
        The kind, of those of `damage.VOLUMES`.
    options : list of str
        Of the command line.
    again : str
        What to pass after a run that was interrupted.
    """

    volume: str
    options: list[str] = field(default_factory=list)
    again: str = "--resume"

    def command(self, folder: Path) -> list[str]:
        """Return the arguments of the command line, without DEST."""
        return ["repair", str(folder / "source"), "--workers", "2", *self.options]

    def make_source(self, folder: Path) -> None:
        """Make FOLDER/source, which `validate` finds faults in, all of which can be repaired."""
        source = folder / "source"
        damage.make_volume(source, self.volume)
        if "sharded" in self.volume:
            for scale in ngcore.open(source).info.scales:
                _make_zlib(source, scale)
        else:
            for path in (source / "8_8_8").rglob("*.gz"):
                path.write_bytes(zlib.compress(gzip.decompress(path.read_bytes())))
        add_folders(source)


REPAIRS = {
    "repair, sharded": SmallRepair("sharded"),
    "repair, plain": SmallRepair(
        "files, nested, gzip", ["--flat", "--no-gzip"], again="--overwrite"
    ),
    "repair, files": SmallRepair("files, nested, gzip"),
}


def add_folders(volume: Path, mark: int = 0) -> None:
    """Add legacy meshes without `info`, skeletons, and properties whose ids are out of order."""
    info = json.loads((volume / "info").read_text())
    info.update(mesh="mesh", segment_properties="names", skeletons="lines/all", made_by=mark)
    (volume / "info").write_text(json.dumps(info))
    for name in ("mesh", "names", "lines/all"):
        (volume / name).mkdir(parents=True)
    for label in range(5):
        (volume / "mesh" / f"{label}:0.gz").write_bytes(gzip.compress(b'{"fragments": ["a"]}'))
    vertices = np.full((3, 3), mark, "<f4")
    (volume / "mesh" / "a").write_bytes(
        np.uint32(3).tobytes() + vertices.tobytes() + np.arange(3, dtype="<u4").tobytes()
    )
    inline = {
        "ids": ["3", "1"],
        "properties": [{"id": "label", "type": "label", "values": ["c", str(mark)]}],
    }
    properties = {"@type": "neuroglancer_segment_properties", "inline": inline}
    (volume / "names" / "info").write_text(json.dumps(properties))
    lines = {"@type": "neuroglancer_skeletons", "vertex_attributes": []}
    (volume / "lines" / "all" / "info").write_text(json.dumps(lines))


def _make_zlib(volume: Path, scale: ngcore.ScaleInfo) -> None:
    """Write the chunks in every shard of a scale as zlib streams, as neuroglancer-scripts does."""
    spec = scale.sharding
    assert spec is not None
    reader = ShardedReader(LocalStore(volume), scale, spec, 1 << 20)
    shards: dict[int, dict[int, bytes]] = {}
    for cell in scale.grid.cells():
        data = reader.read_stored(cell)
        if data is not None:
            chunk_id = scale.grid.chunk_id(cell)
            shard, _ = spec.locate(chunk_id)
            shards.setdefault(shard, {})[chunk_id] = zlib.compress(gzip.decompress(data))
    for shard, chunks in shards.items():
        layout = layout_shard(spec, {chunk_id: len(data) for chunk_id, data in chunks.items()})
        body = b"".join(chunks[chunk_id] for chunk_id in layout.ids)
        path = volume / scale.key / spec.file_name(shard)
        path.write_bytes(layout.header + body + layout.trailer)


def make_old(folder: Path) -> None:
    """Make FOLDER/old, another valid volume with meshes, names and skeletons."""
    old = folder / "old"
    damage.make_volume(old, "files, nested, gzip", seed=1)
    add_folders(old, mark=1)
    (old / "mesh" / "info").write_text('{"@type": "neuroglancer_legacy_mesh"}')
