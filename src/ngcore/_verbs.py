"""What public functions have in common: arguments that are checked, and progress that is told.

They are checked where they are called: a wrong argument is an error of ngcore.

Python's own error would be a bare TypeError, which code that catches `NgcoreError` does not catch,
and which suggests nothing. The library words its errors for the command line, in one place each;
here, where a call from Python comes back, options become the parameters that they are.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import os
import sys
from collections.abc import Callable, Iterable
from typing import Any

from ngcore.errors import InputError, KeywordError, NgcoreError

Progress = Callable[[int, int], None]
"""Called with (what is done, what is to be done in all)."""

_BAR_WIDTH = 40

_PATHS = {"dest", "folder", "fullres", "keep", "like", "mesh", "out", "path", "source", "state"}
_PATHS |= {"stl", "tmp", "volume"}
_SEVERAL_PATHS = {"things", "files", "folders"}


def load(path: str, public_name: str) -> Any:
    """Return the public function that is ``module:name`` in ngcore, under its public name."""
    module, _, name = path.partition(":")
    return _checked(getattr(importlib.import_module(f"ngcore.{module}"), name), public_name)


def _checked(function: Callable[..., Any], name: str) -> Callable[..., Any]:
    """Return a function that raises errors of ngcore, in words of Python, for wrong arguments."""
    signature = inspect.signature(function)

    @functools.wraps(function)
    def verb(*args: Any, **keywords: Any) -> Any:
        try:
            bound = signature.bind(*args, **keywords)
        except TypeError as error:
            raise KeywordError(_words(name, signature, keywords, error)) from None
        for key, value in bound.arguments.items():
            _check_kind(signature.parameters[key], value)
        try:
            return function(*args, **keywords)
        except NgcoreError:
            from ngcore._words import words_of_python

            with words_of_python(signature.parameters.keys()):
                raise

    verb.__name__ = verb.__qualname__ = name
    return verb


def _check_kind(parameter: inspect.Parameter, value: Any) -> None:
    """Refuse an argument of a kind that its parameter can't be, before anything is done."""
    name, default = parameter.name, parameter.default
    if value is None and default is None:
        return
    if name in _PATHS and "object" not in str(parameter.annotation):
        is_right, expected = isinstance(value, str | os.PathLike), "a path"
    elif name in _SEVERAL_PATHS:
        is_right, expected = isinstance(value, str | os.PathLike | Iterable), "a path, or several"
    elif isinstance(default, bool):
        # NumPy's bool too, which is not Python's; a text such as "no" would count as True.
        is_right, expected = _is_number(value) and value in (True, False), "True or False"
    elif isinstance(default, int) or name == "workers":
        is_right, expected = _is_number(value), "a number"
    else:
        return
    if not is_right:
        raise InputError(f"{name} must be {expected}, got {value!r}")


def _is_number(value: Any) -> bool:
    return not isinstance(value, str | bytes) and hasattr(type(value), "__int__")


def _words(
    name: str, signature: inspect.Signature, keywords: dict[str, Any], error: TypeError
) -> str:
    unknown = [word for word in keywords if word not in signature.parameters]
    if not unknown:
        return f"ngcore.{name}: {error}; see help(ngcore.{name})"
    import difflib  # nobody else needs it

    near = difflib.get_close_matches(unknown[0], signature.parameters, 1)
    advice = f"did you mean {near[0]!r}?" if near else f"see help(ngcore.{name})"
    return f"ngcore.{name} has no keyword {unknown[0]!r}; {advice}"


def told(progress: bool | Progress | None) -> Progress | None:
    """Return the function that the `progress` of a public verb stands for.

    Parameters
    ----------
    progress : bool, callable or None
        True stands for a bar on stderr; False and None for nothing.

    Raises
    ------
    InputError
        If it is something else.
    """
    if progress is None or progress is False:
        return None
    if progress is True:
        return _Bar()
    if not callable(progress):
        raise InputError(
            f"progress must be True for a bar, or a function of (done, total), got {progress!r}"
        )
    return progress


class _Bar:
    """One line of stderr, written again when a further hundredth is done."""

    def __init__(self) -> None:
        self._drawn = -1

    def __call__(self, done: int, total: int) -> None:
        percent = 100 * done // total if total else 100
        if percent == self._drawn:
            return
        self._drawn = percent
        filled = "#" * (_BAR_WIDTH * percent // 100)
        sys.stderr.write(f"\r[{filled:<{_BAR_WIDTH}}] {percent:3d} %" + "\n" * (done >= total))
        sys.stderr.flush()
