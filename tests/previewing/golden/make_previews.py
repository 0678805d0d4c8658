"""Write the golden pictures of `tests/previewing/test_preview.py` beside this file.

Run it with the package installed and `tests` on the path, and *look* at the pictures before they
are committed:

    PYTHONPATH=tests/support python tests/previewing/golden/make_previews.py
"""

from pathlib import Path
from tempfile import TemporaryDirectory

from preview_scenes import SCENES, SIZE

from ngcore.previewing.picture import preview

if __name__ == "__main__":
    for name, make in SCENES.items():
        with TemporaryDirectory() as folder:
            make(Path(folder) / "volume")
            out = Path(__file__).parent / f"preview_{name}.png"
            preview(Path(folder) / "volume", out, size=SIZE, overwrite=True)
