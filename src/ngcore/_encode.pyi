from typing import Any

from numpy.typing import NDArray
from typing_extensions import Buffer

INSTRUCTIONS: str

def encode(labels: NDArray[Any], block_size: tuple[int, int, int]) -> bytes | int: ...
def decode(
    data: Buffer, out: NDArray[Any], block_size: tuple[int, int, int]
) -> tuple[int, int]: ...
def copy_chunk(chunk: NDArray[Any], copy: NDArray[Any]) -> bool: ...
