"""What ngcore leaves to other programs is reported with the way from there."""

import pytest

from ngcore.errors import InputError
from ngcore.sources import open_source


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.czi", b"ZISRAWFILE" + bytes(50), "is CZI .*; convert it to OME-Zarr or OME-TIFF"),
        ("a.nd2", b"\xda\xce\xbe\n" + bytes(50), "is ND2"),
        ("a.lif", b"p\0\0\0" + bytes(50), "is LIF"),
        ("a.dm4", b"\0\0\0\4" + bytes(50), "is DM4"),
        ("other/notes.txt", b"notes", "no slices"),
        ("a.what", b"notes", "its format can't be read"),
    ],
)
def test_other_formats_are_known_by_their_content(tmp_path, name, content, expected):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    source = path if path.parent == tmp_path else path.parent
    with pytest.raises(InputError, match=expected):
        open_source(source)
