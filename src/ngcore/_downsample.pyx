"""Gate to the downsampling kernels: two buffers in, one C call without the GIL.

Callers have checked every size; see `ngcore.downsampling` for the public function.
"""

import os

from libc.stdint cimport (
    int8_t, int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t,
)

cdef extern from "downsample.h" nogil:
    ctypedef struct Downsampling:
        const char *source "from"
        char *to
        ptrdiff_t[4] shape
        ptrdiff_t[4] strides
        ptrdiff_t[4] out_shape
        ptrdiff_t[4] out_strides
        ptrdiff_t[3] factors
        ptrdiff_t[3] first
        int method
        int has_outside

    int cpu_has_avx2()

    int downsample_u8(const Downsampling *job, uint8_t outside, int use_avx2)
    int downsample_i8(const Downsampling *job, int8_t outside, int use_avx2)
    int downsample_u16(const Downsampling *job, uint16_t outside, int use_avx2)
    int downsample_i16(const Downsampling *job, int16_t outside, int use_avx2)
    int downsample_u32(const Downsampling *job, uint32_t outside, int use_avx2)
    int downsample_i32(const Downsampling *job, int32_t outside, int use_avx2)
    int downsample_u64(const Downsampling *job, uint64_t outside, int use_avx2)
    int downsample_i64(const Downsampling *job, int64_t outside, int use_avx2)
    int downsample_f32(const Downsampling *job, float outside, int use_avx2)

# NGCORE_SIMD=baseline forces the kernels that run on any processor of the platform.
cdef int use_avx2 = os.environ.get("NGCORE_SIMD") != "baseline" and cpu_has_avx2()

INSTRUCTIONS = "avx2" if use_avx2 else "baseline"

ctypedef fused voxel:
    uint8_t
    int8_t
    uint16_t
    int16_t
    uint32_t
    int32_t
    uint64_t
    int64_t
    float


def downsample(const voxel[:, :, :, :] array, voxel[:, :, :, :] out, tuple factors, tuple first,
               int method, outside):
    cdef Downsampling job
    cdef int axis, done
    cdef voxel padding = 0
    job.source = <const char *> &array[0, 0, 0, 0]
    job.to = <char *> &out[0, 0, 0, 0]
    for axis in range(4):
        job.shape[axis] = array.shape[axis]
        job.strides[axis] = array.strides[axis]
        job.out_shape[axis] = out.shape[axis]
        job.out_strides[axis] = out.strides[axis]
    for axis in range(3):
        job.factors[axis] = factors[axis]
        job.first[axis] = first[axis]
    job.method = method
    job.has_outside = outside is not None
    if outside is not None:
        padding = outside
    with nogil:
        if voxel is uint8_t:
            done = downsample_u8(&job, padding, use_avx2)
        elif voxel is int8_t:
            done = downsample_i8(&job, padding, use_avx2)
        elif voxel is uint16_t:
            done = downsample_u16(&job, padding, use_avx2)
        elif voxel is int16_t:
            done = downsample_i16(&job, padding, use_avx2)
        elif voxel is uint32_t:
            done = downsample_u32(&job, padding, use_avx2)
        elif voxel is int32_t:
            done = downsample_i32(&job, padding, use_avx2)
        elif voxel is uint64_t:
            done = downsample_u64(&job, padding, use_avx2)
        elif voxel is int64_t:
            done = downsample_i64(&job, padding, use_avx2)
        else:
            done = downsample_f32(&job, padding, use_avx2)
    if not done:
        raise MemoryError("no memory for the rows of a downsampling cell")
