"""A scale of a volume back into a file of other programs: the same voxels, in the same place.

Files are written front to back, x fastest and channels slowest. Where a row of chunks over
the whole cross-section is a piece of that, it is decoded and written at once; else (channels, huge
cross-sections) the chunks go through a temporary file.
"""

from __future__ import annotations

import logging
import math
import os
import shutil
import tempfile
from collections import deque
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ngcore._verbs import told
from ngcore.codecs.gzip import compress_beside
from ngcore.errors import FormatError, InputError
from ngcore.exporting.headers import mgh_dtype, mgh_header, mgh_tail, npy_header
from ngcore.exporting.layers import export_layer, layer_type
from ngcore.exporting.nifti_header import nifti_header
from ngcore.precomputed.chunks import Box
from ngcore.precomputed.names import PROVENANCE_NAME
from ngcore.storage import is_url, split_place
from ngcore.transaction.output_file import check_output_file, folder_beside, write_output_parts
from ngcore.volume.provenance import CONVERT, Provenance
from ngcore.volume.read import open as open_volume
from ngcore.volume.source_facts import source_facts
from ngcore.volume.world import has_world, scale_affine, world_transform
from ngcore.work.threads import TaskGroup, ThreadPool, map_ahead

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import BinaryIO

    from numpy.typing import NDArray

    from ngcore._verbs import Progress
    from ngcore.precomputed.chunks import Vec3
    from ngcore.volume.read import Volume
    from ngcore.volume.scale import ScaleArray

logger = logging.getLogger(__name__)

_BLOCK_BYTES = 1 << 27
"""What is decoded at a time, a chunk at least; up to three times as much is in memory."""
_COPY_BYTES = 1 << 23
_MOST_COMPRESSORS = 8
"""Threads that compress one file; writing it is the work of one."""
_MOST_BYTES = 1 << 48
_KINDS = {
    ".nii": "NIfTI",
    ".nii.gz": "NIfTI",
    ".mgh": "MGH",
    ".mgz": "MGH",
    ".npy": ".npy",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".ome.zarr": "OME-Zarr",
    ".zarr": "OME-Zarr",
}
_NIFTI_KINDS = {"u": (1, 2, 4, 8), "i": (1, 2, 4, 8), "f": (4, 8)}


def export(
    dest: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    scale: int = 0,
    overwrite: bool = False,
    workers: int | None = None,
    progress: bool | Progress | None = None,
) -> None:
    """Write a volume for other programs; annotations as a table, skeletons as SWC.

    A volume becomes NIfTI, MGH, `.npy`, TIFF or OME-Zarr, by the ending of the name.

    Voxels keep their values and data type; labels get back the type they had before they were
    converted, where `provenance` has it. The affine is that of `transform.json`, for a coarser
    scale that of its voxels; without that file it is the volume's own resolution and offset.
    Channels, RGB too, become the fourth axis; times have their step.

    Parameters
    ----------
    dest : str or path
        The folder of the volume.
    out : str or path
        What to write: `.nii`, `.nii.gz`, `.mgh`, `.mgz`, `.npy`, `.tif`, `.tiff`, or the folder
        `.ome.zarr` or `.zarr`, which holds every scale. It appears whole or not at all.
        Of annotations `.csv` or `.tsv`; of a skeleton `.swc`, of several a folder for such files.
    scale : int
        Which scale; 0 is full resolution. For OME-Zarr, the finest one.
    overwrite : bool
        Replace `out` if it is there.
    workers : int, optional
        Threads; default all cores.
    progress : bool or callable, optional
        True draws a bar on stderr; a callable is called now and then with
        (voxels done, voxels in all).

    Raises
    ------
    InputError
        If there is no volume, no such scale, or `out` has another suffix.
    FormatError
        If the volume is damaged.
    DestinationError
        If `out` already exists or can't be written.
    StorageError
        If reading or writing fails midway.
    """
    tell = told(progress)
    if (layer := layer_type(dest)) is not None:
        export_layer(dest, layer, out, overwrite=overwrite)
        return
    opened = open_volume(dest, cache_bytes=0)  # every chunk is read once
    opened.store.lost_chunks = "refuse"
    where = opened.store.location
    name = split_place(out)[1].lower()
    kind = next((kind for ending, kind in _KINDS.items() if name.endswith(ending)), None)
    if kind is None:
        raise InputError(
            f"{os.fspath(out)!r} must end in one of {', '.join(_KINDS)}; the ending chooses the "
            "format"
        )
    if not 0 <= scale < len(opened.scales):
        raise InputError(f"{where} has no scale {scale}; choose 0 to {len(opened.scales) - 1}")
    chosen = opened.scales[scale]
    if kind == "OME-Zarr":
        from ngcore.exporting.ome_zarr import export_ome_zarr

        size = sum(math.prod(one.shape) for one in opened.scales[scale:])
        _check_size(size * opened.info.dtype.itemsize, out, is_gzipped=True)
        export_ome_zarr(
            opened,
            out,
            first=scale,
            overwrite=overwrite,
            blocks=lambda one: _counted(
                read_blocks(one, workers or os.cpu_count() or 1), one, tell
            ),
        )
        return
    dtype = _source_dtype(opened)
    if kind == "MGH":
        dtype = mgh_dtype(dtype)
    check_output_file(out, overwrite=overwrite)
    _check_size(math.prod(chosen.shape) * dtype.itemsize, out, is_gzipped=name.endswith("z"))
    head = b"" if kind == "TIFF" else _header(opened, chosen, dtype, kind)
    folder = folder_beside(out)
    order: Literal["<", ">"] = ">" if kind == "MGH" else "<"
    threads = workers or os.cpu_count() or 1
    voxels = _voxels(chosen, dtype.newbyteorder(order), folder, threads, tell)
    parts: Iterable[bytes | memoryview]
    if kind == "TIFF":
        from ngcore.exporting.tiff import tiff_parts

        facts = source_facts(opened)
        parts = tiff_parts(chosen, dtype, voxels, folder, facts, has_world=_is_placed(opened))
    else:
        tail = mgh_tail(source_facts(opened)) if kind == "MGH" else b""
        parts = _between(head, voxels, tail)
    if name.endswith("z"):
        parts = compress_beside(parts, partial(map_ahead, workers=min(threads, _MOST_COMPRESSORS)))
    write_output_parts(out, parts)


