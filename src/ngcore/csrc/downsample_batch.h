/* Short rows of the result, many at a time: set-up and single cells are what they would cost. Included
 * by downsample_kernels.h, once per set of instructions.
 *
 * The rows of a batch are copied end to end, row k of every cell to row k of the batch. A row of the
 * result has up to three segments: the first cell if it is partial, the whole ones, the last if it is
 * partial. To a segment of its own a partial cell is a whole one, of a smaller factor. Where cells
 * are filled up with a value, the copy is, and all cells are whole.
 */

/* Voxels of a batch in each row of its cells, and bytes in all of them. */
#define BATCH_VOXELS 2048
#define BATCH_BYTES (1 << 15)

typedef struct {
    Downsampling job; /* with the segment's factor */
    Splitters split;
    ptrdiff_t start, cells; /* the first voxel in a row; how many cells */
    VOXEL *result;          /* `cells` for each row of the batch */
} NAME(Segment);

typedef struct {
    NAME(Segment) segments[3];
    int count;
    ptrdiff_t most_rows;   /* of the result; 0: no batch is made */
    ptrdiff_t start, stop; /* the rows of the result at hand */
    VOXEL *voxels;
    VOXEL outside;
} NAME(Batch);

static void NAME(add_segment)(const Downsampling *job, NAME(Batch) *batch, ptrdiff_t factor,
                              ptrdiff_t start, ptrdiff_t cells)
{
    NAME(Segment) *segment = &batch->segments[batch->count];
    if (cells <= 0 || factor <= 0)
        return;
    segment->job = *job;
    segment->job.factors[0] = factor;
    segment->start = start;
    segment->cells = cells;
    NAME(make_splitters)(&segment->job, &segment->split);
    batch->count++;
}

/* Plan batches, if they pay, for cells of `rows` rows; 0 if there is no memory. */
static int NAME(make_batch)(const Downsampling *job, VOXEL outside, ptrdiff_t rows,
                            NAME(Batch) *batch)
{
    const ptrdiff_t factor = job->factors[0], first = job->first[0], cells = job->out_shape[0];
    const ptrdiff_t width = job->has_outside ? cells * factor : job->shape[0];
    const ptrdiff_t bytes = width * (ptrdiff_t)sizeof(VOXEL);
    const ptrdiff_t short_row = NAME(short_row_bytes)(job, rows);
    /* Cells of one row are so little work that longer rows are worth a copy too. */
    const int pays = bytes <= short_row || (short_row && rows == 1 && job->method != METHOD_STRIDE);
    ptrdiff_t most_rows, at;
    int i;
    if (!pays || job->shape[0] < factor)
        return 1;
    most_rows = smaller_of(BATCH_VOXELS / width, BATCH_BYTES / (rows * bytes));
    if (most_rows < 2)
        return 1;
    batch->most_rows = most_rows;
    batch->outside = outside;
    batch->voxels = (VOXEL *)malloc((size_t)((rows + 1) * BATCH_VOXELS) * sizeof(VOXEL));
    if (!batch->voxels)
        return 0;
    if (job->has_outside) {
        NAME(add_segment)(job, batch, factor, -first, cells);
    } else {
        const ptrdiff_t leading = first ? factor - first : 0;
        const ptrdiff_t whole = (width - leading) / factor;
        const ptrdiff_t trailing = width - leading - whole * factor;
        NAME(add_segment)(job, batch, leading, 0, 1);
        NAME(add_segment)(job, batch, factor, leading, whole);
        NAME(add_segment)(job, batch, trailing, width - trailing, 1);
    }
    at = rows * BATCH_VOXELS;
    for (i = 0; i < batch->count; i++) {
        batch->segments[i].result = batch->voxels + at;
        at += most_rows * batch->segments[i].cells;
    }
    NGCORE_ASSERT(at <= (rows + 1) * BATCH_VOXELS);
    return 1;
}

