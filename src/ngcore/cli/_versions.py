"""What `ngcore --version --verbose` prints: what a report of a fault should say of the machine."""

import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, requires, version

from ngcore._version import __version__

_DISTRIBUTION = "ngcore-neuroglancer"


def version_lines() -> list[str]:
    """Return a line for Python, the system, the kernels, and every package that ngcore uses."""
    from ngcore._downsample import INSTRUCTIONS

    lines = [
        f"ngcore {__version__}",
        f"Python {platform.python_version()} ({sys.implementation.name})",
        f"system {platform.platform()}, {os.cpu_count()} processors",
        f"kernels {INSTRUCTIONS}",
    ]
    return [*lines, *(f"{name} {_installed(name)}" for name in _packages())]


def _packages() -> list[str]:
    """Return the names of the packages that ngcore's metadata name, extras too, sorted."""
    try:
        requirements = requires(_DISTRIBUTION) or []
    except PackageNotFoundError:  # run from a folder that is not installed
        return []
    names = {_name_of(requirement) for requirement in requirements} - {_DISTRIBUTION}
    return sorted(names, key=str.lower)


def _name_of(requirement: str) -> str:
    end = next(
        (at for at, letter in enumerate(requirement) if not (letter.isalnum() or letter in "-_.")),
        len(requirement),
    )
    return requirement[:end]


def _installed(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
