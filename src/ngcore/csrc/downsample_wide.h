/* Averages of rows of whole cells of 64-bit voxels. Included once per set of instructions.
 *
 * Voxels are summed as two halves of 32 bits, which are exact as double too: so vectors divide them,
 * and nothing needs products or quotients of 128 bits.
 */

static inline uint64_t NAME(high_half)(VOXEL voxel)
{
    return NAME(flip_sign)((uint64_t)voxel) >> 32;
}

static inline uint64_t NAME(low_half)(VOXEL voxel) { return (uint64_t)voxel & UINT32_MAX; }

/* Sum voxels of the same x. Two rows at a time, so that sums are stored once for two loads. */
static void NAME(sum_rows)(const VOXEL *const *rows, ptrdiff_t count, ptrdiff_t length,
                           PART *NGCORE_RESTRICT high, PART *NGCORE_RESTRICT low)
{
    const VOXEL *a = rows[0], *b = rows[count > 1];
    ptrdiff_t row = 2, x;
    if (count > 1) {
        for (x = 0; x < length; x++) {
            high[x] = NAME(high_half)(a[x]) + NAME(high_half)(b[x]);
            low[x] = NAME(low_half)(a[x]) + NAME(low_half)(b[x]);
        }
    } else {
        for (x = 0; x < length; x++) {
            high[x] = NAME(high_half)(a[x]);
            low[x] = NAME(low_half)(a[x]);
        }
    }
    for (; row + 2 <= count; row += 2) {
        a = rows[row];
        b = rows[row + 1];
        for (x = 0; x < length; x++) {
            high[x] += NAME(high_half)(a[x]) + NAME(high_half)(b[x]);
            low[x] += NAME(low_half)(a[x]) + NAME(low_half)(b[x]);
        }
    }
    if (row < count) {
        a = rows[row];
        for (x = 0; x < length; x++) {
            high[x] += NAME(high_half)(a[x]);
            low[x] += NAME(low_half)(a[x]);
        }
    }
}

/* Add up the parts of each cell. */
static inline void NAME(parts_of_cells)(ptrdiff_t factor, const PART *NGCORE_RESTRICT part,
                                        ptrdiff_t cells, PART *NGCORE_RESTRICT sums)
{
    ptrdiff_t i, x;
    for (i = 0; i < cells; i++) {
        PART sum = part[i * factor];
        for (x = 1; x < factor; x++)
            sum += part[i * factor + x];
        sums[i] = sum;
    }
}

/* The same for cells of one row, straight from its voxels. */
static inline void NAME(halves_of_cells)(ptrdiff_t factor, const VOXEL *NGCORE_RESTRICT row,
                                         ptrdiff_t cells, PART *NGCORE_RESTRICT high,
                                         PART *NGCORE_RESTRICT low)
{
    ptrdiff_t i, x;
    for (i = 0; i < cells; i++) {
        PART high_sum = 0, low_sum = 0;
        for (x = 0; x < factor; x++) {
            high_sum += NAME(high_half)(row[i * factor + x]);
            low_sum += NAME(low_half)(row[i * factor + x]);
        }
        high[i] = high_sum;
        low[i] = low_sum;
    }
}

/* Doubles from 2^52 on have no bits for a fraction. Whole numbers below that become such by setting
 * the bits of 2^52; adding 1.5 * 2^52 rounds any number to nearest, ties to even, and puts it in
 * the low bits. */
static inline double NAME(exact_double)(uint64_t whole)
{
    const uint64_t bits = whole | UINT64_C(0x4330000000000000);
    double shifted;
    memcpy(&shifted, &bits, sizeof shifted);
    return shifted - 4503599627370496.0;
}

/* Long division, a half at a time; what the high half leaves may be negative. At most 2^18 voxels
 * keep all of it exact but the quotients: what is left of the high half is at most half of `voxels`,
 * so the rest is below 2^51, and no quotient of it is as near to a tie as the error of the division,
 * unless it is one. */
