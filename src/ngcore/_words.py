"""Messages in the words of Python: the library words them once, for the command line.

An error says `pass --type image`. Where a call from Python comes back, or a warning is raised,
that becomes `pass type='image'`.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ngcore.errors import NgcoreError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

_AS_IT_IS = (
    r"`[^`]*`"  # commands and names
    r"|(?<!\w)'[^']*'|\"[^\"]*\""  # what was given
    r"|\bngcore [a-z-]+(?: --\S+)*"
    r"|\b[a-z]+(?:-[a-z]+){2,}(?: --\S+)*"
)
_WORD = (
    r"image|segmentation|auto|sform|qform|nested|flat|keep|blank|average|native|world|jpeg|local"
    r"|compressed_segmentation|u?int\d+|float\d+|point|line|box|ellipsoid|polyline|mm|um|nm"
)
_VALUE = rf"-?\d[\w.,]*\w|\d|{_WORD}|[tczyx]{{2,5}}"
_METAVAR = r"[A-Z](?:,[A-Z])*|DIR|SIZE"
_OPTION = re.compile(
    rf"{_AS_IT_IS}|(?<![\w/.-])--(?P<no>no-)?(?P<name>[a-z][a-z-]*[a-z])(?!\w)"
    rf"(?: (?P<value>{_VALUE}|{_METAVAR})(?![\w.]*\w))?"
)
_FLAGS = {"accept_changes", "browser", "colon_suffix", "copy_info", "flat", "fsync", "gzip"}
_FLAGS |= {"ignore_scaling", "measure", "overwrite", "quick", "resume", "sharding", "use_gzip"}
_COMMANDS_ALONE = {"check", "debug", "generate_info", "json"}
# Where a parameter has another name than its option.
_NAMES = {"label": "names", "surface": "surfaces", "relation": "relations"}


def in_python(message: str, parameters: Collection[str] = ()) -> str:
    """Return a message with the options of the command line as the parameters that they are.

    Commands and what is quoted stay as they are.

    Parameters
    ----------
    message : str
    parameters : collection of str
        Of the function that was called, which may have names of its own.

    Examples
    --------
    >>> in_python("pass --type image, --no-sharding or --memory 512M")
    "pass type='image', sharding=False or memory='512M'"
    >>> in_python("--chunk-size must be N or X,Y,Z; see `ngcore convert --help`")
    'chunk_size must be N or X,Y,Z; see `ngcore convert --help`'
    >>> in_python("a dry run needs SOURCE, or --shape X,Y,Z", ["source", "shape"])
    'a dry run needs source, or shape=(X, Y, Z)'
    """

    def parameter(match: re.Match[str]) -> str:
        if match["name"] is None:
            return match[0]
        name = match["name"].replace("-", "_")
        if name in _COMMANDS_ALONE:
            return match[0]
        name = _NAMES.get(name, name)
        if name not in parameters and f"use_{name}" in parameters:
            name = f"use_{name}"
        value = match["value"]
        is_spoken_of = message.startswith(" must be", match.end())
        if (name in _FLAGS or match["no"]) and not is_spoken_of:
            return f"{name}={not match['no']}" + (f" {value}" if value else "")
        return f"{name}={_literal(value)}" if value else name

    text = _OPTION.sub(parameter, message)
    for word in ("SOURCE", "DEST"):
        if word.lower() in parameters:
            text = re.sub(rf"(?<![\w'/]){word}(?![\w'/])", word.lower(), text)
    return text


def _literal(value: str) -> str:
    if "," in value:
        return f"({', '.join(value.split(','))})"
    is_plain = re.fullmatch(rf"-?\d+(\.\d+)?|{_METAVAR}", value)
    return value if is_plain else repr(value)


@contextmanager
def words_of_python(parameters: Collection[str] = ()) -> Iterator[None]:
    """Word errors that leave a `with` block as `in_python` does."""
    try:
        yield
    except NgcoreError as error:
        if error.args and isinstance(error.args[0], str):
            error.args = (in_python(error.args[0], parameters), *error.args[1:])
            if isinstance(error, ImportError):
                error.msg = error.args[0]
        raise
