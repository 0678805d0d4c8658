"""A volume's chunks in another encoding, layout or sharding: chunk by chunk, every scale.

What the chunks become is what DEST/info says. Memory is a few chunks per thread.
"""

import logging
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ngcore._verbs import Progress, told
from ngcore.arrays.values import Counts, ValueMapping
from ngcore.classic.folder import (
    announce,
    has_chunks,
    open_volume,
    record_chunks,
    step_folder,
    writing_options,
)
from ngcore.conversion.convert import warn_of
from ngcore.conversion.memory import shard_memory
from ngcore.conversion.options import ConvertOptions
from ngcore.errors import FormatError, InputError
from ngcore.precomputed.chunks import Vec3
from ngcore.precomputed.encodings import JpegPlane, make_encoding
from ngcore.precomputed.info import ScaleInfo, VolumeInfo
from ngcore.precomputed.names import TRANSFORM_NAME
from ngcore.storage import ChunkWriter, Store, create_chunks, open_chunks, writable_store
from ngcore.transaction.changes import Transaction
from ngcore.transaction.output_file import check_output_folder
from ngcore.transaction.places import is_same_place
from ngcore.transaction.removal import remove_volume_files
from ngcore.volume.read import Volume
from ngcore.volume.scale import ScaleArray
from ngcore.volume.seal import ScaleDigest, digested
from ngcore.work.threads import TaskGroup, ThreadPool

logger = logging.getLogger(__name__)

MOST_EMPTY_CHUNKS = 1 << 20
EMPTY_CHUNKS_PER_CHUNK = 1000
"""Of a volume with more chunks, in all and for each that is there, none is made."""

_COMMAND = "convert-chunks"


def convert_chunks_to_jpeg(
    source: str | os.PathLike[str],
    dest: str | os.PathLike[str],
    *,
    jpeg_quality: int = 95,
    jpeg_plane: JpegPlane = "xy",
    flat: bool = False,
    use_gzip: bool = True,
    progress: bool | Progress | None = None,
) -> None:
    """Write the chunks of one volume into another as JPEG, as the other's `info` says.

    Parameters and errors are those of `convert_chunks`.
    """
    convert_chunks(
        source,
        dest,
        encoding="jpeg",
        jpeg_quality=jpeg_quality,
        jpeg_plane=jpeg_plane,
        flat=flat,
        use_gzip=use_gzip,
        progress=progress,
    )


def compress_segmentation_chunks(
    source: str | os.PathLike[str],
    dest: str | os.PathLike[str],
    *,
    flat: bool = False,
    use_gzip: bool = True,
    progress: bool | Progress | None = None,
) -> None:
    """Write the chunks of one volume into another as compressed_segmentation, as its `info` says.

    Parameters and errors are those of `convert_chunks`.
    """
    convert_chunks(
        source,
        dest,
        encoding="compressed_segmentation",
        flat=flat,
        use_gzip=use_gzip,
        progress=progress,
    )


