/* Averages of rows of whole cells, for voxels of type VOXEL. Included once per set of instructions.
 *
 * The rows of a cell are summed to one, then the voxels of each cell within it. Division is in
 * floating point where it rounds as exact arithmetic does, else a shift.
 */

#ifndef WIDE_SUM
/* A voxel as the type it is summed in. uint32 goes to double as int32, 2^31 lower: that shift is
 * even, so that no rounding notices, and its conversion has an instruction. */
static inline PART NAME(to_part)(VOXEL voxel)
{
#ifdef SUM_SHIFTED
    return (PART)(int32_t)(voxel ^ UINT32_C(0x80000000));
#else
    return (PART)voxel;
#endif
}

/* Sum voxels of the same x. Four rows at a time, so that sums are stored once for four loads. */
static void NAME(sum_rows)(const VOXEL *const *rows, ptrdiff_t count, ptrdiff_t length,
                           PART *NGCORE_RESTRICT part)
{
    ptrdiff_t row = 0, x;
    if (count >= 4) {
        const VOXEL *a = rows[0], *b = rows[1], *c = rows[2], *d = rows[3];
        for (x = 0; x < length; x++)
            part[x] = (PART)(NAME(to_part)(a[x]) + NAME(to_part)(b[x]) + NAME(to_part)(c[x]) +
                             NAME(to_part)(d[x]));
        row = 4;
    } else if (count >= 2) {
        const VOXEL *a = rows[0], *b = rows[1];
        for (x = 0; x < length; x++)
            part[x] = (PART)(NAME(to_part)(a[x]) + NAME(to_part)(b[x]));
        row = 2;
    } else {
        const VOXEL *a = rows[0];
        for (x = 0; x < length; x++)
            part[x] = NAME(to_part)(a[x]);
        row = 1;
    }
    for (; row + 2 <= count; row += 2) {
        const VOXEL *a = rows[row], *b = rows[row + 1];
        for (x = 0; x < length; x++)
            part[x] = (PART)(part[x] + NAME(to_part)(a[x]) + NAME(to_part)(b[x]));
    }
    if (row < count) {
        const VOXEL *a = rows[row];
        for (x = 0; x < length; x++)
            part[x] = (PART)(part[x] + NAME(to_part)(a[x]));
    }
}

/* Add up the parts of each cell. A row of sums of its own, so that the division after it needs no
 * shuffles. SUMS is PART, or TOTAL where that is wider: then for cells of more than
 * MAX_PART_VOXELS voxels. */
#define SUM_KERNELS(name, SUMS)                                                                   \
    static inline void NAME(name##_of_cells)(ptrdiff_t factor, const PART *NGCORE_RESTRICT part,  \
                                             ptrdiff_t cells, SUMS *NGCORE_RESTRICT sums)         \
    {                                                                                             \
        ptrdiff_t i, x;                                                                           \
        for (i = 0; i < cells; i++) {                                                             \
            SUMS sum = (SUMS)part[i * factor];                                                    \
            for (x = 1; x < factor; x++)                                                          \
                sum = (SUMS)(sum + (SUMS)part[i * factor + x]);                                   \
            sums[i] = sum;                                                                        \
        }                                                                                         \
    }                                                                                             \
    static inline void NAME(name##_of_planes)(ptrdiff_t factor,                                   \
                                              const PART *NGCORE_RESTRICT planes,                 \
                                              ptrdiff_t pitch, ptrdiff_t cells,                   \
                                              SUMS *NGCORE_RESTRICT sums)                         \
    {                                                                                             \
        ptrdiff_t x, i;                                                                           \
        for (i = 0; i < cells; i++)                                                               \
            sums[i] = (SUMS)((SUMS)planes[i] + (SUMS)planes[pitch + i]);                          \
        for (x = 2; x < factor; x++)                                                              \
            for (i = 0; i < cells; i++)                                                           \
                sums[i] = (SUMS)(sums[i] + (SUMS)planes[x * pitch + i]);                          \
    }

/* The same for cells of one row, straight from its voxels. */
static inline void NAME(voxels_of_cells)(ptrdiff_t factor, const VOXEL *NGCORE_RESTRICT row,
                                         ptrdiff_t cells, PART *NGCORE_RESTRICT sums)
{
    ptrdiff_t i, x;
    for (i = 0; i < cells; i++) {
        PART sum = NAME(to_part)(row[i * factor]);
        for (x = 1; x < factor; x++)
            sum = (PART)(sum + NAME(to_part)(row[i * factor + x]));
        sums[i] = sum;
    }
}

/* Means of 2^k voxels: a shift. Adding half less one, and one if the quotient is odd, rounds to
 * nearest, ties to even. */