def _is_placed(opened: Volume) -> bool:
    """Whether the world of a volume says more than its resolution and offset."""
    transform = world_transform(opened.store)
    return has_world(transform)


def _check_size(size: int, out: str | os.PathLike[str], *, is_gzipped: bool) -> None:
    """Refuse a volume that the disk has no room for, or that nobody has: infos may claim it."""
    room = _MOST_BYTES
    if not (is_gzipped or is_url(out)):
        folders = Path(out).absolute().parents
        folder = next((path for path in folders if path.exists()), Path("/"))
        room = min(room, shutil.disk_usage(folder).free)
    if size > room:
        raise InputError(
            f"{os.fspath(out)!r} would take {size} bytes, but at most {room} fit; pass --scale "
            "N for a coarser scale"
        )


def _source_dtype(opened: Volume) -> np.dtype[Any]:
    """Return the type of the voxels before they were converted, where that is known."""
    text = opened.store.get(PROVENANCE_NAME)
    conversion = None if text is None else Provenance.from_json(text).method_of(CONVERT)
    recorded = (conversion or {}).get("source_data_type")
    if not isinstance(recorded, str):
        return opened.info.dtype
    try:
        dtype = np.dtype(recorded)
    except TypeError:
        return opened.info.dtype
    is_known = dtype.itemsize in _NIFTI_KINDS.get(dtype.kind, ())
    return dtype if is_known else opened.info.dtype


def _header(opened: Volume, scale: ScaleArray, dtype: np.dtype[Any], kind: str) -> bytes:
    transform = world_transform(opened.store)
    where = opened.store.location
    if not has_world(transform) and kind != ".npy":
        logger.warning(
            "%s does not say where it lies in the world; x, y and z are exported as right, "
            "anterior and superior",
            where,
        )
    if scale.shape[3] > 1:
        logger.info("%s: its %d channels become the fourth axis", where, scale.shape[3])
    affine = scale_affine(scale, transform)
    is_label = opened.info.type == "segmentation"
    if kind == ".npy":
        return npy_header(scale.shape, dtype)
    if kind == "MGH":
        return mgh_header(scale.shape, dtype, affine)
    facts = source_facts(opened)
    return nifti_header(scale.shape, dtype, affine, is_label=is_label, facts=facts)


def _between(
    head: bytes, voxels: Iterator[memoryview], tail: bytes
) -> Iterator[bytes | memoryview]:
    yield head
    yield from voxels
    yield tail


def _voxels(
    scale: ScaleArray,
    dtype: np.dtype[Any],
    folder: Path,
    workers: int,
    progress: Progress | None,
) -> Iterator[memoryview]:
    """Yield the voxels in the order of the file."""
    sides = _block_sides(scale)
    blocks = _of_type(dtype, _counted(read_blocks(scale, workers), scale, progress), scale.key)
    if sides[:2] == scale.shape[:2] and scale.shape[3] == 1:
        for _, voxels in blocks:
            yield _file_bytes(voxels)
        return
    with tempfile.TemporaryFile(dir=folder, prefix=".ngcore-") as spool:
        for box, voxels in blocks:
            _write_block(spool, voxels, box.start, scale.shape)
        spool.seek(0)
        while part := spool.read(_COPY_BYTES):
            yield memoryview(part)


def read_blocks(scale: ScaleArray, workers: int) -> Iterator[tuple[Box, NDArray[Any]]]:
    """Yield a scale in blocks of whole chunks, (x, y, z, channel), x fastest, then y and z."""
    return _read_ahead(scale, list(_blocks(scale, _block_sides(scale))), workers)


