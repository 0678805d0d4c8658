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
    VOXEL *batch, *batch_result; /* short rows that are cells by themselves, end to end */
    ptrdiff_t batch_rows;
    void *scratch;
    Splitters split;
} NAME(Workspace);

/* Rows of cells of one row each are so short that their set-up is what costs: they are taken end to
 * end, up to so many voxels. */
#define BATCH_VOXELS 2048

/* At most so many rows stand in for those beyond the array; cells of more go one by one. */
#define MAX_ROWS_OUTSIDE 64

static int NAME(make_workspace)(const Downsampling *job, VOXEL outside, NAME(Workspace) *work)
{
    const ptrdiff_t width = job->shape[0];
    const ptrdiff_t whole_rows = job->factors[1] * job->factors[2];
    const int pads = job->has_outside && whole_rows <= MAX_ROWS_OUTSIDE;
    ptrdiff_t x;
    memset(work, 0, sizeof *work);
    work->most_rows = pads                           ? whole_rows
                      : job->method == METHOD_STRIDE ? 1
                                                     : smaller_of(job->factors[1], job->shape[1]) *
                                                           smaller_of(job->factors[2], job->shape[2]);
    work->rows = (const VOXEL **)malloc((size_t)work->most_rows * sizeof *work->rows);
    if (whole_rows == 1 && job->strides[0] == sizeof(VOXEL) && width >= job->factors[0] &&
        2 * width <= BATCH_VOXELS) {
        work->batch_rows = BATCH_VOXELS / width;
        work->batch = (VOXEL *)malloc(2 * BATCH_VOXELS * sizeof(VOXEL));
        if (!work->batch)
            return 0;
        work->batch_result = work->batch + BATCH_VOXELS;
    }
    work->scratch = malloc(NAME(row_scratch)(
        job, work->most_rows, (work->batch ? BATCH_VOXELS : width) / job->factors[0]));
    if (!work->rows || !work->scratch)
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
        work->outside_row = (VOXEL *)malloc((size_t)width * sizeof(VOXEL));
        if (!work->outside_row)
            return 0;
        for (x = 0; x < width; x++)
            work->outside_row[x] = outside;
    }
#ifdef WITH_AVX2
    make_splitter(&work->split.voxels, job->factors[0], sizeof(VOXEL));
    if (job->method == METHOD_AVERAGE)
        make_splitter(&work->split.parts, job->factors[0], sizeof(PART));
#endif
    return 1;
}

static void NAME(free_workspace)(NAME(Workspace) *work)
{
    free(work->rows);
    free(work->keys);
    free(work->gathered);
    free(work->result);
    free(work->outside_row);
    free(work->batch);
    free(work->scratch);
}

/* Whole cells of one row; how many were done. */
static ptrdiff_t NAME(reduce_whole_row)(const Downsampling *job, NAME(Workspace) *work,
                                        ptrdiff_t count, ptrdiff_t whole, VOXEL *to)
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
    if (NAME(reduce_whole_cells)(job, &work->split, work->rows, count, whole - done, work->scratch,
                                 to + done))
        done = whole;
    for (row = 0; row < count; row++)
        work->rows[row] -= skipped;
    return done;
}

/* One row of the result, from the rows of its cells: the whole cells together, the partial ones at
 * its ends one by one. Rows start at the first whole cell. `whole_result` is what a batch has made of
 * the whole cells already, or NULL. */