#define SHIFT_KERNEL(name, SUMS)                                                                  \
    static void NAME(shift_##name)(const SUMS *NGCORE_RESTRICT sums, ptrdiff_t cells, int k,      \
                                   VOXEL *NGCORE_RESTRICT to)                                     \
    {                                                                                             \
        const SUMS almost_half = (SUMS)(((SUMS)1 << k >> 1) - (k > 0)), odd = k > 0;              \
        ptrdiff_t i;                                                                              \
        for (i = 0; i < cells; i++)                                                               \
            to[i] = (VOXEL)((SUMS)(sums[i] + almost_half + ((SUMS)(sums[i] >> k) & odd)) >> k);   \
    }

/* The division rounds correctly, and exact ties have exact quotients. The limits are such that no
 * other quotient is as near to a tie as the division's error, and that sums are exact. Adding
 * 1.5 * 2^23, or 2^52 of a double, leaves no bits for a fraction: that rounds to nearest, ties to
 * even, and puts the integer in the low bits. */
#define DIVIDE_KERNEL(name, SUMS)                                                                 \
    static void NAME(divide_##name)(const SUMS *NGCORE_RESTRICT sums, ptrdiff_t cells,            \
                                    ptrdiff_t voxels, VOXEL *NGCORE_RESTRICT to)                  \
    {                                                                                             \
        ptrdiff_t i;                                                                              \
        if (voxels <= MAX_FLOAT_VOXELS) {                                                         \
            for (i = 0; i < cells; i++) {                                                         \
                const float rounded = (float)(int32_t)sums[i] / (float)voxels + 12582912.0f;      \
                uint32_t bits;                                                                    \
                memcpy(&bits, &rounded, sizeof bits);                                             \
                to[i] = (VOXEL)(bits - UINT32_C(0x4B400000));                                     \
            }                                                                                     \
            return;                                                                               \
        }                                                                                         \
        for (i = 0; i < cells; i++) {                                                             \
            const double rounded =                                                                \
                (double)(int32_t)sums[i] / (double)voxels + 6755399441055744.0;                   \
            uint64_t bits;                                                                        \
            memcpy(&bits, &rounded, sizeof bits);                                                 \
            to[i] = (VOXEL)(uint32_t)bits;                                                        \
        }                                                                                         \
    }

SUM_KERNELS(parts, PART)
#ifdef SUM_DOUBLE
static void NAME(divide_parts)(const PART *NGCORE_RESTRICT sums, ptrdiff_t cells,
                               ptrdiff_t voxels, VOXEL *NGCORE_RESTRICT to)
{
    /* Multiplying by the inverse of 2^k is exact, and quicker. */
    const int is_exact = exact_log2(voxels) >= 0;
    const double inverse = 1 / (double)voxels;
    ptrdiff_t i;
#ifdef FLOATING
    if (is_exact) {
        for (i = 0; i < cells; i++)
            to[i] = (VOXEL)(sums[i] * inverse);
    } else {
        for (i = 0; i < cells; i++)
            to[i] = (VOXEL)(sums[i] / (double)voxels);
    }
#else
    for (i = 0; i < cells; i++) {
        const double quotient = is_exact ? sums[i] * inverse : sums[i] / (double)voxels;
        const double rounded = quotient + 6755399441055744.0;
        uint64_t bits;
        memcpy(&bits, &rounded, sizeof bits);
#ifdef SUM_SHIFTED
        bits ^= UINT64_C(0x80000000);
#endif
        to[i] = (VOXEL)(uint32_t)bits;
    }
#endif
}
#else
SHIFT_KERNEL(parts, PART)
#ifndef TOTAL
DIVIDE_KERNEL(parts, PART)
#else
/* Sums of 16 bits need no floating point: the upper half of a product with the inverse is the
 * quotient, for any number of 16 bits (T. Granlund and P. Montgomery, Division by invariant
 * integers, 1994), and a vector holds twice as many. Signed voxels are shifted up to be positive. */
static void NAME(divide_parts)(const PART *NGCORE_RESTRICT sums, ptrdiff_t cells,
                               ptrdiff_t voxels, VOXEL *NGCORE_RESTRICT to)
{
    const uint16_t sign = (VOXEL)-1 < 1 ? 0x80 : 0, by = (uint16_t)voxels;
    const uint16_t up = (uint16_t)(sign * voxels + voxels / 2), may_tie = voxels % 2 == 0;
    uint16_t inverse, shift; /* vectors shift numbers of 16 bits by no variable: a product does */
    ptrdiff_t i;
    int bits = 0;
    NGCORE_ASSERT(voxels > 2 && voxels <= MAX_PART_VOXELS);
    while (((ptrdiff_t)1 << bits) < voxels)
        bits++;
    inverse = (uint16_t)(65536 * (((uint32_t)1 << bits) - by) / by + 1);
    shift = (uint16_t)(1 << (17 - bits));
    for (i = 0; i < cells; i++) {
        const uint16_t number = (uint16_t)((uint16_t)sums[i] + up);
        const uint16_t high = (uint16_t)((uint32_t)number * inverse >> 16);
        const uint16_t sum = (uint16_t)(high + ((uint16_t)(number - high) >> 1));
        const uint16_t mean = (uint16_t)((uint32_t)sum * shift >> 16);
        const uint16_t odd_tie = (uint16_t)(mean * by) == number ? mean & may_tie : 0;
        to[i] = (VOXEL)((mean - odd_tie) ^ sign);
    }
}

