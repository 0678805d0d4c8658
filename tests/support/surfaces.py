"""Surfaces for tests, and what is true of every closed one."""

import numpy as np

from ngcore.arrays.triangles import Surface


def open_edges(surface):
    """Return how many edges are not shared by two triangles, or by four that touch there."""
    corners = np.sort(surface.triangles[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)
    _, counts = np.unique(corners, axis=0, return_counts=True)
    return int((counts % 2).sum())


def area(surface):
    a, b, c = (surface.vertices[surface.triangles[:, corner]] for corner in range(3))
    return float(np.linalg.norm(np.cross(b - a, c - a), axis=1).sum() / 2)


def enclosed_volume(surface):
    """Return the volume inside of a closed surface, positive if its triangles face outwards."""
    a, b, c = (surface.vertices[surface.triangles[:, corner]] for corner in range(3))
    return float(np.einsum("ij,ij->", a, np.cross(b, c)) / 6)


def ball(radius, middle=(0.0, 0.0, 0.0), rounds=3):
    """Return an octahedron, its triangles cut in four so many times, blown up to a ball."""
    corners = np.concatenate([np.eye(3), -np.eye(3)])
    triangles = np.array(
        [(0, 1, 2), (1, 3, 2), (3, 4, 2), (4, 0, 2), (1, 0, 5), (3, 1, 5), (4, 3, 5), (0, 4, 5)]
    )
    for _ in range(rounds):
        edges = np.sort(triangles[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)
        unique, where = np.unique(edges, axis=0, return_inverse=True)
        ab, bc, ca = (where.reshape(-1, 3) + len(corners)).T
        a, b, c = triangles.T
        corners = np.concatenate([corners, corners[unique].mean(axis=1)])
        parts = [(a, ab, ca), (b, bc, ab), (c, ca, bc), (ab, bc, ca)]
        triangles = np.concatenate([np.stack(part, axis=1) for part in parts])
    corners = corners / np.linalg.norm(corners, axis=1, keepdims=True)
    return Surface(corners * radius + np.asarray(middle), triangles.astype(np.int64))
