"""What a run notes of each piece of work that is done, so that the next one may leave it out."""

from __future__ import annotations

import json
from typing import NamedTuple


class Note(NamedTuple):
    """A piece of work that a run has done."""

    run: str
    piece: str
    names: tuple[str, ...]
    found: dict[str, int]

    @classmethod
    def parse(cls, text: bytes) -> Note | None:
        """Return a line of the notes; None where it is damaged."""
        try:
            run, piece, names, found = json.loads(text)
            is_sound = all(isinstance(part, str) for part in (run, piece, *names)) and all(
                isinstance(count, int) for count in found.values()
            )
        except (ValueError, TypeError, AttributeError, RecursionError):
            return None
        return cls(run, piece, tuple(names), found) if is_sound else None

    def to_bytes(self) -> bytes:
        """Return the line; it starts with the line break, as the one before may be cut off."""
        return b"\n" + json.dumps(list(self)).encode()


def read_notes(text: bytes, run: str) -> dict[str, Note]:
    """Return what a run has noted, by the names of pieces."""
    notes = map(Note.parse, text.split(b"\n"))
    return {note.piece: note for note in notes if note is not None and note.run == run}
