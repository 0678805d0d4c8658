"""A volume as OME-Zarr 0.5: every scale, sizes in millimetres, places where the version has them.

The version knows a scale and a translation of each level, and no directions: those of an oblique
or flipped volume are reported in a warning.

https://ngff.openmicroscopy.org/0.5/
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ngcore.errors import DestinationError, MissingExtraError, StorageError
from ngcore.storage import LocalStore, Store, is_url, split_place, writable_store
from ngcore.storage.file_lock import LocalLock
from ngcore.storage.sync import sync_folder, sync_path
from ngcore.storage.uploads import carry
from ngcore.transaction.output_file import check_output_folder, make_folder
from ngcore.transaction.places import refuse_overlap
from ngcore.transaction.work_folder import working_folder
from ngcore.volume.segment_colours import segment_colours
from ngcore.volume.source_facts import source_facts
from ngcore.volume.world import scale_affine, world_transform

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from ngcore.arrays.affines import Affine
    from ngcore.precomputed.chunks import Box
    from ngcore.volume.read import Volume
    from ngcore.volume.scale import ScaleArray

logger = logging.getLogger(__name__)

VERSION = "0.5"
_MARKS = ("zarr.json", ".zgroup")
_OF_ZARR = re.compile(r"zarr\.json|\.z(array|attrs|group|metadata)|[0-9]+(\.[0-9]+)*|c")


def export_ome_zarr(
    opened: Volume,
    out: str | os.PathLike[str],
    *,
    first: int,
    overwrite: bool,
    blocks: Callable[[ScaleArray], Iterator[tuple[Box, NDArray[Any]]]],
) -> None:
    """Write a volume's scales, from `first` on, as a multiscale image.

    Raises
    ------
    MissingExtraError
        If zarr is not installed.
    DestinationError
        If `out` already exists, or can't be written.
    """
    try:
        import zarr
    except ImportError as error:
        raise MissingExtraError(
            "writing OME-Zarr needs zarr; pip install 'ngcore-neuroglancer[formats]'"
        ) from error
    if is_url(out):
        with _carried(writable_store(out), overwrite=overwrite) as here:
            export_ome_zarr(
                opened, here / split_place(out)[1], first=first, overwrite=False, blocks=blocks
            )
        return
    out = Path(out)
    check_output_folder(out.parent)
    _check_out(out, overwrite=overwrite)
    if isinstance(opened.store, LocalStore):
        refuse_overlap(LocalStore(out), [opened.store.path], "export to")
    make_folder(out.parent)
    hidden = out.with_name(f".ngcore-{out.name}")
    try:
        lock = LocalLock.take(hidden / "lock", str(out))
    except OSError as error:
        raise DestinationError(f"can't write {str(out)!r}: {error.strerror or error}") from error
    if lock is None:
        raise DestinationError(
            f"{str(out)!r} is in use by another ngcore; wait for it, or choose another folder"
        )
    work = hidden / "work"
    try:
        _check_out(out, overwrite=overwrite)  # again: another may just have written it
        shutil.rmtree(work, ignore_errors=True)  # of a run that was killed
        zarr_store = _stoppable_store(work)
        try:
            group = zarr.create_group(zarr_store, zarr_format=3)
            ome = _metadata(opened, first, out.name)
            names = [axis["name"] for axis in ome["multiscales"][0]["axes"]]
            for number, scale in enumerate(opened.scales[first:]):
                _write_level(group, str(number), scale, names, blocks(scale))
            group.attrs["ome"] = ome
        except OSError as error:
            raise StorageError(f"can't write {str(out)!r}: {error.strerror or error}") from error
        finally:
            zarr_store.stop()
        _put_in_place(work, out)
    finally:
        shutil.rmtree(work, ignore_errors=True)
        lock.release()


def _stoppable_store(folder: Path) -> Any:
    """Return a store of zarr in a folder, with a method `stop` that waits for its last write.

    Zarr's threads write several chunks at once. When one fails, or the caller is interrupted, they
    go on with the others, and would make the folder anew that the caller removes.
    """
    from zarr.storage import LocalStore as ZarrFolder

    class StoppableFolder(ZarrFolder):
        def __init__(self, root: Path, *, read_only: bool = False) -> None:
            super().__init__(root, read_only=read_only)
            self._writes = 0
            self._is_stopped = False
            self._changed = threading.Condition()

        async def set(self, key: str, value: Any) -> None:
            with self._changed:
                if self._is_stopped:
                    return
                self._writes += 1
            try:
                await super().set(key, value)
            finally:
                with self._changed:
                    self._writes -= 1
                    self._changed.notify_all()

        def stop(self) -> None:
            with self._changed:
                self._is_stopped = True
                self._changed.wait_for(lambda: self._writes == 0)

    return StoppableFolder(folder)


@contextmanager
def _carried(store: Store, *, overwrite: bool) -> Iterator[Path]:
    """Give a folder here for a Zarr, which is then carried to a bucket, its first mark last."""
    old = list(store.list())
    if old and not overwrite:
        raise DestinationError(f"{store.location} already exists; pass --overwrite to replace it")
    for name in old:
        if _OF_ZARR.fullmatch(name.rpartition("/")[2]) is None:
            raise DestinationError(
                f"{store.location}/{name} is not part of a Zarr; move it, or name another folder"
            )
    with working_folder(store) as tmp:
        yield tmp
        (made,) = (path for path in tmp.iterdir() if path.is_dir())
        here = LocalStore(made)
        store.delete(_MARKS[0])  # until all is there again, it is none
        new = list(here.list())
        store.delete_all(set(old) - set(new))
        carry(here, store, sorted(set(new) - {_MARKS[0]}))
        carry(here, store, _MARKS[:1])


def _check_out(out: Path, *, overwrite: bool) -> None:
    if not out.exists() and not out.is_symlink():
        return
    if not overwrite:
        raise DestinationError(f"{str(out)!r} already exists; pass --overwrite to replace it")
    is_empty = out.is_dir() and not any(out.iterdir())
    if not (is_empty or any((out / name).is_file() for name in _MARKS)):
        raise DestinationError(f"{str(out)!r} exists and is not a Zarr; name another folder")
    for parent, _, names in os.walk(out):
        for name in names:
            if _OF_ZARR.fullmatch(name) is None:
                raise DestinationError(
                    f"{str(Path(parent, name))!r} is not part of a Zarr; move it, or name another "
                    "folder"
                )


def _put_in_place(work: Path, out: Path) -> None:
    try:
        sync_folder(work)
        if out.exists():
            shutil.rmtree(out)
        work.rename(out)
        sync_path(out.absolute().parent)
    except OSError as error:
        raise StorageError(f"can't write {str(out)!r}: {error.strerror or error}") from error


def _write_level(
    group: Any,
    name: str,
    scale: ScaleArray,
    names: list[str],
    blocks: Iterator[tuple[Box, NDArray[Any]]],
) -> None:
    x, y, z, channels = scale.shape
    has_channels = channels > 1
    sides = [min(side, length) for side, length in zip(scale.chunk_size, (x, y, z), strict=True)]
    array = group.create_array(
        name,
        shape=(*([channels] if has_channels else []), z, y, x),
        chunks=(*([1] if has_channels else []), *sides[::-1]),
        dtype=scale.dtype.newbyteorder("="),
        dimension_names=names,
    )
    for box, voxels in blocks:
        place = box.slices((0, 0, 0))[::-1]
        stored = voxels.transpose(3, 2, 1, 0)
        if has_channels:
            array[(slice(None), *place)] = stored
        else:
            array[place] = stored[0]


def _metadata(opened: Volume, first: int, name: str) -> dict[str, Any]:
    """Return the content of the attribute `ome`."""
    step = source_facts(opened).get("time_step")
    scales = opened.scales[first:]
    has_channels = scales[0].shape[3] > 1
    axes: list[dict[str, str]] = []
    if has_channels and step:
        axes.append({"name": "t", "type": "time", "unit": "second"})
    elif has_channels:
        axes.append({"name": "c", "type": "channel"})
    axes += [{"name": letter, "type": "space", "unit": "millimeter"} for letter in "zyx"]
    lead = float(step) if has_channels and step else 1.0
    affines = _affines(opened, scales)
    datasets = [
        {
            "path": str(number),
            "coordinateTransformations": [
                {
                    "type": "scale",
                    "scale": [*([lead] if has_channels else []), *np.diag(affine)[2::-1].tolist()],
                },
                {
                    "type": "translation",
                    "translation": [*([0.0] if has_channels else []), *affine[2::-1, 3].tolist()],
                },
            ],
        }
        for number, affine in enumerate(affines)
    ]
    title = name.removesuffix(".zarr").removesuffix(".ome")
    ome: dict[str, Any] = {
        "version": VERSION,
        "multiscales": [{"name": title, "axes": axes, "datasets": datasets}],
    }
    if opened.info.type == "segmentation":
        ome["image-label"] = _label(opened)
    return ome


def _affines(opened: Volume, scales: tuple[ScaleArray, ...]) -> list[Affine]:
    """Return an affine without turns for each scale: in the world, else in the volume's frame."""
    transform = world_transform(opened.store)
    affines = [scale_affine(scale, transform) for scale in scales]
    sizes = np.diag(affines[0])[:3]
    if np.allclose(affines[0][:3, :3], np.diag(sizes), atol=1e-6 * np.abs(sizes).max()) and (
        sizes.min() > 0
    ):
        return affines
    logger.warning(
        "OME-Zarr %s keeps no directions: %s lies along its own axes there, not in its world; "
        "export it as .nii.gz to keep them",
        VERSION,
        opened.store.location,
    )
    return [scale_affine(scale, None) for scale in scales]


def _label(opened: Volume) -> dict[str, Any]:
    """Return the names and colours of a segmentation's labels."""
    label: dict[str, Any] = {"version": VERSION}
    colours = segment_colours(opened.store, opened.info)
    if colours:
        label["colors"] = [
            {
                "label-value": number,
                "rgba": [*colour, 255],
            }
            for number, colour in sorted(colours.items())
        ]
    if opened.labels:
        label["properties"] = [
            {"label-value": number, "name": name} for number, name in sorted(opened.labels.items())
        ]
    return label
