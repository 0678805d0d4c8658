"""Options that the steps of the classic pipeline share, and those of neuroglancer-scripts."""

from __future__ import annotations

import copy
import logging
from typing import TYPE_CHECKING, Any

import click

from ngcore.cli._options import Numbers

if TYPE_CHECKING:
    from collections.abc import Callable

    from ngcore.precomputed.sharding import ShardingSpec

    Command = Callable[..., None]

logger = logging.getLogger(__name__)


def chunk_file_options(command: Command) -> Command:
    """Add the options of all that writes chunks."""
    for option in reversed(_CHUNK_FILE_OPTIONS):
        command = option(command)
    return command


def jpeg_options(command: Command) -> Command:
    """Add the options of what writes JPEG where DEST/info says so, and other encodings too."""
    for option in reversed(_JPEG_OPTIONS):
        command = option(command)
    return command


def options_about_chunk_files(command: Command) -> Command:
    """Add, to what writes no chunk, options of neuroglancer-scripts that tell of chunk files."""
    for option in reversed(_IDLE_CHUNK_FILE_OPTIONS):
        command = option(command)
    return command


def alias(command: click.Command, name: str) -> click.Command:
    """Return a command under a name of neuroglancer-scripts', which help does not list."""
    twin = copy.copy(command)
    twin.name = name
    twin.hidden = True
    twin.params = list(command.params)
    return twin


def _warn_of(message: str) -> Callable[[click.Context, click.Parameter, Any], None]:
    def callback(_ctx: click.Context, _param: click.Parameter, value: Any) -> None:
        if value is not None and value is not False:
            logger.warning(message)

    return callback


compresslevel_option = click.option(
    "--compresslevel",
    type=click.IntRange(0, 9),
    hidden=True,
    expose_value=False,
    callback=_warn_of("--compresslevel has no effect: ngcore has one compression level"),
)
idle_flat_option = click.option(
    "--flat",
    is_flag=True,
    hidden=True,
    expose_value=False,
    callback=_warn_of("--flat has no effect: this command does not write chunks"),
)
_IDLE_CHUNK_FILE_OPTIONS = [
    idle_flat_option,
    click.option(
        "--no-gzip",
        "--no-compression",
        is_flag=True,
        hidden=True,
        expose_value=False,
        callback=_warn_of("--no-gzip has no effect: this command does not compress files"),
    ),
    compresslevel_option,
]
_JPEG_OPTIONS = [
    click.option(
        "--jpeg-quality",
        type=click.IntRange(1, 100),
        default=95,
        show_default=True,
        metavar="N",
        help="Quality of JPEG chunks, if the encoding is jpeg.",
    ),
    click.option(
        "--jpeg-plane",
        type=click.Choice(["xy", "xz"]),
        hidden=True,
        expose_value=False,
        callback=_warn_of("--jpeg-plane has no effect: planes are xy except in convert-chunks"),
    ),
]
_CHUNK_FILE_OPTIONS = [
    click.option("--flat", is_flag=True, help="Write KEY/X_Y_Z.  [default: nested, KEY/X/Y/Z]"),
    click.option(
        "--no-gzip",
        "--no-compression",
        is_flag=True,
        help="Write NAME, not NAME.gz.  [default: gzip]",
    ),
    compresslevel_option,
    click.option(
        "--memory",
        default="1G",
        show_default=True,
        metavar="SIZE",
        help="Bound on resident memory, such as 512M.",
    ),
    click.option(
        "--workers", type=click.IntRange(1), metavar="N", help="Threads.  [default: all cores]"
    ),
]

_loading = "has no effect: memory is always bounded, see --memory"
mmap_option = click.option(
    "--mmap",
    is_flag=True,
    hidden=True,
    expose_value=False,
    callback=_warn_of(f"--mmap {_loading}"),
)
load_full_volume_option = click.option(
    "--load-full-volume",
    is_flag=True,
    hidden=True,
    expose_value=False,
    callback=_warn_of(f"--load-full-volume {_loading}"),
)
sharding_option = click.option("--sharding", type=Numbers(int, (3,), "M,S,P"), hidden=True)
value_options = [
    click.option(
        "--ignore-scaling", is_flag=True, help="Use stored values; ignore slope and intercept."
    ),
    click.option("--input-min", type=float, metavar="V", help="See --input-max.  [default: 0]"),
    click.option(
        "--input-max",
        type=float,
        metavar="V",
        help="Map the values from --input-min to this one to the full range of the integer type "
        "written (float32: 0 to 1).  [default: no mapping]",
    ),
]


def input_options(command: Command) -> Command:
    """Add the options of what reads a volume file."""
    for option in reversed([*value_options, mmap_option, load_full_volume_option]):
        command = option(command)
    return command


def sharding_spec(bits: tuple[int, int, int] | None, *, is_gzipped: bool) -> ShardingSpec | None:
    """Return the sharding that --sharding M,S,P stands for: bits of minishard, shard, preshift."""
    if bits is None:
        return None
    from ngcore.errors import FormatError
    from ngcore.precomputed.sharding import ShardingSpec

    minishard, shard, preshift = bits
    encoding = "gzip" if is_gzipped else "raw"
    try:
        return ShardingSpec(
            preshift_bits=preshift,
            hash="identity",
            minishard_bits=minishard,
            shard_bits=shard,
            minishard_index_encoding=encoding,
            data_encoding=encoding,
        )
    except FormatError as error:
        raise click.UsageError(f"--sharding: {error}") from error
