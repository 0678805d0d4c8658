"""Public functions, checked where they are called: a wrong keyword is an error of ngcore.

Python's own error would be a bare TypeError, which code that catches `NgcoreError` does not catch,
and which suggests nothing.
"""

from __future__ import annotations

import difflib
import functools
import importlib
import inspect
from typing import TYPE_CHECKING, Any

from ngcore.errors import KeywordError

if TYPE_CHECKING:
    from collections.abc import Callable


def load(path: str, public_name: str) -> Any:
    """Return the public function that is ``module:name`` in ngcore, under its public name."""
    module, _, name = path.partition(":")
    return _checked(getattr(importlib.import_module(f"ngcore.{module}"), name), public_name)


def _checked(function: Callable[..., Any], name: str) -> Callable[..., Any]:
    """Return a function that raises `KeywordError` where its arguments don't fit its signature."""
    signature = inspect.signature(function)

    @functools.wraps(function)
    def verb(*args: Any, **keywords: Any) -> Any:
        try:
            signature.bind(*args, **keywords)
        except TypeError as error:
            raise KeywordError(_words(name, signature, keywords, error)) from None
        return function(*args, **keywords)

    verb.__name__ = verb.__qualname__ = name
    return verb


def _words(
    name: str, signature: inspect.Signature, keywords: dict[str, Any], error: TypeError
) -> str:
    unknown = [word for word in keywords if word not in signature.parameters]
    if not unknown:
        return f"ngcore.{name}: {error}; see help(ngcore.{name})"
    near = difflib.get_close_matches(unknown[0], signature.parameters, 1)
    advice = f"did you mean {near[0]!r}?" if near else f"see help(ngcore.{name})"
    return f"ngcore.{name} has no keyword {unknown[0]!r}; {advice}"
