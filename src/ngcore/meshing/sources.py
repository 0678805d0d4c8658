"""What a run of `mesh` works on, by which a later one knows that it is the same."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ngcore.errors import DestinationError
from ngcore.precomputed.json_members import parse_object
from ngcore.sources.identity import (
    chunk_files,
    chunks_identity,
    has_changed_since,
    lasting_identity,
    source_identity,
)
from ngcore.storage import LocalStore
from ngcore.volume.provenance import Provenance

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from ngcore.storage import Store
    from ngcore.volume.scale import ScaleArray

PROVENANCE = "provenance"


class MeshSources:
    """The voxels and surfaces that meshes are made of, and the options for that.

    Parameters
    ----------
    store : Store
        The volume's.
    voxels : ScaleArray or None
        The scale that is meshed, if one is.
    surfaces : mapping of int to path
        By label.
    options : mapping
        All that shapes what is made; values that JSON can hold.

    Raises
    ------
    StorageError
        A file can't be read.
    """

    def __init__(
        self,
        store: Store,
        voxels: ScaleArray | None,
        surfaces: Mapping[int, str | os.PathLike[str]],
        options: Mapping[str, Any],
    ) -> None:
        self._store = store
        self._voxels = voxels
        self._surfaces = {label: Path(path) for label, path in sorted(surfaces.items())}
        self._options = dict(options)
        self._identities = self._look()

    @property
    def plan(self) -> dict[str, Any]:
        """Source, options and info, as `ngcore.transaction.journal` compares them."""
        source: dict[str, Any] = {}
        for name, identity in self._identities.items():
            source |= {f"{part} of {name}": value for part, value in identity.items()}
        members = parse_object(self._store.get("info") or b"")
        info = {"data_type": members["data_type"], "finest": members["scales"][0]["resolution"]}
        if self._voxels is not None:
            info |= members["scales"][self._voxels.index]
        return {"source": source, "options": self._options, "info": info}

    @property
    def names(self) -> list[str]:
        """Names of the surfaces' files."""
        return [path.name for path in self._surfaces.values()]

    @property
    def provenance(self) -> bytes:
        """The content of the file that lies beside the meshes."""
        lasting = {name: lasting_identity(found) for name, found in self._identities.items()}
        parameters = {**self._options, "source": lasting}
        return Provenance.of(self.names, "mesh", parameters).to_json()

    def is_unchanged(self) -> bool:
        """Whether all files are as they were when this was made."""
        return self._look() == self._identities

    def check_made(self, folder: str) -> None:
        """Refuse a folder of meshes that is not of these sources and options.

        Raises
        ------
        DestinationError
            It is not, or older than the sources.
        """
        where = self._store.location
        name = f"{folder}/{PROVENANCE}"
        if self._store.get(name) != self.provenance:
            raise DestinationError(
                f"{where} has meshes of another source or other options, in {folder!r}; "
                "pass --overwrite to replace them"
            )
        if not isinstance(self._store, LocalStore):
            return  # what `provenance` says of the source is all that is known
        finished = (self._store.path / name).stat().st_mtime_ns
        if any(has_changed_since(found, finished) for found in self._identities.values()):
            raise DestinationError(
                f"the source has changed since the meshes of {where} were finished; "
                "pass --overwrite to make them again"
            )

    def _look(self) -> dict[str, dict[str, str]]:
        """Return the identity of each source, by what it is called."""
        found = {}
        if self._voxels is not None:
            found[f"the voxels of {self._voxels.key}"] = chunks_identity(
                self._store, chunk_files(self._store, self._voxels.key)
            )
        for label, path in self._surfaces.items():
            found[f"the surface of {label}"] = source_identity(path, [path])
        return found
