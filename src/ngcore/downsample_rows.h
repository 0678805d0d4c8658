/* Rows of whole cells, for voxels of type VOXEL. Included once per type.
 *
 * The rows of a cell are first reduced to one, voxel by voxel: loops over neighbours, which the
 * compiler turns into vectors. Then the voxels of each cell within that row are reduced; factors of
 * 1 to 4 are constants there. So the cost per voxel read hardly depends on the factors.
 */

/* Call `function` with factor as a constant where it is small. */
#define WITH_CONSTANT_FACTOR(function, factor, ...)                                               \
    do {                                                                                          \
        switch (factor) {                                                                         \
        case 1: NAME(function)(1, __VA_ARGS__); break;                                            \
        case 2: NAME(function)(2, __VA_ARGS__); break;                                            \
        case 3: NAME(function)(3, __VA_ARGS__); break;                                            \
        case 4: NAME(function)(4, __VA_ARGS__); break;                                            \
        default: NAME(function)(factor, __VA_ARGS__); break;                                      \
        }                                                                                         \
    } while (0)

/* ---- average ---- */

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

static inline TOTAL NAME(cell_total)(const PART *part, ptrdiff_t factor)
{
    TOTAL total = 0;
    ptrdiff_t x;
    for (x = 0; x < factor; x++)
        total += (TOTAL)part[x];
    return total;
}

#ifndef SUM_DOUBLE
/* Means of 2^k voxels: a shift. Adding half less one, and one if the quotient is odd, rounds to
 * nearest, ties to even. */
static inline void NAME(finish_shifted)(ptrdiff_t factor, const PART *NGCORE_RESTRICT part,
                                        ptrdiff_t cells, int k, VOXEL *NGCORE_RESTRICT to)
{
    const TOTAL almost_half = (TOTAL)(((TOTAL)1 << k >> 1) - (k > 0)), odd = k > 0;
    ptrdiff_t i;
    for (i = 0; i < cells; i++) {
        const TOTAL total = NAME(cell_total)(part + i * factor, factor);
        to[i] = (VOXEL)((total + almost_half + (total >> k & odd)) >> k);
    }
}
#endif

/* Totals of cells, a row of their own so that the division after them needs no shuffles. */
static inline void NAME(sum_cells)(ptrdiff_t factor, const PART *NGCORE_RESTRICT part,
                                   ptrdiff_t cells, TOTAL *NGCORE_RESTRICT totals)
{
    ptrdiff_t i;
    for (i = 0; i < cells; i++)
        totals[i] = NAME(cell_total)(part + i * factor, factor);
}

/* The division rounds correctly, and exact ties have exact quotients. MAX_TOTAL_VOXELS is such that
 * no other quotient is as near to a tie as the division's error, and that totals are exact. Adding
 * 1.5 * 2^52 leaves no bits for a fraction: that rounds to nearest, ties to even, and puts the
 * integer in the low bits. */
