/* Downsampling of a strided array: the box, and the kernels for each voxel type.
 *
 * A cell of the result covers `factor` voxels per axis, counted from `-first`: the first and last
 * cells of an axis may hold fewer. Axis 0 is the one whose voxels lie closest together; the caller
 * has permuted the axes, which no method can tell.
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

#define VOXEL uint8_t
#define SUM int64_t
#define NAME(function) function##_u8
#include "downsample_kernels.h"
#undef VOXEL
#undef NAME
#define VOXEL int8_t
#define NAME(function) function##_i8
#include "downsample_kernels.h"
#undef VOXEL
#undef NAME
#define VOXEL uint16_t
#define NAME(function) function##_u16
#include "downsample_kernels.h"
#undef VOXEL
#undef NAME
#define VOXEL int16_t
#define NAME(function) function##_i16
#include "downsample_kernels.h"
#undef VOXEL
#undef NAME
#define VOXEL uint32_t
#define NAME(function) function##_u32
#include "downsample_kernels.h"
#undef VOXEL
#undef NAME
#define VOXEL int32_t
#define NAME(function) function##_i32
#include "downsample_kernels.h"
#undef VOXEL
#undef NAME
#undef SUM

#define WIDE_SUM
#define SUM uint64_t
#define VOXEL uint64_t
#define NAME(function) function##_u64
#include "downsample_kernels.h"
#undef VOXEL
#undef NAME
#undef SUM
#define SUM int64_t
#define VOXEL int64_t
#define NAME(function) function##_i64
#include "downsample_kernels.h"
#undef VOXEL
#undef NAME
#undef SUM
#undef WIDE_SUM

#define FLOATING
#define SUM double
#define VOXEL float
#define NAME(function) function##_f32
#include "downsample_kernels.h"
#undef VOXEL
#undef NAME
#undef SUM
#undef FLOATING

#endif
