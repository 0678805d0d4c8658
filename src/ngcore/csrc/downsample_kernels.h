/* Walks an array of VOXEL, row by row of the result. Included by downsample.c, once per set of
 * instructions. */

#include "downsample_cells.h"
#include "downsample_rows.h"

/* What one call needs beside its job. */
typedef struct {
    const VOXEL **rows; /* of the cell at hand */
    ptrdiff_t most_rows;
    KEY *keys;                /* majority: of one cell */
    VOXEL *gathered, *result; /* rows whose voxels are no neighbours in memory, in and out */
    VOXEL *outside_row;       /* stands in for the rows beyond the array */
    void *scratch;
    Splitters split;
} NAME(Workspace);

/* At most so many rows stand in for those beyond the array; cells of more go one by one. */
#define MAX_ROWS_OUTSIDE 64

static void NAME(make_splitters)(const Downsampling *job, Splitters *split)
{
#ifdef WITH_AVX2
    make_splitter(&split->voxels, job->factors[0], sizeof(VOXEL));
    if (job->method == METHOD_AVERAGE)
        make_splitter(&split->parts, job->factors[0], sizeof(PART));
#else
    (void)job, (void)split;
#endif
}

/* Whole cells of one row; how many were done. */
static ptrdiff_t NAME(reduce_whole_row)(const Downsampling *job, const Splitters *split,
                                        NAME(Workspace) *work, ptrdiff_t count, ptrdiff_t whole,
                                        VOXEL *to)
{
    const ptrdiff_t rows_of_cell = job->factors[1] * job->factors[2];
    ptrdiff_t row, done, skipped;
    if (job->has_outside && count < rows_of_cell) {
        if (!work->outside_row)
            return 0;
        for (; count < rows_of_cell; count++)
            work->rows[count] = work->outside_row;
    }
    done = NAME(reduce_pairs)(job, work->rows, count, whole, to);
    if (done == whole)
        return done;
    skipped = done * job->factors[0];
    for (row = 0; row < count; row++)
        work->rows[row] += skipped;
    if (NAME(reduce_whole_cells)(job, split, work->rows, count, whole - done, work->scratch,
                                 to + done))
        done = whole;
    for (row = 0; row < count; row++)
        work->rows[row] -= skipped;
    return done;
}

#include "downsample_batch.h"

/* 0 if there is no memory. */
static int NAME(make_workspace)(const Downsampling *job, VOXEL outside, NAME(Workspace) *work,
                                NAME(Batch) *batch)
{
    const ptrdiff_t width = job->shape[0];
    const ptrdiff_t whole_rows = job->factors[1] * job->factors[2];
    const int pads = job->has_outside && whole_rows <= MAX_ROWS_OUTSIDE;
    ptrdiff_t x, longest = width;
    size_t scratch;
    int i;
    memset(work, 0, sizeof *work);
    memset(batch, 0, sizeof *batch);
    work->most_rows = pads                           ? whole_rows
                      : job->method == METHOD_STRIDE ? 1
                                                     : smaller_of(job->factors[1], job->shape[1]) *
                                                           smaller_of(job->factors[2], job->shape[2]);
    work->rows = (const VOXEL **)malloc((size_t)work->most_rows * sizeof *work->rows);
    if (!work->rows || !NAME(make_batch)(job, outside, work->most_rows, batch))
        return 0;
    scratch = NAME(row_scratch)(job, work->most_rows, width / job->factors[0]);
    for (i = 0; i < batch->count; i++) {
        const NAME(Segment) *segment = &batch->segments[i];
        const size_t wanted = NAME(row_scratch)(&segment->job, work->most_rows,
                                                batch->most_rows * segment->cells);
        scratch = wanted > scratch ? wanted : scratch;
        longest = BATCH_VOXELS;
    }
    work->scratch = malloc(scratch);
    if (!work->scratch)
        return 0;
    if (job->method == METHOD_MAJORITY) {
        work->keys = (KEY *)malloc((size_t)(work->most_rows * smaller_of(job->factors[0], width)) *
                                   sizeof *work->keys);
        if (!work->keys)
            return 0;
    }
    if (job->strides[0] != sizeof(VOXEL)) {
        work->gathered = (VOXEL *)malloc((size_t)(work->most_rows * width) * sizeof(VOXEL));
        if (!work->gathered)
            return 0;
    }
    if (job->out_strides[0] != sizeof(VOXEL)) {
        work->result = (VOXEL *)malloc((size_t)job->out_shape[0] * sizeof(VOXEL));
        if (!work->result)
            return 0;
    }
    if (pads) {
        work->outside_row = (VOXEL *)malloc((size_t)longest * sizeof(VOXEL));
        if (!work->outside_row)
            return 0;
        for (x = 0; x < longest; x++)
            work->outside_row[x] = outside;
    }
    NAME(make_splitters)(job, &work->split);
    return 1;
}

