/* Majorities of rows of whole cells, for voxels of type VOXEL. Included once per set of instructions.
 *
 * Cells that are all uniform, as most are, are a compare. Else small cells are voted on many at
 * once, one per lane of a vector; large ones one by one (downsample_large.h).
 */

#ifdef NGCORE_VECTORS
typedef KEY NAME(Keys) __attribute__((vector_size(VECTOR_BYTES), aligned(1), may_alias));
typedef SIGNED_KEY NAME(Counts) __attribute__((vector_size(VECTOR_BYTES), aligned(1), may_alias));
enum {
    NAME(LANES) = VECTOR_BYTES / sizeof(KEY),
    /* The largest cell of which each lane takes one: counts are as wide as keys. Where lanes are
     * few, cells one by one are quicker sooner. */
    NAME(MAX_LANE_VOXELS) = sizeof(KEY) == 1 ? 125 : sizeof(KEY) == 2 ? 64 : 32
};

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

/* SSE2 compares no lanes of 64 bits, which compilers then take one by one: both halves must be equal. */
static inline NAME(Keys) NAME(equal)(NAME(Keys) a, NAME(Keys) b)
{
#if defined(WIDE_SUM) && defined(__SSE2__) && !defined(WITH_AVX2)
    typedef int32_t Halves __attribute__((vector_size(VECTOR_BYTES)));
    const Vector16 halves = (Vector16)((Halves)a == (Halves)b);
    return (NAME(Keys))(halves & (halves << 32 | halves >> 32));
#else
    return (NAME(Keys))(a == b);
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

/* Majorities of many cells, one per lane: voxel j of each is in keys[j]. Label by label: count it,
 * drop it, until none that is left can win in any lane. Two labels, as most cells at a border hold,
 * take one round. Returns 0 if there are so many that comparing every pair is quicker. */
static inline int NAME(majority_in_rounds)(const NAME(Keys) *keys, ptrdiff_t voxels,
                                           NAME(Keys) *majorities)
{
    const KEY sign = SIGN_OF_KEY;
    const NAME(Keys) first = keys[0], *rest = keys;
    const NAME(Counts) zero = (NAME(Counts))(first ^ first);
    NAME(Keys) label = first, best = first, undropped[NAME(MAX_LANE_VOXELS)];
    NAME(Counts) most = zero + 1, left;
    ptrdiff_t round, j;
    for (j = 1; j < voxels; j++) {
        const NAME(Keys) equal = NAME(equal)(keys[j], first);
        label = NAME(choose)(equal, label, keys[j]);
        most -= (NAME(Counts))equal;
    }
    left = zero + (SIGNED_KEY)voxels - most;
    for (round = 0; round <= voxels / 8; round++) {
        const NAME(Keys) dropped = label;
        NAME(Counts) count = zero, better;
        NAME(Keys) open;
        for (j = 1; j < voxels; j++)
            count -= (NAME(Counts))NAME(equal)(rest[j], label);
        count &= (NAME(Counts))~NAME(equal)(label, first); /* else no other label is left in the lane */
        left -= count;
        better = (NAME(Counts))(count > most) |
                 ((NAME(Counts))NAME(equal)((NAME(Keys))count, (NAME(Keys))most) &
                  (NAME(Counts))((NAME(Counts))(label ^ sign) < (NAME(Counts))(best ^ sign)));
        most = (NAME(Counts))NAME(choose)((NAME(Keys))better, (NAME(Keys))count, (NAME(Keys))most);
        best = NAME(choose)((NAME(Keys))better, label, best);
        open = (NAME(Keys))((NAME(Counts))(left >= most) & (NAME(Counts))(left > zero));
        if (!NAME(any_bit)(&open)) {
            *majorities = best;
            return 1;
        }
        label = first;
        for (j = 1; j < voxels; j++) {
            undropped[j] = NAME(choose)(NAME(equal)(rest[j], dropped), first, rest[j]);
            label = NAME(choose)(NAME(equal)(undropped[j], first), label, undropped[j]);
        }
        rest = undropped;
    }
    return 0;
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
        most -= (NAME(Counts))NAME(equal)(keys[j], keys[0]);
    for (j = 1; j < voxels; j++) {
        const NAME(Counts) key = (NAME(Counts))keys[j];
        NAME(Counts) count = key ^ key, better;
        for (k = j + 1; k < voxels; k++)
            count -= (NAME(Counts))NAME(equal)(keys[k], keys[j]);
        better = (NAME(Counts))(count > most) |
                 ((NAME(Counts))NAME(equal)((NAME(Keys))count, (NAME(Keys))most) &
                  (NAME(Counts))(key < best));
        most = (NAME(Counts))NAME(choose)((NAME(Keys))better, (NAME(Keys))count, (NAME(Keys))most);
        best = (NAME(Counts))NAME(choose)((NAME(Keys))better, (NAME(Keys))key, (NAME(Keys))best);
    }
    return (NAME(Keys))best ^ sign;
}

static inline NAME(Keys) NAME(majority_of)(NAME(Keys) *keys, ptrdiff_t voxels)
{
    NAME(Keys) majorities;
    if (voxels >= 8 && NAME(majority_in_rounds)(keys, voxels, &majorities))
        return majorities;
    return NAME(majority_of_pairs)(keys, voxels);
}

/* The same for rows of cells whose voxels lie in planes: voxel j of every cell in plane j. */
static inline void NAME(majority_planes)(ptrdiff_t voxels, const KEY *planes, ptrdiff_t pitch,
                                         ptrdiff_t cells, KEY *to)
{
    ptrdiff_t i, j;
    for (i = 0; i < cells; i += NAME(LANES)) {
        NAME(Keys) result = *(const NAME(Keys) *)(planes + i), varies = result ^ result;
        for (j = 1; j < voxels; j++)
            varies |= result ^ *(const NAME(Keys) *)(planes + j * pitch + i);
        if (NAME(any_bit)(&varies)) { /* most cells are uniform, and so are their neighbours */
            NAME(Keys) keys[NAME(MAX_LANE_VOXELS)];
            for (j = 0; j < voxels; j++)
                keys[j] = *(const NAME(Keys) *)(planes + j * pitch + i);
            result = NAME(majority_of)(keys, voxels);
        }
        *(NAME(Keys) *)(to + i) = result;
    }
}

#if defined(WITH_AVX2) && defined(SHUFFLE_PAIRS)
/* Factor 2 of 32-bit and 64-bit labels, the usual pyramid: pairs are split in registers, in an
 * order that one shuffle of the result puts right. The memory `ahead` bytes after the rows is asked
 * for meanwhile. Returns how many cells were done. */
static inline ptrdiff_t NAME(majority_pairs_of)(const VOXEL *const *rows, ptrdiff_t count,
                                                ptrdiff_t cells, ptrdiff_t ahead, VOXEL *to)
{
    ptrdiff_t i, row;
    for (i = 0; i + NAME(LANES) <= cells; i += NAME(LANES)) {
        for (row = 0; row < count; row++)
            NGCORE_PREFETCH((const char *)(rows[row] + 2 * i) + ahead);
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
                                      ptrdiff_t ahead, VOXEL *to)
{
    return count == 4   ? NAME(majority_pairs_of)(rows, 4, cells, ahead, to)
           : count == 2 ? NAME(majority_pairs_of)(rows, 2, cells, ahead, to)
                        : 0;
}
#endif

/* Put the key of voxel x of every cell of a row in plane x. */
static inline void NAME(split_keys)(ptrdiff_t factor, const VOXEL *NGCORE_RESTRICT row,
                                    ptrdiff_t cells, KEY *NGCORE_RESTRICT planes, ptrdiff_t pitch)
{
    ptrdiff_t i, x;
    for (x = 0; x < factor; x++)
        for (i = 0; i < cells; i++)
            planes[x * pitch + i] = NAME(to_key)(row[i * factor + x]);
}

static inline void NAME(split_row_of_keys)(const Splitters *split, ptrdiff_t factor,
                                           const VOXEL *row, ptrdiff_t cells, KEY *planes,
                                           ptrdiff_t pitch)
{
#ifndef FLOATING
    if (factor == 1) {
        memcpy(planes, row, (size_t)cells * sizeof *planes);
        return;
    }
#endif
#ifdef WITH_AVX2
    if (split->voxels.factor) {
        split_row(&split->voxels, row, cells, planes, pitch * (ptrdiff_t)sizeof(KEY));
#ifdef FLOATING
        {
            ptrdiff_t i, x;
            for (x = 0; x < factor; x++)
                for (i = x * pitch; i < x * pitch + cells; i++)
                    planes[i] = NAME(key_of_bits)(planes[i]);
        }
#endif
        return;
    }
#endif
    (void)split;
    WITHOUT_SPLIT(split_keys, factor, row, cells, planes, pitch);
}

/* Small cells, one per lane. */
static void NAME(majority_lanes)(const Splitters *split, const VOXEL *const *rows, ptrdiff_t count,
                                 ptrdiff_t factor, ptrdiff_t cells, KEY *planes, ptrdiff_t pitch,
                                 VOXEL *to)
{
    const ptrdiff_t voxels = factor * count;
    KEY *result = planes + voxels * pitch;
    ptrdiff_t row, i;
    NGCORE_ASSERT(voxels >= 2 && voxels <= NAME(MAX_LANE_VOXELS) && cells + ROW_SLACK <= pitch);
    for (row = 0; row < count; row++)
        NAME(split_row_of_keys)(split, factor, rows[row], cells, planes + row * factor * pitch,
                                pitch);
    if (voxels == 8)
        NAME(majority_planes)(8, planes, pitch, cells, result);
    else if (voxels == 4)
        NAME(majority_planes)(4, planes, pitch, cells, result);
    else if (voxels == 3)
        NAME(majority_planes)(3, planes, pitch, cells, result);
    else
        NAME(majority_planes)(voxels, planes, pitch, cells, result);
    for (i = 0; i < cells; i++)
        to[i] = NAME(from_key)(result[i]);
}

#include "downsample_large.h"
#endif /* NGCORE_VECTORS */

/* Bytes of scratch for rows of `cells` whole cells of at most `count` rows: at the array's ends
 * large cells have fewer, and may be small. */
static size_t NAME(majority_scratch)(ptrdiff_t count, ptrdiff_t factor, ptrdiff_t cells)
{
#ifdef NGCORE_VECTORS
    const ptrdiff_t voxels = count * factor;
    const ptrdiff_t planes = smaller_of(voxels, NAME(MAX_LANE_VOXELS)) + 1;
    return (size_t)(planes * (cells + ROW_SLACK) + voxels + ROW_SLACK) * sizeof(KEY);
#else
    (void)count, (void)factor, (void)cells;
    return 1;
#endif
}

/* Whole cells; 0 if their kind is not handled here. */
static int NAME(majority_cells)(const Splitters *split, const VOXEL *const *rows, ptrdiff_t count,
                                ptrdiff_t factor, ptrdiff_t cells, void *scratch, VOXEL *to)
{
#ifdef NGCORE_VECTORS
    const ptrdiff_t voxels = factor * count;
    if (voxels <= NAME(MAX_LANE_VOXELS)) {
        NAME(majority_lanes)(split, rows, count, factor, cells, (KEY *)scratch, cells + ROW_SLACK,
                             to);
        return 1;
    }
    if (voxels <= MAX_COUNTED_VOXELS) {
        NAME(majority_each)(rows, count, factor, cells, (KEY *)scratch, to);
        return 1;
    }
#else
    (void)split, (void)rows, (void)count, (void)factor, (void)cells, (void)scratch, (void)to;
#endif
    return 0;
}
#undef SPLIT_EVEN
#undef SPLIT_ODD
#undef SIGN_OF_KEY
#undef MAX_COUNTED_VOXELS