static void NAME(divide_totals)(const TOTAL *NGCORE_RESTRICT totals, ptrdiff_t cells,
                                ptrdiff_t voxels, VOXEL *NGCORE_RESTRICT to)
{
    ptrdiff_t i;
#ifdef FLOATING
    for (i = 0; i < cells; i++)
        to[i] = (VOXEL)(totals[i] / (double)voxels);
#elif defined(SUM_DOUBLE)
    for (i = 0; i < cells; i++) {
        const double rounded = totals[i] / (double)voxels + 6755399441055744.0;
        uint64_t bits;
        memcpy(&bits, &rounded, sizeof bits);
#ifdef SUM_SHIFTED
        bits ^= UINT64_C(0x80000000);
#endif
        to[i] = (VOXEL)(uint32_t)bits;
    }
#else
    for (i = 0; i < cells; i++) {
        const float rounded = (float)totals[i] / (float)voxels + 12582912.0f;
        uint32_t bits;
        memcpy(&bits, &rounded, sizeof bits);
        to[i] = (VOXEL)(bits - UINT32_C(0x4B400000)); /* 12582912 = 1.5 * 2^23 */
    }
#endif
}
#else /* WIDE_SUM */
/* Sum voxels of the same x, split at bit `shift`: neither part can overflow. */
static void NAME(sum_rows)(const VOXEL *const *rows, ptrdiff_t count, ptrdiff_t length, int shift,
                           PART *NGCORE_RESTRICT high, PART *NGCORE_RESTRICT low)
{
    const uint64_t mask = ((uint64_t)1 << shift) - 1;
    ptrdiff_t row, x;
    for (x = 0; x < length; x++) {
        const uint64_t bits = NAME(flip_sign)((uint64_t)rows[0][x]);
        high[x] = bits >> shift;
        low[x] = bits & mask;
    }
    for (row = 1; row < count; row++) {
        const VOXEL *from = rows[row];
        for (x = 0; x < length; x++) {
            const uint64_t bits = NAME(flip_sign)((uint64_t)from[x]);
            high[x] += bits >> shift;
            low[x] += bits & mask;
        }
    }
}

/* Means of 2^k voxels, split at bit k: the high parts are the quotient already. */
static inline void NAME(finish_shifted)(ptrdiff_t factor, const PART *NGCORE_RESTRICT high,
                                        const PART *NGCORE_RESTRICT low, ptrdiff_t cells, int k,
                                        VOXEL *NGCORE_RESTRICT to)
{
    const uint64_t almost_half = ((uint64_t)1 << k >> 1) - (k > 0), odd = k > 0;
    ptrdiff_t i, x;
    for (i = 0; i < cells; i++) {
        uint64_t quotient = 0, rest = 0;
        for (x = 0; x < factor; x++) {
            quotient += high[i * factor + x];
            rest += low[i * factor + x];
        }
        /* Bit k of the whole total is the last bit of the quotient. */
        rest += almost_half + ((quotient + (rest >> k)) & odd);
        to[i] = (VOXEL)NAME(flip_sign)(quotient + (rest >> k));
    }
}

static inline void NAME(finish_means)(ptrdiff_t factor, const PART *NGCORE_RESTRICT high,
                                      const PART *NGCORE_RESTRICT low, ptrdiff_t cells,
                                      ptrdiff_t voxels, VOXEL *NGCORE_RESTRICT to)
{
    const Divider count = make_divider((uint64_t)voxels);
    ptrdiff_t i, x;
    for (i = 0; i < cells; i++) {
        NAME(Total) total = {0};
        for (x = 0; x < factor; x++) {
            total.sum += high[i * factor + x];
            total.low += low[i * factor + x];
        }
        to[i] = NAME(mean)(&total, count);
    }
}
#endif

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

static void NAME(average_cells)(const VOXEL *const *rows, ptrdiff_t count, ptrdiff_t factor,
                                ptrdiff_t cells, PART *part, VOXEL *to)
{
    const ptrdiff_t length = cells * factor, voxels = factor * count;
    const int k = exact_log2(voxels);
#ifdef WIDE_SUM
    PART *low = part + length;
    NAME(sum_rows)(rows, count, length, k < 0 ? 32 : k, part, low);
    if (k >= 0)
        WITH_CONSTANT_FACTOR(finish_shifted, factor, part, low, cells, k, to);
    else
        WITH_CONSTANT_FACTOR(finish_means, factor, part, low, cells, voxels, to);
#else
    TOTAL *totals = (TOTAL *)(part + length);
    NGCORE_ASSERT(count <= MAX_PART_ROWS && voxels <= MAX_TOTAL_VOXELS);
    NAME(sum_rows)(rows, count, length, part);
#ifndef SUM_DOUBLE
    if (k >= 0) {
        WITH_CONSTANT_FACTOR(finish_shifted, factor, part, cells, k, to);
        return;
    }
    totals = (TOTAL *)(part + (length + 1) / 2 * 2); /* aligned */
#endif
    (void)k;
    WITH_CONSTANT_FACTOR(sum_cells, factor, part, cells, totals);
    NAME(divide_totals)(totals, cells, voxels, to);
#endif
}

