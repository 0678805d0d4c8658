/* Downsampling of a strided array: the job, and a kernel per type of voxel.
 *
 * A cell of the result covers `factors` voxels per axis, counted from `-first`: the first and last
 * cells of an axis may hold fewer. Axis 0 is the one whose voxels lie closest together; the caller
 * has permuted the axes, which no method can tell.
 *
 *   downsample.c          the kernels for one type; compiled once per type
 *   downsample_types.h    what each type is computed with
 *   downsample_cells.h    one cell at a time: any cell, any method
 *   downsample_rows.h     rows of whole cells, with vectors: what nearly all voxels take
 *   downsample_average.h, downsample_wide.h     averages, and those of 64-bit voxels
 *   downsample_majority.h, downsample_large.h   majorities, and those of large cells
 *   downsample_split.h    takes rows of cells apart, for vectors
 *   downsample_kernels.h  walks the array, row by row of the result
 *   downsample_batch.h    short rows of the result, many at a time
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

/* Run a job; 0 when there is no memory for its scratch rows. `outside` is what voxels beyond the array
 * are taken for, if the job has such. */
int downsample_u8(const Downsampling *job, uint8_t outside, int use_avx2);
int downsample_i8(const Downsampling *job, int8_t outside, int use_avx2);
int downsample_u16(const Downsampling *job, uint16_t outside, int use_avx2);
int downsample_i16(const Downsampling *job, int16_t outside, int use_avx2);
int downsample_u32(const Downsampling *job, uint32_t outside, int use_avx2);
int downsample_i32(const Downsampling *job, int32_t outside, int use_avx2);
int downsample_u64(const Downsampling *job, uint64_t outside, int use_avx2);
int downsample_i64(const Downsampling *job, int64_t outside, int use_avx2);
int downsample_f32(const Downsampling *job, float outside, int use_avx2);

#endif
