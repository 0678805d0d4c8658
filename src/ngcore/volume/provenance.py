"""The `provenance` file: where a volume came from, in the shape that CloudVolume reads.

It says what shaped the data and nothing else: no time, host, thread count or memory, so that the
same source and options always give the same bytes. The last step by ngcore holds the seal
(`ngcore.volume.seal`) of all that ngcore wrote: ``digests`` of voxels, and ``seal`` for the rest.
Steps and members of other programs stay as they are.

https://github.com/seung-lab/cloud-volume/wiki/Provenance-Files
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from hashlib import blake2b
from typing import Any, NamedTuple

from ngcore._version import __version__
from ngcore.errors import FormatError
from ngcore.precomputed.json_members import parse_object
from ngcore.volume.seal import Seal, canonical_json

CONVERT = "convert"
MAX_SIZE = 64 << 20
"""In bytes: what a reader takes. Folders of many single meshes have a digest for each file."""

_PROGRAM = "ngcore "
_BY_NOBODY: Mapping[str, Any] = {"by": ""}
_OWNED_BY_NOBODY: Mapping[str, Any] = {"owners": [], "description": ""}
_DIGESTS, _SEAL, _CHECK, _CHANGING = "digests", "seal", "check", "changing"


class Step(NamedTuple):
    """Something that was done to a volume.

    Attributes
    ----------
    method : mapping
        What was done, and with which options; without the seal. Others' may be a text.
    extra : mapping
        Other members of the step, such as ``by``.
    """

    method: Mapping[str, Any] | str
    extra: Mapping[str, Any] = _BY_NOBODY

    @property
    def command(self) -> str | None:
        """The command of ngcore that did it, such as ``convert``; None for other programs."""
        task = self.method.get("task") if isinstance(self.method, Mapping) else None
        if isinstance(task, str) and task.startswith(_PROGRAM):
            return task.removeprefix(_PROGRAM)
        return None

    @property
    def what(self) -> tuple[object, ...]:
        """What another run of the same command would write anew; of other programs, itself."""
        if self.command is None or isinstance(self.method, str):
            return (id(self),)
        return self.command, self.method.get("part")

    @property
    def name(self) -> str:
        """A short name for messages."""
        if isinstance(self.method, str):
            return self.method
        name = self.method.get("task") or self.method.get("name") or self.extra.get("by")
        return str(name) if name else "another program"

    def to_json(self) -> dict[str, Any]:
        """Return what JSON holds."""
        method = self.method if isinstance(self.method, str) else dict(self.method)
        return {"method": method, **self.extra}


class Provenance(NamedTuple):
    """Where a volume came from, and what was done to it.

    Attributes
    ----------
    sources : sequence of str
        Names of the inputs, without the folders they lie in.
    processing : tuple of Step
        In the order in which it was done.
    seal : Seal
        Of what ngcore wrote.
    changing : tuple of str
        Commands of ngcore that are at work, or were interrupted: what they write may be new.
    is_changed : bool
        Whether somebody else changed what ngcore recorded.
    fault : str
        Why the seal can't be read; empty if it can, or there is none.
    extra : mapping
        Other members, such as ``owners``.

    Examples
    --------
    >>> from ngcore.volume.provenance import Provenance
    >>> made = Provenance.of(["t1.nii.gz"], "convert", {"type": "image"})
    >>> Provenance.from_json(made.to_json()) == made
    True
    """

    sources: Sequence[str] = ()
    processing: tuple[Step, ...] = ()
    seal: Seal = Seal()
    changing: tuple[str, ...] = ()
    is_changed: bool = False
    fault: str = ""
    extra: Mapping[str, Any] = _OWNED_BY_NOBODY

    @classmethod
    def of(
        cls, sources: Sequence[str], command: str, parameters: Mapping[str, object]
    ) -> Provenance:
        """Return that of what a command makes.

        Parameters
        ----------
        sources : sequence of str
            Names of the inputs, without the folders they lie in.
        command : str
            Of ngcore, such as ``convert``.
        parameters : mapping
            The options that shaped the data; values that JSON can hold.
        """
        return cls(tuple(sources)).with_step(command, parameters)

    @classmethod
    def from_json(cls, document: bytes) -> Provenance:
        """Parse a `provenance` file.

        Raises
        ------
        FormatError
            It is not JSON, or not of CloudVolume's shape.
        """
        members = parse_object(document)
        items = members.pop("processing", [])
        if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
            raise FormatError("processing: expected an array of objects")
        steps: list[Step] = []
        sealed: tuple[object, object] | None = None
        for item in items:
            method = item.pop("method", {})
            step = Step(method if isinstance(method, dict | str) else {}, item)
            if step.command is not None and {_DIGESTS, _SEAL} & method.keys():
                sealed = method.pop(_DIGESTS, Seal().to_json()[0]), method.pop(_SEAL, {})
            steps.append(step)
        sources = members.pop("sources", ())
        known = cls(
            tuple(sources) if isinstance(sources, list) else sources,
            tuple(steps),
            extra=members,
        )
        return known if sealed is None else known._with_sealed(*sealed)

    def _with_sealed(self, digests: object, others: object) -> Provenance:
        try:
            seal = Seal.from_json(digests, others)
        except FormatError as error:
            return self._replace(fault=f"processing[].method.{error}")
        assert isinstance(others, dict)
        changing = others.get(_CHANGING, ())
        if not isinstance(changing, list | tuple):
            return self._replace(fault="processing[].method.seal.changing: expected an array")
        known = self._replace(seal=seal, changing=tuple(map(str, changing)))
        # Volumes of ngcore 0.1 have digests of voxels alone.
        return known._replace(is_changed=bool(others) and others.get(_CHECK) != known.check())

    def to_json(self) -> bytes:
        """Return the content of the file."""
        steps = [step.to_json() for step in self.processing]
        last = max(
            (n for n, step in enumerate(self.processing) if step.command is not None), default=None
        )
        if last is not None and self.seal:
            digests, others = self.seal.to_json()
            if self.changing:
                others[_CHANGING] = list(self.changing)
            steps[last]["method"] |= {_DIGESTS: digests, _SEAL: {**others, _CHECK: self.check()}}
        document = {"sources": self.sources, "processing": steps, **self.extra}
        # Names of files need not be text: what is none becomes an escape, which JSON has for it.
        text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
        return text.encode(errors="backslashreplace")

    def check(self) -> str:
        """Return the digest of all that ngcore recorded here."""
        methods = [step.method for step in self.processing if step.command is not None]
        recorded = canonical_json([methods, *self.seal.to_json(), list(self.changing)])
        return blake2b(recorded, digest_size=16).hexdigest()

    def with_step(self, command: str, parameters: Mapping[str, object]) -> Provenance:
        """Return this with a step added, in the place of an earlier run of the same command.

        Commands that write one of several things say which in the parameter ``part``.
        """
        step = Step({"task": f"{_PROGRAM}{command}", "version": __version__, **parameters})
        others = tuple(known for known in self.processing if known.what != step.what)
        return self._replace(processing=(*others, step))

    def sealed(self, seal: Seal, gone: Collection[tuple[str, str]] = ()) -> Provenance:
        """Return this with more parts sealed; see `Seal.updated`."""
        return self._replace(seal=self.seal.updated(seal, gone))

    def method_of(self, command: str) -> Mapping[str, Any] | None:
        """Return what the last run of a command of ngcore recorded; None if there was none."""
        methods = [step.method for step in self.processing if step.command == command]
        return methods[-1] if methods and not isinstance(methods[-1], str) else None

    @property
    def later_steps(self) -> tuple[str, ...]:
        """Names of what other programs did after the last command of ngcore."""
        names: list[str] = []
        for step in self.processing:
            names = [] if step.command is not None else [*names, step.name]
        return tuple(names)

    def is_same_run(self, other: Provenance) -> bool:
        """Whether another one tells of the very same steps; digests do not count."""
        return (list(self.sources), self.processing) == (list(other.sources), other.processing)

    def is_same_work(self, other: Provenance) -> bool:
        """Whether another one tells of the same conversion, by its sources and options.

        Neither digests count nor what other commands did later.
        """
        works = [[one.sources, one.method_of(CONVERT)] for one in (self, other)]
        return canonical_json(works[0]) == canonical_json(works[1])
