/* Rows of whole cells, for voxels of type VOXEL. Included once per set of instructions.
 *
 * The rows of a cell are first reduced to one, voxel by voxel: loops over neighbours, which the
 * compiler turns into vectors. Then the voxels of each cell within that row are reduced: with AVX2
 * they are split into planes first (downsample_split.h), which makes loops over neighbours of this
 * too; else factors up to 8 are constants. So the cost per voxel read hardly depends on the factors.
 */

/* Call `function` with factor as a constant where it is small. */
#define WITH_CONSTANT_FACTOR(function, factor, ...)                                               \
    do {                                                                                          \
        switch (factor) {                                                                         \
        case 1: NAME(function)(1, __VA_ARGS__); break;                                            \
        case 2: NAME(function)(2, __VA_ARGS__); break;                                            \
        case 3: NAME(function)(3, __VA_ARGS__); break;                                            \
        case 4: NAME(function)(4, __VA_ARGS__); break;                                            \
        case 5: NAME(function)(5, __VA_ARGS__); break;                                            \
        case 6: NAME(function)(6, __VA_ARGS__); break;                                            \
        case 7: NAME(function)(7, __VA_ARGS__); break;                                            \
        case 8: NAME(function)(8, __VA_ARGS__); break;                                            \
        default: NAME(function)(factor, __VA_ARGS__); break;                                      \
        }                                                                                         \
    } while (0)

/* The same where small factors come here only if nothing splits them. */
#ifdef WITH_AVX2
#define WITHOUT_SPLIT(function, factor, ...) NAME(function)(factor, __VA_ARGS__)
#else
#define WITHOUT_SPLIT WITH_CONSTANT_FACTOR
#endif

#include "downsample_average.h"
#include "downsample_majority.h"

/* ---- min and max ---- */

