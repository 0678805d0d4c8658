"""MurmurHash3 against cloudvolume's."""

import warnings

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ngcore.precomputed.murmurhash import murmurhash3_x86_128

keys = st.integers(0, 2**64 - 1)


@given(keys)
def test_hash_is_that_of_cloudvolume(key):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from cloudvolume.datasource.precomputed import mmh3
    words = mmh3.hash64(key.to_bytes(8, "little"), x64arch=False)
    assert murmurhash3_x86_128(key) == words[0] % 2**64


@given(st.lists(keys, max_size=10))
def test_many_hashes_at_once_are_those_one_by_one(many):
    hashes = murmurhash3_x86_128(np.array(many, np.uint64))
    assert hashes.dtype == np.uint64
    assert hashes.tolist() == [murmurhash3_x86_128(key) for key in many]
