/* Takes a row of cells apart, for AVX2: voxel x of every cell goes to plane x, so that the loops after
 * it, whatever they compute, are over neighbours. Included once, by downsample.c.
 *
 * A group is as many cells as one plane's vector has lanes; it fills as many vectors as a cell has
 * voxels. Each plane's vector picks a few lanes from each of them. Which, is in a table made once per
 * call: that is all that depends on factor and type.
 *
 * Voxels of 1 and 2 bytes take byte shuffles of 16 bytes, those of 4 and 8 permutations of 32.
 */

/* Fill the table for cells of `factor` voxels of `size` bytes. */
static void make_splitter(Splitter *splitter, ptrdiff_t factor, size_t size)
{
    const size_t vector = size < 4 ? 16 : 32, unit = size < 4 ? 1 : 4;
    size_t plane, byte;
    splitter->factor = factor >= 2 && factor <= MAX_SPLIT ? (int)factor : 0;
    splitter->size = size;
    for (plane = 0; plane < (size_t)splitter->factor; plane++) {
        memset(splitter->shuffle[plane], 0x80, sizeof splitter->shuffle[plane]);
        memset(splitter->keep[plane], 0, sizeof splitter->keep[plane]);
        for (byte = 0; byte < vector; byte += unit) {
            const size_t at = (byte / size * (size_t)factor + plane) * size + byte % size;
            splitter->shuffle[plane][at / vector][byte] = (uint8_t)(at % vector / unit);
            if (unit == 4) {
                memset(splitter->shuffle[plane][at / vector] + byte + 1, 0, 3);
                memset(splitter->keep[plane][at / vector] + byte, 0xFF, 4);
            }
        }
    }
}

static inline void split_narrow_group(const Splitter *splitter, int factor, const char *from,
                                      char *to, ptrdiff_t pitch)
{
    __m128i voxels[MAX_SPLIT];
    int plane, k;
    for (k = 0; k < factor; k++)
        voxels[k] = _mm_loadu_si128((const __m128i *)from + k);
    for (plane = 0; plane < factor; plane++) {
        const uint8_t(*shuffle)[32] = splitter->shuffle[plane];
        __m128i picked = _mm_shuffle_epi8(voxels[0], _mm_loadu_si128((const void *)shuffle[0]));
        for (k = 1; k < factor; k++)
            picked = _mm_or_si128(
                picked, _mm_shuffle_epi8(voxels[k], _mm_loadu_si128((const void *)shuffle[k])));
        _mm_storeu_si128((__m128i *)(to + plane * pitch), picked);
    }
}

static inline void split_wide_group(const Splitter *splitter, int factor, const char *from,
                                    char *to, ptrdiff_t pitch)
{
    __m256i voxels[MAX_SPLIT];
    int plane, k;
    for (k = 0; k < factor; k++)
        voxels[k] = _mm256_loadu_si256((const __m256i *)from + k);
    for (plane = 0; plane < factor; plane++) {
        const uint8_t(*shuffle)[32] = splitter->shuffle[plane], (*keep)[32] = splitter->keep[plane];
        __m256i picked = _mm256_permutevar8x32_epi32(
            voxels[0], _mm256_loadu_si256((const void *)shuffle[0]));
        for (k = 1; k < factor; k++)
            picked = _mm256_blendv_epi8(
                picked,
                _mm256_permutevar8x32_epi32(voxels[k],
                                            _mm256_loadu_si256((const void *)shuffle[k])),
                _mm256_loadu_si256((const void *)keep[k]));
        _mm256_storeu_si256((__m256i *)(to + plane * pitch), picked);
    }
}

/* Cells that fill no group are copied first, so that nothing is read beyond the row; planes have
 * room for a whole vector. */
static inline void split_groups(const Splitter *splitter, int factor, int is_narrow,
                                const char *row, ptrdiff_t cells, char *planes, ptrdiff_t pitch)
{
    const ptrdiff_t vector = is_narrow ? 16 : 32, cell = factor * (ptrdiff_t)splitter->size;
    const ptrdiff_t length = cells * (ptrdiff_t)splitter->size;
    char last[MAX_SPLIT * 32];
    ptrdiff_t at;
    for (at = 0; at < length; at += vector) {
        const char *from = row + at * factor;
        if (at + vector > length) {
            memset(last, 0, (size_t)(factor * vector));
            memcpy(last, from, (size_t)((length - at) / (ptrdiff_t)splitter->size * cell));
            from = last;
        }
        if (is_narrow)
            split_narrow_group(splitter, factor, from, planes + at, pitch);
        else
            split_wide_group(splitter, factor, from, planes + at, pitch);
    }
}

/* Voxel x of cell i goes to planes + x * pitch + i * size; pitch is in bytes. */
static void split_row(const Splitter *splitter, const void *row, ptrdiff_t cells, void *planes,
                      ptrdiff_t pitch)
{
#define SPLIT(factor)                                                                             \
    case factor:                                                                                  \
        if (splitter->size < 4)                                                                   \
            split_groups(splitter, factor, 1, (const char *)row, cells, (char *)planes, pitch);   \
        else                                                                                      \
            split_groups(splitter, factor, 0, (const char *)row, cells, (char *)planes, pitch);   \
        break;
    NGCORE_ASSERT((cells * (ptrdiff_t)splitter->size + 31) / 32 * 32 <= pitch);
    switch (splitter->factor) {
        SPLIT(2) SPLIT(3) SPLIT(4) SPLIT(5) SPLIT(6) SPLIT(7) SPLIT(8)
    default: NGCORE_ASSERT(0 && "factor has a splitter");
    }
#undef SPLIT
}
