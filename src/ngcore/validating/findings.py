"""What a validation finds, and how much of it is kept."""

from __future__ import annotations

import bisect
import threading
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from ngcore.errors import FormatError

Severity = Literal["error", "warning"]

LISTED = 20
"""How many findings of each kind are listed; the others are counted."""


@dataclass(frozen=True, slots=True, order=True)
class Finding:
    """One fault, or one thing that looks like a fault.

    Attributes
    ----------
    severity : {'error', 'warning'}
        An error breaks the format or lies about the data. A warning is legal and yet doubtful.
    kind : str
        What sort of finding, such as ``chunk``, ``absent`` or ``digest``.
    where : str
        The file, relative to the volume's folder, with a JSON path or byte offset where known.
    message : str
    """

    severity: Severity
    kind: str
    where: str
    message: str

    def __str__(self) -> str:
        return f"{self.where}: {self.message}"


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
    """

    path: str
    findings: tuple[Finding, ...]
    totals: dict[tuple[Severity, str], int]
    chunks: int
    digests: tuple[str, ...]

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
            rest[finding.severity, finding.kind] -= 1
        return {kind: count for kind, count in rest.items() if count}

    def to_json(self) -> dict[str, Any]:
        """Return what JSON holds."""
        return {
            "path": self.path,
            "sound": self.is_sound,
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
        self._totals: dict[tuple[Severity, str], int] = {}
        self._lock = threading.Lock()

    def error(self, kind: str, where: str, message: str | Exception) -> None:
        """Add an error."""
        self._add(Finding("error", kind, where, str(message)))

    def warning(self, kind: str, where: str, message: str | Exception) -> None:
        """Add a warning."""
        self._add(Finding("warning", kind, where, str(message)))

    def error_in_json(self, kind: str, file: str, error: FormatError) -> None:
        """Add an error whose message starts with a JSON path, if it has one."""
        path, separator, message = str(error).partition(": ")
        if separator and " " not in path:
            self.error(kind, f"{file}: {path}", message)
        else:
            self.error(kind, file, error)

    def report(self, path: str, *, chunks: int, digests: tuple[str, ...]) -> Report:
        """Return everything that was found."""
        with self._lock:
            kept = sorted(finding for findings in self._kept.values() for finding in findings)
            return Report(path, tuple(kept), dict(sorted(self._totals.items())), chunks, digests)

    def _add(self, finding: Finding) -> None:
        key = (finding.severity, finding.kind)
        with self._lock:
            self._totals[key] = self._totals.get(key, 0) + 1
            kept = self._kept.setdefault(key, [])
            bisect.insort(kept, finding)
            del kept[LISTED:]