def _block_sides(scale: ScaleArray) -> Vec3:
    """Return the sides of a block: whole chunks, one along z, as many along x and y as fit."""
    (x, y, z), (cx, cy, cz) = scale.shape[:3], scale.chunk_size
    depth = min(cz, z)
    room = _BLOCK_BYTES // (depth * scale.shape[3] * scale.dtype.itemsize)
    width = x if x * cy <= room or x <= cx else min(x, max(1, room // cy // cx) * cx)
    height = y if width == x and x * y <= room else min(y, max(1, room // width // cy) * cy)
    return width, height, depth


def _blocks(scale: ScaleArray, sides: Vec3) -> Iterator[Box]:
    """Yield the blocks of a scale in indices that start at 0, x fastest."""
    shape = scale.shape
    for z in range(0, shape[2], sides[2]):
        for y in range(0, shape[1], sides[1]):
            for x in range(0, shape[0], sides[0]):
                stop = (
                    min(x + sides[0], shape[0]),
                    min(y + sides[1], shape[1]),
                    min(z + sides[2], shape[2]),
                )
                yield Box((x, y, z), stop)


def _read_ahead(
    scale: ScaleArray, blocks: list[Box], workers: int
) -> Iterator[tuple[Box, NDArray[Any]]]:
    """Yield blocks decoded, (x, y, z, channel), while the threads are at the next one."""
    with ThreadPool(workers) as pool:
        begun: deque[tuple[Box, NDArray[Any], TaskGroup]] = deque()
        for box in blocks:
            begun.append((box, *_begin(pool, scale, box)))
            if len(begun) > 1:
                done, voxels, group = begun.popleft()
                pool.wait(group)
                yield done, voxels
        for box, voxels, group in begun:
            pool.wait(group)
            yield box, voxels


def _begin(pool: ThreadPool, scale: ScaleArray, box: Box) -> tuple[NDArray[Any], TaskGroup]:
    voxels = np.empty((*box.shape, scale.shape[3]), scale.dtype, order="F")
    group = TaskGroup()
    (x0, y0, z0), (x1, y1, z1), (cx, cy, cz) = box.start, box.stop, scale.chunk_size
    ox, oy, oz = scale.voxel_offset
    origin = (ox + x0, oy + y0, oz + z0)
    for z in range(z0 // cz, -(-z1 // cz)):
        for y in range(y0 // cy, -(-y1 // cy)):
            for x in range(x0 // cx, -(-x1 // cx)):
                chunk = scale.info.grid.bounds((x, y, z))
                along_x, along_y, along_z = chunk.slices(origin)
                place = voxels[along_x, along_y, along_z]
                pool.submit(_ChunkInto(scale, chunk, place), group)
    return voxels, group


class _ChunkInto:
    """A task: one chunk, decoded into its place in a block."""

    __slots__ = ("_chunk", "_place", "_scale")

    def __init__(self, scale: ScaleArray, chunk: Box, place: NDArray[Any]) -> None:
        self._scale, self._chunk, self._place = scale, chunk, place

    def __call__(self) -> None:
        self._scale.read(self._chunk, self._place)


def _counted(
    blocks: Iterator[tuple[Box, NDArray[Any]]], scale: ScaleArray, progress: Progress | None
) -> Iterator[tuple[Box, NDArray[Any]]]:
    done, total = 0, math.prod(scale.shape[:3])
    for box, voxels in blocks:
        yield box, voxels
        done += math.prod(box.shape)
        if progress is not None:
            progress(done, total)


def _of_type(
    dtype: np.dtype[Any], blocks: Iterator[tuple[Box, NDArray[Any]]], key: str
) -> Iterator[tuple[Box, NDArray[Any]]]:
    for box, voxels in blocks:
        converted = voxels.astype(dtype, copy=False)
        if converted is not voxels and not np.array_equal(converted, voxels):
            raise FormatError(
                f"{key} holds values that do not fit in {dtype.name}: the type of its source, "
                "or the widest that the format has; export it as .nii.gz"
            )
        yield box, converted


def _file_bytes(voxels: NDArray[Any]) -> memoryview:
    """Return voxels, in Fortran order, as the file holds them."""
    return voxels.ravel(order="F").view(np.uint8).data


def _write_block(
    spool: BinaryIO, voxels: NDArray[Any], start: Vec3, shape: tuple[int, ...]
) -> None:
    """Write a block to its places in a file of the whole volume, in runs as long as may be."""
    size = voxels.dtype.itemsize
    is_whole_rows = voxels.shape[0] == shape[0]
    for channel in range(voxels.shape[3]):
        for z in range(voxels.shape[2]):
            plane = voxels[:, :, z, channel]
            runs = [plane] if is_whole_rows else [plane[:, [y]] for y in range(plane.shape[1])]
            for y, run in enumerate(runs):
                row = (channel * shape[2] + start[2] + z) * shape[1] + start[1] + y
                spool.seek((row * shape[0] + start[0]) * size)
                spool.write(_file_bytes(run))
