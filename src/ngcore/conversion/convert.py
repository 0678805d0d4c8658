"""From a source to a whole volume, every scale, in one reading."""

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any, Literal

from ngcore._verbs import Progress, told
from ngcore.arrays.values import Counts
from ngcore.conversion.options import JPEG_QUALITY, ConvertOptions
from ngcore.conversion.prepare import open_for, prepare
from ngcore.conversion.run import Outcome, Work, write_scales
from ngcore.errors import InputError
from ngcore.precomputed.names import PROVENANCE_NAME
from ngcore.sources import source_path
from ngcore.sources.identity import (
    check_unchanged,
    has_changed_since,
    places_of,
    source_identity,
)
from ngcore.sources.registry import with_name
from ngcore.storage import is_url, writable_store
from ngcore.transaction.destination import Destination
from ngcore.transaction.journal import Journal, resumable
from ngcore.volume.read import CACHE_BYTES, Volume
from ngcore.volume.read import open as open_volume
from ngcore.volume.seal import Seal, file_digest, sealed_members

logger = logging.getLogger(__name__)


def convert(
    source: object,
    dest: str | os.PathLike[str],
    *,
    progress: bool | Progress | None = None,
    executor: object | None = None,
    dask: str | None = None,
    type: Literal["image", "segmentation", "auto"] = "auto",  # noqa: A002 - the option's name
    data_type: str | None = None,
    encoding: str | None = None,
    jpeg_quality: int = JPEG_QUALITY,
    chunk_size: int | Sequence[int] | None = None,
    downsampling: str = "auto",
    max_scales: int | None = None,
    sharding: bool = True,
    layout: Literal["flat", "nested"] = "flat",
    gzip: bool | None = None,
    resolution: Sequence[float] | str | None = None,
    voxel_offset: Sequence[int] | None = None,
    input_min: float | None = None,
    input_max: float | None = None,
    input_orientation: str | None = None,
    gaps: Literal["keep", "blank"] = "keep",
    axes: str | None = None,
    level: int | None = None,
    affine: Any = None,
    form: Literal["auto", "sform", "qform"] = "auto",
    orient: str | None = None,
    ignore_scaling: bool = False,
    label_tolerance: float | None = None,
    outside_value: float | None = None,
    memory: str | int = "1G",
    workers: int | None = None,
    tmp: str | os.PathLike[str] | None = None,
    fsync: bool = True,
    resume: bool = False,
    overwrite: bool = False,
) -> Volume:
    """Convert a volume to Neuroglancer's precomputed format, every scale in one reading.

    Parameters
    ----------
    source : path or array
        Any file that nibabel reads, ``.npy``, a TIFF stack, a folder or glob of slices, another
        precomputed volume; or anything with shape, dtype and slicing, axis order (x, y, z) or
        (x, y, z, channel).
    dest : path or URL
        A folder that is empty or not there yet, or one in a bucket (``s3://``, ``gs://``, ``az://``).
    progress : bool or callable, optional
        True draws a bar on stderr; a callable is called now and then with
        (voxels done, voxels in
        all).
    executor : str or distributed.Client, optional
        Who does the work: ``"local"`` starts Dask workers on this machine, an address such as
        ``"tcp://scheduler.example:8786"`` or a client names a Dask scheduler; default the threads
        of this process. The bytes written are the same. `source` and `dest` must lie where all
        workers see them; an array, and what can only be read in order, is unpacked to a temporary
        file first.
    dask : str, optional
        The same by the name it has as an option of ``ngcore convert``.
    type : "image", "segmentation" or "auto"
        auto: by the source's header and name, else image.
    data_type : str or dtype, optional
        uint8, int8, uint16, int16, uint32, int32, uint64 or float32; default from the source.
    encoding : str, optional
        raw, png, jpeg, jxl, compressed_segmentation, or auto, the smallest lossless one; default
        compressed_segmentation for segmentations of uint32 or uint64, else raw.
    jpeg_quality : int, 1 to 100
    chunk_size : int or (x, y, z), in voxels, optional
        Of every scale; default about 64 x 64 x 64, by the resolution of the scale.
    downsampling : str
        average, majority, stride, min, max; auto: average for images, majority for segmentations.
    max_scales : int, optional
        How many scales at most; default until every axis fits in one chunk.
    sharding : bool
        Pack chunks into shard files.
    layout : "flat" or "nested"
        With ``sharding=False``: ``KEY/X_Y_Z`` or ``KEY/X/Y/Z``.
    gzip : bool, optional
        Default True if sharded, else False.
    resolution : (x, y, z), in nanometres, or str with units such as ``"8nm,8nm,40nm"``, optional
        Overrides the source's; required where it has none.
    voxel_offset : (x, y, z), in voxels, optional
        Global coordinate of the first voxel; default the source's, else 0, 0, 0.
    input_min, input_max : float, optional
        Map this range of values to the full range of an integer `data_type` (float32: 0 to 1).
    input_orientation : str, optional
        Slices and TIFF stacks: anatomical direction of increasing column, row and slice, which
        gives them a place in the world; default ``"RAS"`` without one.
    gaps : "keep" or "blank"
        Folders of slices: leave room for sections whose numbers are missing.
    axes : str, optional
        What each dimension of an array without named axes is, in the order of its shape, such as
        ``"zyx"``, ``"tzyx"``, ``"zyxc"``.
    level : int, optional
        Which resolution of a source that has several; default the finest.
    affine : array of float, shape (4, 4), or path, optional
        From voxel centres to millimetres; default the source's.
    form : "auto", "sform" or "qform"
        Which affine of a NIfTI file.
    orient : str, optional
        Reorder the axes on the way in, such as ``"RAS"``; default as stored.
    ignore_scaling : bool
        Use stored values, without slope and intercept.
    label_tolerance : float, optional
        Round labels that lie this close to a whole number.
    outside_value : float, optional
        average: pad odd edges with this value, rather than average the voxels present.
    memory : str or int
        Bound on resident memory, such as ``"2G"``, or in bytes.
    workers : int, optional
        How many threads; default all cores.
    tmp : path, optional
        Folder for temporary files; default hidden, in `dest`.
    fsync : bool
        Sync to disk, so that the volume survives a loss of power.
    resume : bool
        Continue an interrupted conversion.
    overwrite : bool
        Replace a volume in `dest`.

    Returns
    -------
    Volume
        What was written, opened for reading.

    Raises
    ------
    InputError, FormatError
        If the source or an option can't be used, or the source has changed meanwhile. Nothing is
        left in `dest`.
    DestinationError
        If `dest` holds something already, can't be written or is in use.
    StorageError
        If reading or writing fails midway. `dest` then has no `info`.

    Examples
    --------
    >>> import numpy as np, tempfile, ngcore
    >>> labels = np.zeros((100, 80, 60), np.uint32)
    >>> folder = tempfile.mkdtemp()
    >>> made = ngcore.convert(labels, folder, type="segmentation", resolution=(8, 8, 40))
    >>> [scale.shape for scale in made.scales]
    [(100, 80, 60, 1), (50, 40, 60, 1), (25, 20, 60, 1)]
    """
    asked = ConvertOptions(
        type=type,
        data_type=data_type,
        encoding=encoding,
        jpeg_quality=jpeg_quality,
        chunk_size=chunk_size,
        downsampling=downsampling,
        max_scales=max_scales,
        sharding=sharding,
        layout=layout,
        gzip=gzip,
        resolution=resolution,
        voxel_offset=voxel_offset,
        input_min=input_min,
        input_max=input_max,
        input_orientation=input_orientation,
        gaps=gaps,
        axes=axes,
        level=level,
        affine=affine,
        form=form,
        orient=orient,
        ignore_scaling=ignore_scaling,
        label_tolerance=label_tolerance,
        outside_value=outside_value,
        memory=memory,
        workers=workers,
        tmp=tmp,
        fsync=fsync,
        resume=resume,
        overwrite=overwrite,
    )
    tell = told(progress)
    executor = one_executor(executor, dask)
    destination = destination_of(source, dest, asked)
    asked = replace(asked, is_uploaded=destination.store.is_remote)
    with _here(source, asked) as found, open_for(found, asked) as opened:
        destination.guard(places_of(found, opened.header.files))
        before = identity = source_identity(found, opened.header.files, opened)
        if found is not source:  # a copy, which the next run makes anew
            opened = with_name(opened, str(source))
            identity = {**before, "path": str(source)}
            identity.pop("touched", None)
        conversion = prepare(
            opened, asked, identity=identity, reopen=partial(open_for, found, asked)
        )
        has_changed = partial(has_changed_since, identity)
        if destination.holds(
            conversion.info,
            conversion.side_files,
            conversion.provenance,
            has_changed=has_changed,
        ):
            return open_volume(dest)
        carry_out(
            Work(conversion, opened, asked, tell),
            destination,
            executor=executor,
            before_info=partial(check_unchanged, found, opened, before),
        )
    return Volume(destination.store, destination.written(), cache_bytes=CACHE_BYTES)


