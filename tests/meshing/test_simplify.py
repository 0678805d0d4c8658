import numpy as np
import pytest
from surfaces import ball, enclosed_volume, open_edges

from ngcore.arrays.triangles import joined
from ngcore.meshing.simplify import simplified


def test_specks_beside_something_large_keep_their_volume():
    """They were flattened to two triangles back to back: what is lost of the large is little."""
    speck = 0.5, 6.0
    large = ball(30.0, rounds=5)
    specks = [ball(radius, (40.0 + 20 * n, 0, 0), rounds=1) for n, radius in enumerate(speck)]
    fewer = simplified(joined([large, *specks]), 1.0)
    assert open_edges(fewer) == 0
    assert len(fewer.triangles) < len(large.triangles) / 2
    for n, whole in enumerate(specks):
        middle = 40.0 + 20 * n
        is_here = np.abs(fewer.vertices[fewer.triangles[:, 0], 0] - middle) < 8
        part = fewer._replace(triangles=fewer.triangles[is_here])
        assert enclosed_volume(part) == pytest.approx(enclosed_volume(whole), rel=0.2)
    assert enclosed_volume(fewer) == pytest.approx(
        enclosed_volume(joined([large, *specks])), rel=0.02
    )


def test_units_are_those_of_each_axis():
    thin = ball(0.5, rounds=1)
    both = joined([ball(30.0, (0, 0, 90.0), rounds=3), thin])
    units = np.array([1.0, 1.0, 1e-3])
    stretched = both._replace(vertices=both.vertices / units)
    fewer = simplified(stretched, 1.0, units=units)
    again = simplified(both, 1.0)
    assert fewer.vertices * units == pytest.approx(again.vertices, rel=1e-6, abs=1e-6)
