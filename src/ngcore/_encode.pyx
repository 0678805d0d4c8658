"""Gate to the kernels that chunks pass through: buffers in, one C call without the GIL, bytes out.

Callers have checked every size; see `ngcore.compressed_segmentation` and
`ngcore.arrays.chunk_copy` for the public functions.
"""

import os

from cpython.buffer cimport (
    PyBUF_STRIDED, PyBUF_STRIDED_RO, PyBuffer_Release, PyObject_GetBuffer,
)
from cpython.bytes cimport PyBytes_AsString, PyBytes_FromStringAndSize
from libc.stddef cimport ptrdiff_t
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free
from libc.string cimport memcpy

cdef extern from "segmentation.h" nogil:
    enum:
        SEG_OK
        SEG_NO_MEMORY

    ctypedef struct WordBuffer:
        uint32_t *words
        size_t size
        size_t capacity

    ctypedef struct Codec:
        const char *instructions
        int (*encode_u32)(const char *labels, const ptrdiff_t *shape, const ptrdiff_t *strides,
                          const ptrdiff_t *block, WordBuffer *out) noexcept nogil
        int (*encode_u64)(const char *labels, const ptrdiff_t *shape, const ptrdiff_t *strides,
                          const ptrdiff_t *block, WordBuffer *out) noexcept nogil
        int (*decode_u32)(const uint8_t *data, size_t size, char *out, const ptrdiff_t *shape,
                          const ptrdiff_t *strides, const ptrdiff_t *block,
                          const ptrdiff_t *region, size_t *fault) noexcept nogil
        int (*decode_u64)(const uint8_t *data, size_t size, char *out, const ptrdiff_t *shape,
                          const ptrdiff_t *strides, const ptrdiff_t *block,
                          const ptrdiff_t *region, size_t *fault) noexcept nogil

    Codec choose_codec(int only_baseline)

cdef extern from "chunk_copy.h" nogil:
    int copy_chunk_kernel "copy_chunk"(const char *source, const ptrdiff_t *shape,
                                       const ptrdiff_t *strides, ptrdiff_t size, char *to,
                                       const ptrdiff_t *to_strides)

# NGCORE_SIMD=baseline forces the kernels that run on any processor of the platform.
cdef Codec codec = choose_codec(os.environ.get("NGCORE_SIMD") == "baseline")

INSTRUCTIONS = codec.instructions.decode()


cdef object finish_encoding(int status, WordBuffer *words):
    """Return the words as bytes and free them. New pages take a while: not under the GIL."""
    cdef char *to
    cdef size_t size = 4 * words.size
    try:
        if status == SEG_NO_MEMORY:
            raise MemoryError("no memory for an encoded chunk")
        if status != SEG_OK:
            return status
        encoded = PyBytes_FromStringAndSize(NULL, <Py_ssize_t> size)
        to = PyBytes_AsString(encoded)
        with nogil:
            memcpy(to, words.words, size)
        return encoded
    finally:
        free(words.words)


def encode_u32(const uint32_t[:, :, :, :] labels, tuple block_size):
    cdef ptrdiff_t[3] block = block_size
    cdef ptrdiff_t[4] shape = [labels.shape[0], labels.shape[1], labels.shape[2], labels.shape[3]]
    cdef ptrdiff_t[4] strides = [
        labels.strides[0], labels.strides[1], labels.strides[2], labels.strides[3]]
    cdef const char *first = <const char *> &labels[0, 0, 0, 0]
    cdef WordBuffer words = WordBuffer(NULL, 0, 0)
    cdef int status
    with nogil:
        status = codec.encode_u32(first, shape, strides, block, &words)
    return finish_encoding(status, &words)


def encode_u64(const uint64_t[:, :, :, :] labels, tuple block_size):
    cdef ptrdiff_t[3] block = block_size
    cdef ptrdiff_t[4] shape = [labels.shape[0], labels.shape[1], labels.shape[2], labels.shape[3]]
    cdef ptrdiff_t[4] strides = [
        labels.strides[0], labels.strides[1], labels.strides[2], labels.strides[3]]
    cdef const char *first = <const char *> &labels[0, 0, 0, 0]
    cdef WordBuffer words = WordBuffer(NULL, 0, 0)
    cdef int status
    with nogil:
        status = codec.encode_u64(first, shape, strides, block, &words)
    return finish_encoding(status, &words)


def decode_u32(const uint8_t[::1] data, uint32_t[:, :, :, :] out, tuple chunk_shape, tuple corners,
               tuple block_size):
    cdef ptrdiff_t[3] block = block_size
    cdef ptrdiff_t[4] shape = chunk_shape
    cdef ptrdiff_t[6] region = corners
    cdef ptrdiff_t[4] strides = [out.strides[0], out.strides[1], out.strides[2], out.strides[3]]
    cdef char *first = <char *> &out[0, 0, 0, 0]
    cdef const uint8_t *chunk = &data[0]
    cdef size_t size = data.shape[0] // 4
    cdef size_t fault = 0
    cdef int status
    with nogil:
        status = codec.decode_u32(chunk, size, first, shape, strides, block, region, &fault)
    return status, 4 * fault


def decode_u64(const uint8_t[::1] data, uint64_t[:, :, :, :] out, tuple chunk_shape, tuple corners,
               tuple block_size):
    cdef ptrdiff_t[3] block = block_size
    cdef ptrdiff_t[4] shape = chunk_shape
    cdef ptrdiff_t[6] region = corners
    cdef ptrdiff_t[4] strides = [out.strides[0], out.strides[1], out.strides[2], out.strides[3]]
    cdef char *first = <char *> &out[0, 0, 0, 0]
    cdef const uint8_t *chunk = &data[0]
    cdef size_t size = data.shape[0] // 4
    cdef size_t fault = 0
    cdef int status
    with nogil:
        status = codec.decode_u64(chunk, size, first, shape, strides, block, region, &fault)
    return status, 4 * fault


def copy_chunk(chunk, copy):
    """Copy four axes of items of whatever type: 1 if any bit is set, 0 if not, -1 if it can't be.

    That is where no axis of the copy has items side by side.
    """
    cdef Py_buffer source, to
    cdef int has_bits
    PyObject_GetBuffer(chunk, &source, PyBUF_STRIDED_RO)
    try:
        PyObject_GetBuffer(copy, &to, PyBUF_STRIDED)
        try:
            with nogil:
                has_bits = copy_chunk_kernel(<const char *> source.buf,
                                             <const ptrdiff_t *> source.shape,
                                             <const ptrdiff_t *> source.strides,
                                             source.itemsize, <char *> to.buf,
                                             <const ptrdiff_t *> to.strides)
        finally:
            PyBuffer_Release(&to)
    finally:
        PyBuffer_Release(&source)
    return has_bits