/* ---- min and max ---- */

#define EXTREME_KERNELS(extreme)                                                                  \
    static inline void NAME(finish_##extreme)(ptrdiff_t factor, const VOXEL *NGCORE_RESTRICT row, \
                                              ptrdiff_t cells, VOXEL *NGCORE_RESTRICT to)         \
    {                                                                                             \
        ptrdiff_t i, x;                                                                           \
        for (i = 0; i < cells; i++) {                                                             \
            VOXEL value = row[i * factor];                                                        \
            for (x = 1; x < factor; x++)                                                          \
                value = NAME(extreme)(value, row[i * factor + x]);                                \
            to[i] = value;                                                                        \
        }                                                                                         \
    }                                                                                             \
    static void NAME(extreme##_cells)(const VOXEL *const *rows, ptrdiff_t count,                  \
                                      ptrdiff_t factor, ptrdiff_t cells,                          \
                                      VOXEL *NGCORE_RESTRICT row, VOXEL *to)                      \
    {                                                                                             \
        const ptrdiff_t length = cells * factor;                                                  \
        ptrdiff_t at, x;                                                                          \
        memcpy(row, rows[0], (size_t)length * sizeof *row);                                       \
        for (at = 1; at < count; at++) {                                                          \
            const VOXEL *from = rows[at];                                                         \
            for (x = 0; x < length; x++)                                                          \
                row[x] = NAME(extreme)(row[x], from[x]);                                          \
        }                                                                                         \
        WITH_CONSTANT_FACTOR(finish_##extreme, factor, row, cells, to);                           \
    }

EXTREME_KERNELS(smaller)
EXTREME_KERNELS(larger)
#undef EXTREME_KERNELS

/* ---- majority ---- */

#ifdef NGCORE_VECTORS
typedef KEY NAME(Keys) __attribute__((vector_size(VECTOR_BYTES), aligned(1), may_alias));
typedef SIGNED_KEY NAME(Counts) __attribute__((vector_size(VECTOR_BYTES), aligned(1), may_alias));
enum { NAME(LANES) = VECTOR_BYTES / sizeof(KEY) };

static inline int NAME(any_bit)(const NAME(Keys) *keys)
{
#ifdef WITH_AVX2
    const __m256i bits = _mm256_loadu_si256((const __m256i *)keys);
    return !_mm256_testz_si256(bits, bits);
#else
    uint64_t halves[2];
    memcpy(halves, keys, sizeof halves);
    return (halves[0] | halves[1]) != 0;
#endif
}

/* a where the mask is set, else b. */
static inline NAME(Keys) NAME(choose)(NAME(Keys) mask, NAME(Keys) a, NAME(Keys) b)
{
#ifdef WITH_AVX2
    return (NAME(Keys))_mm256_blendv_epi8((__m256i)b, (__m256i)a, (__m256i)mask);
#else
    return (a & mask) | (b & ~mask);
#endif
}

/* Vectors compare signed numbers: unsigned keys are shifted down for it. */
#define SIGN_OF_KEY ((KEY)-1 < 1 ? 0 : (KEY)((KEY)1 << (8 * sizeof(KEY) - 1)))

/* Split eight 32-bit pairs, or four 64-bit ones, in the order 0 1 4 5 2 3 6 7 or 0 2 1 3. */
#define SPLIT_EVEN(a, b)                                                                          \
    (sizeof(KEY) == 4 ? _mm256_castps_si256(_mm256_shuffle_ps(                                    \
                            _mm256_castsi256_ps(a), _mm256_castsi256_ps(b), 0x88))                \
                      : _mm256_unpacklo_epi64(a, b))
#define SPLIT_ODD(a, b)                                                                           \
    (sizeof(KEY) == 4 ? _mm256_castps_si256(_mm256_shuffle_ps(                                    \
                            _mm256_castsi256_ps(a), _mm256_castsi256_ps(b), 0xDD))                \
                      : _mm256_unpackhi_epi64(a, b))

/* Majorities of many cells, one per lane, if none holds more than two labels: voxel j of each is in
 * keys[j]. The count of either label says all. Returns 0 if some cell holds more. */
static inline int NAME(majority_of_two)(const NAME(Keys) *keys, ptrdiff_t voxels,
                                        NAME(Keys) *majorities)
{
    const KEY sign = SIGN_OF_KEY;
    const NAME(Keys) first = keys[0];
    const NAME(Counts) zero = (NAME(Counts))(first ^ first);
    NAME(Keys) other = first, strange, chosen;
    NAME(Counts) firsts = zero + 1, others = zero;
    ptrdiff_t j;
    for (j = 1; j < voxels; j++) {
        const NAME(Keys) equal = (NAME(Keys))(keys[j] == first);
        other = NAME(choose)(equal, other, keys[j]);
        firsts -= (NAME(Counts))equal;
    }
    for (j = 1; j < voxels; j++)
        others -= (NAME(Counts))(keys[j] == other);
    others &= (NAME(Counts))(other != first);
    strange = (NAME(Keys))(firsts + others - (SIGNED_KEY)voxels);
    if (NAME(any_bit)(&strange))
        return 0;
    chosen = (NAME(Keys))(firsts > others) |
             ((NAME(Keys))(firsts == others) &
              (NAME(Keys))((NAME(Counts))(first ^ sign) < (NAME(Counts))(other ^ sign)));
    *majorities = NAME(choose)(chosen, first, other);
    return 1;
}

/* The same for any labels; spoils the keys. The first voxel of a label counts all later ones that
 * equal it, so its count is the label's. */
static inline NAME(Keys) NAME(majority_of_pairs)(NAME(Keys) *keys, ptrdiff_t voxels)
{
    const KEY sign = SIGN_OF_KEY;
    NAME(Counts) most, best;
    ptrdiff_t j, k;
    for (j = 0; j < voxels; j++)
        keys[j] ^= sign;
    best = (NAME(Counts))keys[0];
    most = best ^ best;
    for (j = 1; j < voxels; j++)
        most -= (NAME(Counts))(keys[j] == keys[0]);
    for (j = 1; j < voxels; j++) {
        const NAME(Counts) key = (NAME(Counts))keys[j];
        NAME(Counts) count = key ^ key, better;
        for (k = j + 1; k < voxels; k++)
            count -= (NAME(Counts))(keys[k] == keys[j]);
        better = (NAME(Counts))(count > most) |
                 ((NAME(Counts))(count == most) & (NAME(Counts))(key < best));
        most = (NAME(Counts))NAME(choose)((NAME(Keys))better, (NAME(Keys))count, (NAME(Keys))most);
        best = (NAME(Counts))NAME(choose)((NAME(Keys))better, (NAME(Keys))key, (NAME(Keys))best);
    }
    return (NAME(Keys))best ^ sign;
}

static inline NAME(Keys) NAME(majority_of)(NAME(Keys) *keys, ptrdiff_t voxels)
{
    NAME(Keys) majorities;
    if (voxels >= 8 && NAME(majority_of_two)(keys, voxels, &majorities))
        return majorities;
    return NAME(majority_of_pairs)(keys, voxels);
}

/* The same for rows of cells whose voxels lie in planes: voxel j of every cell in plane j. */
static inline void NAME(majority_planes)(ptrdiff_t voxels, const KEY *planes, ptrdiff_t pitch,
                                         ptrdiff_t cells, KEY *to)
{
    ptrdiff_t i, j;
    for (i = 0; i < cells; i += NAME(LANES)) {
        NAME(Keys) keys[MAX_PAIRED], varies;
        for (j = 0; j < voxels; j++)
            keys[j] = *(const NAME(Keys) *)(planes + j * pitch + i);
        varies = keys[0] ^ keys[1];
        for (j = 2; j < voxels; j++)
            varies |= keys[0] ^ keys[j];
        /* Most cells are uniform, and so are their neighbours. */
        *(NAME(Keys) *)(to + i) =
            NAME(any_bit)(&varies) ? NAME(majority_of)(keys, voxels) : keys[0];
    }
}

#if defined(WITH_AVX2) && defined(SHUFFLE_PAIRS)
/* Factor 2 of 32-bit and 64-bit labels, the usual pyramid: pairs are split in registers, in an
 * order that one shuffle of the result puts right. Returns how many cells were done. */
static inline ptrdiff_t NAME(majority_pairs_of)(const VOXEL *const *rows, ptrdiff_t count,
                                                ptrdiff_t cells, VOXEL *to)
{
    ptrdiff_t i, row;
    for (i = 0; i + NAME(LANES) <= cells; i += NAME(LANES)) {
        const __m256i a = _mm256_loadu_si256((const __m256i *)(rows[0] + 2 * i));
        const __m256i b = _mm256_loadu_si256((const __m256i *)(rows[0] + 2 * i) + 1);
        __m256i even = SPLIT_EVEN(a, b), odd = SPLIT_ODD(a, b), result = even;
        __m256i varies = _mm256_xor_si256(even, odd);
        for (row = 1; row < count; row++) {
            const __m256i *from = (const __m256i *)(rows[row] + 2 * i);
            varies = _mm256_or_si256(varies, _mm256_xor_si256(a, _mm256_loadu_si256(from)));
            varies = _mm256_or_si256(varies, _mm256_xor_si256(b, _mm256_loadu_si256(from + 1)));
        }
        if (!_mm256_testz_si256(varies, varies)) { /* else every cell here is uniform */
            NAME(Keys) keys[8];
            keys[0] = (NAME(Keys))even;
            keys[1] = (NAME(Keys))odd;
            for (row = 1; row < count; row++) {
                const __m256i *from = (const __m256i *)(rows[row] + 2 * i);
                const __m256i c = _mm256_loadu_si256(from), d = _mm256_loadu_si256(from + 1);
                keys[2 * row] = (NAME(Keys))SPLIT_EVEN(c, d);
                keys[2 * row + 1] = (NAME(Keys))SPLIT_ODD(c, d);
            }
            result = (__m256i)NAME(majority_of)(keys, 2 * count);
        }
        _mm256_storeu_si256((__m256i *)(to + i), _mm256_permute4x64_epi64(result, 0xD8));
    }
    return i;
}

static ptrdiff_t NAME(majority_pairs)(const VOXEL *const *rows, ptrdiff_t count, ptrdiff_t cells,
                                      VOXEL *to)
{
    return count == 4   ? NAME(majority_pairs_of)(rows, 4, cells, to)
           : count == 2 ? NAME(majority_pairs_of)(rows, 2, cells, to)
                        : 0;
}
#endif

/* Put voxel x of every cell of a row in plane x. */
static inline void NAME(split_row)(ptrdiff_t factor, const VOXEL *NGCORE_RESTRICT row,
                                   ptrdiff_t cells, KEY *NGCORE_RESTRICT planes, ptrdiff_t pitch)
{
    ptrdiff_t i, x;
    for (x = 0; x < factor; x++)
        for (i = 0; i < cells; i++)
            planes[x * pitch + i] = NAME(to_key)(row[i * factor + x]);
}

static void NAME(majority_cells)(const VOXEL *const *rows, ptrdiff_t count, ptrdiff_t factor,
                                 ptrdiff_t cells, KEY *planes, ptrdiff_t pitch, VOXEL *to)
{
    const ptrdiff_t voxels = factor * count;
    KEY *result = planes + voxels * pitch;
    ptrdiff_t row, i;
    NGCORE_ASSERT(voxels >= 2 && voxels <= MAX_PAIRED && cells + ROW_SLACK <= pitch);
    for (row = 0; row < count; row++) {
        KEY *plane = planes + row * factor * pitch;
        WITH_CONSTANT_FACTOR(split_row, factor, rows[row], cells, plane, pitch);
    }
    if (voxels == 8)
        NAME(majority_planes)(8, planes, pitch, cells, result);
    else if (voxels == 4)
        NAME(majority_planes)(4, planes, pitch, cells, result);
    else
        NAME(majority_planes)(voxels, planes, pitch, cells, result);
    for (i = 0; i < cells; i++)
        to[i] = NAME(from_key)(result[i]);
}
#endif

/* ---- any method ---- */

/* Bytes of scratch that rows of `cells` whole cells of at most `count` rows need. */
static size_t NAME(row_scratch)(const Downsampling *job, ptrdiff_t count, ptrdiff_t cells)
{
    const size_t length = (size_t)(cells * job->factors[0]);
    const ptrdiff_t voxels = job->factors[0] * count;
    if (job->method == METHOD_AVERAGE)
        return (length + ROW_SLACK) * (sizeof(PART) + sizeof(TOTAL));
    if (job->method == METHOD_MAJORITY)
        return (size_t)((smaller_of(voxels, MAX_PAIRED) + 1) * (cells + ROW_SLACK)) * sizeof(KEY);
    return (length + ROW_SLACK) * sizeof(VOXEL);
}

/* Reduce as many cells as a kernel for the usual pyramid can; the count of them. */
static ptrdiff_t NAME(reduce_pairs)(const Downsampling *job, const VOXEL *const *rows,
                                    ptrdiff_t count, ptrdiff_t cells, VOXEL *to)
{
    if (job->factors[0] != 2 || (count != 1 && count != 2 && count != 4) ||
        (job->has_outside && count < job->factors[1] * job->factors[2]))
        return 0;
#ifdef AVERAGES_PAIRS
    if (job->method == METHOD_AVERAGE)
        return NAME(average_pairs)(rows, count, cells, to);
#endif
#if defined(WITH_AVX2) && defined(SHUFFLE_PAIRS)
    if (job->method == METHOD_MAJORITY)
        return NAME(majority_pairs)(rows, count, cells, to);
#endif
    (void)rows;
    (void)cells;
    (void)to;
    return 0;
}

/* Reduce whole cells; 0 if their kind is not handled here. */
static int NAME(reduce_whole_cells)(const Downsampling *job, const VOXEL *const *rows,
                                    ptrdiff_t count, ptrdiff_t cells, void *scratch, VOXEL *to)
{
    const ptrdiff_t factor = job->factors[0], voxels = factor * count;
    ptrdiff_t i;
    switch (job->method) {
    case METHOD_AVERAGE:
        if (count > MAX_PART_ROWS || voxels > MAX_TOTAL_VOXELS ||
            (job->has_outside && count < job->factors[1] * job->factors[2]))
            return 0;
        NAME(average_cells)(rows, count, factor, cells, (PART *)scratch, to);
        return 1;
    case METHOD_MAJORITY:
#ifdef NGCORE_VECTORS
        if (voxels >= 2 && voxels <= MAX_PAIRED) {
            NAME(majority_cells)(rows, count, factor, cells, (KEY *)scratch, cells + ROW_SLACK,
                                 to);
            return 1;
        }
#endif
        return 0;
    case METHOD_MIN:
        NAME(smaller_cells)(rows, count, factor, cells, (VOXEL *)scratch, to);
        return 1;
    case METHOD_MAX:
        NAME(larger_cells)(rows, count, factor, cells, (VOXEL *)scratch, to);
        return 1;
    default:
        for (i = 0; i < cells; i++)
            to[i] = rows[0][i * factor];
        return 1;
    }
}
#undef WITH_CONSTANT_FACTOR
#undef AVERAGES_PAIRS
#undef SPLIT_EVEN
#undef SPLIT_ODD
#undef SIGN_OF_KEY
