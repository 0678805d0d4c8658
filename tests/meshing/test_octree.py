"""Levels of detail, decoded by Draco itself and held against the format's rules."""

from itertools import pairwise

import DracoPy
import numpy as np
import pytest
import thorough
from surfaces import ball, enclosed_volume, open_edges

from ngcore.arrays.triangles import Surface, joined
from ngcore.errors import InputError
from ngcore.meshing import octree
from ngcore.meshing.octree import encode_levels
from ngcore.precomputed.mesh_multilod import MultilodManifest

LARGEST, MIDDLE = 65535, 32768
VOXEL = 1.0


def decoded(data):
    mesh = DracoPy.decode(data)
    points = np.asarray(mesh.points)
    assert (points == np.rint(points)).all()
    return points.astype(np.int64), np.asarray(mesh.faces).astype(np.int64)


def levels_of(manifest, fragments):
    """Return each level: by the place of a node, its integer points and its triangles."""
    levels, start = [], 0
    for places, sizes in zip(manifest.positions, manifest.sizes, strict=True):
        level = {}
        for place, size in zip(places.tolist(), sizes.tolist(), strict=True):
            level[tuple(place)] = decoded(fragments[start : start + size]) if size else None
            start += size
        levels.append(level)
    assert start == len(fragments)
    return levels


def placed(manifest, number, level):
    """Return a level as one surface, by the format's formula."""
    parts = []
    for place, node in level.items():
        if node is not None:
            share = np.array(place) + node[0] / LARGEST
            side = manifest.chunk_shape.astype(np.float64) * 2**number
            vertices = manifest.grid_origin + manifest.vertex_offsets[number] + side * share
            # Nodes come to the same point from different sides: the last bits differ.
            parts.append(Surface(np.round(vertices, 4), node[1]))
    return joined(parts)


@pytest.fixture(scope="module")
def fine():
    """A ball with 32768 triangles, far from the origin, with its manifest and its levels."""
    surface = ball(700.0, (1e5, -3e4, 250.0), rounds=6)
    manifest, fragments = encode_levels(surface, VOXEL)
    parsed = MultilodManifest.from_bytes(manifest)
    return surface, parsed, levels_of(parsed, fragments)


def test_each_level_is_coarser_and_as_large(fine):
    surface, manifest, levels = fine
    assert len(levels) > 1
    triangles = []
    for number, level in enumerate(levels):
        whole = placed(manifest, number, level)
        assert open_edges(whole) == 0
        assert enclosed_volume(whole) == pytest.approx(enclosed_volume(surface), rel=0.02)
        away = np.linalg.norm(whole.vertices - (1e5, -3e4, 250.0), axis=1)
        assert away == pytest.approx(700, abs=VOXEL * 2**number)
        triangles.append(len(whole.triangles))
    assert all(finer > 1.5 * coarser for finer, coarser in pairwise(triangles))
    assert manifest.lod_scales.tolist() == [VOXEL * 2**number for number in range(len(levels))]


def test_points_are_in_their_node_and_triangles_in_one_child(fine):
    _, _, levels = fine
    for number, level in enumerate(levels):
        for points, triangles in filter(None, level.values()):
            assert points.min() >= 0
            assert points.max() <= LARGEST
            corners = points[triangles]
            crosses = (corners < MIDDLE).any(axis=1) & (corners > MIDDLE).any(axis=1)
            assert not crosses.any() or number == 0


