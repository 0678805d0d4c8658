"""Check the conda recipe: rattler-build takes it, and it says what pyproject.toml says.

`make lint` runs this. conda knows some packages by other names than PyPI.
"""

import re
import sys
import tomllib
from pathlib import Path

from rattler_build import Stage0Recipe, VariantConfig

ROOT = Path(__file__).parent.parent
CONDA_NAMES = {"isal": "python-isal"}
COMPILERS = {
    "c_compiler": ["gcc"],
    "c_compiler_version": ["14"],
    "c_stdlib": ["sysroot"],
    "c_stdlib_version": ["2.17"],
}


def main() -> None:
    """Exit with what differs, if anything does."""
    recipe = Stage0Recipe.from_file(ROOT / "recipe/recipe.yaml")
    (variant,) = recipe.render(VariantConfig(COMPILERS))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    version = re.search(r'"(.*)"', (ROOT / "src/ngcore/_version.py").read_text().split("=")[-1])
    assert version is not None
    recorded = recipe.to_dict()["requirements"]
    needed = {
        "run": [
            *project["project"]["dependencies"],
            "python" + project["project"]["requires-python"],
        ],
        "host": [
            *project["build-system"]["requires"],
            "python" + project["project"]["requires-python"],
            "pip",
        ],
    }
    wrong = [
        f"{kind}: recipe has {sorted(found)}, pyproject.toml needs {sorted(expected)}"
        for kind, names in needed.items()
        if (found := {_normal(name) for name in recorded[kind]})
        != (expected := {_normal(name) for name in names})
    ]
    if str(variant.recipe.package.version) != version[1]:
        wrong.append(f"version: recipe has {variant.recipe.package.version}, not {version[1]}")
    sys.exit("\n".join(f"recipe/recipe.yaml: {line}" for line in wrong) or None)


def _normal(requirement: str) -> str:
    """Write a requirement as conda does: its name, then its bound, without spaces."""
    name, bound = re.fullmatch(r"([\w.-]+) *(.*)", requirement).groups()
    return CONDA_NAMES.get(name, name) + bound


if __name__ == "__main__":
    main()
