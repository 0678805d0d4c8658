from itertools import pairwise

import numpy as np
import pytest
import thorough
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from surfaces import area, ball, enclosed_volume, open_edges

from ngcore.arrays.triangles import Surface, connected_parts, joined, slabs


@st.composite
def surfaces(draw):
    """Return random triangles on a coarse grid: many corners, edges and faces lie in planes."""
    corner = st.tuples(*[st.integers(0, 6)] * 3)
    corners = draw(st.lists(corner, min_size=3, max_size=12, unique=True))
    number = st.integers(0, len(corners) - 1)
    triangle = st.lists(number, min_size=3, max_size=3, unique=True)
    triangles = draw(st.lists(triangle, min_size=1, max_size=12))
    return Surface(np.array(corners, np.float64), np.array(triangles, np.int64))


STEPS = [-1.0, -0.0, 0.0, 0.5, 1.0]
PLANES = st.lists(st.integers(0, 12), max_size=5, unique=True).map(
    lambda halves: sorted(half / 2 for half in halves)
)


def area_between(triangle, axis, low, high):
    """Clip a triangle to a slab, corner by corner, and return its area: slow and obvious."""
    polygon = list(triangle)
    for bound, sign in ((low, 1), (high, -1)):
        kept = []
        for first, second in zip(polygon, [*polygon[1:], *polygon[:1]], strict=True):
            from_first = sign * (first[axis] - bound)
            from_second = sign * (second[axis] - bound)
            if from_first >= 0:
                kept.append(first)
            if from_first * from_second < 0:
                kept.append(first + (second - first) * from_first / (from_first - from_second))
        polygon = kept
    fan = pairwise(polygon[1:])
    return sum(np.linalg.norm(np.cross(b - polygon[0], c - polygon[0])) / 2 for b, c in fan)


@settings(max_examples=thorough.amount(100, 5000), deadline=None)
@given(surface=surfaces(), axis=st.integers(0, 2), planes=PLANES)
def test_slabs_hold_what_lies_between_their_planes_and_no_more(surface, axis, planes):
    bounds = [-np.inf, *planes, np.inf]
    found = dict(slabs(surface, axis, planes))
    total = 0.0
    for number, part in found.items():
        along = part.vertices[:, axis]
        assert bounds[number] <= along.min()
        assert along.max() <= bounds[number + 1]
        total += area(part)
    assert total == pytest.approx(area(surface))
    for number, (low, high) in enumerate(pairwise(bounds)):
        corners = surface.vertices[surface.triangles]
        in_plane = (corners[:, :, axis] == high).all(axis=1)  # these belong to the slab above
        expected = sum(
            area_between(triangle, axis, max(low, -1), min(high, 99))
            for triangle in corners[~in_plane]
        )
        there = area(found[number]) if number in found else 0.0
        assert there == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("axis", range(3))
def test_what_was_cut_joins_without_a_gap(axis):
    surface = ball(10, (0.3, -0.2, 0.1))
    cubes = [
        part
        for _, slab in slabs(surface, axis, [-6.5, -1.25, 0.0, 3.0])
        for _, bar in slabs(slab, (axis + 1) % 3, [-2.0, 2.0])
        for _, part in slabs(bar, (axis + 2) % 3, [0.1])
    ]
    again = joined(cubes)
    assert open_edges(again) == 0
    assert len(again.triangles) > len(surface.triangles)
    assert enclosed_volume(again) == pytest.approx(enclosed_volume(surface))


def test_joined_surfaces_share_equal_vertices_and_lose_flat_triangles():
    corners = np.array([(0, 0, 0), (1, 0, 0), (0, 1, 0), (1, 0, 0), (9, 9, 9)], np.float64)
    first = Surface(corners, np.array([(0, 1, 2), (1, 3, 2)], np.int64))
    second = Surface(corners[[1, 2, 0]] + (0, 0, 0), np.array([(0, 1, 2)], np.int64))
    result = joined([first, second])
    assert len(result.vertices) == 3
    assert [sorted(triangle) for triangle in result.triangles.tolist()] == [[0, 1, 2]] * 2
    assert result.vertices[result.triangles[0]].tolist() == corners[[0, 1, 2]].tolist()
    assert result.vertices[result.triangles[1]].tolist() == corners[[1, 2, 0]].tolist()


@given(
    arrays(np.float64, st.tuples(st.integers(1, 40), st.just(3)), elements=st.sampled_from(STEPS)),
    st.lists(st.tuples(*[st.integers(0, 39)] * 3), max_size=60),
    st.integers(0, 40),
)
@settings(max_examples=thorough.amount(50, 2000), deadline=None)
def test_joining_is_what_looking_for_each_vertex_gives(vertices, triangles, cut):
    count = len(vertices)
    named = np.array(triangles, np.int64).reshape(-1, 3) % count
    first, second = named[:cut], named[cut:]
    result = joined([Surface(vertices, first), Surface(vertices, second)])
    corners = (vertices[named] + 0.0).tolist()  # -0 is 0
    slow = [triangle for triangle in corners if len(set(map(tuple, triangle))) == 3]
    assert (result.vertices[result.triangles] + 0.0).tolist() == slow
    assert len(set(map(tuple, (result.vertices + 0.0).tolist()))) == len(result.vertices)
    assert set(result.triangles.reshape(-1).tolist()) == set(range(len(result.vertices)))


@given(surfaces())
@settings(max_examples=thorough.amount(20, 1000), deadline=None)
def test_parts_are_what_triangles_connect(surface):
    part, count = connected_parts(surface)
    known = [{number} for number in range(len(surface.vertices))]
    for triangle in surface.triangles.tolist():
        together = set().union(*(found for found in known if found & {*triangle}))
        known = [found for found in known if not found & {*triangle}] + [together]
    assert count == len(known)
    assert len({*part.tolist()}) == count
    assert all(len({*part[[*found]].tolist()}) == 1 for found in known)
