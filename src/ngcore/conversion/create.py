"""A volume that the caller fills: boxes of voxels in any order, then every scale at once."""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np

from ngcore._verbs import told
from ngcore._words import words_of_python
from ngcore.arrays.affines import with_resolution
from ngcore.conversion.convert import begin, finish
from ngcore.conversion.options import JPEG_QUALITY, ConvertOptions
from ngcore.conversion.prepare import prepare
from ngcore.conversion.run import Work, write_scales
from ngcore.conversion.voxel_file import VoxelFile, VoxelFileSource
from ngcore.conversion.writable_scale import WritableScale
from ngcore.errors import DestinationError, InputError
from ngcore.precomputed.json_members import MAX_SAFE_INTEGER
from ngcore.precomputed.scales import DEFAULT_CHUNK_SIDE
from ngcore.sources.affine_files import read_affine
from ngcore.sources.base import Source, SourceHeader, SuggestedType
from ngcore.sources.geometry import AskedGeometry
from ngcore.sources.identity import source_identity
from ngcore.sources.volumes.precomputed import open_scale
from ngcore.storage import LocalStore, is_url, writable_store
from ngcore.storage.local import WORK_FOLDER
from ngcore.transaction.destination import Destination
from ngcore.transaction.work_folder import lasting_folder, make_lasting_folder
from ngcore.volume.read import open as open_volume

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import TracebackType

    from numpy.typing import NDArray

    from ngcore._verbs import Progress
    from ngcore.conversion.prepare import Conversion
    from ngcore.precomputed.chunks import Vec3
    from ngcore.precomputed.info import VolumeInfo
    from ngcore.transaction.journal import Journal

logger = logging.getLogger(__name__)

_VOXELS = "voxels"
_NAME = "the ndarray"
"""As `convert` calls an array: the volume is the same, byte for byte."""


def create(
    dest: str | os.PathLike[str],
    *,
    shape: Sequence[int],
    data_type: Any,
    resolution: Sequence[float] | str,
    type: Literal["image", "segmentation"] = "image",  # noqa: A002 - the option's name
    voxel_offset: Sequence[int] = (0, 0, 0),
    affine: Any = None,
    encoding: str | None = None,
    jpeg_quality: int = JPEG_QUALITY,
    chunk_size: int | Sequence[int] | None = None,
    downsampling: str = "auto",
    outside_value: float | None = None,
    max_scales: int | None = None,
    sharding: bool = True,
    layout: Literal["flat", "nested"] = "flat",
    gzip: bool | None = None,
    memory: str | int = "1G",
    workers: int | None = None,
    tmp: str | os.PathLike[str] | None = None,
    fsync: bool = True,
    resume: bool = False,
    overwrite: bool = False,
    progress: bool | Progress | None = None,
) -> WritableVolume:
    """Create a volume and fill it: assign boxes of the finest scale within a `with` block.

    Leaving the block writes every scale, then `info`: the files are those that `ngcore.convert`
    writes for the same voxels. What nobody assigned is zero. An exception inside leaves no `info`,
    and what was assigned can be kept with ``resume=True``. Until then voxels lie in a hidden file
    in `dest`, as large as those that were assigned; for a bucket, in one of this machine.

    Parameters
    ----------
    dest : path or URL
        A folder that is empty or not there yet, or one in a bucket (``s3://``, ``gs://``, ``az://``).
    shape : tuple of int, (x, y, z) or (x, y, z, channel), in voxels
    data_type : str or dtype
        Of the voxels: uint8, int8, uint16, int16, uint32, int32, uint64 or float32.
    resolution : tuple of float, (x, y, z), in nanometres, or str
        Or with units, such as ``"8nm,8nm,40nm"``.
    type : "image" or "segmentation"
    voxel_offset : tuple of int, (x, y, z), in voxels
        Global coordinate of the first voxel.
    affine : array of float, shape (4, 4), optional
        From voxel centres to millimetres.
    encoding, jpeg_quality, chunk_size, downsampling, outside_value, max_scales
        As for `ngcore.convert`.
    sharding, layout, gzip, memory, workers
        As for `ngcore.convert`.
    tmp : path, optional
        Folder for temporary files; default hidden, in `dest`. For a bucket, which then needs room
        for all voxels here, that of the system.
    fsync : bool
        An assignment survives a loss of power when it returns, and so does the volume.
    resume : bool
        Keep what an interrupted run with the same arguments wrote.
    overwrite : bool
        Replace the volume in `dest`.
    progress : bool or callable, optional
        True draws a bar on stderr; a callable is called now and then, while
        scales are written, with (voxels done, voxels in all).

    Returns
    -------
    WritableVolume

    Raises
    ------
    InputError
        If the arguments make no volume.
    DestinationError
        If `dest` holds something already, can't be written or is in use.

    Examples
    --------
    >>> import numpy as np, tempfile, ngcore
    >>> folder = tempfile.mkdtemp()
    >>> with ngcore.create(folder, shape=(100, 80, 60), data_type="uint8",
    ...                    resolution=(8, 8, 8)) as volume:
    ...     volume.scales[0][:50] = np.ones((50, 80, 60), np.uint8)
    >>> int(ngcore.open(folder).scales[0][...].sum())
    240000
    """
    if not os.fspath(dest):
        raise InputError("the path of the destination is empty; pass that of a new folder")
    options = ConvertOptions(
        type=type,
        data_type=data_type,
        resolution=resolution,
        voxel_offset=voxel_offset,
        affine=affine,
        encoding=encoding,
        jpeg_quality=jpeg_quality,
        chunk_size=chunk_size,
        downsampling=downsampling,
        outside_value=outside_value,
        max_scales=max_scales,
        sharding=sharding,
        layout=layout,
        gzip=gzip,
        memory=memory,
        workers=workers,
        tmp=tmp,
        fsync=fsync,
        resume=resume,
        overwrite=overwrite,
        is_uploaded=is_url(dest),
    )
    header = _header(shape, options, read_affine(affine))
    given = tuple(map(int, shape))
    place = os.fspath(dest) if is_url(dest) else Path(dest).absolute()
    return WritableVolume(place, given, header, options, told(progress))


