"""MurmurHash3_x86_128 of 8-byte keys, low 8 bytes: the hash that sharding may use.

https://github.com/google/neuroglancer/blob/master/src/datasource/precomputed/sharded.md
https://github.com/aappleby/smhasher/blob/master/src/MurmurHash3.cpp
"""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np

_Word = TypeVar("_Word", int, np.ndarray[Any, Any])

_C1, _C2, _C3 = 0x239B961B, 0xAB0E9789, 0x38B34AE5
_MASK = 0xFFFFFFFF
_KEY_BYTES = 8


def murmurhash3_x86_128(key: _Word) -> _Word:
    """Hash keys as their 8 little-endian bytes, with seed 0.

    Parameters
    ----------
    key : int, or ndarray of uint64
        Below 2**64.

    Returns
    -------
    int, or ndarray of uint64
        The low 8 bytes of the hash, little-endian.

    Examples
    --------
    >>> hex(murmurhash3_x86_128(0))
    '0x4772b084e028ae41'
    """
    # Words of 32 bits in 64, so that products never overflow: right for int and for uint64 alike.
    low, high = key & _MASK, key >> 32
    h1 = _rotate(low * _C1 & _MASK, 15) * _C2 & _MASK
    h2 = _rotate(high * _C2 & _MASK, 16) * _C3 & _MASK
    h1 = h1 ^ _KEY_BYTES
    h2 = h2 ^ _KEY_BYTES
    # Words 3 and 4 of the state get no key bytes: both are the length, and stay equal.
    h3 = _KEY_BYTES
    h1 = (h1 + h2 + h3 + h3) & _MASK
    h2 = (h2 + h1) & _MASK
    h3_mixed = _mix((h1 + h3) & _MASK)
    h1, h2 = _mix(h1), _mix(h2)
    h1 = (h1 + h2 + h3_mixed + h3_mixed) & _MASK
    h2 = (h2 + h1) & _MASK
    hashed: _Word = h1 | h2 << 32
    return hashed


def _rotate(word: _Word, bits: int) -> _Word:
    return (word << bits | word >> (32 - bits)) & _MASK


def _mix(word: _Word) -> _Word:
    word = (word ^ word >> 16) * 0x85EBCA6B & _MASK
    word = (word ^ word >> 13) * 0xC2B2AE35 & _MASK
    mixed: _Word = word ^ word >> 16
    return mixed
