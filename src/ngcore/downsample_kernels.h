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
    VOXEL *batch, *batch_result; /* short rows end to end, and their whole cells */
    ptrdiff_t batch_rows;        /* rows of the result in a batch; 0: none is made */
    void *scratch;
    Splitters split;
} NAME(Workspace);

/* The set-up of loops is what short rows cost: they are taken end to end, up to so many voxels in each
 * row of the cells, and so many bytes in all. */
#define BATCH_VOXELS 2048
#define BATCH_BYTES (1 << 15)
/* Longer rows are worth no copy, unless they are cells by themselves, whose work is least. */
#define SHORT_ROW_BYTES 256

/* At most so many rows stand in for those beyond the array; cells of more go one by one. */
#define MAX_ROWS_OUTSIDE 64

/* How many rows of the result make a batch, if that pays. */
static ptrdiff_t NAME(rows_of_batch)(const Downsampling *job, ptrdiff_t most_rows)
{
    const ptrdiff_t width = job->shape[0], factor = job->factors[0];
    const int is_short = width * (ptrdiff_t)sizeof(VOXEL) <= SHORT_ROW_BYTES;
    ptrdiff_t rows;
    if (width < factor || !(is_short || (most_rows == 1 && job->method != METHOD_STRIDE)))
        return 0;
#ifdef NGCORE_VECTORS
    if (job->method == METHOD_MAJORITY && most_rows * factor > NAME(MAX_LANE_VOXELS))
        return 0; /* cells go one by one */
#endif
    rows = smaller_of(BATCH_VOXELS / width,
                      BATCH_BYTES / (most_rows * width * (ptrdiff_t)sizeof(VOXEL)));
    return rows < 2 ? 0 : rows;
}

static int NAME(make_workspace)(const Downsampling *job, VOXEL outside, NAME(Workspace) *work)
{
    const ptrdiff_t width = job->shape[0];
    const ptrdiff_t whole_rows = job->factors[1] * job->factors[2];
    const int pads = job->has_outside && whole_rows <= MAX_ROWS_OUTSIDE;
    ptrdiff_t x, longest;
    memset(work, 0, sizeof *work);
    work->most_rows = pads                           ? whole_rows
                      : job->method == METHOD_STRIDE ? 1
                                                     : smaller_of(job->factors[1], job->shape[1]) *
                                                           smaller_of(job->factors[2], job->shape[2]);
    work->rows = (const VOXEL **)malloc((size_t)work->most_rows * sizeof *work->rows);
    work->batch_rows = NAME(rows_of_batch)(job, work->most_rows);
    if (work->batch_rows) {
        work->batch = (VOXEL *)malloc((size_t)((work->most_rows + 1) * BATCH_VOXELS) * sizeof(VOXEL));
        if (!work->batch)
            return 0;
        work->batch_result = work->batch + work->most_rows * BATCH_VOXELS;
    }
    longest = work->batch ? BATCH_VOXELS : width;
    work->scratch = malloc(NAME(row_scratch)(
        job, work->most_rows, longest / job->factors[0]));
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
        work->outside_row = (VOXEL *)malloc((size_t)longest * sizeof(VOXEL));
        if (!work->outside_row)
            return 0;
        for (x = 0; x < longest; x++)
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

/* Copy one row of a batch. */
static inline void NAME(copy_row)(const Downsampling *job, const char *row, ptrdiff_t length,
                                  VOXEL *NGCORE_RESTRICT to)
{
    ptrdiff_t x;
    if (job->strides[0] == sizeof(VOXEL))
        memcpy(to, row, (size_t)length * sizeof(VOXEL));
    else
        for (x = 0; x < length; x++)
            to[x] = *(const VOXEL *)(row + x * job->strides[0]);
}

/* The whole cells of the next `rows` rows of the result in one go, from the first voxel of the first; 0
 * if they are not handled so. Cells are of factors[1] times `depth` rows. Inlined, it costs other
 * rows up to 8 %. */
static NGCORE_NOINLINE int NAME(reduce_batch)(const Downsampling *job, NAME(Workspace) *work,
                                              const char *first, ptrdiff_t rows, ptrdiff_t height,
                                              ptrdiff_t depth, ptrdiff_t whole)
{
    const ptrdiff_t length = whole * job->factors[0], next = job->factors[1] * job->strides[1];
    ptrdiff_t count = 0, y, z, i;
    if (height * depth == 1 && job->strides[0] == sizeof(VOXEL) &&
        next == length * (ptrdiff_t)sizeof(VOXEL)) { /* they lie end to end */
        work->rows[count++] = (const VOXEL *)first;
    } else {
        for (z = 0; z < depth; z++) {
            for (y = 0; y < height; y++) {
                const char *row = first + y * job->strides[1] + z * job->strides[2];
                VOXEL *to = work->batch + count * BATCH_VOXELS;
                for (i = 0; i < rows; i++, row += next)
                    NAME(copy_row)(job, row, length, to + i * length);
                work->rows[count++] = to;
            }
        }
    }
    return NAME(reduce_whole_row)(job, work, count, rows * whole, work->batch_result) ==
           rows * whole;
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
    ptrdiff_t x, y, z, at_y, at_z, channel, y_start, y_stop, z_start, z_stop;
    /* Rows of the result that hold factors[1] rows each, and those of the batch at hand. */
    const ptrdiff_t first_full = job->first[1] > 0;
    const ptrdiff_t stop_full = (job->shape[1] + job->first[1]) / job->factors[1];
    ptrdiff_t batch_start = 0, batch_stop = 0;
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
        if (at_y == 0)
            batch_stop = 0;
        if (work.batch_rows && whole > 0 && at_y >= batch_stop && at_y >= first_full &&
            at_y < stop_full) {
            const ptrdiff_t rows = smaller_of(work.batch_rows, stop_full - at_y);
            batch_start = at_y;
            batch_stop = at_y + rows;
            if (!NAME(reduce_batch)(job, &work,
                                    job->from + y_start * job->strides[1] +
                                        z_start * job->strides[2] + channel * job->strides[3] +
                                        skipped * job->strides[0],
                                    rows, y_stop - y_start, z_stop - z_start, whole))
                work.batch_rows = batch_stop = 0;
        }
        if (at_y < batch_stop) {
            whole_result = work.batch_result + (at_y - batch_start) * whole;
            if (whole == job->out_shape[0]) /* no partial cell needs the rows */
                z_stop = z_start;
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
#undef BATCH_BYTES
#undef SHORT_ROW_BYTES