def test_every_node_hangs_from_one_above(fine):
    _, _, levels = fine
    for finer, coarser in pairwise(levels):
        assert {(x // 2, y // 2, z // 2) for x, y, z in finer} <= set(coarser)
    assert len(levels[-1]) == 1


def test_nodes_that_a_coarser_surface_leaves_are_there_without_bytes():
    """Two balls, of which the small one is lost in the coarse levels' view of the large one."""
    large, small = ball(1000.0, rounds=6), ball(3.0, (1500.0, 0.0, 0.0), rounds=1)
    manifest = MultilodManifest.from_bytes(encode_levels(joined([large, small]), 1.0)[0])
    for finer, coarser in pairwise(manifest.positions):
        parents = {tuple(place) for place in (finer // 2).tolist()}
        assert parents <= {tuple(place) for place in coarser.tolist()}


@pytest.mark.parametrize("size", [1e-3, 1.0, 1e9])
def test_a_single_triangle_stays(size):
    corners = np.array([(0, 0, 0), (1, 0, 0), (0, 1, 0)], np.float64) * size
    manifest, fragments = encode_levels(Surface(corners, np.array([(0, 1, 2)])), 4.0)
    parsed = MultilodManifest.from_bytes(manifest)
    (level,) = levels_of(parsed, fragments)
    whole = placed(parsed, 0, level)
    assert len(whole.triangles) == 1
    assert np.sort(whole.vertices, axis=0) == pytest.approx(
        np.sort(corners, axis=0), abs=size * 1e-4
    )


def test_open_surfaces_keep_their_edge():
    half = ball(500.0, rounds=6)
    above = Surface(
        half.vertices, half.triangles[(half.vertices[half.triangles][..., 2] > -1e-9).all(axis=1)]
    )
    manifest, fragments = encode_levels(above, 4.0)
    parsed = MultilodManifest.from_bytes(manifest)
    for number, level in enumerate(levels_of(parsed, fragments)):
        whole = placed(parsed, number, level)
        assert whole.vertices[:, 2].min() == pytest.approx(0, abs=0.05)
        rim = whole.vertices[np.abs(whole.vertices[:, 2]) < 0.05]
        assert np.linalg.norm(rim, axis=1).max() == pytest.approx(500, abs=0.1)


def test_given_surfaces_can_keep_every_triangle():
    surface = ball(100.0, rounds=5)
    manifest, fragments = encode_levels(surface, 8.0)
    parsed = MultilodManifest.from_bytes(manifest)
    whole = placed(parsed, 0, levels_of(parsed, fragments)[0])
    assert len(whole.triangles) == len(surface.triangles)


@pytest.mark.parametrize("away", [2**23 + 1, 2**26 + 3])
def test_points_keep_16_bits_of_their_node_wherever_they_are(away):
    """The origin is in float32, and points count from it: its steps cost no digits."""
    near = ball(15.0 * 40, (0, 0, 0), rounds=3)
    far = near._replace(vertices=near.vertices + 40.0 * away)
    manifest, fragments = encode_levels(far, 40.0)
    parsed = MultilodManifest.from_bytes(manifest)
    level = placed(parsed, 0, levels_of(parsed, fragments)[0])
    found = level.vertices - 40.0 * away
    step = float(parsed.chunk_shape[0]) / LARGEST
    assert step < 0.1
    assert np.abs(np.linalg.norm(found, axis=1) - 15 * 40).max() < 2 * step
    assert enclosed_volume(level._replace(vertices=found)) == pytest.approx(
        enclosed_volume(near), rel=1e-3
    )


def test_surface_that_is_too_far_away_is_refused():
    with pytest.raises(InputError, match="too far for float32 nanometres"):
        encode_levels(ball(1.0, (1e39, 0, 0)), 4.0)


def test_points_between_children_are_the_same_from_both_sides(monkeypatch):
    """The plane is between two steps of the grid, where arithmetic rounds down or up."""
    monkeypatch.setattr(octree, "_COARSEST_TRIANGLES", 500)
    for seed in (20, 38, *range(thorough.amount(0, 100))):  # the first two had cracks
        rng = np.random.default_rng(seed)
        surface = ball(rng.uniform(30, 90), rng.uniform(-1e5, 1e5, 3), rounds=4)
        manifest, fragments = encode_levels(surface, VOXEL)
        parsed = MultilodManifest.from_bytes(manifest)
        assert len(parsed.positions) > 1
        for level in levels_of(parsed, fragments):
            steps = (
                Surface((np.array(place) * LARGEST + node[0]).astype(np.float64), node[1])
                for place, node in level.items()
                if node is not None
            )
            assert open_edges(joined([*steps])) == 0


def test_specks_beside_something_large_keep_a_volume_at_every_level(monkeypatch):
    monkeypatch.setattr(octree, "_COARSEST_TRIANGLES", 256)
    specks = [ball(radius, (1000.0 + 40 * radius, 0, 0), rounds=2) for radius in (1.0, 2.0, 5.0)]
    levels = octree.levels_of_detail(joined([ball(700.0, rounds=5), *specks]), VOXEL)
    assert len(levels) > 3
    for level in levels:
        assert open_edges(level) == 0
        for speck in specks:
            middle = speck.vertices.mean(axis=0)
            near = np.linalg.norm(level.vertices - middle, axis=1) < 15
            part = Surface(level.vertices, level.triangles[near[level.triangles].all(axis=1)])
            assert enclosed_volume(part) > 0.5 * enclosed_volume(speck)