def one_executor(executor: object | None, dask: str | None) -> object | None:
    """Return who is to do the work, by either of its two names.

    Raises
    ------
    InputError
        If both are given.
    """
    if executor is not None and dask is not None:
        raise InputError("executor and dask mean the same; pass one of them")
    return dask if executor is None else executor


@contextmanager
def _here(source: object, options: ConvertOptions) -> Iterator[object]:
    """Copy a source that is a single file at a URL, for the time of a `with` block."""
    if not (isinstance(source, str) and is_url(source)):
        yield source
        return
    from ngcore.sources.remote_files import is_file_url, local_files

    if is_file_url(source):
        with local_files([source], options.tmp) as (path,):
            yield path
    else:
        yield source


def destination_of(
    source: object, dest: str | os.PathLike[str], options: ConvertOptions
) -> Destination:
    """Return the destination of a conversion, or say why it can't be one; writes nothing.

    Raises
    ------
    InputError
        If `dest` is empty.
    DestinationError
        If it can't be used; see `Destination`.
    """
    if not os.fspath(dest):
        raise InputError("the path of the destination is empty; pass that of a new folder")
    place = source if is_url(source) else source_path(source)
    return Destination(
        writable_store(dest),
        overwrite=options.overwrite,
        resume=options.resume,
        sources=[place] if isinstance(place, str | os.PathLike) else [],
    )


