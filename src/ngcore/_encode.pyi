from typing import Any

from numpy.typing import NDArray
from typing_extensions import Buffer

INSTRUCTIONS: str

__test__: dict[str, str]

def encode_u32(labels: NDArray[Any], block_size: tuple[int, int, int]) -> bytes | int: ...
def encode_u64(labels: NDArray[Any], block_size: tuple[int, int, int]) -> bytes | int: ...
def decode_u32(
    data: Buffer,
    out: NDArray[Any],
    chunk_shape: tuple[int, int, int, int],
    corners: tuple[int, int, int, int, int, int],
    block_size: tuple[int, int, int],
) -> tuple[int, int]: ...
def decode_u64(
    data: Buffer,
    out: NDArray[Any],
    chunk_shape: tuple[int, int, int, int],
    corners: tuple[int, int, int, int, int, int],
    block_size: tuple[int, int, int],
) -> tuple[int, int]: ...
def copy_chunk(chunk: NDArray[Any], copy: NDArray[Any]) -> int: ...
