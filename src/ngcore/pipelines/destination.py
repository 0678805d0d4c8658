"""The folder a volume is written to: taken, filled, and finished or cleaned up.

While a conversion runs, the hidden folder ``.ngcore`` in it holds a lock, what is being written
(``plan.json``), a journal and temporary files. It is removed at the very end, after `info` was
written: a folder that has `info` is complete, and one that has only ``.ngcore`` is unfinished.
"""

import contextlib
import json
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

from ngcore.errors import DestinationError, FormatError, InputError
from ngcore.formats.info import ScaleInfo, VolumeInfo
from ngcore.pipelines.journal import JOURNAL, PLAN, Journal, read_plan
from ngcore.pipelines.provenance import is_same_work
from ngcore.storage.local import TEMPORARY_SUFFIX, LocalStore
from ngcore.storage.sync import sync_folder

WORK_FOLDER = ".ngcore"
_LOCK = f"{WORK_FOLDER}/lock"
_SIDE_FILES = ("transform.json", "provenance")


class Destination:
    """A folder that this process alone writes a volume to; a context manager.

    Left without an error, `finish` must have been called. Left with an error of the input, all
    that was written is removed. Left with any other (a full disk, Ctrl-C), what is there stays,
    without `info` and marked as unfinished.

    Parameters
    ----------
    path : Path
        Absent, or an empty folder; with `overwrite`, a folder with a volume.
    overwrite : bool
        Replace the volume that is there.
    resume : bool
        Go on with an unfinished conversion, if there is one.
    source_path : Path or None
        Where the source lies, which must not be harmed.

    Raises
    ------
    DestinationError
        If the folder can't be used; the message says why and what to do.
    """

    def __init__(
        self,
        path: Path,
        *,
        overwrite: bool = False,
        resume: bool = False,
        source_path: Path | None = None,
    ) -> None:
        self.path = path
        self._overwrite = overwrite
        self._resume = resume
        self._existed = path.exists()
        self._lock: BinaryIO | None = None
        self._info: VolumeInfo | None = None
        self._is_finished = False
        if overwrite and source_path is not None:
            refuse_overlap(path, source_path, "--overwrite of")
        self._check_content()

    @property
    def store(self) -> LocalStore:
        """Where the volume's files go."""
        return LocalStore(self.path)

    @property
    def work_folder(self) -> Path:
        """A hidden folder for temporary files, on the same file system as the volume."""
        return self.path / WORK_FOLDER

    def _check_content(self) -> None:
        if not self.path.exists():
            return
        if not self.path.is_dir():
            raise DestinationError(
                f"{self.path} is a file; choose a folder that is empty or not there yet"
            )
        try:
            names = {entry.name for entry in self.path.iterdir()}
        except OSError as error:
            raise DestinationError(f"{self.path} can't be read: {error.strerror}") from error
        if not names or ((self._overwrite or self._resume) and names & {"info", WORK_FOLDER}):
            return
        if WORK_FOLDER in names and "info" not in names:
            raise DestinationError(
                f"{self.path} holds an unfinished conversion; pass --resume to continue it, or "
                "--overwrite to start again"
            )
        if "info" in names:
            raise DestinationError(
                f"{self.path} holds a volume already; pass --overwrite to replace it, "
                "or choose another folder"
            )
        raise DestinationError(f"{self.path} is not empty; choose an empty or a new folder")

    def __enter__(self) -> Self:
        try:
            self.work_folder.mkdir(parents=True, exist_ok=True)
            self._lock = (self.path / _LOCK).open("ab")
        except OSError as error:
            raise DestinationError(
                f"{self.path} can't be written: {error.strerror}; choose another folder"
            ) from error
        if not _lock_file(self._lock):
            self._lock.close()
            raise DestinationError(
                f"{self.path} is in use by another ngcore; wait for it, or choose another folder"
            )
        return self

    def holds(self, info: VolumeInfo, provenance: bytes) -> bool:
        """Whether the folder holds this very volume, complete, and may be left as it is.

        Raises
        ------
        DestinationError
            If it holds another one, and was to be resumed.
        """
        if not self._resume or not (self.path / "info").is_file():
            return False
        store = self.store
        found = store.get("provenance")
        if store.get("info") != info.to_json().encode() or not is_same_work(found, provenance):
            raise DestinationError(
                f"{self.path} holds a volume of another source or other options; "
                "pass --overwrite to replace it, or choose another folder"
            )
        shutil.rmtree(self.work_folder, ignore_errors=True)
        return True

    def begin(self, info: VolumeInfo, plan: Mapping[str, Any], *, fsync: bool) -> Journal:
        """Clear away what is replaced, and mark the folder as unfinished.

        Parameters
        ----------
        info : VolumeInfo
            What is going to be written.
        plan : mapping
            Source and options, by which a resumed run knows that it is the same.
        fsync : bool
            Survive losses of power.

        Returns
        -------
        Journal
            Of the files that are complete, those of an earlier run if that is resumed.

        Raises
        ------
        DestinationError
            If an unfinished conversion there is of another source or has other options.
        """
        store = self.store
        journal = Journal(store, self.path, fsync=fsync)
        whole_plan = {**plan, "info": json.loads(info.to_json())}
        if self._resume and journal.resume(whole_plan):
            _remove_temporary_files(self.path, info)
        else:
            for old in self._old_infos(store):
                remove_volume_files(self.path, old)
            for name in (*_SIDE_FILES, JOURNAL):
                store.delete(name)
            journal.begin(whole_plan)
        self._info = info
        return journal

    def _old_infos(self, store: LocalStore) -> Iterator[VolumeInfo]:
        """Yield what the replaced volume, or an unfinished one, wrote; its `info` goes first."""
        unfinished = read_plan(store)
        texts = {
            "info": store.get("info"),
            PLAN: None if unfinished is None else json.dumps(unfinished["info"]).encode(),
        }
        for name, text in texts.items():
            if text is not None:
                try:
                    info = VolumeInfo.from_json(text)
                except FormatError as error:
                    raise DestinationError(
                        f"{self.path / name} is damaged, so --overwrite can't tell what to remove "
                        f"({error}); remove the folder by hand"
                    ) from error
                store.delete(name)
                yield info

    def finish(
        self, side_files: dict[str, bytes], *, fsync: bool, document: bytes | None = None
    ) -> None:
        """Write the files beside `info`, then `info`: from here on the volume is there.

        Parameters
        ----------
        side_files : dict of str to bytes
            Names and contents.
        fsync : bool
            Make the data durable before `info`, and `info` before returning.
        document : bytes, optional
            The very content of `info`, where it is not to be composed anew.
        """
        assert self._info is not None
        store = self.store
        for name, content in side_files.items():
            store.put(name, content)
        if fsync:
            sync_folder(self.path)
        store.put("info", document or self._info.to_json().encode())
        if fsync:
            sync_folder(self.path)
        self._is_finished = True

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        is_hopeless = isinstance(error, InputError | FormatError)
        if is_hopeless and self._info is not None:
            remove_volume_files(self.path, self._info)
            for name in _SIDE_FILES:
                self.store.delete(name)
        if self._lock is not None:
            self._lock.close()
        if self._is_finished or is_hopeless or self._info is None:
            shutil.rmtree(self.work_folder, ignore_errors=True)
        if not self._existed and (is_hopeless or self._info is None):
            with contextlib.suppress(OSError):
                self.path.rmdir()


