"""The libraries of the extra `mesh`: marching cubes and Draco."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Literal, get_args

from ngcore.errors import MissingExtraError

if TYPE_CHECKING:
    from types import ModuleType

Library = Literal["zmesh", "DracoPy"]


def load_library(name: Library) -> ModuleType:
    """Return a library of the extra.

    Raises
    ------
    MissingExtraError
        It is not installed.
    """
    try:
        return import_module(name)
    except ImportError as error:
        raise MissingExtraError(
            f"multi-resolution meshes need {name}; pip install 'ngcore-neuroglancer[mesh]'"
        ) from error


def check_libraries() -> None:
    """Check that every library of the extra is there.

    Raises
    ------
    MissingExtraError
        One is not installed.
    """
    for name in get_args(Library):
        load_library(name)
