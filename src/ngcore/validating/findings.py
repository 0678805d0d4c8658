"""What a validation finds, and how much of it is kept.

What has one cause is one finding: the same fault of many files of a folder is told once, with a
count.
"""

from __future__ import annotations

import bisect
import threading
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from ngcore.validating.rules import RULES

if TYPE_CHECKING:
    from ngcore.errors import FormatError

Severity = Literal["error", "warning"]

LISTED = 20
"""How many findings of each kind are listed; the others are counted."""
_ALIKE = 4
"""So many of one folder with the same message are one finding."""
_MOST_CAUSES = 1000
"""Of each kind. Where there are more, nothing is joined, so that memory is bounded."""


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """One fault, or one thing that looks like a fault.

    Attributes
    ----------
    severity : {'error', 'warning'}
        An error breaks the format or lies about the data. A warning is legal and yet doubtful.
    kind : str
        The rule that is broken, such as ``chunk``, ``absent`` or ``digest``: an id of
        `ngcore.validating.rules.RULES`.
    where : str
        The file, relative to the volume's folder, with a JSON path or byte offset where known.
    message : str
    count : int
        In how many files of that folder the same was found, this one included.
    """

    severity: Severity
    kind: str
    where: str
    message: str
    count: int = 1

    def __str__(self) -> str:
        more = f" (and {self.count - 1} more like it)" if self.count > 1 else ""
        return f"{self.where}: {self.message}{more}"


@dataclass(frozen=True, slots=True)
class Report:
    """What `validate` found.

    Attributes
    ----------
    path : str
        The volume.
    findings : tuple of Finding
        Errors first; at most `LISTED` of each kind.
    totals : dict of (severity, kind) to int
        How many there are, those that are not listed too.
    chunks : int
        Chunks that were found and checked, in all scales.
    digests : tuple of str
        Keys of the scales whose digest was compared with all of their voxels, and agrees.
    what : str
        What was checked, such as ``volume`` or ``annotations (point)``; then `chunks` are those.
    """

    path: str
    findings: tuple[Finding, ...]
    totals: dict[tuple[Severity, str], int]
    chunks: int
    digests: tuple[str, ...]
    what: str = "volume"

    @property
    def errors(self) -> int:
        """How many errors there are."""
        return sum(count for (severity, _), count in self.totals.items() if severity == "error")

    @property
    def warnings(self) -> int:
        """How many warnings there are."""
        return sum(self.totals.values()) - self.errors

    @property
    def is_sound(self) -> bool:
        """Whether there is no error; there may be warnings."""
        return self.errors == 0

    @property
    def unlisted(self) -> dict[tuple[Severity, str], int]:
        """How many findings of each kind are not among `findings`; kinds without are left out."""
        rest = dict(self.totals)
        for finding in self.findings:
            rest[finding.severity, finding.kind] -= finding.count
        return {kind: count for kind, count in rest.items() if count}

    def to_json(self) -> dict[str, Any]:
        """Return what JSON holds."""
        return {
            "path": self.path,
            "what": self.what,
            "valid": self.is_sound,
            "errors": self.errors,
            "warnings": self.warnings,
            "chunks": self.chunks,
            "digests": list(self.digests),
            "findings": [asdict(finding) for finding in self.findings],
            "unlisted": [
                {"severity": severity, "kind": kind, "count": count}
                for (severity, kind), count in self.unlisted.items()
            ],
        }


class Findings:
    """Collects findings from several threads; which ones it keeps does not depend on their order.

    Of each kind it keeps those whose place sorts first.
    """

    def __init__(self) -> None:
        self._kept: dict[tuple[Severity, str], list[Finding]] = {}
        self._causes: dict[tuple[Severity, str], dict[tuple[str, str], _Cause]] = {}
        self._totals: dict[tuple[Severity, str], int] = {}
        self._faulty: set[str] = set()
        self._lock = threading.Lock()

    def error(self, kind: str, where: str, message: str | Exception) -> None:
        """Add an error."""
        self._add(Finding("error", kind, where, str(message)))

    def warning(self, kind: str, where: str, message: str | Exception) -> None:
        """Add a warning."""
        self._add(Finding("warning", kind, where, str(message)))

    def has_error(self, file: str) -> bool:
        """Whether an error of a file was found already."""
        with self._lock:
            return file in self._faulty

    def error_in_json(self, kind: str, file: str, error: FormatError) -> None:
        """Add an error whose message starts with a JSON path, if it has one."""
        path, separator, message = str(error).partition(": ")
        if separator and " " not in path:
            self.error(kind, f"{file}: {path}", message)
        else:
            self.error(kind, file, error)

    def report(
        self, path: str, *, chunks: int, digests: tuple[str, ...], what: str = "volume"
    ) -> Report:
        """Return everything that was found."""
        with self._lock:
            kept = sorted(finding for key in self._totals for finding in self._listed(*key))
            totals = dict(sorted(self._totals.items()))
            return Report(path, tuple(kept), totals, chunks, digests, what)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_lock"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = threading.Lock()

    def merge(self, other: Findings) -> None:
        """Add what another one has collected, of other files."""
        with self._lock:
            for key, total in other._totals.items():
                self._totals[key] = self._totals.get(key, 0) + total
                self._kept[key] = sorted([*self._kept.get(key, ()), *other._kept[key]])[:LISTED]
                causes = self._causes.setdefault(key, {})
                for cause, found in other._causes[key].items():
                    if cause in causes or len(causes) < _MOST_CAUSES:
                        causes.setdefault(cause, _Cause()).merge(found)
            room = _MOST_CAUSES - len(self._faulty)
            self._faulty.update(sorted(other._faulty)[:room])

    def _listed(self, severity: Severity, kind: str) -> list[Finding]:
        """Return what is listed of one kind, those with one cause as one."""
        causes = self._causes[severity, kind]
        if len(causes) >= _MOST_CAUSES:
            return self._kept[severity, kind]
        found = []
        for (_, message), cause in causes.items():
            if cause.count < _ALIKE:
                found += [Finding(severity, kind, where, message) for where in cause.first]
            else:
                found.append(Finding(severity, kind, cause.first[0], message, cause.count))
        return sorted(found)[:LISTED]

    def _add(self, finding: Finding) -> None:
        assert finding.kind in RULES, finding.kind
        key = (finding.severity, finding.kind)
        cause = (finding.where.partition(": ")[0].rpartition("/")[0], finding.message)
        with self._lock:
            self._totals[key] = self._totals.get(key, 0) + 1
            if finding.severity == "error" and len(self._faulty) < _MOST_CAUSES:
                self._faulty.add(finding.where.partition(": ")[0])
            kept = self._kept.setdefault(key, [])
            bisect.insort(kept, finding)
            del kept[LISTED:]
            causes = self._causes.setdefault(key, {})
            if cause in causes or len(causes) < _MOST_CAUSES:
                causes.setdefault(cause, _Cause()).add(finding.where)


@dataclass(slots=True)
class _Cause:
    """The same fault of files of one folder: how many, and the first of them."""

    count: int = 0
    first: list[str] = field(default_factory=list)

    def merge(self, other: _Cause) -> None:
        self.count += other.count
        self.first = sorted([*self.first, *other.first])[:_ALIKE]

    def add(self, where: str) -> None:
        self.count += 1
        bisect.insort(self.first, where)
        del self.first[_ALIKE:]