def remove_volume_files(path: Path, info: VolumeInfo) -> None:
    """Remove the chunks and shards that `info` names, and the folders this empties.

    Files that are no chunk or shard of it stay, and so do meshes, skeletons and properties.

    Raises
    ------
    DestinationError
        If a file can't be removed.
    """
    try:
        _remove_chunk_files(path, info)
    except OSError as error:
        raise DestinationError(
            f"{error.filename} can't be removed: {error.strerror}; make it writable, or choose "
            "another folder"
        ) from error


def _remove_chunk_files(path: Path, info: VolumeInfo) -> None:
    for scale in info.scales:
        folder = path / scale.key
        if not folder.is_dir() or path.resolve() not in folder.resolve().parents:
            continue  # a key may lead out of the volume's folder: what lies there is not ours
        for parent, _, names in os.walk(folder, topdown=False):
            prefix = Path(parent).relative_to(folder).as_posix()
            for name in names:
                full = name if prefix == "." else f"{prefix}/{name}"
                if _is_chunk_file(scale, full):
                    (Path(parent) / name).unlink()
            with contextlib.suppress(OSError):
                Path(parent).rmdir()
        with contextlib.suppress(OSError):
            # A key may have several parts; the folders above it go when nothing else is in them.
            for above in folder.parents:
                if above == path:
                    break
                above.rmdir()


def _remove_temporary_files(path: Path, info: VolumeInfo) -> None:
    """Remove what a run that was killed left half-written."""
    for entry in (path / WORK_FOLDER).iterdir():
        if entry.is_dir():
            shutil.rmtree(entry)
    folders = [path, path / WORK_FOLDER, *(path / scale.key for scale in info.scales)]
    for folder in folders:
        for parent, _, names in os.walk(folder):
            for name in names:
                if name.endswith(TEMPORARY_SUFFIX):
                    (Path(parent) / name).unlink()
            if folder in (path, path / WORK_FOLDER):
                break


def _is_chunk_file(scale: ScaleInfo, name: str) -> bool:
    if name.endswith(TEMPORARY_SUFFIX):
        return True
    plain = name.removesuffix(".gz")
    if scale.sharding is not None:
        return name.endswith(".shard") and "/" not in name
    return scale.grid.cell_of_name(plain) is not None


def refuse_overlap(dest: Path, source: Path, what: str) -> None:
    """Refuse a destination that is the source, lies in it or holds it.

    Raises
    ------
    DestinationError
        It does; `what` starts the message.
    """
    dest, source = dest.resolve(), source.resolve()
    if dest == source or source in dest.parents or dest in source.parents:
        raise DestinationError(
            f"{what} {dest} would touch the source {source}; choose another folder"
        )


if sys.platform == "win32":
    import msvcrt

    def _lock_file(file: BinaryIO) -> bool:
        """Take the lock that ends with the process; False if another process has it."""
        file.seek(0)
        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:
    import fcntl

    def _lock_file(file: BinaryIO) -> bool:
        """Take the lock that ends with the process; False if another process has it."""
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True
