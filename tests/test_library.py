"""The package as others import it: every verb, its keywords, its warnings, its examples."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil
import subprocess
import sys
import warnings

import numpy as np
import pytest

import ngcore
from ngcore.cli._registry import SECTIONS

# What the command line has beside the verbs: the classic steps, which are in `ngcore.classic`, and
# what only a terminal or a web server needs.
STEPS = set(ngcore.classic.__all__)
ONLY_COMMANDS = {"server_config", "link", "serve", "view"}
# Slow to start, and what their examples need is not installed with the package.
WITHOUT_EXAMPLES = {"ngcore.__main__"}


def test_every_command_is_a_verb():
    commands = {name.replace("-", "_") for section in SECTIONS.values() for name in section}
    assert commands - ONLY_COMMANDS <= set(dir(ngcore)) | STEPS


@pytest.mark.parametrize("name", sorted(ngcore.__all__))
def test_public_names_are_there_and_have_a_docstring(name):
    value = getattr(ngcore, name)
    assert name == "__version__" or inspect.getdoc(value)


@pytest.mark.parametrize("name", sorted(STEPS))
def test_the_classic_steps_are_functions(name):
    step = getattr(ngcore.classic, name)
    assert step.__name__ == name
    assert inspect.getdoc(step)


def test_a_wrong_keyword_is_an_error_of_ngcore_that_says_which_was_meant(tmp_path):
    with pytest.raises(ngcore.NgcoreError, match=r"no keyword 'quik'; did you mean 'quick'\?"):
        ngcore.validate(tmp_path, quik=True)
    with pytest.raises(ngcore.KeywordError, match=r"see help\(ngcore.validate\)"):
        ngcore.validate(tmp_path, zzz=True)
    with pytest.raises(TypeError, match="missing a required argument: 'dest'"):
        ngcore.convert("a.nii")


def test_help_shows_every_keyword_of_a_verb():
    for name in ("validate", "labels", "mesh", "repair", "export", "open", "pack"):
        signature = inspect.signature(getattr(ngcore, name))
        kinds = {parameter.kind for parameter in signature.parameters.values()}
        assert inspect.Parameter.VAR_KEYWORD not in kinds, name


def test_what_is_said_to_the_log_is_a_warning_of_python_in_the_name_of_the_caller(tmp_path):
    values = np.array([-5.0, 300.0] * 32, np.float32).reshape(4, 4, 4)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        ngcore.convert(values, tmp_path, data_type="uint8", resolution=(8, 8, 8))
    told = [item for item in caught if issubclass(item.category, ngcore.NgcoreWarning)]
    assert any("64" in str(item.message) for item in told)
    assert {item.filename for item in told} == {__file__}


def test_importing_ngcore_imports_nothing_large():
    script = "import ngcore, sys; print(*sorted({m.partition('.')[0] for m in sys.modules}))"
    shown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert not {"numpy", "nibabel", "click", "rich"} & set(shown.stdout.split())


def _modules():
    for module in pkgutil.walk_packages(ngcore.__path__, "ngcore."):
        if module.name not in WITHOUT_EXAMPLES:
            yield module.name


@pytest.mark.parametrize("name", ["ngcore", *_modules()])
def test_examples_in_docstrings_are_true(name):
    module = importlib.import_module(name)
    found = doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert found.failed == 0
