from typing import Any

from numpy.typing import NDArray

INSTRUCTIONS: str

__test__: dict[str, str]

def downsample(
    array: NDArray[Any],
    out: NDArray[Any],
    factors: tuple[int, int, int],
    first: tuple[int, int, int],
    method: int,
    outside: float | None,
) -> None: ...