SUM_KERNELS(totals, TOTAL)
SHIFT_KERNEL(totals, TOTAL)
DIVIDE_KERNEL(totals, TOTAL)
#endif
#endif
#undef SUM_KERNELS
#undef SHIFT_KERNEL
#undef DIVIDE_KERNEL
#else /* WIDE_SUM */
#include "downsample_wide.h"
#endif

/* ---- factor 2 ---- */

#ifdef PAIR
/* Factor 2 and 1, 2 or 4 rows, the usual pyramid: one pass and no row of sums. A pair of voxels is
 * read as one word, so that splitting it needs no shuffle. Signed voxels are shifted up to be
 * positive, and their mean back: by an even number, which no rounding notices. */
static inline PAIR NAME(pair_sum)(const VOXEL *pair)
{
    enum { BITS = 8 * sizeof(VOXEL) };
    const PAIR half = (PAIR)1 << BITS;
    PAIR both;
    memcpy(&both, pair, sizeof both);
    if ((VOXEL)-1 < 1)
        both ^= (PAIR)((half >> 1) | (half >> 1 << BITS));
    return (PAIR)((both & (PAIR)(half - 1)) + (both >> BITS));
}

static inline VOXEL NAME(pair_mean)(PAIR total, int k)
{
    const PAIR sign = (VOXEL)-1 < 1 ? (PAIR)((PAIR)1 << (8 * sizeof(VOXEL) - 1)) : 0;
    total = (PAIR)(total + (PAIR)(((PAIR)1 << (k - 1)) - 1) + (PAIR)(total >> k & 1));
    return (VOXEL)((PAIR)(total >> k) ^ sign);
}

static ptrdiff_t NAME(average_pairs)(const VOXEL *const *rows, ptrdiff_t count, ptrdiff_t cells,
                                     VOXEL *NGCORE_RESTRICT to)
{
    const VOXEL *a = rows[0], *b = rows[count > 1], *c = rows[count > 2 ? 2 : 0];
    const VOXEL *d = rows[count > 2 ? 3 : 0];
    ptrdiff_t i;
    if (count == 4) {
        for (i = 0; i < cells; i++)
            to[i] = NAME(pair_mean)(
                (PAIR)(NAME(pair_sum)(a + 2 * i) + NAME(pair_sum)(b + 2 * i) +
                       NAME(pair_sum)(c + 2 * i) + NAME(pair_sum)(d + 2 * i)),
                3);
    } else if (count == 2) {
        for (i = 0; i < cells; i++)
            to[i] = NAME(pair_mean)(
                (PAIR)(NAME(pair_sum)(a + 2 * i) + NAME(pair_sum)(b + 2 * i)), 2);
    } else {
        for (i = 0; i < cells; i++)
            to[i] = NAME(pair_mean)(NAME(pair_sum)(a + 2 * i), 1);
    }
    return cells;
}
#define AVERAGES_PAIRS
#endif

#if defined(FLOATING) && defined(WITH_AVX2)
/* The same for float32: sums as double, halved by an exact factor. Returns how many cells. */
static inline ptrdiff_t NAME(average_pairs_of)(const VOXEL *const *rows, ptrdiff_t count,
                                               ptrdiff_t cells, VOXEL *to)
{
    const __m256d share = _mm256_set1_pd(0.5 / (double)count);
    ptrdiff_t i, row;
    for (i = 0; i + 4 <= cells; i += 4) {
        __m256d low = _mm256_cvtps_pd(_mm_loadu_ps(rows[0] + 2 * i));
        __m256d high = _mm256_cvtps_pd(_mm_loadu_ps(rows[0] + 2 * i + 4));
        for (row = 1; row < count; row++) {
            low = _mm256_add_pd(low, _mm256_cvtps_pd(_mm_loadu_ps(rows[row] + 2 * i)));
            high = _mm256_add_pd(high, _mm256_cvtps_pd(_mm_loadu_ps(rows[row] + 2 * i + 4)));
        }
        low = _mm256_permute4x64_pd(_mm256_hadd_pd(low, high), 0xD8);
        _mm_storeu_ps(to + i, _mm256_cvtpd_ps(_mm256_mul_pd(low, share)));
    }
    return i;
}

