"""Compares a volume with its seal: what ngcore wrote, and what has changed since.

Voxels are compared where they are decoded anyway (`ngcore.validating.validate`); the rest here.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from ngcore.errors import FormatError, NgcoreError
from ngcore.precomputed.json_members import shown
from ngcore.precomputed.names import PROVENANCE_NAME
from ngcore.storage import LocalStore
from ngcore.storage.zip_store import ZipStore
from ngcore.transaction.journal import MESH_WORK_FOLDER
from ngcore.validating.files import read_limited
from ngcore.volume.provenance import CONVERT
from ngcore.volume.seal import EntriesDigest, file_digest, is_entry

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ngcore.storage import ReadableStore
    from ngcore.validating.findings import Findings
    from ngcore.validating.scale import Basis, Context
    from ngcore.volume.provenance import Provenance

MAX_FILE = 256 << 20
_PIECE = 4 << 20
_SMALL = (".json", "info")


def by_whom(provenance: Provenance) -> str:
    """Return who changed what ngcore wrote, as far as `provenance` tells."""
    later = list(dict.fromkeys(provenance.later_steps))[:3]
    who = f"by {', '.join(map(shown, later))}, as provenance says, " if later else ""
    return f"changed since, {who}not by ngcore"


def interrupted(changing: Sequence[str]) -> str:
    """Return what to do about commands of ngcore that have not ended."""
    commands = ", ".join(f"ngcore {name}" for name in changing)
    return f"{commands} is running, or was interrupted: if so, run it again"


def check_record(provenance: Provenance, findings: Findings) -> None:
    """Check that what ngcore recorded is there, and what it was."""
    if provenance.is_changed:
        findings.error(
            "provenance-changed",
            PROVENANCE_NAME,
            "is not what ngcore recorded: it was changed since, not by ngcore",
        )
    elif provenance.method_of(CONVERT) is not None and not (provenance.seal or provenance.fault):
        findings.error(
            "digests-removed",
            PROVENANCE_NAME,
            "the digests that ngcore recorded are gone, so its voxels can't be compared",
        )


def check_members(context: Context, members: Mapping[str, Any]) -> None:
    """Compare `info` with its seal.

    Parameters
    ----------
    context : Context
    members : mapping
        What the seal would be now.
    """
    sealed = context.provenance.seal.info
    for name, value in sealed.items():
        if name not in members:
            message = f"is gone: {by_whom(context.provenance)}"
        elif members[name] != value:
            was = "" if name.startswith("scales[") else f" {shown(value)}"
            message = f"is not what ngcore wrote{was}: {by_whom(context.provenance)}"
        else:
            continue
        _report(context, "info-changed", f"info: {name}", message)
    if "type" in sealed:  # ngcore wrote all of it, not this or that member
        for name in members.keys() - sealed.keys():
            context.findings.warning(
                "added", f"info: {name}", f"was added: {by_whom(context.provenance)}"
            )


def check_files(context: Basis) -> None:
    """Compare small files with their seals."""
    for name, digest in context.provenance.seal.files.items():
        if not context.quick or name.endswith(_SMALL):
            context.work.submit(partial(_check_file, context, name, digest))
    context.work.drain()


def check_meshes_seal(context: Context, found: Mapping[str, str]) -> None:
    """Compare multi-resolution meshes with their seals.

    Parameters
    ----------
    context : Context
    found : mapping of str to str
        Digests of what is there, by folder, of those folders of which every mesh could be read.
    """
    if context.quick:
        return
    for folder, digest in context.provenance.seal.meshes.items():
        if found.get(folder) != digest:
            _report(
                context,
                "meshes-changed",
                folder,
                f"the meshes differ from what ngcore wrote: {by_whom(context.provenance)}",
            )


def check_layer(basis: Basis) -> None:
    """Compare a layer of its own, such as skeletons or annotations, with its seal."""
    check_record(basis.provenance, basis.findings)
    check_files(basis)
    expected = basis.provenance.seal.meshes.get(".")
    if expected is None or basis.quick or not isinstance(basis.store, LocalStore | ZipStore):
        return
    digest = EntriesDigest()
    for name in basis.store.list():
        if is_entry(name):
            try:
                digest.add(name, b"", _pieces(basis.store, name))
            except NgcoreError:
                return  # damage, which is reported where it is found
    if str(digest) != expected:
        message = f"the entries differ from what ngcore wrote: {by_whom(basis.provenance)}"
        _report(basis, "entries-changed", ".", message)


def _pieces(store: ReadableStore, name: str) -> Iterator[bytes]:
    size = store.size(name) or 0
    for start in range(0, size, _PIECE):
        yield store.get(name, start, min(start + _PIECE, size)) or b""


def _check_file(context: Basis, name: str, digest: str) -> None:
    if context.findings.has_error(name):
        return  # one finding for one cause
    try:
        content = read_limited(context.store, name, MAX_FILE)
    except FormatError as error:
        _report(context, "file-changed", name, f"{error}: {by_whom(context.provenance)}")
        return
    except NgcoreError as error:
        context.findings.error("file-changed", name, error)
        return
    if content is None:
        _report(context, "file-changed", name, f"is gone: {by_whom(context.provenance)}")
    elif file_digest(content, name) != digest:
        message = f"is not what ngcore wrote: {by_whom(context.provenance)}"
        _report(context, "file-changed", name, message)


def _report(context: Basis, kind: str, where: str, message: str) -> None:
    """Report a change; while a command is at work, or was interrupted, it is its own."""
    changing = context.provenance.changing
    store = context.store
    if not changing and isinstance(store, LocalStore) and (store.path / MESH_WORK_FOLDER).is_dir():
        changing = ("mesh",)
    if changing:
        context.findings.warning("interrupted", where, interrupted(changing))
    else:
        context.findings.error(kind, where, message)
