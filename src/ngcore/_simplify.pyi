from typing import Any

from numpy.typing import NDArray

__test__: dict[str, str]

def connect(triangles: NDArray[Any], parts: NDArray[Any]) -> None: ...
def simplify(
    vertices: NDArray[Any],
    triangles: NDArray[Any],
    units: NDArray[Any],
    max_error: float,
    share: float,
    fewest: int,
    first_share: float,
) -> tuple[int, int]: ...
def join(vertices: NDArray[Any], triangles: NDArray[Any]) -> tuple[int, int]: ...
def compact(vertices: NDArray[Any], triangles: NDArray[Any]) -> int: ...
