from typing import Any

from numpy.typing import NDArray
from typing_extensions import Buffer

INSTRUCTIONS: str

def encode_u32(labels: NDArray[Any], block_size: tuple[int, int, int]) -> bytes | int: ...
def encode_u64(labels: NDArray[Any], block_size: tuple[int, int, int]) -> bytes | int: ...
def decode_u32(
    data: Buffer, out: NDArray[Any], block_size: tuple[int, int, int]
) -> tuple[int, int]: ...
def decode_u64(
    data: Buffer, out: NDArray[Any], block_size: tuple[int, int, int]
) -> tuple[int, int]: ...
