"""The package as others import it: every verb, its keywords, its warnings, its examples."""

from __future__ import annotations

import dataclasses
import doctest
import importlib
import inspect
import pkgutil
import re
import subprocess
import sys
import warnings

import numpy as np
import pytest

import ngcore
from ngcore.cli._registry import SECTIONS
from ngcore.conversion.options import ConvertOptions

# What the command line has beside the verbs: the classic steps, which are in `ngcore.classic`, and
# what only a terminal or a web server needs.
STEPS = set(ngcore.classic.__all__)
ONLY_COMMANDS = {"server_config", "link", "serve", "view"}
VERBS = sorted(name for name in ngcore.__all__ if inspect.isfunction(getattr(ngcore, name)))
# They say that their parameters are those of another step.
BRIEF = {"slices_to_raw_chunks", "convert_chunks_to_jpeg", "compress_segmentation_chunks"}
BRIEF |= {"stl_to_precomputed"}
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


@pytest.mark.parametrize("name", [*VERBS, *sorted(STEPS)])
def test_help_shows_every_keyword_of_a_verb_and_what_it_means(name):
    verb = getattr(ngcore, name, None) or getattr(ngcore.classic, name)
    signature = inspect.signature(verb)
    kinds = {parameter.kind for parameter in signature.parameters.values()}
    assert inspect.Parameter.VAR_KEYWORD not in kinds
    words = set(re.findall(r"\w+", inspect.getdoc(verb)))
    if name not in BRIEF:
        assert set(signature.parameters) <= words


def test_options_that_convert_and_estimate_have_are_those_of_a_conversion():
    given = [field for field in dataclasses.fields(ConvertOptions) if field.init]
    options = {field.name: field.default for field in given}
    del options["is_uploaded"]  # which `dest` says
    for verb in (ngcore.convert, ngcore.estimate):
        parameters = inspect.signature(verb).parameters
        assert options.items() <= {k: p.default for k, p in parameters.items()}.items()


def test_arguments_of_a_wrong_kind_are_errors_of_ngcore_in_words_of_python(tmp_path):
    voxels, dest = np.zeros((4, 4, 4), np.uint8), tmp_path / "out"

    def refused(verb, *args, **keywords):
        with pytest.raises(ngcore.NgcoreError) as error:
            getattr(ngcore, verb)(*args, **keywords)
        assert "--" not in str(error.value)
        assert "\n" not in str(error.value)
        assert not dest.exists()
        return str(error.value)

    size = {"resolution": (8, 8, 8)}
    assert "no keyword 'resolutionn'" in refused("convert", voxels, dest, resolutionn=8)
    assert "dest must be a path, got None" in refused("convert", voxels, None, **size)
    assert "path must be a path, got 5" in refused("open", 5)
    assert "things must be a path" in refused("view", 5)
    assert "files must be a path" in refused("tracts", 5, dest)
    assert "source must be a path" in refused("repair", 5, dest)
    assert "volume must be a path" in refused("pack", 5, dest)
    assert "cache_bytes must be a number" in refused("open", dest, cache_bytes="1G")
    assert "sharding must be True or False" in refused("convert", voxels, dest, sharding="no")
    assert "gzip must be one of" in refused("convert", voxels, dest, gzip="no", **size)
    assert "workers must be a number" in refused("validate", dest, workers="2")
    assert "progress must be True" in refused("convert", voxels, dest, progress=5, **size)
    assert "pass resolution=(X, Y, Z) in nm" in refused("convert", voxels, dest).replace(
        "nanometres", "nm"
    )
    assert "sharding=False" in refused("convert", voxels, dest, layout="nested", **size)
    assert "source, or shape=(X, Y, Z)" in refused("estimate", None)
    assert "got shape (3, 3)" in refused("convert", voxels, dest, affine=np.eye(3))
    assert "the ndarray: a volume has" in refused("convert", np.zeros(3), dest, **size)
    ngcore.convert(voxels, dest, **size)
    with pytest.raises(ngcore.DestinationError, match="pass overwrite=True to replace"):
        ngcore.convert(voxels, dest, **size)
    with pytest.raises(ngcore.DestinationError, match="pass overwrite=True"):
        ngcore.create(dest, shape=(4, 4, 4), data_type="uint8", **size)
    with pytest.warns(ngcore.NgcoreWarning, match="pass encoding='jpeg' too"):
        ngcore.convert(voxels, tmp_path / "raw", jpeg_quality=5, **size)
    made = ngcore.convert(voxels, tmp_path / "placed", affine=np.eye(4))
    with pytest.raises(ngcore.VolumeIndexError, match="must be numbers"):
        made.at_mm("a", 0, 0)


def test_progress_true_draws_a_bar_on_stderr(tmp_path, capsys):
    voxels, size = np.ones((4, 4, 4), np.uint8), {"resolution": (8, 8, 8)}
    ngcore.convert(voxels, tmp_path / "a", progress=False, **size)
    assert capsys.readouterr().err == ""
    ngcore.convert(voxels, tmp_path / "b", progress=True, **size)
    assert capsys.readouterr().err.endswith("] 100 %\n")
    with ngcore.create(
        tmp_path / "c", shape=(4, 4, 4), data_type="uint8", progress=True, **size
    ) as volume:
        volume.scales[0][...] = 1
    assert capsys.readouterr().err.endswith("] 100 %\n")
    ngcore.validate(tmp_path / "b", progress=True)
    assert capsys.readouterr().err.endswith("] 100 %\n")
    ngcore.export(tmp_path / "b", tmp_path / "b.nii", progress=True)
    assert capsys.readouterr().err.endswith("] 100 %\n")


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