def convert_chunks(
    source: str | os.PathLike[str],
    dest: str | os.PathLike[str],
    *,
    encoding: str | None = None,
    copy_info: bool = False,
    jpeg_quality: int = 95,
    jpeg_plane: JpegPlane = "xy",
    flat: bool = False,
    use_gzip: bool = True,
    progress: bool | Progress | None = None,
    memory: str | int = "1G",
    workers: int | None = None,
) -> None:
    """Write the chunks of one volume into another, in the encoding that its `info` says.

    The source's `transform.json` comes with them, where DEST has none of its own.

    Parameters
    ----------
    source : path
        Folder of a volume.
    dest : path
        Folder with an `info` file, whose scales must be among those of the source. Chunk files
        that are there are replaced.
    encoding : str, optional
        Refuse a DEST/info that says another one.
    copy_info : bool
        Take the source's `info` first, and so its encoding.
    jpeg_quality : int, 1 to 100
    jpeg_plane : "xy" or "xz"
        Which planes of a chunk are put below each other in a JPEG.
    flat, use_gzip : bool
        How chunk files lie. Of no use for a sharded volume.
    progress : bool or callable, optional
        True draws a bar on stderr; a callable is called now and then with
        (chunks done, chunks in all).
    memory : str or int
        Bound on resident memory, such as ``"2G"``, or in bytes.
    workers : int, optional
        How many threads; default all cores.

    Raises
    ------
    InputError
        If the two volumes don't go together, or the encoding can't hold the voxels.
    FormatError
        If a chunk is damaged. The chunks of DEST are then removed.
    """
    tell = told(progress)
    if is_same_place(source, dest):
        raise InputError(
            f"{os.fspath(source)}: source and destination are the same folder; pass another DEST"
        )
    opened = open_volume(source)
    opened.store.lost_chunks = "refuse"
    _refuse_endless(opened)
    check_output_folder(dest)
    target = writable_store(dest)
    info_before = target.get("info")
    if copy_info:
        with Transaction(dest) as change:
            change.put("info", opened.info.to_json().encode())
        _warn_of_folders(opened.info, target)
    info = open_volume(dest).info
    if encoding is not None:
        _check_encoding(info, encoding, dest)
    asked = writing_options(
        info,
        dest,
        flat=flat,
        use_gzip=use_gzip,
        jpeg_quality=jpeg_quality,
        memory=memory,
        workers=workers,
    )
    pairs = [(_source_scale(opened, scale), index) for index, scale in enumerate(info.scales)]
    if info.num_channels != opened.info.num_channels:
        raise InputError(
            f"{os.fspath(dest)}/info says {info.num_channels} channels, but "
            f"{os.fspath(source)}/info {opened.info.num_channels}; write an info file that agrees"
        )
    total = sum(scale.grid.count for scale in info.scales)
    counter = _Counter(tell, total)
    announce(target, _COMMAND)
    digests = {}
    try:
        for scale_array, index in pairs:
            recoding = _Recoding(opened, scale_array, info, index, asked, jpeg_plane, counter)
            digests[info.scales[index].key] = recoding.run(target)
    except BaseException as error:
        if isinstance(error, InputError | FormatError):
            remove_volume_files(target, info)
        if copy_info and info_before is None:
            with Transaction(dest) as change:
                change.delete("info")  # or the folder would look like a volume of zeros
        raise
    warn_of(counter.counts, os.fspath(source), info.data_type)
    parameters: dict[str, Any] = {"encoding": info.scales[0].encoding}
    if parameters["encoding"] == "jpeg":
        parameters |= {"jpeg_quality": jpeg_quality, "jpeg_plane": jpeg_plane}
    transform = opened.store.get(TRANSFORM_NAME)
    names = [Path(source).resolve().name]
    with Transaction(dest) as change:
        if transform is not None and change.get(TRANSFORM_NAME) is None:
            change.put(TRANSFORM_NAME, transform)
        record_chunks(change, _COMMAND, parameters, digests, sources=names)


def _warn_of_folders(info: VolumeInfo, dest: Store) -> None:
    """Tell of meshes and the like that a copied info names, and that are not there."""
    named = {
        "mesh": info.mesh,
        "skeletons": info.skeletons,
        "segment_properties": info.segment_properties,
    }
    for member, folder in named.items():
        if folder is not None and not _is_there(dest, folder):
            logger.warning(
                "%s/info names %s %r, but only chunks are converted; copy that folder too, or "
                "remove the member from info",
                dest.location,
                member,
                folder,
            )


def _is_there(store: Store, folder: str) -> bool:
    above, _, name = folder.strip("/").rpartition("/")
    return name in store.entries(above)


class _Counter:
    """Chunks done and values changed, added up by all threads."""

    def __init__(self, progress: Progress | None, total: int) -> None:
        self.counts = Counts()
        self._progress = progress
        self._total = total
        self._done = 0
        self._lock = threading.Lock()

    def add(self, counts: Counts) -> None:
        """Count one chunk."""
        with self._lock:
            self.counts = self.counts.plus(counts)
            self._done += 1
            if self._progress is not None:
                self._progress(self._done, self._total)