def _header(
    shape: Sequence[int], options: ConvertOptions, affine: NDArray[np.float64] | None
) -> SourceHeader:
    lengths = tuple(shape)
    if len(lengths) not in (3, 4) or not all(
        isinstance(n, int | np.integer) and 1 <= n <= MAX_SAFE_INTEGER for n in lengths
    ):
        raise InputError(
            f"shape must be (x, y, z) or (x, y, z, channel), each 1 or more; got {shape}"
        )
    x, y, z, *channels = map(int, lengths)
    resolution, offset = options.resolution_nm, options.voxel_offset or (0, 0, 0)
    assert resolution is not None
    assert options.data_type is not None
    if affine is not None:
        affine = with_resolution(affine, resolution)
    return SourceHeader(
        name=_NAME,
        shape=(x, y, z, channels[0] if channels else 1),
        dtype=np.dtype(options.data_type),
        suggested_type=SuggestedType("image", "nothing says that it holds labels"),
        affine_voxel_to_mm=affine,
        resolution_nm=resolution,
        voxel_offset=(offset[0], offset[1], offset[2]),
    )


class WritableVolume:
    """A volume that is being written; a context manager. Made by `ngcore.create`.

    It can be pickled: in other processes, boxes can be assigned. Only where it was made can it be
    entered and left.

    Attributes
    ----------
    path : Path, or str of a URL
    info : VolumeInfo
        What the volume will be.
    scales : tuple of WritableScale
        The finest scale; the others are made from it.
    """

    def __init__(
        self,
        path: Path | str,
        shape: tuple[int, ...],
        header: SourceHeader,
        options: ConvertOptions,
        progress: Progress | None,
    ) -> None:
        self._shape = shape
        chunk = options.chunk_shape or (DEFAULT_CHUNK_SIDE,) * 3
        self.path = path
        self._options = options
        self._progress = progress
        self._journal: Journal | None = None
        store = writable_store(path)
        self._is_here = isinstance(store, LocalStore)
        if isinstance(store, LocalStore):
            self._folder = store.path / WORK_FOLDER
        else:
            self._folder = lasting_folder(store, options.tmp)
        self._file = self._voxel_file(header, chunk)
        self._source = VoxelFileSource(header, self._file)
        # Planned once for the chunks that the file is to have slots for.
        conversion = prepare(self._source, options)
        self._file = self._voxel_file(header, conversion.info.scales[0].chunk_size)
        self._source = VoxelFileSource(header, self._file)
        self._conversion: Conversion | None = prepare(self._source, options, identity={})
        self._destination: Destination | None = Destination(
            store, overwrite=options.overwrite, resume=options.resume
        )
        self.info: VolumeInfo = conversion.info
        self.scales = (WritableScale(self._file, self.info),)

    def _voxel_file(self, header: SourceHeader, chunk_size: Vec3) -> VoxelFile:
        return VoxelFile(
            self._folder / _VOXELS,
            header.shape[:3],
            header.shape[3],
            header.dtype,
            chunk_size,
            is_durable=self._options.fsync,
        )

    def __getstate__(self) -> dict[str, Any]:
        here_alone = ("_conversion", "_destination", "_journal", "_progress")
        return {**self.__dict__, **dict.fromkeys(here_alone)}

    def __repr__(self) -> str:
        return f"<WritableVolume {self.path}: {self.scales[0]!r}>"

    def __enter__(self) -> Self:
        with words_of_python():
            return self._entered()

    def _entered(self) -> Self:
        destination, conversion = self._held()
        if self._options.resume and destination.store.size("info") is not None:
            complete = open_scale(open_volume(self.path).scales[0], AskedGeometry())
            conversion = self._known(complete)
        if destination.holds(
            conversion.info,
            conversion.side_files,
            conversion.provenance,
            has_changed=lambda _: False,
        ):
            self.scales = (WritableScale(self._file, self.info, open_volume(self.path).scales[0]),)
            self._destination = None
            return self
        destination.__enter__()
        try:
            self._journal = self._begun(conversion, destination)
        except BaseException as error:
            destination.__exit__(error.__class__, error, error.__traceback__)
            raise
        return self

    def _begun(self, conversion: Conversion, destination: Destination) -> Journal:
        """Take the destination, with the file of an earlier run if that is resumed."""
        was_there = self._file.path.exists()
        if not self._is_here:
            make_lasting_folder(self._folder)
        self._file.make()
        try:
            journal = begin(self._work(conversion), destination)
            if journal.is_resumed and not was_there:
                raise DestinationError(
                    f"{self.path}: the voxels assigned so far are no longer in "
                    f"{self._file.path}; resume where it was begun, or pass overwrite=True to "
                    "start again"
                )
        except BaseException:
            if not was_there:
                self._remove_file()
            raise
        if was_there and not journal.is_resumed:
            self._file.path.unlink()
            self._file.make()
        return journal

    def _remove_file(self) -> None:
        self._file.close()
        self._file.path.unlink(missing_ok=True)
        if not self._is_here:
            with suppress(OSError):
                self._folder.rmdir()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        destination = self._destination
        if destination is None:
            return
        conversion = self._held()[1]
        self._destination = None
        try:
            if kind is None:
                with words_of_python():
                    self._build(conversion, destination)
        except BaseException as failure:
            self._leave(destination, failure.__class__)
            raise
        self._leave(destination, kind)

    def _build(self, conversion: Conversion, destination: Destination) -> None:
        """Write every scale, and `info`."""
        with destination.temporaries(self._options.tmp) as tmp:
            outcome = write_scales(
                self._work(conversion),
                destination.store,
                tmp,
                journal=self._journal,
                # They may be of voxels that were assigned anew since.
                trusts_files=False,
            )
        finish(self._work(self._known(self._source)), destination, outcome)
        self._remove_file()

    def _work(self, conversion: Conversion) -> Work:
        return Work(conversion, self._source, self._options, self._progress)

    def _known(self, voxels: Source) -> Conversion:
        """Return what is decided of a volume of these voxels, samples of which it records."""
        array = SimpleNamespace(shape=self._shape, dtype=self.info.dtype)
        identity = source_identity(array, (), voxels)
        return prepare(self._source, self._options, identity=identity)

    def _leave(self, destination: Destination, kind: type[BaseException] | None) -> None:
        self._file.close()
        # Whatever happened, what was assigned is kept for the next run: no error is reported that
        # would remove it.
        destination.__exit__(kind, None, None)

    def _held(self) -> tuple[Destination, Conversion]:
        if self._destination is None or self._conversion is None:
            raise InputError(
                "a volume can be entered only once, in the process that created it; create "
                "it again"
            )
        return self._destination, self._conversion
