"""Small conversions of every kind: how chunks are packed, where voxels pass through."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import nibabel
import numpy as np

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class SmallConversion:
    """A conversion of a small volume.

    Attributes
    ----------
    source : str
        The name of its file, which `make_sources` makes.
    options : list of str
        Of the command line.
    again : str
        What to pass after a run that was interrupted.
    """

    source: str = "source.npy"
    options: list[str] = field(default_factory=list)
    again: str = "--resume"

    def command(self, folder: Path, source: Path | None = None) -> list[str]:
        """Return the arguments of the command line, without DEST."""
        path = source or folder / self.source
        common = ["--chunk-size", "16", "--type", "image", "--workers", "2"]
        return ["convert", str(path), *common, "--resolution", "8,8,8", *self.options]


CONVERSIONS = {
    "sharded": SmallConversion(),
    "flat": SmallConversion(options=["--no-sharding"]),
    "nested, gzip": SmallConversion(
        options=["--no-sharding", "--layout", "nested", "--gzip", "--encoding", "png"]
    ),
    # Channels that follow each other whole in a gzip stream: it is unpacked to a file first.
    "spool": SmallConversion("source.nii.gz", ["--no-gzip"]),
}


def make_sources(folder: Path, shape: tuple[int, int, int] = (40, 36, 50)) -> None:
    """Write the sources of all conversions into a folder."""
    rng = np.random.default_rng(0)
    voxels = rng.integers(0, 255, shape, np.uint8)
    np.save(folder / "source.npy", voxels)
    channels = np.stack([voxels, voxels[::-1]], axis=-1)
    image = nibabel.Nifti1Image(channels, np.diag([8e-6, 8e-6, 8e-6, 1]))
    nibabel.save(image, folder / "source.nii.gz")


def all_bytes(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder, but for ngcore's own notes."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and ".ngcore" not in path.parts
    }
