/* Takes a row of cells apart, for AVX2: voxel x of every cell goes to plane x, so that the loops after
 * it, whatever they compute, are over neighbours. Included once, by downsample.c.
 *
 * A group is as many cells as one plane's vector has lanes.
 *
 * Voxels of 1 and 2 bytes: a group fills as many vectors of 16 bytes as a cell has voxels. Each plane's
 * vector picks a few lanes from each of them by byte shuffles. Which, is in a table made once per call:
 * that is all that depends on factor and type.
 *
 * Voxels of 4 and 8 bytes: 16 bytes of each cell are read into half a vector and transposed, then the
 * next 16. What was read beyond a cell's end is in planes that are not written.
 */

/* Fill the table for cells of `factor` voxels of `size` bytes. */
static void make_splitter(Splitter *splitter, ptrdiff_t factor, size_t size)
{
    const size_t vector = 16;
    size_t plane, byte;
    splitter->factor = factor >= 2 && factor <= MAX_SPLIT ? (int)factor : 0;
    splitter->size = size;
    if (size >= 4)
        return;
    for (plane = 0; plane < (size_t)splitter->factor; plane++) {
        memset(splitter->shuffle[plane], 0x80, sizeof splitter->shuffle[plane]);
        for (byte = 0; byte < vector; byte++) {
            const size_t at = (byte / size * (size_t)factor + plane) * size + byte % size;
            splitter->shuffle[plane][at / vector][byte] = (uint8_t)(at % vector);
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
        const uint8_t(*shuffle)[16] = splitter->shuffle[plane];
        __m128i picked = _mm_shuffle_epi8(voxels[0], _mm_loadu_si128((const void *)shuffle[0]));
        for (k = 1; k < factor; k++)
            picked = _mm_or_si128(
                picked, _mm_shuffle_epi8(voxels[k], _mm_loadu_si128((const void *)shuffle[k])));
        _mm_storeu_si128((__m128i *)(to + plane * pitch), picked);
    }
}

static inline __m256 load_halves(const char *low, const char *high)
{
    return _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps((const float *)low)),
                                _mm_loadu_ps((const float *)high), 1);
}

/* Put a's and b's even 8 bytes in one plane, the odd ones in the next. */
static inline void store_pairs(__m256 a, __m256 b, int planes, char *to, ptrdiff_t pitch)
{
    const __m256d first = _mm256_castps_pd(a), second = _mm256_castps_pd(b);
    _mm256_storeu_pd((double *)to, _mm256_unpacklo_pd(first, second));
    if (planes > 1)
        _mm256_storeu_pd((double *)(to + pitch), _mm256_unpackhi_pd(first, second));
}

/* A group of pairs is two vectors; lanes 0 2 1 3 of 8 bytes are put in order last. */
static inline void split_group_of_pairs(int size, const char *from, char *to, ptrdiff_t pitch)
{
    const __m256 a = _mm256_loadu_ps((const float *)from);
    const __m256 b = _mm256_loadu_ps((const float *)from + 8);
    const __m256d c = _mm256_castps_pd(a), d = _mm256_castps_pd(b);
    const __m256d even = size == 4 ? _mm256_castps_pd(_mm256_shuffle_ps(a, b, 0x88))
                                   : _mm256_unpacklo_pd(c, d);
    const __m256d odd = size == 4 ? _mm256_castps_pd(_mm256_shuffle_ps(a, b, 0xDD))
                                  : _mm256_unpackhi_pd(c, d);
    _mm256_storeu_pd((double *)to, _mm256_permute4x64_pd(even, 0xD8));
    _mm256_storeu_pd((double *)(to + pitch), _mm256_permute4x64_pd(odd, 0xD8));
}

