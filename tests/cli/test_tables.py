import pytest

from ngcore.cli._tables import byte_size


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1 KiB"),
        (1536, "1.5 KiB"),
        (1010 << 20, "1010 MiB"),
        (1023 << 20, "1023 MiB"),
        ((1 << 30) - 1, "1024 MiB"),
        (99 << 30, "99 GiB"),
        (12345 << 40, "12.1 PiB"),
    ],
)
def test_sizes_are_read_by_people(count, text):
    assert byte_size(count) == text