class _Recoding:
    """One scale on its way from one volume to the other."""

    def __init__(
        self,
        source: Volume,
        scale_array: ScaleArray,
        info: VolumeInfo,
        index: int,
        options: ConvertOptions,
        jpeg_plane: JpegPlane,
        counter: _Counter,
    ) -> None:
        self._from = scale_array
        self._info = info
        self._index = index
        self._scale = info.scales[index]
        self._options = options
        self._counter = counter
        self._encoding = make_encoding(
            info, self._scale, jpeg_quality=options.jpeg_quality, jpeg_plane=jpeg_plane
        )
        is_label = info.type == "segmentation" or self._encoding.name == "compressed_segmentation"
        self._mapping = ValueMapping(
            source.info.dtype, info.dtype, is_label=is_label, name=source.store.location
        )
        has_same_chunks = self._from.info.grid == self._scale.grid
        self._same_chunks = has_same_chunks
        # A JPEG is taken as it is: to encode it once more would lose more of it.
        self._taken_as_is = None
        if has_same_chunks and self._scale.encoding == self._from.info.encoding == "jpeg":
            self._taken_as_is = open_chunks(
                source.store, source.info, source.info.scales.index(self._from.info)
            )

    def run(self, store: Store) -> str:
        """Write every chunk; return the digest of the scale."""
        workers = self._options.thread_count
        cells = self._scale.grid.cells()
        lock = threading.Lock()
        digest = ScaleDigest(self._info, self._scale)
        with step_folder(store, [self._scale]) as tmp:
            writer = create_chunks(
                store,
                self._info,
                self._index,
                layout=self._options.layout,
                gzip=self._options.is_gzipped,
                memory=shard_memory(self._options),
                spool_dir=tmp,
                in_background=True,
            )
            try:
                with ThreadPool(workers) as pool:
                    group = TaskGroup()
                    for _ in range(workers):
                        pool.submit(lambda: self._work(cells, lock, writer, digest), group)
                    pool.wait(group)
                writer.finish()
            except BaseException:
                writer.abort()
                raise
        return str(digest)

    def _work(
        self,
        cells: Iterator[Vec3],
        lock: threading.Lock,
        writer: ChunkWriter,
        digest: ScaleDigest,
    ) -> None:
        while True:
            with lock:
                cell = next(cells, None)
            if cell is None:
                return
            self._recode(cell, writer, digest)

    def _recode(self, cell: Vec3, writer: ChunkWriter, digest: ScaleDigest) -> None:
        bounds = self._scale.grid.bounds(cell)
        stored = self._from.read_chunk(cell) if self._same_chunks else self._from.read(bounds)
        counts = Counts()
        voxels = stored
        if not self._mapping.is_identity:
            voxels = np.empty(stored.shape, self._info.dtype, order="F")
            counts = self._mapping.apply(stored, voxels)
        # Zeros in memory, not equal to zero: a chunk of -0.0 is not left out.
        if self._scale.sharding is not None and not voxels.view(f"u{voxels.dtype.itemsize}").any():
            writer.write(cell, None)
        else:
            encoded = None if self._taken_as_is is None else self._taken_as_is.read(cell)
            if encoded is None:
                encoded = self._encoding.encode(voxels)
            digest.add(cell, digested(self._scale, encoded, voxels))
            writer.write(cell, encoded)
        self._counter.add(counts)


def _check_encoding(info: VolumeInfo, encoding: str, dest: str | os.PathLike[str]) -> None:
    for index, scale in enumerate(info.scales):
        if scale.encoding != encoding:
            raise InputError(
                f"{os.fspath(dest)}/info: scales[{index}].encoding is {scale.encoding}; write the "
                f"info file with generate-scales-info --encoding {encoding}"
            )


def _refuse_endless(source: Volume) -> None:
    """Refuse a volume that claims so much more than is there that it would never be gone through.

    Raises
    ------
    InputError
        It does.
    """
    for scale in source.scales:
        present = scale.present
        if present is not None and present.total > max(
            MOST_EMPTY_CHUNKS, EMPTY_CHUNKS_PER_CHUNK * len(present)
        ):
            raise InputError(
                f"{source.store.location}: {scale.key}: only {len(present)} of its "
                f"{present.total} chunks exist; ngcore refuses a scale of more than "
                f"{MOST_EMPTY_CHUNKS} if that is over {EMPTY_CHUNKS_PER_CHUNK} for each one "
                "that exists: correct "
                "the size that info claims, or use ngcore convert"
            )


def _source_scale(source: Volume, wanted: ScaleInfo) -> ScaleArray:
    """Return the scale of a volume that covers the same voxels as another one's."""
    place = source.store.location
    for scale in source.scales:
        # Others name scales otherwise.
        if scale.key == wanted.key or scale.resolution == wanted.resolution:
            break
    else:
        raise InputError(
            f"{place}/info has no scale {wanted.key}, which the other volume's info names; "
            "write an info file with the same scales"
        )
    if scale.info.bounds != wanted.bounds:
        raise InputError(
            f"scale {wanted.key} has size {wanted.size} at voxel_offset {wanted.voxel_offset}, "
            f"but in {place} size {scale.info.size} at {scale.voxel_offset}; write an info file "
            "that agrees"
        )
    if not has_chunks(source.store, scale.info):
        raise InputError(
            f"{place}/{scale.key} holds no chunks; write them first, with compute-scales"
        )
    return scale
