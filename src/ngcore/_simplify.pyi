from typing import Any

from numpy.typing import NDArray

def connect(triangles: NDArray[Any], parts: NDArray[Any]) -> None: ...
def simplify(
    vertices: NDArray[Any], triangles: NDArray[Any], max_error: float, share: float, fewest: int
) -> int: ...
