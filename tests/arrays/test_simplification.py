"""The kernel of `with_fewer_triangles`, against what must hold of whatever it returns."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from surfaces import ball, enclosed_volume, open_edges
from thorough import amount

import oracles
from ngcore.arrays.triangles import Surface, connected_parts, joined, with_fewer_triangles


def edges_of(surface):
    """Return how often each undirected edge is there."""
    edges = {}
    for a, b, c in surface.triangles.tolist():
        for edge in ((a, b), (b, c), (c, a)):
            key = min(edge), max(edge)
            edges[key] = edges.get(key, 0) + 1
    return edges


def bumpy(seed, rounds=3):
    random = np.random.default_rng(seed)
    surface = ball(10.0, rounds=rounds)
    return surface._replace(
        vertices=surface.vertices * (1 + random.normal(0, 0.03, (len(surface.vertices), 1)))
    )


@settings(max_examples=amount(10, 300), deadline=None)
@given(seed=st.integers(0, 10**6), max_error=st.sampled_from([0.01, 0.1, 0.5, 2.0]))
def test_closed_stays_closed_and_no_vertex_is_farther_than_the_error(seed, max_error):
    whole = bumpy(seed)
    fewer = with_fewer_triangles(whole, max_error, share=1.0)
    assert set(edges_of(fewer).values()) == {2}
    assert open_edges(fewer) == 0
    assert 4 <= len(fewer.triangles) <= len(whole.triangles)
    distances = oracles.distances_to_surface(fewer.vertices, *whole)
    assert distances.max() <= max_error * (1 + 1e-5)
    # Every vertex that was there is near a plane of what is left, too.
    assert enclosed_volume(fewer) == pytest.approx(
        enclosed_volume(whole), rel=0.02 + 0.2 * max_error
    )


def test_the_larger_the_error_the_fewer_the_triangles():
    whole = bumpy(0, rounds=4)
    counts = [
        len(with_fewer_triangles(whole, error, share=1.0).triangles)
        for error in (0, 0.05, 0.2, 1.0, 5.0)
    ]
    assert counts == sorted(counts, reverse=True)
    assert counts[-1] < len(whole.triangles) / 8


def test_a_plane_costs_nothing_and_its_border_stays():
    side = 20
    x, y = np.meshgrid(np.arange(side + 1.0), np.arange(side + 1.0), indexing="ij")
    vertices = np.stack([x.ravel(), y.ravel(), np.zeros(x.size)], axis=1)
    corner = (np.arange(side)[:, None] * (side + 1) + np.arange(side)).ravel()
    right, up = corner + side + 1, corner + 1
    triangles = np.concatenate(
        [np.stack([corner, right, up], 1), np.stack([right, right + 1, up], 1)]
    )
    fewer = with_fewer_triangles(Surface(vertices, triangles), 1e-6, share=1.0)
    on_border = (vertices[:, :2] % side == 0).any(axis=1)
    assert {tuple(v) for v in vertices[on_border]} <= {tuple(v) for v in fewer.vertices}
    # With 80 vertices on the border and none inside, 78 triangles are left.
    assert len(fewer.triangles) <= 90
    assert (fewer.vertices[:, 2] == 0).all()


def test_fewest_ends_it():
    whole = bumpy(0, rounds=4)
    fewer = with_fewer_triangles(whole, 100.0, share=1.0, fewest=500)
    assert 499 <= len(fewer.triangles) <= 502


def test_a_part_keeps_its_own_shape_however_small():
    parts = [ball(30.0, rounds=4), ball(0.5, (50, 0, 0), rounds=2)]
    fewer = with_fewer_triangles(joined(parts), 1.0, share=1 / 40)
    part, count = connected_parts(fewer)
    assert count == 2
    small = fewer._replace(
        triangles=fewer.triangles[fewer.vertices[fewer.triangles[:, 0], 0] > 40]
    )
    assert enclosed_volume(small) == pytest.approx(enclosed_volume(parts[1]), rel=0.15)
    assert part.shape == (len(fewer.vertices),)


def test_fans_that_meet_in_a_point_stay_there():
    one, two = ball(1.0, rounds=2), ball(1.0, rounds=2)
    low, high = one.vertices[:, 0].argmax(), two.vertices[:, 0].argmin()
    shift = one.vertices[low] - two.vertices[high]
    vertices = np.concatenate([one.vertices, two.vertices + shift])
    triangles = np.concatenate([one.triangles, two.triangles + len(one.vertices)])
    triangles[triangles == high + len(one.vertices)] = low  # one vertex of both
    fewer = with_fewer_triangles(Surface(vertices, triangles), 0.5, share=1.0)
    assert (fewer.vertices == vertices[low]).all(axis=1).sum() == 1
    assert set(edges_of(fewer).values()) == {2}


@pytest.mark.parametrize("offset", [2.0**23, 2.0**40])
def test_far_from_the_origin_is_as_exact(offset):
    whole = bumpy(3)
    snapped = np.round(whole.vertices * 2**10) / 2**10
    near = with_fewer_triangles(whole._replace(vertices=snapped), 0.2, share=1.0)
    far = with_fewer_triangles(whole._replace(vertices=snapped + offset), 0.2, share=1.0)
    np.testing.assert_array_equal(far.triangles, near.triangles)
    np.testing.assert_allclose(far.vertices - offset, near.vertices, atol=1e-3)


ODD = [0.0, 0.5, 1.0, 2.0**23, 1e-200, 5e-324, 1e308, -1e308, np.inf, -np.inf, np.nan]


@settings(max_examples=amount(50, 5000), deadline=None)
@given(
    places=st.lists(st.tuples(*[st.sampled_from(ODD)] * 3), min_size=1, max_size=30),
    triangles=st.lists(st.tuples(*[st.integers(0, 29)] * 3), max_size=100),
    max_error=st.sampled_from([0.0, 1.0, 1e308, np.inf]),
    fewest=st.sampled_from([0, 4, 7]),
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_any_soup_of_triangles_comes_to_an_end(places, triangles, max_error, fewest):
    vertices = np.array(places, np.float64)
    named = np.array(triangles, np.int64).reshape(-1, 3) % len(vertices)
    surface = Surface(vertices, named)
    fewer = with_fewer_triangles(surface, max_error, share=1.0, fewest=fewest)
    assert len(fewer.triangles) <= len(named)
    assert len(fewer.vertices) <= len(vertices)
    assert (fewer.triangles < max(1, len(fewer.vertices))).all()
    # What is on an open edge is where it was.
    if np.isfinite(vertices).all() and len(fewer.triangles) < len(named):
        edges = edges_of(surface)
        fixed = {v for edge, count in edges.items() if count == 1 for v in edge}
        left = set(map(tuple, fewer.vertices.tolist()))
        assert {tuple(vertices[v].tolist()) for v in fixed if _is_named(named, v)} <= left


def _is_named(triangles, vertex):
    """Tell whether a triangle with three different corners has a vertex."""
    whole = [triangle for triangle in triangles.tolist() if len(set(triangle)) == 3]
    return any(vertex in triangle for triangle in whole)


@pytest.mark.parametrize("number", [-1, 10, 2**31, 2**32 - 1, 2**32, 2**63])
def test_vertices_that_are_not_there_are_refused(number):
    triangles = np.full((20, 3), number, np.int64 if number < 2**63 else np.uint64)
    surface = Surface(np.zeros((10, 3)), triangles)
    for use in (
        lambda: with_fewer_triangles(surface, 1.0, share=1.0),
        lambda: joined([surface]),
        lambda: connected_parts(surface),
    ):
        with pytest.raises(IndexError, match="not one of the 10"):
            use()


@settings(max_examples=amount(20, 500), deadline=None)
@given(st.lists(st.tuples(*[st.integers(0, 30)] * 3), max_size=30))
def test_connected_parts_are_those_that_a_walk_finds(triangles):
    surface = Surface(np.zeros((31, 3)), np.array(triangles, np.int64).reshape(-1, 3))
    part, count = connected_parts(surface)
    assert set(part.tolist()) == set(range(count))
    expected = oracles.parts(31, triangles)
    for a in range(31):
        for b in range(31):
            assert (part[a] == part[b]) == (expected[a] == expected[b])
