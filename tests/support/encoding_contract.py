"""What every chunk encoding must do; the test of each encoding inherits it."""

from __future__ import annotations

import contextlib
import random
import threading
from abc import ABC, abstractmethod

import numpy as np
import pytest
import thorough

from ngcore.errors import FormatError, InputError


def smooth_voxels(shape, dtype, seed=0):
    """Voxels much like those of a scan: a ramp with a little noise, or a few labels."""
    rng = np.random.default_rng(seed)
    x, y, z, channel = np.indices(shape)
    ramp = 3 * x + 2 * y + z + 20 * channel + rng.integers(0, 4, shape)
    return np.asfortranarray(ramp.astype(dtype))


def mutants(data, count, seed=0):
    """Yield `count` damaged copies of `data`: flipped bytes, cuts, insertions, lost ranges."""
    rng = random.Random(seed)
    for _ in range(count):
        mutant = bytearray(data)
        for _ in range(rng.choice((1, 1, 1, 2, 5))):
            # Headers are short and matter most.
            limit = rng.choice((40, 700, len(mutant)))
            at = rng.randrange(min(limit, len(mutant)) or 1)
            match rng.randrange(6):
                case 0:
                    del mutant[at:]
                case 1:
                    mutant[at:at] = rng.randbytes(rng.randrange(1, 9))
                case 2:
                    del mutant[at : at + rng.randrange(1, 9)]
                case 3:
                    mutant[at : at + 4] = rng.choice((b"\xff\xff\xff\xff", bytes(4), b"\x7f\xff"))
                case _:
                    mutant[at : at + 1] = rng.randbytes(1)
        yield bytes(mutant)


class EncodingContract(ABC):
    """Inherit this, and say which voxels the encoding holds."""

    kinds: tuple[tuple[str, int], ...]
    """Every (data type, number of channels) to be tested."""

    is_lossless = True

    @abstractmethod
    def make(self, dtype, channels):
        """Return the encoding under test."""

    @pytest.fixture(params=[(1, 1, 1), (5, 3, 2), (64, 1, 9), (1, 17, 1), (16, 16, 16)], ids=str)
    def size(self, request):
        return request.param

    def each_kind(self):
        for dtype, channels in self.kinds:
            yield np.dtype(dtype), channels, self.make(np.dtype(dtype), channels)

    def assert_same(self, decoded, chunk):
        if self.is_lossless:
            np.testing.assert_array_equal(decoded, chunk)
        else:
            assert np.abs(decoded.astype(int) - chunk.astype(int)).mean() < 3

    def test_chunk_comes_back(self, size):
        for dtype, channels, encoding in self.each_kind():
            chunk = smooth_voxels((*size, channels), dtype)
            decoded = encoding.decode(encoding.encode(chunk), chunk.shape)
            self.assert_same(decoded, chunk)

    def test_decoded_chunk_is_native_writable_and_in_fortran_order(self, size):
        for dtype, channels, encoding in self.each_kind():
            chunk = smooth_voxels((*size, channels), dtype)
            decoded = encoding.decode(encoding.encode(chunk), chunk.shape)
            assert decoded.shape == chunk.shape
            assert decoded.dtype == dtype
            assert decoded.dtype.isnative
            assert decoded.flags.f_contiguous
            assert decoded.flags.writeable
            assert decoded.flags.aligned

    def test_memory_order_of_a_chunk_does_not_matter(self, size):
        for dtype, channels, encoding in self.each_kind():
            chunk = smooth_voxels((*size, channels), dtype)
            padded = np.zeros(tuple(2 * n for n in chunk.shape), dtype)[::2, ::2, ::2, ::2]
            padded[...] = chunk
            read_only = chunk.copy(order="C")
            read_only.setflags(write=False)
            expected = encoding.encode(chunk)
            assert encoding.encode(read_only) == expected
            assert encoding.encode(padded) == expected

    def test_every_kind_of_buffer_is_decoded(self):
        for dtype, channels, encoding in self.each_kind():
            chunk = smooth_voxels((4, 5, 6, channels), dtype)
            data = encoding.encode(chunk)
            for buffer in (bytearray(data), memoryview(b"x" + data)[1:]):
                self.assert_same(encoding.decode(buffer, chunk.shape), chunk)

    def test_encoding_is_deterministic(self):
        for dtype, channels, encoding in self.each_kind():
            chunk = smooth_voxels((9, 8, 7, channels), dtype)
            assert encoding.encode(chunk) == encoding.encode(chunk.copy())

    def test_largest_encoded_chunk_is_within_the_bound(self, size):
        for dtype, channels, encoding in self.each_kind():
            noise = np.random.default_rng(0).bytes(np.prod((*size, channels)) * dtype.itemsize)
            chunk = np.frombuffer(noise, dtype).reshape((*size, channels), order="F")
            assert len(encoding.encode(chunk)) <= encoding.max_encoded_size(chunk.shape)

    def test_chunk_of_another_shape_or_type_is_refused(self):
        for dtype, channels, encoding in self.each_kind():
            for wrong in (
                np.zeros((4, 4, 4), dtype),
                np.zeros((4, 4, 4, channels + 1), dtype),
                np.zeros((4, 0, 4, channels), dtype),
                np.zeros((4, 4, 4, channels), np.complex64),
            ):
                with pytest.raises(InputError, match="a chunk to encode as"):
                    encoding.encode(wrong)

    def test_data_of_another_shape_are_refused(self):
        for dtype, channels, encoding in self.each_kind():
            # Sizes that need another number of blocks of 8 voxels too.
            data = encoding.encode(smooth_voxels((8, 8, 16, channels), dtype))
            for shape in ((8, 8, 8, channels), (8, 8, 17, channels), (1, 1, 1, channels)):
                with pytest.raises(FormatError):
                    encoding.decode(data, shape)

    def test_data_cut_short_anywhere_are_refused(self):
        for dtype, channels, encoding in self.each_kind():
            chunk = smooth_voxels((9, 8, 7, channels), dtype)
            data = encoding.encode(chunk)
            step = max(1, len(data) // 500)
            for length in (*range(0, len(data), step), len(data) - 1):
                with pytest.raises(FormatError):
                    encoding.decode(data[:length], chunk.shape)

    def test_damaged_data_are_refused_or_decoded_but_never_crash(self):
        for dtype, channels, encoding in self.each_kind():
            chunk = smooth_voxels((16, 9, 5, channels), dtype)
            data = encoding.encode(chunk)
            for mutant in mutants(data, thorough.amount(150, 20_000)):
                with contextlib.suppress(FormatError):
                    decoded = encoding.decode(mutant, chunk.shape)
                    assert decoded.shape == chunk.shape
                    assert decoded.dtype == dtype

    def test_junk_is_refused(self):
        rng = random.Random(0)
        for _, channels, encoding in self.each_kind():
            for length in (0, 1, 2, 7, 8, 33, 100, 1000):
                with pytest.raises(FormatError):
                    encoding.decode(rng.randbytes(length), (5, 5, 7, channels))

    def test_threads_share_an_encoding(self):
        for dtype, channels, encoding in self.each_kind():
            chunks = [smooth_voxels((9, 8, 7, channels), dtype, seed) for seed in range(4)]
            failures = []

            def work(chunk, encoding=encoding, failures=failures):
                for _ in range(10):
                    decoded = encoding.decode(encoding.encode(chunk), chunk.shape)
                    try:
                        self.assert_same(decoded, chunk)
                    except AssertionError as error:
                        failures.append(error)

            threads = [threading.Thread(target=work, args=(chunk,)) for chunk in chunks]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert not failures
