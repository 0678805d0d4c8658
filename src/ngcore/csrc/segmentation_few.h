/* Blocks of few labels, of type LABEL: number them and pack their ranks, 64 voxels at a time. Included by
 * segmentation_encode.h, once per type and set of instructions. */

/* Give the number `id` to those of 64 voxels that hold `label`; returns the first voxel that has
 * no number yet (UNNUMBERED), or 64. */
static inline int NAME(number_equal)(const LABEL *voxels, LABEL label, uint8_t id, uint8_t *ids)
{
#ifdef WITH_AVX2
    uint64_t unnumbered = 0;
    int half, i;
    for (half = 0; half < 2; half++) {
        const __m256i *from = (const __m256i *)(voxels + 32 * half);
        __m256i *to = (__m256i *)(ids + 32 * half);
        __m256i four[4], equal, numbers;
#if LABEL_WORDS == 1
        const __m256i wanted = _mm256_set1_epi32((int)label);
        for (i = 0; i < 4; i++)
            four[i] = _mm256_cmpeq_epi32(_mm256_loadu_si256(from + i), wanted);
#else
        const __m256i wanted = _mm256_set1_epi64x((long long)label);
        for (i = 0; i < 4; i++) {
            const __m256i a = _mm256_cmpeq_epi64(_mm256_loadu_si256(from + 2 * i), wanted);
            const __m256i b = _mm256_cmpeq_epi64(_mm256_loadu_si256(from + 2 * i + 1), wanted);
            four[i] = _mm256_castps_si256(
                _mm256_shuffle_ps(_mm256_castsi256_ps(a), _mm256_castsi256_ps(b), 0x88));
        }
#endif
        equal = _mm256_packs_epi16(_mm256_packs_epi32(four[0], four[1]),
                                   _mm256_packs_epi32(four[2], four[3]));
        /* Shuffles work within halves of 128 bits: put the bytes back in order. */
#if LABEL_WORDS == 1
        equal = _mm256_permutevar8x32_epi32(equal, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
#else
        equal = _mm256_shuffle_epi8(
            _mm256_permute4x64_epi64(equal, 0xD8),
            _mm256_setr_epi8(0, 1, 8, 9, 2, 3, 10, 11, 4, 5, 12, 13, 6, 7, 14, 15, 0, 1, 8, 9, 2,
                             3, 10, 11, 4, 5, 12, 13, 6, 7, 14, 15));
#endif
        numbers = _mm256_blendv_epi8(_mm256_loadu_si256(to), _mm256_set1_epi8((char)id), equal);
        _mm256_storeu_si256(to, numbers);
        unnumbered |= (uint64_t)(uint32_t)_mm256_movemask_epi8(numbers) << (32 * half);
    }
    return unnumbered ? lowest_bit(unnumbered) : 64;
#else
    uint8_t equal[64];
    uint64_t eight;
    int i;
    for (i = 0; i < 64; i++) /* two loops, of one type each, for the vectoriser */
        equal[i] = voxels[i] == label;
    for (i = 0; i < 64; i++)
        ids[i] = (uint8_t)((ids[i] & (equal[i] - 1)) | (id & -equal[i]));
    for (i = 0; i < 64; i += 8) {
        memcpy(&eight, ids + i, 8);
        eight &= UINT64_C(0x8080808080808080);
        if (eight)
            return i + lowest_bit(eight) / 8;
    }
    return 64;
#endif
}

/* Number the labels of a block in order of appearance, one pass for each. Returns how many, or 0
 * if there are more than FEW_LABELS. */
static size_t NAME(number_few)(const LABEL *voxels, size_t groups, uint8_t *ids, LABEL *labels)
{
    size_t count = 0, group, start = 0, next = 0;
    memset(ids, UNNUMBERED, 64 * groups);
    while (start < groups) {
        const LABEL label = voxels[next];
        if (count == FEW_LABELS)
            return 0;
        labels[count] = label;
        next = 64 * groups;
        for (group = start; group < groups; group++) {
            const int first = NAME(number_equal)(voxels + 64 * group, label, (uint8_t)count,
                                                 ids + 64 * group);
            if (first < 64 && next == 64 * groups)
                next = 64 * group + (size_t)first;
        }
        count++;
        start = next / 64; /* this label is not before it, nor is the next */
    }
    return count;
}

/* Pack the ranks of 64 voxels at `width` bits each. */
static inline void NAME(pack_64)(const uint8_t *ids, const uint8_t *ranks, unsigned width,
                                 uint8_t *packed)
{
#ifdef WITH_AVX2
    const __m256i table =
        _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)ranks));
    __m256i low = _mm256_loadu_si256((const __m256i *)ids);
    __m256i high = _mm256_loadu_si256((const __m256i *)(ids + 32));
    low = _mm256_shuffle_epi8(table, low);
    high = _mm256_shuffle_epi8(table, high);
    if (width == 1) { /* the lowest bit of each byte, moved to its highest */
        const uint32_t bits[2] = {
            (uint32_t)_mm256_movemask_epi8(_mm256_slli_epi16(low, 7)),
            (uint32_t)_mm256_movemask_epi8(_mm256_slli_epi16(high, 7))};
        memcpy(packed, bits, sizeof bits);
    } else if (width == 2) { /* pairs: a + 4 b; then pairs of pairs: ab + 16 cd */
        const __m256i fours = _mm256_set1_epi16(0x0401), sixteens = _mm256_set1_epi32(0x00100001);
        low = _mm256_madd_epi16(_mm256_maddubs_epi16(low, fours), sixteens);
        high = _mm256_madd_epi16(_mm256_maddubs_epi16(high, fours), sixteens);
        low = _mm256_packus_epi16(_mm256_packus_epi32(low, high), _mm256_setzero_si256());
        low = _mm256_permutevar8x32_epi32(low, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
        _mm_storeu_si128((__m128i *)packed, _mm256_castsi256_si128(low));
    } else { /* pairs: a + 16 b */
        const __m256i sixteens = _mm256_set1_epi16(0x1001);
        low = _mm256_packus_epi16(_mm256_maddubs_epi16(low, sixteens),
                                  _mm256_maddubs_epi16(high, sixteens));
        _mm256_storeu_si256((__m256i *)packed, _mm256_permute4x64_epi64(low, 0xD8));
    }
#else
    const unsigned per_byte = 8 / width;
    unsigned byte, i;
    for (byte = 0; byte < 8 * width; byte++) {
        unsigned bits = 0;
        for (i = 0; i < per_byte; i++)
            bits |= (unsigned)ranks[ids[byte * per_byte + i]] << (i * width);
        packed[byte] = (uint8_t)bits;
    }
#endif
}

/* Write the ranks of a block with few labels; `ids` beyond the block's volume are of rank 0. */
static void NAME(pack_few)(const uint8_t *ids, const uint8_t *ranks, unsigned width, size_t groups,
                           uint32_t *values, size_t words)
{
    const size_t group_words = 2 * width;
    size_t group;
    for (group = 0; group < groups; group++) {
        const size_t left = words - group * group_words;
        uint8_t *to = (uint8_t *)(values + group * group_words), last[32];
        uint8_t *packed = left < group_words ? last : to;
        NGCORE_ASSERT(group * group_words < words);
        if (width == 1)
            NAME(pack_64)(ids + 64 * group, ranks, 1, packed);
        else if (width == 2)
            NAME(pack_64)(ids + 64 * group, ranks, 2, packed);
        else
            NAME(pack_64)(ids + 64 * group, ranks, 4, packed);
        if (packed == last)
            memcpy(to, last, 4 * left);
    }
}
