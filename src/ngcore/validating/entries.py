"""Checks what shards hold under ids: skeletons, annotations and their lists."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from ngcore.codecs import gzip
from ngcore.errors import FormatError, StorageError
from ngcore.validating.shards import find_shards

if TYPE_CHECKING:
    from collections.abc import Callable

    from ngcore.precomputed.sharding import ShardingSpec
    from ngcore.validating.scale import Basis
    from ngcore.validating.shard_file import ShardFile


def check_entries(
    basis: Basis,
    folder: str,
    spec: ShardingSpec,
    kind: str,
    check: Callable[[int, bytes], None],
    *,
    max_size: int,
) -> int:
    """Check every entry of the shards of a folder; return how many there are.

    Parameters
    ----------
    basis : Basis
    folder : str
    spec : ShardingSpec
    kind : str
        Of the findings.
    check : callable
        Takes the id and the bytes, decompressed; raises a FormatError where they are damaged.
    max_size : int, in bytes
        Larger ones are a fault.
    """
    count = 0
    for shard in find_shards(basis.store, folder, spec, basis.findings):
        for index in shard.minishards():
            for place in zip(index.ids, index.starts, index.stops, strict=True):
                count += 1
                if not basis.quick:
                    task = partial(_check, basis, shard, kind, check, max_size, *map(int, place))
                    basis.work.submit(task)
    basis.work.drain()
    return count


def _check(
    basis: Basis,
    shard: ShardFile,
    kind: str,
    check: Callable[[int, bytes], None],
    max_size: int,
    number: int,
    start: int,
    stop: int,
) -> None:
    try:
        if stop - start > max_size:
            raise FormatError(f"{stop - start} bytes, but at most {max_size} are expected")
        data = shard.read(start, stop)
        if shard.spec.data_encoding == "gzip":
            data = gzip.decompress(data, max_size=max_size)
        check(number, data)
    except (FormatError, StorageError) as error:
        basis.findings.error(kind, f"{shard.name}: byte {start}, id {number}", error)
