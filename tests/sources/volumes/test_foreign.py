"""What ngcore leaves to other programs is told of with the way from there."""

import pytest

from ngcore.errors import InputError
from ngcore.sources import open_source

DICOM = bytes(128) + b"DICM" + bytes(50)


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.dcm", DICOM, "is DICOM; .* dcm2niix"),
        ("IM0001", DICOM, "is DICOM"),
        ("folder/IM0001", DICOM, "folder: is DICOM"),
        ("other/notes.txt", b"notes", "no slices"),
        ("a.what", b"notes", "no format that can be read"),
    ],
)
def test_other_formats_are_known_by_their_content(tmp_path, name, content, expected):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    source = path if path.parent == tmp_path else path.parent
    with pytest.raises(InputError, match=expected):
        open_source(source)