/* Of rows[0..count), voxel by voxel. */
#define EXTREME_OF_ROWS(extreme)                                                                  \
    static NGCORE_NOINLINE void NAME(extreme##_with)(VOXEL *NGCORE_RESTRICT row,                  \
                                                     const VOXEL *NGCORE_RESTRICT from,           \
                                                     ptrdiff_t length)                            \
    {                                                                                             \
        ptrdiff_t x;                                                                              \
        for (x = 0; x < length; x++)                                                              \
            row[x] = NAME(extreme)(row[x], from[x]);                                              \
    }                                                                                             \
    static void NAME(extreme##_of_rows)(const VOXEL *const *rows, ptrdiff_t count,                \
                                        ptrdiff_t length, VOXEL *NGCORE_RESTRICT row)             \
    {                                                                                             \
        ptrdiff_t at, x;                                                                          \
        if (count == 1) {                                                                         \
            memcpy(row, rows[0], (size_t)length * sizeof *row);                                   \
            return;                                                                               \
        }                                                                                         \
        for (x = 0; x < length; x++)                                                              \
            row[x] = NAME(extreme)(rows[0][x], rows[1][x]);                                       \
        for (at = 2; at < count; at++)                                                            \
            NAME(extreme##_with)(row, rows[at], length);                                          \
    }

/* Of the voxels of each cell of a row. */
#define EXTREME_OF_CELLS(extreme)                                                                 \
    static inline void NAME(extreme##_of_cells)(ptrdiff_t factor,                                 \
                                                const VOXEL *NGCORE_RESTRICT row,                 \
                                                ptrdiff_t cells, VOXEL *NGCORE_RESTRICT to)       \
    {                                                                                             \
        ptrdiff_t i, x;                                                                           \
        for (i = 0; i < cells; i++) {                                                             \
            VOXEL value = row[i * factor];                                                        \
            for (x = 1; x < factor; x++)                                                          \
                value = NAME(extreme)(value, row[i * factor + x]);                                \
            to[i] = value;                                                                        \
        }                                                                                         \
    }

EXTREME_OF_ROWS(smaller)
EXTREME_OF_ROWS(larger)
EXTREME_OF_CELLS(smaller)
EXTREME_OF_CELLS(larger)
#undef EXTREME_OF_ROWS
#undef EXTREME_OF_CELLS

static void NAME(extreme_of_rows)(int is_max, const VOXEL *const *rows, ptrdiff_t count,
                                  ptrdiff_t length, VOXEL *row)
{
    if (is_max)
        NAME(larger_of_rows)(rows, count, length, row);
    else
        NAME(smaller_of_rows)(rows, count, length, row);
}

#if defined(FLOATING) && !defined(WITH_AVX2)
/* Put voxel x of every cell of a row in plane x. */
static inline void NAME(split_voxels)(ptrdiff_t factor, const VOXEL *NGCORE_RESTRICT row,
                                      ptrdiff_t cells, VOXEL *NGCORE_RESTRICT planes,
                                      ptrdiff_t pitch)
{
    ptrdiff_t i, x;
    for (x = 0; x < factor; x++)
        for (i = 0; i < cells; i++)
            planes[x * pitch + i] = row[i * factor + x];
}
#endif

static void NAME(extreme_cells)(const Splitters *split, int is_max, const VOXEL *const *rows,
                                ptrdiff_t count, ptrdiff_t factor, ptrdiff_t cells, VOXEL *row,
                                VOXEL *to)
{
    const VOXEL *one = count > 1 ? row : rows[0]; /* the rows of a cell, reduced to one */
    if (factor == 1) {
        NAME(extreme_of_rows)(is_max, rows, count, cells, to);
        return;
    }
    if (count > 1)
        NAME(extreme_of_rows)(is_max, rows, count, cells * factor, row);
#if defined(WITH_AVX2) || defined(FLOATING)
    if (factor <= MAX_SPLIT) {
        const ptrdiff_t pitch = cells + ROW_SLACK;
        VOXEL *planes = row + cells * factor + ROW_SLACK;
        const VOXEL *row_of_plane[MAX_SPLIT];
        ptrdiff_t x;
        for (x = 0; x < factor; x++)
            row_of_plane[x] = planes + x * pitch;
#ifdef WITH_AVX2
        split_row(&split->voxels, one, cells, planes, pitch * (ptrdiff_t)sizeof(VOXEL));
#else /* compilers make no vectors of NaN that spreads from voxel to voxel of a cell */
        WITH_CONSTANT_FACTOR(split_voxels, factor, one, cells, planes, pitch);
#endif
        NAME(extreme_of_rows)(is_max, row_of_plane, factor, cells, to);
        return;
    }
#endif
    (void)split;
    if (is_max)
        WITHOUT_SPLIT(larger_of_cells, factor, one, cells, to);
    else
        WITHOUT_SPLIT(smaller_of_cells, factor, one, cells, to);
}

static size_t NAME(extreme_scratch)(ptrdiff_t factor, ptrdiff_t cells)
{
    const ptrdiff_t planes = smaller_of(factor, MAX_SPLIT) * (cells + ROW_SLACK);
    return (size_t)(cells * factor + ROW_SLACK + planes) * sizeof(VOXEL);
}

/* ---- any method ---- */

/* Bytes of scratch that rows of `cells` whole cells of at most `count` rows need. */
static size_t NAME(row_scratch)(const Downsampling *job, ptrdiff_t count, ptrdiff_t cells)
{
    switch (job->method) {
    case METHOD_AVERAGE: return NAME(average_scratch)(job->factors[0], cells);
    case METHOD_MAJORITY:
        return NAME(majority_scratch)(count, job->factors[0], cells) +
               NAME(extreme_scratch)(smaller_of(job->factors[0], 2), cells);
    case METHOD_STRIDE: return 1;
    default: return NAME(extreme_scratch)(job->factors[0], cells);
    }
}

/* Cells of one voxel are copied, whatever the method; float32 as majority writes it. */
static void NAME(copy_cells)(const Downsampling *job, const VOXEL *row, ptrdiff_t cells,
                             VOXEL *NGCORE_RESTRICT to)
{
    ptrdiff_t i;
    if (job->method == METHOD_MAJORITY) {
        for (i = 0; i < cells; i++)
            to[i] = NAME(from_key)(NAME(to_key)(row[i]));
    } else {
        memcpy(to, row, (size_t)cells * sizeof *to);
    }
}

static inline void NAME(stride_cells)(ptrdiff_t factor, const VOXEL *NGCORE_RESTRICT row,
                                      ptrdiff_t cells, VOXEL *NGCORE_RESTRICT to)
{
    ptrdiff_t i;
    for (i = 0; i < cells; i++)
        to[i] = row[i * factor];
}

/* How many bytes ahead memory is asked for: the rows of the cells after the next. Rows are too short
 * for the processor to see a stream in them. Worth up to twice the speed. */
static inline ptrdiff_t NAME(ahead)(const Downsampling *job)
{
    return 2 * job->factors[1] * job->strides[1];
}

/* Whether the kernel for the rows of a whole cell asks as it goes. A row asked for at once fills the
 * buffers for what is on its way, and the kernel then waits for them: up to 1.7 times as long. */
static inline int NAME(asks_ahead)(const Downsampling *job)
{
#if defined(WITH_AVX2) && defined(SHUFFLE_PAIRS)
    const ptrdiff_t count = job->factors[1] * job->factors[2];
    return job->method == METHOD_MAJORITY && job->factors[0] == 2 && (count == 2 || count == 4);
#else
    (void)job;
    return 0;
#endif
}

/* Reduce as many cells as a kernel for the usual pyramid can; the count of them. */
static ptrdiff_t NAME(reduce_pairs)(const Downsampling *job, const VOXEL *const *rows,
                                    ptrdiff_t count, ptrdiff_t cells, VOXEL *to)
{
    if (job->factors[0] != 2 || (count != 1 && count != 2 && count != 4))
        return 0;
#ifdef AVERAGES_PAIRS
    if (job->method == METHOD_AVERAGE)
        return NAME(average_pairs)(rows, count, cells, to);
#endif
#if defined(WITH_AVX2) && defined(SHUFFLE_PAIRS)
    if (job->method == METHOD_MAJORITY)
        return NAME(majority_pairs)(rows, count, cells, NAME(ahead)(job), to);
#endif
    (void)rows;
    (void)cells;
    (void)to;
    return 0;
}

/* Rows of no more bytes than this are better taken end to end: loops are too short for their set-up. 0:
 * none are. */
static ptrdiff_t NAME(short_row_bytes)(const Downsampling *job, ptrdiff_t count)
{
    int pairs = 0;
#ifdef AVERAGES_PAIRS
    pairs |= job->method == METHOD_AVERAGE;
#endif
#if defined(WITH_AVX2) && defined(SHUFFLE_PAIRS)
    pairs |= job->method == METHOD_MAJORITY;
#endif
#ifdef NGCORE_VECTORS
    if (job->method == METHOD_MAJORITY && count * job->factors[0] > NAME(MAX_LANE_VOXELS))
        return 0; /* cells go one by one */
#endif
    if (pairs && job->factors[0] == 2 && (count == 2 || count == 4))
        return 64; /* one pass, no set-up */
    return 256;
}

/* Reduce whole cells; 0 if their kind is not handled here. */
static int NAME(reduce_whole_cells)(const Downsampling *job, const Splitters *split,
                                    const VOXEL *const *rows, ptrdiff_t count, ptrdiff_t cells,
                                    void *scratch, VOXEL *to)
{
    const ptrdiff_t factor = job->factors[0], voxels = factor * count;
    if (voxels == 1) {
        NAME(copy_cells)(job, rows[0], cells, to);
        return 1;
    }
    switch (job->method) {
    case METHOD_AVERAGE:
        if (count > MAX_PART_ROWS || voxels > MAX_TOTAL_VOXELS)
            return 0;
        NAME(average_cells)(split, rows, count, factor, cells, scratch, to);
        return 1;
    case METHOD_MAJORITY:
#ifndef FLOATING
        if (voxels == 2) { /* equal, or a tie */
            NAME(extreme_cells)(split, 0, rows, count, factor, cells, (VOXEL *)scratch, to);
            return 1;
        }
#endif
        return NAME(majority_cells)(split, rows, count, factor, cells, scratch, to);
    case METHOD_STRIDE: WITH_CONSTANT_FACTOR(stride_cells, factor, rows[0], cells, to); return 1;
    default:
        NAME(extreme_cells)(split, job->method == METHOD_MAX, rows, count, factor, cells,
                            (VOXEL *)scratch, to);
        return 1;
    }
}
#undef WITH_CONSTANT_FACTOR
#undef WITHOUT_SPLIT
#undef AVERAGES_PAIRS
