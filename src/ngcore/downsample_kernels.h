/* Walks an array of VOXEL, row by row of the result. Included by downsample_types.h. */

#include "downsample_cells.h"
#include "downsample_rows.h"

/* One row of the result, from the rows of its cells: the whole cells together, the partial ones at
 * its ends one by one. Rows start at the first whole cell. */
static void NAME(reduce_rows)(const Downsampling *job, const VOXEL **rows, ptrdiff_t count,
                              ptrdiff_t whole, VOXEL outside, KEY *keys, void *scratch, VOXEL *to)
{
    const ptrdiff_t cells = job->out_shape[0], factor = job->factors[0];
    const ptrdiff_t leading = job->first[0] > 0;
    const ptrdiff_t skipped = whole > 0 ? leading * factor - job->first[0] : 0;
    ptrdiff_t done = 0, cell, start, stop, row;
    if (whole > 0)
        done = NAME(reduce_pairs)(job, rows, count, whole, to + leading);
    if (done < whole) {
        const ptrdiff_t paired = done * factor;
        for (row = 0; row < count; row++)
            rows[row] += paired;
        if (NAME(reduce_whole_cells)(job, rows, count, whole - done, scratch,
                                     to + leading + done))
            done = whole;
        for (row = 0; row < count; row++)
            rows[row] -= paired;
    }
    for (cell = 0; cell < cells; cell++) {
        if (cell == leading && done)
            cell += done;
        if (cell == cells)
            break;
        cell_range(job, 0, cell, &start, &stop);
        to[cell] = NAME(reduce_cell)(job, rows, count, start - skipped, stop - skipped, outside,
                                     keys);
    }
}

/* Run the whole job; 0 when there is no memory for its scratch rows. */
static int NAME(downsample)(const Downsampling *job, VOXEL outside)
{
    const int gathers = job->strides[0] != sizeof(VOXEL);
    const int scatters = job->out_strides[0] != sizeof(VOXEL);
    const ptrdiff_t width = job->shape[0];
    const ptrdiff_t most_rows = smaller_of(job->factors[1], job->shape[1]) *
                                smaller_of(job->factors[2], job->shape[2]);
    const VOXEL **rows = (const VOXEL **)malloc((size_t)most_rows * sizeof *rows);
    KEY *keys = NULL;
    VOXEL *gathered = NULL, *result = NULL;
    void *scratch = malloc(NAME(row_scratch)(job, most_rows, width / job->factors[0]));
    /* Whole cells of a row, and where they start. */
    const ptrdiff_t leading = job->first[0] > 0;
    const ptrdiff_t whole = (width + job->first[0]) / job->factors[0] - leading;
    const ptrdiff_t skipped = whole > 0 ? leading * job->factors[0] - job->first[0] : 0;
    ptrdiff_t x, y, z, at_y, at_z, channel, y_start, y_stop, z_start, z_stop;
    int done = 0;
    if (job->method == METHOD_MAJORITY)
        keys = (KEY *)malloc((size_t)(most_rows * smaller_of(job->factors[0], width)) *
                             sizeof *keys);
    if (gathers)
        gathered = (VOXEL *)malloc((size_t)(most_rows * width) * sizeof *gathered);
    if (scatters)
        result = (VOXEL *)malloc((size_t)job->out_shape[0] * sizeof *result);
    if (!rows || !scratch || (job->method == METHOD_MAJORITY && !keys) || (gathers && !gathered) ||
        (scatters && !result))
        goto finish;
    for (channel = 0; channel < job->out_shape[3]; channel++)
    for (at_z = 0; at_z < job->out_shape[2]; at_z++)
    for (at_y = 0; at_y < job->out_shape[1]; at_y++) {
        char *to = job->to + at_y * job->out_strides[1] + at_z * job->out_strides[2] +
                   channel * job->out_strides[3];
        ptrdiff_t count = 0;
        cell_range(job, 1, at_y, &y_start, &y_stop);
        cell_range(job, 2, at_z, &z_start, &z_stop);
        for (z = z_start; z < z_stop; z++) {
            const char *row = job->from + y_start * job->strides[1] + z * job->strides[2] +
                              channel * job->strides[3];
            for (y = y_start; y < y_stop; y++, row += job->strides[1]) {
                const VOXEL *voxels = (const VOXEL *)row;
                NGCORE_ASSERT(count < most_rows);
                if (gathers) {
                    VOXEL *copy = gathered + count * width;
                    for (x = 0; x < width; x++)
                        copy[x] = *(const VOXEL *)(row + x * job->strides[0]);
                    voxels = copy;
                } else {
                    /* Rows are too short for the processor to see a stream in them: ask for those
                     * of the cells after the next. Worth up to twice the speed. */
                    const char *next = row + 2 * job->factors[1] * job->strides[1];
                    for (x = 0; x < width * (ptrdiff_t)sizeof(VOXEL); x += 64)
                        NGCORE_PREFETCH(next + x);
                }
                rows[count++] = voxels + skipped;
            }
        }
        NAME(reduce_rows)(job, rows, count, whole, outside, keys, scratch,
                          scatters ? result : (VOXEL *)to);
        if (scatters) {
            for (x = 0; x < job->out_shape[0]; x++)
                *(VOXEL *)(to + x * job->out_strides[0]) = result[x];
        }
    }
    done = 1;
finish:
    free(rows);
    free(keys);
    free(gathered);
    free(result);
    free(scratch);
    return done;
}
#undef KEY
