"""Repairs whose source must stay as it was."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ngcore.repairing.repair import repair

if TYPE_CHECKING:
    from pathlib import Path

    from ngcore.repairing.repair import RepairReport


def files_of(folder: Path) -> dict[str, bytes]:
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def mend(folder: Path, **options: Any) -> RepairReport:
    """Repair a volume; check that the source is left alone and the result is valid."""
    before = files_of(folder)
    report = repair(folder, folder.parent / "repaired", fsync=False, **options)
    assert files_of(folder) == before
    assert report.is_sound, (report.failures, report.validation.findings)
    return report