def carry_out(
    work: Work,
    destination: Destination,
    *,
    executor: object | None = None,
    before_info: Callable[[], None] = lambda: None,
) -> None:
    """Write what was decided, from the first chunk to `info`.

    Parameters
    ----------
    work : Work
        Its plan may be another than `prepare` chose, the bytes written are the same.
    destination : Destination
    executor : optional
        See `convert`.
    before_info : callable
        Called when all is written but `info` and its side files.
    """
    if executor is not None:
        _spread(work, destination, executor, before_info)
        return
    with destination:
        journal = begin(work, destination)
        with resumable(), destination.temporaries(work.options.tmp) as tmp:
            outcome = write_scales(work, destination.store, tmp, journal=journal)
        before_info()
        finish(work, destination, outcome)


def _spread(
    work: Work, destination: Destination, executor: object, before_info: Callable[[], None]
) -> None:
    """Do as `carry_out`, with work items on an executor's workers."""
    # Only now, for the sake of the start-up time of everybody else.
    from ngcore.conversion.spread import SpreadRun, open_executor

    with destination, open_executor(executor, work) as opened:
        with SpreadRun(work, opened, destination.store) as run:
            run.check_workers()
            journal = begin(work, destination)
            with resumable():
                outcome = run.run(journal)
        # Workers that were lost leave files half-written.
        destination.remove_temporary_files()
        before_info()
        finish(work, destination, outcome)


def begin(work: Work, destination: Destination) -> Journal:
    """Take the destination for what was decided, and say what the user should know."""
    conversion = work.conversion
    journal = destination.begin(conversion.info, conversion.record, fsync=work.options.fsync)
    for note in conversion.notes:
        logger.info(note)
    for warning in conversion.warnings:
        logger.warning(warning)
    is_nested = work.options.layout == "nested" and not work.options.sharding
    if is_nested and destination.store.keeps_names:
        logger.warning(
            "%s: Neuroglancer asks for flat names, and a bucket can't answer with nested ones; "
            "pass --layout flat",
            destination.store.location,
        )
    return journal


def finish(work: Work, destination: Destination, outcome: Outcome) -> None:
    """Write what lies beside the chunks, then `info`."""
    conversion, name = work.conversion, work.source.name
    warn_of(outcome.counts, name, conversion.info.data_type)
    likeness = conversion.likeness or outcome.likeness
    if likeness is not None and likeness.is_of_labels:
        logger.warning(
            "%s: its whole numbers look like labels, but were taken for an image; if they are "
            "labels, pass --type segmentation, else --type image",
            name,
        )
    side_files = dict(conversion.side_files)
    seal = Seal(
        scales=outcome.digests,
        files={name: file_digest(content) for name, content in side_files.items()},
        info=sealed_members(conversion.info.members()),
    )
    side_files[PROVENANCE_NAME] = conversion.provenance._replace(seal=seal).to_json()
    destination.finish(side_files, fsync=work.options.fsync)


def warn_of(counts: Counts, name: str, data_type: str) -> None:
    """Say how many values a conversion changed on their way, if any."""
    if counts.clipped:
        logger.warning(
            "%s: %s clipped to the range of %s", name, _voxels_were(counts.clipped), data_type
        )
    if counts.rounded:
        logger.warning(
            "%s: %s rounded to what %s holds", name, _voxels_were(counts.rounded), data_type
        )


def _voxels_were(count: int) -> str:
    return "1 voxel was" if count == 1 else f"{count} voxels were"
