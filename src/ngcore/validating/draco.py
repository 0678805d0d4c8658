"""Decodes the fragments of multi-resolution meshes, which are Draco with whole-number positions.

https://google.github.io/draco/spec/
"""

from __future__ import annotations

import threading
from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from types import ModuleType

_MAGIC = b"DRACO"


class DracoCheck:
    """Says what is wrong with fragments. Safe to use from several threads.

    Parameters
    ----------
    bits : int
        Of which positions have no more.

    Attributes
    ----------
    is_missing : bool
        The library is not installed: fragments are only looked at from outside.
    count : int
        Fragments that were looked at.
    """

    def __init__(self, bits: int) -> None:
        self._limit = 1 << bits
        self._library: ModuleType | None = None
        with suppress(ImportError):
            self._library = import_module("DracoPy")
        self.is_missing = self._library is None
        self.count = 0
        self._lock = threading.Lock()

    def fault(self, data: bytes) -> str | None:
        """Return what is wrong with a fragment; None where nothing is."""
        with self._lock:
            self.count += 1
        if not data.startswith(_MAGIC):
            return "is not a Draco mesh"
        if self._library is None:
            return None
        try:
            mesh = self._library.decode(data)
        except Exception as error:
            return f"can't be decoded: {error}"
        return self._fault_of(mesh.points, getattr(mesh, "faces", None))

    def _fault_of(self, points: Any, faces: Any) -> str | None:
        points = np.asarray(points)
        if not (points == np.round(points)).all():  # the library may give whole numbers as float
            return "its positions are not whole numbers"
        if faces is None:
            return "has points, but no triangles"
        if points.size and points.min() < 0:
            return "a position is negative"
        if points.size and points.max() >= self._limit:
            return (
                f"a position is {points.max():.0f}, but the largest possible is {self._limit - 1}"
            )
        faces = np.asarray(faces)
        if faces.size and not (faces.min() >= 0 and faces.max() < len(points)):
            return (
                f"a triangle refers to vertex {faces.max()}, but there are only "
                f"{len(points)} vertices"
            )
        return None