static void NAME(free_workspace)(NAME(Workspace) *work, NAME(Batch) *batch)
{
    free(work->rows);
    free(work->keys);
    free(work->gathered);
    free(work->result);
    free(work->outside_row);
    free(work->scratch);
    free(batch->voxels);
}

/* One row of the result, from the rows of its cells: the whole cells together, the partial ones at
 * its ends one by one. Rows start at the first whole cell. */
static void NAME(reduce_rows)(const Downsampling *job, NAME(Workspace) *work, ptrdiff_t count,
                              ptrdiff_t whole, VOXEL outside, VOXEL *to)
{
    const ptrdiff_t cells = job->out_shape[0], factor = job->factors[0];
    const ptrdiff_t leading = job->first[0] > 0;
    const ptrdiff_t skipped = whole > 0 ? leading * factor - job->first[0] : 0;
    ptrdiff_t done = 0, cell, start, stop;
    if (whole > 0)
        done = NAME(reduce_whole_row)(job, &work->split, work, count, whole, to + leading);
    for (cell = 0; cell < cells; cell++) {
        if (cell == leading && done)
            cell += done;
        if (cell == cells)
            break;
        cell_range(job, 0, cell, &start, &stop);
        to[cell] = NAME(reduce_cell)(job, work->rows, count, start - skipped, stop - skipped,
                                     outside, work->keys);
    }
}

#ifdef FLOATING
/* NaN is absence: reduce the voxels of one cell that have a value; NaN if none has. `start` and `stop`
 * are the voxels of the cell per axis. */
static VOXEL NAME(reduce_present)(const Downsampling *job, const ptrdiff_t *start,
                                  const ptrdiff_t *stop, const char *from, VOXEL outside)
{
    ptrdiff_t present = 0, missing, x, y, z;
    VOXEL value = 0;
    SUM sum = 0;
    for (x = start[0]; x < stop[0]; x++)
        for (z = start[2]; z < stop[2]; z++)
            for (y = start[1]; y < stop[1]; y++) {
                const VOXEL voxel = *(const VOXEL *)(from + x * job->strides[0] +
                                                     y * job->strides[1] + z * job->strides[2]);
                if (voxel != voxel)
                    continue;
                if (present++ == 0) {
                    sum = value = voxel;
                    continue;
                }
                sum += voxel;
                value = job->method == METHOD_MIN ? NAME(smaller)(value, voxel)
                                                  : NAME(larger)(value, voxel);
            }
    if (job->method == METHOD_AVERAGE) {
        missing = job->factors[0] * job->factors[1] * job->factors[2];
        missing -= (stop[0] - start[0]) * (stop[1] - start[1]) * (stop[2] - start[2]);
        if (job->has_outside && missing > 0 && outside == outside) {
            sum += (SUM)outside * (SUM)missing;
            present += missing;
        }
        value = (VOXEL)(sum / (SUM)present); /* NaN of 0 / 0 */
    }
    return present && value == value ? value : NAME(from_key)(UINT32_MAX);
}

/* Kernels for rows let NaN spread, which costs them nothing. Reduce those cells of a row of the result
 * again. */
static void NAME(reduce_nan_cells)(const Downsampling *job, VOXEL outside, ptrdiff_t at_y,
                                   ptrdiff_t at_z, const char *from, char *to)
{
    const ptrdiff_t cells = job->out_shape[0], stride = job->out_strides[0];
    ptrdiff_t start[3], stop[3], cell;
    int has_nan = 0;
    if (job->method == METHOD_MAJORITY || job->method == METHOD_STRIDE)
        return;
    if (stride == sizeof(VOXEL)) {
        const VOXEL *row = (const VOXEL *)to;
        for (cell = 0; cell < cells; cell++)
            has_nan |= row[cell] != row[cell];
        if (!has_nan)
            return;
    }
    cell_range(job, 1, at_y, &start[1], &stop[1]);
    cell_range(job, 2, at_z, &start[2], &stop[2]);
    for (cell = 0; cell < cells; cell++, to += stride) {
        VOXEL *value = (VOXEL *)to;
        if (*value == *value)
            continue;
        cell_range(job, 0, cell, &start[0], &stop[0]);
        *value = NAME(reduce_present)(job, start, stop, from, outside);
    }
}
#endif

