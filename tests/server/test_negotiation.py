import pytest

from ngcore.server.negotiation import (
    ByteRange,
    RangeNotSatisfiableError,
    accepts_gzip,
    parse_range,
)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("bytes=0-0", ByteRange(0, 1)),
        ("bytes=2-5", ByteRange(2, 6)),
        ("bytes=7-", ByteRange(7, 10)),
        ("bytes=7-99", ByteRange(7, 10)),
        ("bytes=-3", ByteRange(7, 10)),
        ("bytes=-99", ByteRange(0, 10)),
        ("Bytes = 1-2", ByteRange(1, 3)),
    ],
)
def test_range_names_bytes_of_the_resource(header, expected):
    assert parse_range(header, 10) == expected


@pytest.mark.parametrize("header", [None, "items=0-3", "bytes", "bytes=0-1,4-5"])
def test_range_that_need_not_be_honoured_gives_the_whole(header):
    assert parse_range(header, 10) is None


@pytest.mark.parametrize(
    "header",
    ["bytes=10-", "bytes=5-2", "bytes=-0", "bytes=-", "bytes=", "bytes=a-b", "bytes=--3"],
)
def test_range_outside_the_resource_is_refused(header):
    with pytest.raises(RangeNotSatisfiableError):
        parse_range(header, 10)


def test_range_of_thousands_of_digits_is_compared_as_any_other():
    many = "9" * 5000
    assert parse_range(f"bytes=2-{many}", 10) == ByteRange(2, 10)
    assert parse_range(f"bytes=-{many}", 10) == ByteRange(0, 10)
    assert parse_range(f"bytes={'0' * 5000}2-5", 10) == ByteRange(2, 6)
    with pytest.raises(RangeNotSatisfiableError):
        parse_range(f"bytes={many}-", 10)


def test_no_range_of_an_empty_resource_can_be_satisfied():
    for header in ("bytes=0-", "bytes=-1", "bytes=0-0"):
        with pytest.raises(RangeNotSatisfiableError):
            parse_range(header, 0)


@pytest.mark.parametrize(
    ("header", "accepts"),
    [
        (None, False),
        ("", False),
        ("gzip", True),
        ("GZIP", True),
        ("x-gzip", True),
        ("gzip, deflate, br, zstd", True),
        ("br;q=1.0, gzip;q=0.8", True),
        ("*", True),
        ("deflate", False),
        ("gzip;q=0", False),
        ("gzip; q=0.000, *", False),
        ("*;q=0", False),
        ("identity", False),
        ("identity;q=1, gzip;q=0.5", False),
        ("identity;q=0.5, gzip;q=1", True),
        ("gzip;q=high", False),
    ],
)
def test_gzip_is_sent_to_those_who_accept_it(header, accepts):
    assert accepts_gzip(header) is accepts
