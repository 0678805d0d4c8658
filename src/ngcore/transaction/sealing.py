"""Keeps what `provenance` records of a volume true while a command of ngcore changes its files.

Whatever interrupts a change, `provenance` never takes it for one by somebody else: it says which
command is at work before the first file is touched, and that it has ended only when all is done.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from ngcore.codecs import gzip
from ngcore.errors import FormatError
from ngcore.precomputed.json_members import parse_object
from ngcore.precomputed.names import PROVENANCE_NAME
from ngcore.volume.provenance import Provenance
from ngcore.volume.seal import Seal, file_digest, sealed_members

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from typing_extensions import Buffer

    from ngcore.storage.base import Store

logger = logging.getLogger(__name__)

_MAX_GZIPPED = 1 << 31
_BEFORE_VOXELS = ("generate-info", "generate-scales-info")
"""Commands that a volume starts with; what others did ends with the voxels that they did it to."""
_UNSEALED = (PROVENANCE_NAME, "info_fullres.json")


class Sealing:
    """Seals what one command writes into a volume that is there.

    A volume without `provenance` gets one when a command is recorded, and not before.

    Parameters
    ----------
    store : Store
        Of the volume, which nobody else changes meanwhile.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._known: Provenance | None = None
        self._is_damaged = False
        self._command: str | None = None
        self._parameters: Mapping[str, object] = {}
        self._seal = Seal()
        self._gone: set[tuple[str, str]] = set()
        self._mark: str | None = None
        document = store.get(PROVENANCE_NAME)
        try:
            known = None if document is None else Provenance.from_json(document)
            if known is not None and known.fault:
                raise FormatError(known.fault)
            self._known = known
        except FormatError as error:
            self._is_damaged = True
            logger.warning("%s/provenance is left as it is: %s", store.location, error)

    @property
    def seal(self) -> Seal:
        """What was sealed before."""
        return Seal() if self._known is None else self._known.seal

    def record(
        self,
        command: str,
        parameters: Mapping[str, object],
        *,
        sources: Sequence[str] | None = None,
    ) -> None:
        """Say which command is at work; call it before anything is written.

        Parameters
        ----------
        command : str
            Of ngcore, such as ``labels``. It takes the place of an earlier run of the same one.
        parameters : mapping
            The options that shaped what it writes; values that JSON can hold.
        sources : sequence of str, optional
            Names of the inputs, where the command starts the volume anew.
        """
        self._command, self._parameters = command, parameters
        if sources is not None or (self._known is None and not self._is_damaged):
            known = self._known or Provenance()
            steps = tuple(step for step in known.processing if step.command in _BEFORE_VOXELS)
            self._known = Provenance(tuple(sources or ()), steps)
            self._is_damaged = False

    def begin(self) -> None:
        """Record that the command is at work, if there is a seal that it may break."""
        if self._mark is None:
            self._mark = self._command or "a change"
            self.announce(self._mark)

    def announce(self, command: str) -> None:
        """Record that a command is at work, until a later change that `record` names it ends.

        For long work on what a seal keeps, such as replacing chunks: it is done without the lock.
        """
        if self._known is not None and self._known.seal:
            changing = tuple(sorted({*self._known.changing, command}))
            if changing != self._known.changing:
                self._known = self._known._replace(changing=changing)
                self._store.put_durably(PROVENANCE_NAME, self._known.to_json())

    def put(self, name: str, content: Buffer) -> None:
        """Seal a file that is about to be written, gzipped if it is called so."""
        if name in _UNSEALED:
            return
        if name == "info":
            # A command that a volume starts with makes all of `info`, also where an earlier run
            # of it was cut off before it could seal what it had written.
            is_all = self._command in _BEFORE_VOXELS and not self.seal
            before = {} if is_all else _members(self._store.get(name))
            self.change_info(before, _members(bytes(content)))
            return
        self.begin()
        data = bytes(content)
        plain = name.removesuffix(".gz")
        if plain != name:
            data = gzip.decompress(data, max_size=_MAX_GZIPPED)
        self.add(Seal(files={plain: file_digest(data, plain)}))

    def delete(self, name: str) -> None:
        """Break the seal of a file that is about to be removed."""
        if name in _UNSEALED:
            return
        self.begin()
        plain = name.removesuffix(".gz")
        if plain not in self._seal.files:  # else the other of `NAME` and `NAME.gz` was written
            self._gone.add(("files", plain))

    def add(self, seal: Seal) -> None:
        """Seal parts that were written otherwise, such as voxels and meshes."""
        self._seal = self._seal.updated(seal)

    def replace(self, seal: Seal) -> None:
        """Seal these parts, and nothing else any more."""
        known = self.seal
        self._gone |= {("files", name) for name in known.files}
        self._gone |= {("scales", name) for name in known.scales}
        self._gone |= {("meshes", name) for name in known.meshes}
        self._gone |= {("info", name) for name in known.info}
        self.add(seal)

    def forget_meshes(self, folder: str) -> None:
        """Break the seal of a folder of multi-resolution meshes, which is removed otherwise."""
        self._gone |= {("meshes", folder), ("files", f"{folder}/info")}

    def change_info(self, before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
        """Seal members of `info` that are about to be changed, and no others."""
        self.begin()
        old, new = sealed_members(before), sealed_members(after)
        self.add(Seal(info={k: v for k, v in new.items() if k not in old or old[k] != v}))
        self._gone |= {("info", name) for name in old.keys() - new.keys()}

    def finish(self) -> None:
        """Record what was written; it is safely on the disk."""
        is_new = self._mark is not None or bool(self._seal)
        if self._known is None or not (is_new or self._command):
            return
        known = self._known
        if self._command is not None:
            known = known.with_step(self._command, self._parameters)
        known = known.sealed(self._seal, self._gone)
        changing = {*known.changing} - {self._mark, self._command}
        known = known._replace(changing=tuple(sorted(changing)))
        self._store.put_durably(PROVENANCE_NAME, known.to_json())


def _members(document: bytes | None) -> dict[str, Any]:
    try:
        return {} if document is None else parse_object(document)
    except FormatError:
        return {}  # there is nothing to keep of it
