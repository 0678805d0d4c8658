"""Make the pictures of the site's start page and tutorials that need no browser, from real data.

`python scripts/pictures.py docs` needs the package nilearn, which carries them.
"""

import sys
import tempfile
from pathlib import Path

from PIL import Image
from screenshot import raw_files

import ngcore

SIZE = 420
"""Of each of the three slices, in pixels."""


def main() -> None:
    """Make the pictures."""
    out = Path(sys.argv[1])
    with tempfile.TemporaryDirectory() as folder:
        t1, tissues, motor, *_ = raw_files(Path(folder))
        labels = tissues.replace("opacity=0.2", "opacity=0.5")
        picture([t1, labels], out / "labels.jpg", (-20, -20, 20))
        picture([t1, motor], out / "map.jpg", (-38, -22, 56))


def picture(things: list[str], out: Path, at: tuple[float, float, float]) -> None:
    """Write slices of things through a place as a JPEG."""
    png = out.with_suffix(".png")
    ngcore.preview(things, png, size=SIZE, at=at)
    Image.open(png).convert("RGB").save(out, quality=85)
    png.unlink()
    print(f"{out}: {out.stat().st_size // 1000} kB")


if __name__ == "__main__":
    main()