static void NAME(reduce_rows)(const Downsampling *job, NAME(Workspace) *work, ptrdiff_t count,
                              ptrdiff_t whole, VOXEL outside, const VOXEL *whole_result, VOXEL *to)
{
    const ptrdiff_t cells = job->out_shape[0], factor = job->factors[0];
    const ptrdiff_t leading = job->first[0] > 0;
    const ptrdiff_t skipped = whole > 0 ? leading * factor - job->first[0] : 0;
    ptrdiff_t done = 0, cell, start, stop;
    if (whole_result) {
        memcpy(to + leading, whole_result, (size_t)whole * sizeof *to);
        done = whole;
    } else if (whole > 0) {
        done = NAME(reduce_whole_row)(job, work, count, whole, to + leading);
    }
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

/* The whole cells of the next rows of the result, in one go; 0 if they are not handled so. Inlined, it
 * costs other rows up to 8 %. */
static NGCORE_NOINLINE int NAME(reduce_batch)(const Downsampling *job, NAME(Workspace) *work,
                                              const char *row, ptrdiff_t rows, ptrdiff_t whole)
{
    const ptrdiff_t length = whole * job->factors[0];
    ptrdiff_t i;
    work->rows[0] = (const VOXEL *)row;
    if (job->strides[1] != length * (ptrdiff_t)sizeof(VOXEL)) { /* else they lie end to end */
        for (i = 0; i < rows; i++)
            memcpy(work->batch + i * length, row + i * job->strides[1],
                   (size_t)length * sizeof(VOXEL));
        work->rows[0] = work->batch;
    }
    return NAME(reduce_whole_row)(job, work, 1, rows * whole, work->batch_result) == rows * whole;
}

/* Run the whole job; 0 when there is no memory for its scratch rows. */
static int NAME(downsample)(const Downsampling *job, VOXEL outside)
{
    const ptrdiff_t width = job->shape[0];
    /* Whole cells of a row, and where they start. */
    const ptrdiff_t leading = job->first[0] > 0;
    const ptrdiff_t whole = (width + job->first[0]) / job->factors[0] - leading;
    const ptrdiff_t skipped = whole > 0 ? leading * job->factors[0] - job->first[0] : 0;
    /* Bytes of a row to ask for in advance; rows that are cells by themselves are read in batches. */
    const ptrdiff_t prefetched =
        job->factors[1] * job->factors[2] > 1 ? width * (ptrdiff_t)sizeof(VOXEL) : 0;
    ptrdiff_t x, y, z, at_y, at_z, channel, y_start, y_stop, z_start, z_stop, in_batch = 0;
    NAME(Workspace) work;
    if (!NAME(make_workspace)(job, outside, &work)) {
        NAME(free_workspace)(&work);
        return 0;
    }
    for (channel = 0; channel < job->out_shape[3]; channel++)
    for (at_z = 0; at_z < job->out_shape[2]; at_z++)
    for (at_y = 0; at_y < job->out_shape[1]; at_y++) {
        char *to = job->to + at_y * job->out_strides[1] + at_z * job->out_strides[2] +
                   channel * job->out_strides[3];
        const VOXEL *whole_result = NULL;
        ptrdiff_t count = 0;
        cell_range(job, 1, at_y, &y_start, &y_stop);
        cell_range(job, 2, at_z, &z_start, &z_stop);
        if (job->method == METHOD_STRIDE) { /* which looks at no other row */
            y_stop = y_start + 1;
            z_stop = z_start + 1;
        }
        if (work.batch && whole > 0) {
            const ptrdiff_t at = at_y % work.batch_rows;
            if (at == 0)
                in_batch = NAME(reduce_batch)(
                    job, &work,
                    job->from + at_y * job->strides[1] + at_z * job->strides[2] +
                        channel * job->strides[3] + skipped * (ptrdiff_t)sizeof(VOXEL),
                    smaller_of(work.batch_rows, job->out_shape[1] - at_y), whole);
            if (in_batch)
                whole_result = work.batch_result + at * whole;
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
                } else {
                    /* Rows are too short for the processor to see a stream in them: ask for those
                     * of the cells after the next. Worth up to twice the speed. */
                    const char *next = row + 2 * job->factors[1] * job->strides[1];
                    for (x = 0; x < prefetched; x += 64)
                        NGCORE_PREFETCH(next + x);
                }
                work.rows[count++] = voxels + skipped;
            }
        }
        NAME(reduce_rows)(job, &work, count, whole, outside, whole_result,
                          work.result ? work.result : (VOXEL *)to);
        if (work.result) {
            for (x = 0; x < job->out_shape[0]; x++)
                *(VOXEL *)(to + x * job->out_strides[0]) = work.result[x];
        }
    }
    NAME(free_workspace)(&work);
    return 1;
}
#undef KEY
#undef MAX_ROWS_OUTSIDE
#undef BATCH_VOXELS