/* Copy the voxels [start, stop) of a row, of which `outside` are those beyond it. */
static inline void NAME(copy_row)(const Downsampling *job, const char *row, ptrdiff_t start,
                                  ptrdiff_t stop, VOXEL outside, VOXEL *NGCORE_RESTRICT to)
{
    ptrdiff_t x = start;
    for (; x < 0; x++)
        *to++ = outside;
    row += x * job->strides[0];
    if (job->strides[0] == sizeof(VOXEL)) {
        const ptrdiff_t inside = smaller_of(stop, job->shape[0]) - x;
        memcpy(to, row, (size_t)inside * sizeof(VOXEL));
        to += inside;
        x += inside;
    } else {
        for (; x < smaller_of(stop, job->shape[0]); x++, row += job->strides[0])
            *to++ = *(const VOXEL *)row;
    }
    for (; x < stop; x++)
        *to++ = outside;
}

/* Reduce one segment of `rows` rows of the result, whose cells are of height * depth rows from
 * `first` on; 0 if such cells are not handled. */
static int NAME(reduce_segment)(const NAME(Segment) *segment, NAME(Batch) *batch, const char *first,
                                ptrdiff_t rows, ptrdiff_t height, ptrdiff_t depth,
                                NAME(Workspace) *work)
{
    const Downsampling *job = &segment->job;
    const ptrdiff_t start = segment->start, length = segment->cells * job->factors[0];
    const ptrdiff_t next = job->factors[1] * job->strides[1], whole = rows * segment->cells;
    ptrdiff_t count = 0, y, z, i;
    if (height * depth == 1 && job->strides[0] == sizeof(VOXEL) && length == job->shape[0] &&
        next == length * (ptrdiff_t)sizeof(VOXEL)) { /* they lie end to end */
        work->rows[count++] = (const VOXEL *)first;
    } else {
        for (z = 0; z < depth; z++) {
            for (y = 0; y < height; y++) {
                const char *row = first + y * job->strides[1] + z * job->strides[2];
                VOXEL *to = batch->voxels + count * BATCH_VOXELS;
                for (i = 0; i < rows; i++, row += next)
                    NAME(copy_row)(job, row, start, start + length, batch->outside,
                                   to + i * length);
                work->rows[count++] = to;
            }
        }
    }
    return NAME(reduce_whole_row)(job, &segment->split, work, count, whole, segment->result) ==
           whole;
}

/* Make a batch of row `at_y` of the result and those after it, up to `stop`; 0 if that fails, as it
 * does if rows are long, or their cells not handled by vectors. `first` is the first row of its cells.
 * Inlined, it costs other rows up to 8 %. */
static NGCORE_NOINLINE int NAME(reduce_batch)(NAME(Batch) *batch, const char *first, ptrdiff_t at_y,
                                              ptrdiff_t stop, ptrdiff_t height, ptrdiff_t depth,
                                              NAME(Workspace) *work)
{
    const ptrdiff_t rows = smaller_of(batch->most_rows, stop - at_y);
    int i;
    for (i = 0; i < batch->count; i++)
        if (!NAME(reduce_segment)(&batch->segments[i], batch, first, rows, height, depth, work))
            return batch->most_rows = 0;
    batch->start = at_y;
    batch->stop = at_y + rows;
    return 1;
}

/* Write row `at_y` of the result, which is in the batch. */
static inline void NAME(write_row)(const Downsampling *job, const NAME(Batch) *batch,
                                   ptrdiff_t at_y, char *to)
{
    const ptrdiff_t stride = job->out_strides[0];
    ptrdiff_t x;
    int i;
    for (i = 0; i < batch->count; i++) {
        const ptrdiff_t cells = batch->segments[i].cells;
        const VOXEL *from = batch->segments[i].result + (at_y - batch->start) * cells;
        if (cells > 1 && stride == sizeof(VOXEL))
            memcpy(to, from, (size_t)cells * sizeof(VOXEL));
        else
            for (x = 0; x < cells; x++)
                *(VOXEL *)(to + x * stride) = from[x];
        to += cells * stride;
    }
}
#undef BATCH_BYTES
