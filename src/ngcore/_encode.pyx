"""Gate to the kernels that chunks pass through: buffers in, one C call without the GIL, bytes out.

Callers have checked every size; see `ngcore.compressed_segmentation` and `ngcore.chunk_copy` for
the public functions.
"""

import os

from cpython.buffer cimport (
    PyBUF_F_CONTIGUOUS, PyBUF_SIMPLE, PyBUF_STRIDED, PyBUF_STRIDED_RO, PyBUF_WRITABLE,
    PyBuffer_Release, PyObject_GetBuffer,
)
from cpython.bytes cimport PyBytes_AsString, PyBytes_FromStringAndSize
from libc.stddef cimport ptrdiff_t
from libc.stdint cimport uint8_t, uint32_t
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
                          size_t *fault) noexcept nogil
        int (*decode_u64)(const uint8_t *data, size_t size, char *out, const ptrdiff_t *shape,
                          const ptrdiff_t *strides, const ptrdiff_t *block,
                          size_t *fault) noexcept nogil

    Codec choose_codec(int only_baseline)

cdef extern from "chunk_copy.h" nogil:
    int copy_chunk_kernel "copy_chunk"(const char *source, const ptrdiff_t *shape,
                                       const ptrdiff_t *strides, ptrdiff_t size, char *to)

# NGCORE_SIMD=baseline forces the kernels that run on any processor of the platform.
cdef Codec codec = choose_codec(os.environ.get("NGCORE_SIMD") == "baseline")

INSTRUCTIONS = codec.instructions.decode()


# Up to so many bytes are copied with the GIL held: another thread waits longer to be woken than
# for such a copy.
cdef enum:
    SHORT_COPY = 1 << 17


cdef object finish_encoding(int status, WordBuffer *words):
    """Return the words as bytes and free them. New pages take a while: not under the GIL."""
    cdef size_t size = 4 * words.size
    cdef char *to
    try:
        if status == SEG_NO_MEMORY:
            raise MemoryError("no memory for an encoded chunk")
        if status != SEG_OK:
            return status
        if size <= SHORT_COPY:
            return PyBytes_FromStringAndSize(<const char *> words.words, <Py_ssize_t> size)
        encoded = PyBytes_FromStringAndSize(NULL, <Py_ssize_t> size)
        to = PyBytes_AsString(encoded)
        with nogil:
            memcpy(to, words.words, size)
        return encoded
    finally:
        free(words.words)


cdef void four_axes(const Py_buffer *voxels, ptrdiff_t *shape, ptrdiff_t *strides) noexcept:
    """Without an axis of channels there is one channel."""
    cdef int axis
    shape[3] = 1
    strides[3] = 0
    for axis in range(voxels.ndim):
        shape[axis] = voxels.shape[axis]
        strides[axis] = voxels.strides[axis]


def encode(labels, tuple block_size):
    """Encode native, aligned labels of 4 or 8 bytes, 3 or 4 axes; the status where that fails."""
    cdef ptrdiff_t[3] block = block_size
    cdef ptrdiff_t[4] shape
    cdef ptrdiff_t[4] strides
    cdef WordBuffer words = WordBuffer(NULL, 0, 0)
    cdef Py_buffer source
    cdef int status
    PyObject_GetBuffer(labels, &source, PyBUF_STRIDED_RO)
    try:
        four_axes(&source, shape, strides)
        with nogil:
            status = (codec.encode_u32 if source.itemsize == 4 else codec.encode_u64)(
                <const char *> source.buf, shape, strides, block, &words)
    finally:
        PyBuffer_Release(&source)
    return finish_encoding(status, &words)


def decode(data, out, tuple block_size):
    """Decode to native, aligned labels of 4 or 8 bytes, 3 or 4 axes: status, byte of a fault."""
    cdef ptrdiff_t[3] block = block_size
    cdef ptrdiff_t[4] shape
    cdef ptrdiff_t[4] strides
    cdef size_t fault = 0
    cdef Py_buffer source, to
    cdef int status
    PyObject_GetBuffer(data, &source, PyBUF_SIMPLE)
    try:
        PyObject_GetBuffer(out, &to, PyBUF_STRIDED)
        try:
            four_axes(&to, shape, strides)
            with nogil:
                status = (codec.decode_u32 if to.itemsize == 4 else codec.decode_u64)(
                    <const uint8_t *> source.buf, source.len // 4, <char *> to.buf, shape,
                    strides, block, &fault)
        finally:
            PyBuffer_Release(&to)
    finally:
        PyBuffer_Release(&source)
    return status, 4 * fault


def copy_chunk(chunk, copy):
    """Copy four axes of items of whatever type to Fortran order; whether any bit is set."""
    cdef Py_buffer source, to
    cdef bint has_bits
    PyObject_GetBuffer(chunk, &source, PyBUF_STRIDED_RO)
    try:
        PyObject_GetBuffer(copy, &to, PyBUF_F_CONTIGUOUS | PyBUF_WRITABLE)
        try:
            with nogil:
                has_bits = copy_chunk_kernel(<const char *> source.buf,
                                             <const ptrdiff_t *> source.shape,
                                             <const ptrdiff_t *> source.strides,
                                             source.itemsize, <char *> to.buf)
        finally:
            PyBuffer_Release(&to)
    finally:
        PyBuffer_Release(&source)
    return has_bits
