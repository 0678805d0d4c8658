/* Downsampling of a strided array: the job, and the choice of kernels for this machine.
 *
 * A cell of the result covers `factors` voxels per axis, counted from `-first`: the first and last
 * cells of an axis may hold fewer. Axis 0 is the one whose voxels lie closest together; the caller
 * has permuted the axes, which no method can tell.
 *
 *   downsample_types.h    includes the kernels once per type of voxel
 *   downsample_cells.h    one cell at a time: any cell, any method
 *   downsample_rows.h     rows of whole cells, with vectors: what nearly all voxels take
 *   downsample_average.h, downsample_majority.h   the methods that need a file of their own
 *   downsample_split.h    takes rows of cells apart, for vectors
 *   downsample_kernels.h  walks the array, row by row of the result
 */
#ifndef NGCORE_DOWNSAMPLE_H
#define NGCORE_DOWNSAMPLE_H

#include "kernel_common.h"

enum { METHOD_AVERAGE, METHOD_MAJORITY, METHOD_STRIDE, METHOD_MIN, METHOD_MAX };

typedef struct {
    const char *from;
    char *to;
    ptrdiff_t shape[4], strides[4];         /* input; strides in bytes; the last axis is channels */
    ptrdiff_t out_shape[4], out_strides[4]; /* output */
    ptrdiff_t factors[3], first[3];         /* first: voxels missing from each axis' first cell */
    int method, has_outside;
} Downsampling;

/* The voxels [start, stop) of cell `cell` on one axis. */
static inline void cell_range(const Downsampling *job, int axis, ptrdiff_t cell, ptrdiff_t *start,
                              ptrdiff_t *stop)
{
    const ptrdiff_t at = cell * job->factors[axis] - job->first[axis];
    *start = at < 0 ? 0 : at;
    *stop = smaller_of(at + job->factors[axis], job->shape[axis]);
    NGCORE_ASSERT(*start < *stop);
}

/* k if n is 2^k, else -1. */
static inline int exact_log2(ptrdiff_t n)
{
    int k = 0;
    while (((ptrdiff_t)1 << k) < n)
        k++;
    return ((ptrdiff_t)1 << k) == n ? k : -1;
}

/* How to split rows of cells into planes; a factor of 0 says that there is no way. The largest
 * factor that has one is also the largest that loops take as a constant. */
#define MAX_SPLIT 8
typedef struct {
    int factor;
    size_t size; /* bytes of a voxel */
    uint8_t shuffle[MAX_SPLIT][MAX_SPLIT][32], keep[MAX_SPLIT][MAX_SPLIT][32];
} Splitter;
typedef struct {
    Splitter voxels, parts;
} Splitters;

/* Room beyond the end of scratch rows, so that vectors need no tail loop. */
#define ROW_SLACK 64

/* Kernels are named downsample_TYPE_INSTRUCTIONS. */
#define PASTE_NAME(function, type, instructions) function##_##type##_##instructions
#define MAKE_NAME(function, type, instructions) PASTE_NAME(function, type, instructions)
#define NAME(function) MAKE_NAME(function, TYPE_NAME, INSTRUCTIONS)

#define INSTRUCTIONS baseline
#define VECTOR_BYTES 16
#include "downsample_types.h"
#undef INSTRUCTIONS
#undef VECTOR_BYTES

#ifdef NGCORE_AVX2
BEGIN_AVX2
#define WITH_AVX2
#define INSTRUCTIONS avx2
#define VECTOR_BYTES 32
#include "downsample_split.h"
#include "downsample_types.h"
#undef INSTRUCTIONS
#undef VECTOR_BYTES
#undef WITH_AVX2
END_AVX2
#define CALL(type) (use_avx2 ? downsample_##type##_avx2 : downsample_##type##_baseline)
#else
#define CALL(type) ((void)use_avx2, downsample_##type##_baseline)
#endif

static inline int downsample_u8(const Downsampling *job, uint8_t outside, int use_avx2)
{
    return CALL(u8)(job, outside);
}
static inline int downsample_i8(const Downsampling *job, int8_t outside, int use_avx2)
{
    return CALL(i8)(job, outside);
}
static inline int downsample_u16(const Downsampling *job, uint16_t outside, int use_avx2)
{
    return CALL(u16)(job, outside);
}
static inline int downsample_i16(const Downsampling *job, int16_t outside, int use_avx2)
{
    return CALL(i16)(job, outside);
}
static inline int downsample_u32(const Downsampling *job, uint32_t outside, int use_avx2)
{
    return CALL(u32)(job, outside);
}
static inline int downsample_i32(const Downsampling *job, int32_t outside, int use_avx2)
{
    return CALL(i32)(job, outside);
}
static inline int downsample_u64(const Downsampling *job, uint64_t outside, int use_avx2)
{
    return CALL(u64)(job, outside);
}
static inline int downsample_i64(const Downsampling *job, int64_t outside, int use_avx2)
{
    return CALL(i64)(job, outside);
}
static inline int downsample_f32(const Downsampling *job, float outside, int use_avx2)
{
    return CALL(f32)(job, outside);
}

#endif