static ptrdiff_t NAME(average_pairs)(const VOXEL *const *rows, ptrdiff_t count, ptrdiff_t cells,
                                     VOXEL *to)
{
    return count == 4   ? NAME(average_pairs_of)(rows, 4, cells, to)
           : count == 2 ? NAME(average_pairs_of)(rows, 2, cells, to)
                        : NAME(average_pairs_of)(rows, 1, cells, to);
}
#define AVERAGES_PAIRS
#endif

/* ---- any factors ---- */

/* Bytes of scratch for rows of `cells` whole cells: a row of parts, planes of parts, sums. */
static size_t NAME(average_scratch)(ptrdiff_t factor, ptrdiff_t cells)
{
    const size_t length = (size_t)(cells * factor + ROW_SLACK);
#ifdef WIDE_SUM /* parts and sums, of two halves */
    return 2 * (length + (size_t)cells) * sizeof(PART);
#else
    const size_t planes = (size_t)(smaller_of(factor, MAX_SPLIT) * (cells + ROW_SLACK));
    return (length + planes) * sizeof(PART) + (size_t)(cells + ROW_SLACK) * sizeof(uint64_t);
#endif
}

#ifndef WIDE_SUM
/* Cells whose sums fit in a part. */
static void NAME(average_small_cells)(const Splitters *split, const VOXEL *const *rows,
                                      ptrdiff_t count, ptrdiff_t factor, ptrdiff_t cells,
                                      PART *sums, PART *part, VOXEL *to)
{
    const ptrdiff_t voxels = factor * count;
    if (factor == 1) {
        NAME(sum_rows)(rows, count, cells, sums);
    } else {
#ifdef WITH_AVX2
        const ptrdiff_t pitch = cells + ROW_SLACK;
        PART *planes = part + cells * factor + ROW_SLACK;
        if (split->voxels.factor && count == 1) { /* voxels are narrower than parts */
            const VOXEL *row_of_plane[MAX_SPLIT];
            ptrdiff_t x;
            for (x = 0; x < factor; x++)
                row_of_plane[x] = (const VOXEL *)planes + x * pitch;
            split_row(&split->voxels, rows[0], cells, planes, pitch * (ptrdiff_t)sizeof(VOXEL));
            NAME(sum_rows)(row_of_plane, factor, cells, sums);
        } else if (split->parts.factor) {
            NAME(sum_rows)(rows, count, cells * factor, part);
            split_row(&split->parts, part, cells, planes, pitch * (ptrdiff_t)sizeof(PART));
            NAME(parts_of_planes)(factor, planes, pitch, cells, sums);
        } else
#endif
        if (count == 1) {
            WITHOUT_SPLIT(voxels_of_cells, factor, rows[0], cells, sums);
        } else {
            NAME(sum_rows)(rows, count, cells * factor, part);
            WITHOUT_SPLIT(parts_of_cells, factor, part, cells, sums);
        }
        (void)split;
    }
#ifndef SUM_DOUBLE
    if (exact_log2(voxels) >= 0) {
        NAME(shift_parts)(sums, cells, exact_log2(voxels), to);
        return;
    }
#endif
    NAME(divide_parts)(sums, cells, voxels, to);
}
#endif

static void NAME(average_cells)(const Splitters *split, const VOXEL *const *rows, ptrdiff_t count,
                                ptrdiff_t factor, ptrdiff_t cells, void *scratch, VOXEL *to)
{
#ifdef WIDE_SUM
    NAME(average_wide_cells)(rows, count, factor, cells, (PART *)scratch, to);
    (void)split;
#else
    const ptrdiff_t length = cells * factor, voxels = factor * count;
    const int k = exact_log2(voxels);
    /* sums are at most 64 bits wide */
    PART *part = (PART *)((uint64_t *)scratch + cells + ROW_SLACK);
    NGCORE_ASSERT(count <= MAX_PART_ROWS && voxels <= MAX_TOTAL_VOXELS);
#ifdef TOTAL
    if (voxels > MAX_PART_VOXELS) {
        TOTAL *totals = (TOTAL *)scratch;
        NAME(sum_rows)(rows, count, length, part);
#ifdef WITH_AVX2
        if (split->parts.factor) {
            const ptrdiff_t pitch = cells + ROW_SLACK;
            PART *planes = part + length + ROW_SLACK;
            split_row(&split->parts, part, cells, planes, pitch * (ptrdiff_t)sizeof(PART));
            NAME(totals_of_planes)(factor, planes, pitch, cells, totals);
        } else
#endif
            WITHOUT_SPLIT(totals_of_cells, factor, part, cells, totals);
        if (k >= 0)
            NAME(shift_totals)(totals, cells, k, to);
        else
            NAME(divide_totals)(totals, cells, voxels, to);
        return;
    }
#endif
    (void)k;
    (void)length;
    NAME(average_small_cells)(split, rows, count, factor, cells, (PART *)scratch, part, to);
#endif
}