/* Eight cells of 4-byte voxels: cells k and k + 4 share a vector. */
static inline void split_group_of_4(int factor, const char *from, char *to, ptrdiff_t pitch)
{
    const ptrdiff_t cell = 4 * factor;
    int x;
    for (x = 0; x < factor; x += 4, from += 16, to += 4 * pitch) {
        const __m256 a = load_halves(from, from + 4 * cell);
        const __m256 b = load_halves(from + cell, from + 5 * cell);
        const __m256 c = load_halves(from + 2 * cell, from + 6 * cell);
        const __m256 d = load_halves(from + 3 * cell, from + 7 * cell);
        store_pairs(_mm256_unpacklo_ps(a, b), _mm256_unpacklo_ps(c, d), factor - x, to, pitch);
        if (factor - x > 2)
            store_pairs(_mm256_unpackhi_ps(a, b), _mm256_unpackhi_ps(c, d), factor - x - 2,
                        to + 2 * pitch, pitch);
    }
}

/* Four cells of 8-byte voxels: cells k and k + 2 share a vector. */
static inline void split_group_of_8(int factor, const char *from, char *to, ptrdiff_t pitch)
{
    const ptrdiff_t cell = 8 * factor;
    int x;
    for (x = 0; x < factor; x += 2, from += 16, to += 2 * pitch)
        store_pairs(load_halves(from, from + 2 * cell), load_halves(from + cell, from + 3 * cell),
                    factor - x, to, pitch);
}

/* The last group overlaps the one before it. Where there is none, or too little lies beyond its cells,
 * it is copied first, so that nothing is read beyond the row; planes have room for a whole vector. */
static inline void split_groups(const Splitter *splitter, int factor, int size, const char *row,
                                ptrdiff_t cells, char *planes, ptrdiff_t pitch)
{
    const ptrdiff_t vector = size < 4 ? 16 : 32, length = cells * (ptrdiff_t)splitter->size;
    const ptrdiff_t beyond = size < 4 || factor == 2 ? 0 : (16 - factor * size % 16) % 16;
    char last[(MAX_SPLIT + 1) * 32];
    ptrdiff_t at;
    for (at = 0; at < length; at += vector) {
        const char *from = row + at * factor;
        if (at + vector > length && length >= vector && !beyond) {
            at = length - vector;
            from = row + at * factor;
        } else if ((at + vector) * factor + beyond > length * factor) {
            memset(last, 0, (size_t)(factor * vector + beyond));
            memcpy(last, from, (size_t)(smaller_of(length - at, vector) * factor));
            from = last;
        }
        if (size >= 4 && factor == 2)
            split_group_of_pairs(size, from, planes + at, pitch);
        else if (size == 4)
            split_group_of_4(factor, from, planes + at, pitch);
        else if (size == 8)
            split_group_of_8(factor, from, planes + at, pitch);
        else
            split_narrow_group(splitter, factor, from, planes + at, pitch);
    }
}

/* Voxel x of cell i goes to planes + x * pitch + i * size; pitch is in bytes. */
static void split_row(const Splitter *splitter, const void *row, ptrdiff_t cells, void *planes,
                      ptrdiff_t pitch)
{
#define SPLIT(factor)                                                                             \
    case factor:                                                                                  \
        if (splitter->size == 4)                                                                  \
            split_groups(splitter, factor, 4, (const char *)row, cells, (char *)planes, pitch);   \
        else if (splitter->size == 8)                                                             \
            split_groups(splitter, factor, 8, (const char *)row, cells, (char *)planes, pitch);   \
        else                                                                                      \
            split_groups(splitter, factor, 1, (const char *)row, cells, (char *)planes, pitch);   \
        break;
    NGCORE_ASSERT((cells * (ptrdiff_t)splitter->size + 31) / 32 * 32 <= pitch);
    switch (splitter->factor) {
        SPLIT(2) SPLIT(3) SPLIT(4) SPLIT(5) SPLIT(6) SPLIT(7) SPLIT(8)
    default: NGCORE_ASSERT(0 && "factor has a splitter");
    }
#undef SPLIT
}