/* Run the whole job; 0 when there is no memory for its scratch rows. */
static int NAME(downsample)(const Downsampling *job, VOXEL outside)
{
    const ptrdiff_t width = job->shape[0];
    /* Whole cells of a row, and where they start. */
    const ptrdiff_t leading = job->first[0] > 0;
    const ptrdiff_t whole = (width + job->first[0]) / job->factors[0] - leading;
    const ptrdiff_t skipped = whole > 0 ? leading * job->factors[0] - job->first[0] : 0;
    ptrdiff_t x, y, z, at_y, at_z, channel, y_start, y_stop, z_start, z_stop;
    /* Rows of the result that hold factors[1] rows each: those that batches take. */
    const ptrdiff_t first_full = job->first[1] > 0;
    const ptrdiff_t stop_full = (job->shape[1] + job->first[1]) / job->factors[1];
    const int asks_ahead = NAME(asks_ahead)(job);
    NAME(Workspace) work;
    NAME(Batch) batch;
    if (!NAME(make_workspace)(job, outside, &work, &batch)) {
        NAME(free_workspace)(&work, &batch);
        return 0;
    }
    for (channel = 0; channel < job->out_shape[3]; channel++)
    for (at_z = 0; at_z < job->out_shape[2]; at_z++)
    for (at_y = 0; at_y < job->out_shape[1]; at_y++) {
        char *to = job->to + at_y * job->out_strides[1] + at_z * job->out_strides[2] +
                   channel * job->out_strides[3];
        ptrdiff_t count = 0;
        cell_range(job, 1, at_y, &y_start, &y_stop);
        cell_range(job, 2, at_z, &z_start, &z_stop);
        if (job->method == METHOD_STRIDE) { /* which looks at no other row */
            y_stop = y_start + 1;
            z_stop = z_start + 1;
        }
        if (at_y == 0)
            batch.stop = 0;
        if (batch.most_rows && at_y >= first_full && at_y < stop_full &&
            (at_y < batch.stop ||
             NAME(reduce_batch)(&batch,
                                job->from + y_start * job->strides[1] + z_start * job->strides[2] +
                                    channel * job->strides[3],
                                at_y, stop_full, y_stop - y_start, z_stop - z_start, &work))) {
            NAME(write_row)(job, &batch, at_y, to);
#ifdef FLOATING
            NAME(reduce_nan_cells)(job, outside, at_y, at_z,
                                   job->from + channel * job->strides[3], to);
#endif
            continue;
        }
        for (z = z_start; z < z_stop; z++) {
            const char *row = job->from + y_start * job->strides[1] + z * job->strides[2] +
                              channel * job->strides[3];
            for (y = y_start; y < y_stop; y++, row += job->strides[1]) {
                const VOXEL *voxels = (const VOXEL *)row;
                NGCORE_ASSERT(count < work.most_rows);
                if (work.gathered) {
                    VOXEL *copy = work.gathered + count * width;
                    for (x = 0; x < width; x++)
                        copy[x] = *(const VOXEL *)(row + x * job->strides[0]);
                    voxels = copy;
                } else if (!asks_ahead) {
                    const char *next = row + NAME(ahead)(job);
                    for (x = 0; x < width * (ptrdiff_t)sizeof(VOXEL); x += 64)
                        NGCORE_PREFETCH(next + x);
                }
                work.rows[count++] = voxels + skipped;
            }
        }
        NAME(reduce_rows)(job, &work, count, whole, outside,
                          work.result ? work.result : (VOXEL *)to);
        if (work.result) {
            for (x = 0; x < job->out_shape[0]; x++)
                *(VOXEL *)(to + x * job->out_strides[0]) = work.result[x];
        }
#ifdef FLOATING
        NAME(reduce_nan_cells)(job, outside, at_y, at_z, job->from + channel * job->strides[3],
                               to);
#endif
    }
    NAME(free_workspace)(&work, &batch);
    return 1;
}
#undef KEY
#undef MAX_ROWS_OUTSIDE
#undef BATCH_VOXELS
