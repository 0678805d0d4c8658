"""What a repair changed, and what it could not repair."""

from __future__ import annotations

import threading
from collections import Counter
from typing import TYPE_CHECKING

from ngcore.validating.findings import Findings

if TYPE_CHECKING:
    from ngcore.validating.findings import Finding

KINDS = {
    "null": "members of info that are null left out",
    "block size": "block sizes left out where the encoding has none",
    "type tag": "members @type corrected",
    "channels": "numbers of channels of a segmentation filled in",
    "order": "scales put in order, from fine to coarse",
    "zlib": "zlib streams made gzip",
    "members": "gzip of several members made one",
    "not compressed": "data compressed where gzip is expected",
    "compressed": "data decompressed where compressed data are not expected",
    "padded": "chunks at the edge cut to the volume",
    "renamed": "files given the name that clients ask for",
    "plain": "files decompressed, as asked",
    "flat": "files laid flat, as asked",
    "duplicate": "second copies of the same chunk left out",
    "phantom": "entries without bytes left out of shards",
    "index": "shards rewritten because their index was out of order",
    "twice": "chunks that an index lists twice listed once",
    "mesh info": "missing info of legacy meshes written",
    "ids": "segment ids put in order, or made decimal text",
    "tags": "tags of segments written as Neuroglancer searches for them",
    "coarse scale": "coarser scales that were lost made again from the one before",
}
"""Every kind of change, in the order that they are told, and what it is called."""


_COPY = "Copy it again from where it is valid, or convert the source again."
NEXT = {
    "absent": "The chunks are lost. " + _COPY,
    "chunk": "The chunks are damaged, and nothing tells what they held. " + _COPY,
    "digest": "The voxels have changed since they were written. " + _COPY,
    "pyramid": "One of two scales is damaged. " + _COPY,
    "shard": "The entries of the index are lost. " + _COPY,
    "scale": "A scale can't be read to its end. " + _COPY,
    "not-fixed": "What is named above was left unchanged. " + _COPY,
    "info": "Edit the member of info that is named; docs/findings.md explains each rule.",
    "info-changed": "If the change was intended, pass --accept-changes; else undo it in info.",
    "file-changed": "If the change was intended, pass --accept-changes; else undo it.",
    "meshes-changed": "Make the meshes again, with `ngcore mesh --overwrite`.",
    "mesh": "Make the meshes again, with `ngcore mesh --overwrite`.",
    "properties": "Write the names again, with `ngcore labels`.",
    "skeletons": "Write the skeletons again; ngcore can't tell what they were.",
    "transform": "Remove transform.json, or convert the source again.",
    "chunk-size": "Convert the source again, with a smaller --chunk-size.",
}
"""What to do about what is left, by the kind of the finding."""


class Changes:
    """Counts changes, from several threads, and collects what can't be repaired.

    Parameters
    ----------
    whole : Changes, optional
        Of which these are a part: it is reported all that these are reported.

    Attributes
    ----------
    left_out : int
        Files that belong to nothing that `info` names.
    is_clean : bool
        Whether everything could be repaired, and nothing was left out.
    """

    def __init__(self, whole: Changes | None = None) -> None:
        self._whole = whole
        self.is_clean = True
        self._counts: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._findings = Findings()
        self._failed: Counter[str] = Counter()
        self._forgiven: set[str] = set()
        self.left_out = 0

    def add(self, kind: str, count: int = 1) -> None:
        """Count something that was repaired."""
        assert kind in KINDS
        if count:
            with self._lock:
                self._counts[kind] += count
            if self._whole is not None:
                self._whole.add(kind, count)

    def leave_out(self) -> None:
        """Count a file that belongs to nothing that `info` names."""
        with self._lock:
            self.left_out += 1
            self.is_clean = False
        if self._whole is not None:
            self._whole.leave_out()

    def fail(self, where: str, message: str | Exception) -> None:
        """Note something that can't be repaired."""
        with self._lock:
            self._failed[_folder(where)] += 1
        self._findings.error("not-fixed", where, message)
        self.is_clean = False
        if self._whole is not None:
            self._whole.fail(where, message)

    def forgive(self, folder: str) -> None:
        """Forget what can't be repaired in a folder, which was made anew."""
        self._forgiven |= {
            name for name in self._failed if name == folder or name.startswith(f"{folder}/")
        }

    @property
    def counts(self) -> dict[str, int]:
        """How often each kind of change was made, in the order of `KINDS`."""
        return {kind: self._counts[kind] for kind in KINDS if self._counts[kind]}

    @property
    def failures(self) -> tuple[tuple[Finding, ...], int]:
        """What can't be repaired, the first ones, and how many there are."""
        report = self._findings.report("", chunks=0, digests=())
        left = (found for found in report.findings if _folder(found.where) not in self._forgiven)
        count = sum(n for name, n in self._failed.items() if name not in self._forgiven)
        return tuple(left), count


def _folder(where: str) -> str:
    return where.partition(": ")[0].rpartition("/")[0]
