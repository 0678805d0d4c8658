import numpy as np
import pytest

from ngcore.precomputed.chunks import ChunkGrid
from ngcore.validating.presence import Presence


@pytest.mark.parametrize("most", [1, 7, 50, 10_000])
def test_absent_cells_are_all_of_them_or_spread_evenly(most):
    size = (33, 27, 40)
    grid = ChunkGrid(size, (1, 1, 1))
    presence = Presence(grid)
    rng = np.random.default_rng(0)
    present = {tuple(cell) for cell in rng.integers(0, size, (30_000, 3)).tolist()}
    for cell in present:
        assert presence.add(cell)
        assert not presence.add(cell)
    absent = [cell for cell in grid.cells() if cell not in present]
    assert presence.missing == len(absent)
    cells = presence.absent_cells(most)
    assert len(cells) <= most or most > len(absent)
    assert cells == absent[:: max(1, -(-len(absent) // most))]
