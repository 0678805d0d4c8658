"""What the steps of the classic pipeline share: they fill a folder whose `info` already exists.

Unlike a conversion in one go, a step replaces the chunk files that it finds and leaves `info` as
it is.
"""

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from ngcore._verbs import Progress
from ngcore.conversion.convert import warn_of
from ngcore.conversion.options import ConvertOptions
from ngcore.conversion.prepare import Conversion
from ngcore.conversion.run import Work, write_scales
from ngcore.errors import DestinationError, FormatError, InputError, InputNotFoundError
from ngcore.precomputed.info import ScaleInfo, VolumeInfo
from ngcore.precomputed.names import PROVENANCE_NAME, TRANSFORM_NAME
from ngcore.sources.base import Source
from ngcore.storage import LocalStore, ReadableStore, Store, is_url, writable_store
from ngcore.transaction.changes import Transaction
from ngcore.transaction.output_file import check_output_folder
from ngcore.transaction.removal import remove_volume_files
from ngcore.transaction.stale import remove_stale
from ngcore.transaction.work_folder import working_folder
from ngcore.volume import read
from ngcore.volume.read import Volume
from ngcore.volume.seal import Seal, file_digest, sealed_members

logger = logging.getLogger(__name__)


def open_volume(dest: str | os.PathLike[str]) -> Volume:
    """Open the volume that a step works on.

    Raises
    ------
    InputNotFoundError
        If there is no `info` yet.
    FormatError
        If it breaks the format's rules.
    """
    try:
        return read.open(dest)
    except InputNotFoundError as error:
        raise InputNotFoundError(f"{error}; write it with generate-scales-info first") from error


def writing_options(
    info: VolumeInfo,
    dest: str | os.PathLike[str],
    *,
    flat: bool = False,
    use_gzip: bool = True,
    **options: Any,
) -> ConvertOptions:
    """Return how to write the chunks of a volume.

    Parameters
    ----------
    info : VolumeInfo
        Says whether chunks go into shards.
    dest : path or URL
        Where it lies.
    flat, use_gzip : bool
        How chunk files lie where they don't.
    **options
        More of `ConvertOptions`.

    Raises
    ------
    InputError
        If a sharded volume is asked to be flat or not gzipped, or another option is wrong.
    """
    if not any(scale.sharding is not None for scale in info.scales):
        return ConvertOptions(
            sharding=False,
            layout="flat" if flat else "nested",
            gzip=use_gzip,
            is_uploaded=is_url(dest),
            **options,
        )
    if flat or not use_gzip:
        raise InputError(
            "--flat and --no-gzip are for unsharded chunks, but the info file has sharding; "
            "leave them out"
        )
    return ConvertOptions(sharding=True, is_uploaded=is_url(dest), **options)


def write_chunks(
    conversion: Conversion,
    source: Source,
    options: ConvertOptions,
    dest: str | os.PathLike[str],
    progress: Progress | None,
    *,
    command: str,
) -> dict[str, str]:
    """Write the chunks of every scale of a conversion, and return their digests by key.

    Parameters
    ----------
    conversion : Conversion
        What to write.
    source : Source
        Is read to its end, and closed.
    options : ConvertOptions
        See `writing_options`.
    dest : path
        The volume's folder.
    progress : callable or None
    command : str
        What `provenance` calls the step.

    Raises
    ------
    InputError, FormatError
        If the source turns out to be bad. The chunks of these scales are then removed.
    DestinationError
        If the folder can't be written.
    """
    store = writable_store(dest)
    check_output_folder(dest)
    for warning in conversion.warnings:
        logger.warning(warning)
    written = conversion.info.scales[int(conversion.plan.first_is_read) :]
    announce(store, command)
    try:
        with step_folder(store, written) as tmp:
            outcome = write_scales(Work(conversion, source, options, progress), store, tmp)
    except (InputError, FormatError):
        remove_volume_files(store, replace(conversion.info, scales=written))
        raise
    warn_of(outcome.counts, source.name, conversion.info.data_type)
    return outcome.digests


def announce(store: Store, command: str) -> None:
    """Record in a volume's `provenance`, if it has one, that a step is replacing chunks.

    Call it before the first is touched; `record_chunks` ends it.
    """
    if store.get(PROVENANCE_NAME) is not None:
        with Transaction(store) as change:
            change.sealing.announce(command)


@contextmanager
def step_folder(store: Store, scales: Sequence[ScaleInfo]) -> Iterator[Path]:
    """Make a folder for the temporary files of a step that writes the chunks of some scales.

    What killed steps left half-written goes first, and what this one wrote is durable at the end.
    """
    for scale in scales:
        if isinstance(store, LocalStore):
            if store.size(scale.key) is not None:
                raise DestinationError(
                    f"{store.path / scale.key} is a file, but info names it as the folder of a "
                    "scale; write an info file with generate-scales-info"
                )
            remove_stale(store.path / scale.key, below=True)
        else:
            store.delete_unfinished(scale.key)
    with working_folder(store) as tmp:
        yield tmp
    for scale in scales:
        store.delete_unfinished(scale.key)
    store.sync()


def record_chunks(
    change: Transaction,
    command: str,
    parameters: Mapping[str, object],
    digests: Mapping[str, str],
    *,
    sources: Sequence[str] | None = None,
) -> None:
    """Note a step, and the digests of the scales it wrote, in a volume's `provenance` file.

    Parameters
    ----------
    change : Transaction
        Of the volume.
    command : str
        Name of the step. It takes the place of an earlier run of the same step.
    parameters : mapping
        The options that shaped the data.
    digests : mapping of str to str
        Of the scales it wrote, by key. Those of other scales are kept.
    sources : sequence of str, optional
        Names of the inputs, where the step starts the volume anew; else it adds to what is there.
    """
    change.record(command, parameters, sources=sources)
    seal = Seal(digests)
    if sources is not None:
        transform = change.get(TRANSFORM_NAME)
        files = {} if transform is None else {TRANSFORM_NAME: file_digest(transform)}
        seal = Seal(digests, files, info=sealed_members(change.read_info()))
    change.sealing.add(seal)


def has_chunks(store: ReadableStore, scale: ScaleInfo) -> bool:
    """Whether the folder of a scale holds anything; without, all of it would read as zeros."""
    if not isinstance(store, Store):
        return True  # a URL can't be listed
    return next(store.list(f"{scale.key}/"), None) is not None
