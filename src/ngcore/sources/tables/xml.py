"""Label tables in XML: atlas descriptions of FSL, SPM and CAT, and the tables of GIfTI files.

https://fsl.fmrib.ox.ac.uk/fsl/docs/#/other/datasets, https://www.fil.ion.ucl.ac.uk/spm (tpm,
labels_Neuromorphometrics.xml), https://neuro-jena.github.io/cat and
https://www.nitrc.org/projects/gifti
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NoReturn
from xml.parsers import expat

from ngcore.errors import FormatError
from ngcore.sources.tables.cells import colour_parser
from ngcore.sources.tables.rows import Label, at_place, line_place, parse_id

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ngcore.sources.tables.rows import Row
    from ngcore.volume.segment_colours import Colour

_FORMATS = {"atlas": "atlas", "GIFTI": "GIfTI"}
_LABELS = ("label", "Label")
_PARTS = ("index", "name", "short_name", "RGBA", "color")
"""Elements within a label of SPM and CAT."""
_WANTED = (*_LABELS, "type")
"""Elements whose text is kept; a GIfTI file may hold hundreds of MB in others."""


@dataclass(frozen=True, slots=True)
class _Element:
    line: int
    tag: str
    attributes: dict[str, str]
    texts: list[str] = field(default_factory=list)
    parts: dict[str, _Element] = field(default_factory=dict)
    """The elements within that tell of a label."""

    @property
    def text(self) -> str:
        return " ".join("".join(self.texts).split())


def read_xml(data: bytes, name: str) -> tuple[str, Iterator[Row]]:
    """Return the format and the labels of an XML file.

    In an FSL atlas of type Probabilistic the index of a label counts the volumes of the atlas, and
    the value in its label image is one more, unless an attribute `value` says otherwise.

    Raises
    ------
    FormatError
        If it is not valid XML, or neither an atlas nor GIfTI.
    """
    root, elements = _elements(data, name)
    if root not in _FORMATS:
        raise FormatError(
            f"{name} is XML of {root!r}; expected an <atlas> of FSL, SPM or CAT, or <GIFTI>"
        )
    kind = _FORMATS[root]
    return kind, _fsl(elements, name) if kind == "atlas" else _gifti(elements, name)


def _fsl(elements: list[_Element], name: str) -> Iterator[Row]:
    kinds = [element.text.lower() for element in elements if element.tag == "type"]
    # FSL's own files spell it both ways.
    added = 1 if kinds and kinds[0] in ("probabilistic", "probabalistic", "statistic") else 0
    for element in elements:
        if element.tag == "label":
            with at_place(name, line_place(element.line)):
                value = element.attributes.get("value")
                if element.parts:
                    yield line_place(element.line), _spm_label(element)
                    continue
                if value is None:
                    label_id = parse_id(_attribute(element, "index")) + added
                else:
                    label_id = parse_id(value)
                yield line_place(element.line), Label(label_id, element.text)


def _spm_label(element: _Element) -> Label:
    """Return a label whose id and name are elements of their own."""
    texts = {tag: part.text for tag, part in element.parts.items()}
    for tag in ("index", "name"):
        if not texts.get(tag):
            raise FormatError(f"<label> has no <{tag}>")
    colour = texts.get("RGBA") or texts.get("color")
    return Label(
        parse_id(texts["index"]),
        texts["name"],
        colour_parser([colour])(colour) if colour else None,
        texts.get("short_name", ""),
    )


def _gifti(elements: list[_Element], name: str) -> Iterator[Row]:
    for element in elements:
        if element.tag == "Label":
            with at_place(name, line_place(element.line)):
                # The attribute was called Index before GIfTI 1.0.
                key = element.attributes.get("Index") or _attribute(element, "Key")
                yield (
                    line_place(element.line),
                    Label(parse_id(key), element.text, _gifti_colour(element)),
                )


def _gifti_colour(element: _Element) -> Colour | None:
    """Return the colour, which GIfTI gives from 0 to 1."""
    channels = ("Red", "Green", "Blue")
    if not any(channel in element.attributes for channel in channels):
        return None
    values = []
    for channel in channels:
        text = _attribute(element, channel)
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not 0 <= value <= 1:
            raise FormatError(f"{channel} is {text!r}, expected a number from 0 to 1")
        values.append(round(value * 255))
    red, green, blue = values
    return red, green, blue


def _attribute(element: _Element, attribute: str) -> str:
    if attribute not in element.attributes:
        raise FormatError(f"<{element.tag}> has no attribute {attribute}")
    return element.attributes[attribute].strip()


def _elements(data: bytes, name: str) -> tuple[str, list[_Element]]:
    """Return the tag of the root, and the elements whose text is wanted."""
    parser = expat.ParserCreate()
    found: list[_Element] = []
    open_elements: list[_Element] = []
    root: list[str] = []

    def start(tag: str, attributes: dict[str, str]) -> None:
        if not root:
            root.append(tag)
        element = _Element(parser.CurrentLineNumber, tag, attributes)
        if tag in _WANTED:
            found.append(element)
        elif tag in _PARTS and open_elements and open_elements[-1].tag in _LABELS:
            open_elements[-1].parts[tag] = element
        open_elements.append(element)

    def end(_tag: str) -> None:
        open_elements.pop()

    def text(part: str) -> None:
        element = open_elements[-1]
        if element.tag in _WANTED or element.tag in _PARTS:
            element.texts.append(part)

    def refuse(*_: object) -> NoReturn:
        # Nested entities could make a short file endless; no tool writes them into tables.
        line = parser.CurrentLineNumber
        raise FormatError(
            f"{name}, line {line}: XML entities are not allowed; write out their text"
        )

    parser.StartElementHandler = start
    parser.EndElementHandler = end
    parser.CharacterDataHandler = text
    parser.EntityDeclHandler = refuse
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:
        why = expat.ErrorString(error.code)
        raise FormatError(f"{name}, line {error.lineno}: not valid XML: {why}") from error
    except FormatError:
        raise
    except (LookupError, ValueError) as error:  # what Python says about an encoding
        raise FormatError(f"{name}, line 1: {error}; save it as UTF-8") from error
    return root[0], found
