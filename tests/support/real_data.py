"""Real brains and surfaces, from the nilearn package: found without importing it.

`make test` installs the package without what it depends on, which is much.
"""

from importlib.util import find_spec
from pathlib import Path

import pytest


def nilearn_data(name: str) -> Path:
    """Return the path of a file or folder of nilearn's data; skip where it is not installed."""
    spec = find_spec("nilearn")
    if spec is None or spec.origin is None:
        pytest.skip("the package nilearn, which carries real brains, is not installed")
    return Path(spec.origin).parent / "datasets/data" / name