static void NAME(divide_halves)(const PART *NGCORE_RESTRICT high, const PART *NGCORE_RESTRICT low,
                                ptrdiff_t cells, ptrdiff_t voxels, VOXEL *NGCORE_RESTRICT to)
{
    const double round = 6755399441055744.0, count = (double)voxels, inverse = 1 / count;
    const int is_exact = exact_log2(voxels) >= 0;
    ptrdiff_t i;
    NGCORE_ASSERT(voxels <= MAX_TOTAL_VOXELS);
    for (i = 0; i < cells; i++) {
        const double whole = NAME(exact_double)(high[i]), upper = whole * inverse + round;
        const double rest = (whole - (upper - round) * count) * 4294967296.0 +
                            NAME(exact_double)(low[i]);
        const double lower = (is_exact ? rest * inverse : rest / count) + round;
        uint64_t upper_bits, lower_bits;
        memcpy(&upper_bits, &upper, sizeof upper_bits);
        memcpy(&lower_bits, &lower, sizeof lower_bits);
        to[i] = (VOXEL)NAME(flip_sign)((upper_bits << 32) + lower_bits -
                                       UINT64_C(0x4338000000000000));
    }
}

/* Cells of 2, 4 or 8 voxels, the usual pyramid: one pass and no row of sums. Voxels are split at bit
 * k, so the upper parts sum to a quotient; adding half less one, and one if the quotient is odd,
 * rounds to nearest, ties to even. */
static inline void NAME(shift_few)(ptrdiff_t factor, ptrdiff_t count, const VOXEL *const *rows,
                                   ptrdiff_t cells, VOXEL *NGCORE_RESTRICT to)
{
    const int k = exact_log2(factor * count);
    const uint64_t mask = ((uint64_t)1 << k) - 1;
    const VOXEL *from[4];
    ptrdiff_t i, row, x;
    for (row = 0; row < count; row++)
        from[row] = rows[row];
    for (i = 0; i < cells; i++) {
        uint64_t quotient = 0, rest = 0;
        for (row = 0; row < count; row++) {
            for (x = 0; x < factor; x++) {
                const uint64_t bits = NAME(flip_sign)((uint64_t)from[row][i * factor + x]);
                quotient += bits >> k;
                rest += bits & mask;
            }
        }
        rest += (mask >> 1) + ((quotient + (rest >> k)) & 1);
        to[i] = (VOXEL)NAME(flip_sign)(quotient + (rest >> k));
    }
}

/* 0 if the cells are of another kind. */
static int NAME(average_few)(const VOXEL *const *rows, ptrdiff_t count, ptrdiff_t factor,
                             ptrdiff_t cells, VOXEL *to)
{
    if (factor == 2 && count == 4)
        NAME(shift_few)(2, 4, rows, cells, to);
    else if (factor == 2 && count == 2)
        NAME(shift_few)(2, 2, rows, cells, to);
    else if (factor == 2 && count == 1)
        NAME(shift_few)(2, 1, rows, cells, to);
    else if (factor == 1 && count == 4)
        NAME(shift_few)(1, 4, rows, cells, to);
    else if (factor == 1 && count == 2)
        NAME(shift_few)(1, 2, rows, cells, to);
    else
        return 0;
    return 1;
}

static void NAME(average_wide_cells)(const VOXEL *const *rows, ptrdiff_t count, ptrdiff_t factor,
                                     ptrdiff_t cells, PART *high, VOXEL *to)
{
    const ptrdiff_t length = cells * factor;
    PART *low = high + cells;
    if (NAME(average_few)(rows, count, factor, cells, to))
        return;
    if (factor == 1) {
        NAME(sum_rows)(rows, count, length, high, low);
    } else if (count == 1) {
        WITH_CONSTANT_FACTOR(halves_of_cells, factor, rows[0], cells, high, low);
    } else {
        PART *part = low + cells;
        NAME(sum_rows)(rows, count, length, part, part + length);
        WITH_CONSTANT_FACTOR(parts_of_cells, factor, part, cells, high);
        WITH_CONSTANT_FACTOR(parts_of_cells, factor, part + length, cells, low);
    }
    NAME(divide_halves)(high, low, cells, factor * count, to);
}
