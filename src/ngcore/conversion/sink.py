"""Where the voxels of chunks go: encoded, digested, and put into files unless they are there."""

from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ngcore.arrays.chunk_copy import copy_chunk
from ngcore.conversion.options import ConvertOptions
from ngcore.conversion.window import ThreadMemory, Voxels
from ngcore.precomputed.chunks import Vec3
from ngcore.precomputed.encodings import ChunkEncoding, make_encoding
from ngcore.precomputed.info import VolumeInfo
from ngcore.storage import ChunkWriter, Store, create_chunks
from ngcore.volume.digest import ScaleDigest, digested

if TYPE_CHECKING:
    from ngcore.conversion.likeness import Likeness, LikenessSample


class ChunkSink:
    """Takes the chunks of some scales of a volume, in any order and from any thread.

    Parameters
    ----------
    info : VolumeInfo
        The volume to write.
    scales : sequence of int
        Indices of the scales that are written.
    options : ConvertOptions
        How chunks are encoded and how their files lie.
    store : Store
        Where the volume's files go.
    tmp : Path
        Where encoded chunks wait for their shard if they find no room in memory.
    shard_memory : int, in bytes
        How much of them may wait in memory.
    is_written : callable or None
        Whether the file of a name exists already, whole, and need not be made again.
    written : callable or None
        Called with the name of each file that is complete, from any thread.
    stale_scales : collection of int, optional
        Those whose folders held files before this run; default look.
    looks_for_labels : bool
        Whether to look at the finest scale: see `likeness`.
    """

    _sample: "LikenessSample | None"

    def __init__(
        self,
        info: VolumeInfo,
        scales: Sequence[int],
        options: ConvertOptions,
        store: Store,
        tmp: Path,
        *,
        shard_memory: int,
        is_written: Callable[[str], bool] | None = None,
        written: Callable[[str], None] | None = None,
        stale_scales: Collection[int] | None = None,
        looks_for_labels: bool = False,
    ) -> None:
        self._info = info
        self._is_written = is_written
        self._memory = ThreadMemory()
        self._encodings: dict[int, ChunkEncoding] = {}
        self._writers: dict[int, ChunkWriter] = {}
        self.digests: dict[int, ScaleDigest] = {}
        self._sample = None
        if looks_for_labels:
            from ngcore.conversion.likeness import LikenessSample  # only then

            self._sample = LikenessSample(info.scales[0].grid)
        for index in scales:
            scale = info.scales[index]
            self.digests[index] = ScaleDigest(info, scale)
            self._encodings[index] = make_encoding(info, scale, jpeg_quality=options.jpeg_quality)
            # Each scale has an eighth of the chunks of the one before, and gets half its memory.
            self._writers[index] = create_chunks(
                store,
                info,
                index,
                layout=options.layout,
                gzip=options.is_gzipped,
                memory=shard_memory >> (index + 1 - scales[0]),
                spool_dir=tmp,
                may_be_stale=None if stale_scales is None else index in stale_scales,
                written=written,
                in_background=True,
            )

    @property
    def likeness(self) -> "Likeness | None":
        """What was seen of the finest scale; None where nobody asked."""
        return None if self._sample is None else self._sample.found

    def write(self, scale: int, cell: Vec3, voxels: Voxels) -> None:
        """Take a chunk, shape (x, y, z, channel); it may be overwritten afterwards."""
        info = self._info.scales[scale]
        writer, encoding = self._writers[scale], self._encodings[scale]
        # Encoder and digest are fastest with Fortran order.
        chunk = self._memory.take(voxels.size, voxels.dtype).reshape(voxels.shape, order="F")
        has_bits = copy_chunk(voxels, chunk)  # a float chunk of -0.0 is not one of zeros
        if scale == 0 and has_bits and self._sample is not None:
            self._sample.look(cell, chunk)
        # Zeros add nothing to a digest. JPEG files, which are digested as they are, would.
        is_nothing = not has_bits and (info.sharding is not None or info.encoding != "jpeg")
        if self._is_written is not None and self._is_written(writer.file_of(cell)):
            # The digest of the run that wrote it went with that run.
            if not is_nothing:
                is_encoded = info.encoding in ("raw", "jpeg")
                encoded = encoding.encode(chunk) if is_encoded else b""
                self.digests[scale].add(cell, digested(info, encoded, chunk))
            return
        if is_nothing:
            writer.write(cell, None)
            return
        encoded = encoding.encode(chunk)
        self.digests[scale].add(cell, digested(info, encoded, chunk))
        writer.write(cell, encoded)

    def write_zeros(self, scale: int, first: Vec3, stop: Vec3) -> None:
        """Take the chunks from `first` up to and without `stop`, all zeros, of a sharded scale."""
        self._writers[scale].write_zeros(first, stop, self._is_written)

    def finish(self, *, whole: bool) -> None:
        """Check that everything is written; see `ChunkWriter.finish`."""
        for writer in self._writers.values():
            writer.finish(whole=whole)

    def abort(self) -> None:
        """Let go of memory and temporary files."""
        for writer in self._writers.values():
            writer.abort()
