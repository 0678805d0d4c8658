/* Encoder of one channel, for labels of type LABEL. Included by segmentation.h, once per type.
 *
 * Per block, the first case that fits:
 *   1. uniform       rows are compared with the first voxel in place; no bits are written
 *   2. few labels    up to 16: one pass of vector compares per label gives its voxels a number of
 *                    one byte; a look-up of 16 bytes turns numbers into ranks in the sorted table,
 *                    and products and sums of neighbours pack them. No branch depends on a voxel
 *   3. many labels   a hash gives each voxel the number of its label, then numbers become ranks
 */

typedef struct {
    LABEL label;
    uint32_t id;
} NAME(LabelId);

/* Copy contiguous rows into the block and compare them on the way: each row is a cache line of
 * its own, best touched once. Returns 0 if all voxels equal `first`. */
static int NAME(gather_rows)(const char *box, const ptrdiff_t *extent, const ptrdiff_t *strides,
                             const ptrdiff_t *block, LABEL first, LABEL *voxels)
{
    LABEL different = 0;
    ptrdiff_t x, y, z;
#ifdef NGCORE_VECTORS
    if (extent[0] == 8 && block[0] == 8) { /* the usual block: whole rows in registers */
        enum { STEP = sizeof(VECTOR), ROW = 8 * sizeof(LABEL) };
        LABEL firsts[STEP / sizeof(LABEL)];
        VECTOR wanted, varies;
        int i;
        for (i = 0; i < (int)(STEP / sizeof(LABEL)); i++)
            firsts[i] = first;
        memcpy(&wanted, firsts, STEP);
        varies = wanted ^ wanted;
        for (z = 0; z < extent[2]; z++) {
            const char *row = box + z * strides[2];
            char *to = (char *)(voxels + 8 * block[1] * z);
            for (y = 0; y < extent[1]; y++, row += strides[1], to += ROW) {
                for (i = 0; i < ROW; i += STEP) {
                    const VECTOR part = *(const VECTOR *)(row + i);
                    *(VECTOR *)(to + i) = part;
                    varies |= part ^ wanted;
                }
            }
        }
        memcpy(firsts, &varies, STEP);
        for (i = 0; i < (int)(STEP / sizeof(LABEL)); i++)
            different |= firsts[i];
        return different != 0;
    }
#endif
    for (z = 0; z < extent[2]; z++) {
        for (y = 0; y < extent[1]; y++) {
            const LABEL *row = (const LABEL *)(box + z * strides[2] + y * strides[1]);
            LABEL *NGCORE_RESTRICT to = voxels + block[0] * (y + block[1] * z);
            for (x = 0; x < extent[0]; x++) {
                to[x] = row[x];
                different |= row[x] ^ first;
            }
        }
    }
    return different != 0;
}

/* Copy the box into a whole block; what lies outside of the box repeats its first voxel. Returns 0
 * if the box is uniform. Axes are in the order of memory, nearest first, not necessarily x, y, z. */
static int NAME(gather_block)(const char *box, const ptrdiff_t *extent, const ptrdiff_t *strides,
                              const ptrdiff_t *block, LABEL *voxels, size_t room)
{
    const LABEL first = *(const LABEL *)box;
    const size_t volume = (size_t)(block[0] * block[1] * block[2]);
    const int is_partial = extent[0] < block[0] || extent[1] < block[1] || extent[2] < block[2];
    LABEL different = 0;
    ptrdiff_t x, y, z;
    size_t i;
    NGCORE_ASSERT(extent[0] <= block[0] && extent[1] <= block[1] && extent[2] <= block[2]);
    NGCORE_ASSERT(volume <= room);
    for (i = is_partial ? 0 : volume; i < room; i++)
        voxels[i] = first;
    if (strides[0] == sizeof(LABEL))
        return NAME(gather_rows)(box, extent, strides, block, first, voxels);
    for (z = 0; z < extent[2]; z++) {
        for (y = 0; y < extent[1]; y++) {
            const char *row = box + z * strides[2] + y * strides[1];
            LABEL *to = voxels + block[0] * (y + block[1] * z);
            for (x = 0; x < extent[0]; x++) {
                to[x] = *(const LABEL *)(row + x * strides[0]);
                different |= to[x] ^ first;
            }
        }
    }
    return different != 0;
}

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

/* Merge sort by label; returns whichever of the two halves of `pairs` holds the result. */
static NAME(LabelId) *NAME(sort_pairs)(NAME(LabelId) *pairs, NAME(LabelId) *other, size_t count)
{
    size_t run, start;
    /* Insertion sort of runs of 8 saves the three cheapest rounds of merging. */
    for (start = 0; start < count; start += 8) {
        const size_t stop = start + 8 < count ? start + 8 : count;
        size_t i, j;
        for (i = start + 1; i < stop; i++) {
            const NAME(LabelId) pair = pairs[i];
            for (j = i; j > start && pairs[j - 1].label > pair.label; j--)
                pairs[j] = pairs[j - 1];
            pairs[j] = pair;
        }
    }
    for (run = 8; run < count; run *= 2) {
        NAME(LabelId) *swap;
        for (start = 0; start < count; start += 2 * run) {
            size_t left = start, right = start + run < count ? start + run : count, to = start;
            const size_t middle = right;
            const size_t stop = start + 2 * run < count ? start + 2 * run : count;
            while (left < middle && right < stop) {
                const int take_right = pairs[right].label < pairs[left].label;
                other[to++] = pairs[take_right ? right : left];
                right += (size_t)take_right;
                left += (size_t)!take_right;
            }
            while (left < middle)
                other[to++] = pairs[left++];
            while (right < stop)
                other[to++] = pairs[right++];
        }
        swap = pairs;
        pairs = other;
        other = swap;
    }
    return pairs;
}

/* Number the labels of a block through a hash. Returns how many, or 0 if over 65536. */
static size_t NAME(number_labels)(Scratch *scratch, const LABEL *voxels, size_t volume)
{
    NAME(LabelId) *pairs = (NAME(LabelId) *)scratch->pairs;
    uint32_t *slots = scratch->slots, *ids = scratch->ids;
    const size_t last_slot = scratch->slot_count - 1;
    size_t count = 0, i, at;
    LABEL previous = (LABEL)~voxels[0];
    uint32_t id = 0;
    memset(slots, 0, scratch->slot_count * sizeof *slots);
    for (i = 0; i < volume; i++) {
        const LABEL label = voxels[i];
        if (label != previous) { /* a run keeps its number */
            at = (size_t)mix_hash(0, label) & last_slot;
            while (slots[at] && pairs[slots[at] - 1].label != label)
                at = (at + 1) & last_slot;
            if (!slots[at]) {
                if (count == SEG_MAX_LABELS)
                    return 0;
                NGCORE_ASSERT(count < scratch->max_labels);
                pairs[count].label = label;
                pairs[count].id = (uint32_t)count;
                slots[at] = (uint32_t)++count;
            }
            id = slots[at] - 1;
            previous = label;
        }
        ids[i] = id;
    }
    return count;
}

static void NAME(pack_ids)(const uint32_t *ids, const uint32_t *ranks, unsigned width,
                           size_t volume, uint32_t *values, size_t words)
{
    const unsigned per_word = 32 / width;
    size_t word, i = 0;
    for (word = 0; word < words; word++) {
        const size_t stop = i + per_word < volume ? i + per_word : volume;
        uint32_t packed = 0;
        unsigned shift = 0;
        for (; i < stop; i++, shift += width)
            packed |= ranks[ids[i]] << shift;
        values[word] = packed;
    }
}

/* Append one channel: headers, then per block its values and, if it is new, its table. */
static int NAME(encode_channel)(const char *labels, const ptrdiff_t *shape,
                                const ptrdiff_t *strides, const ptrdiff_t *block, Scratch *scratch,
                                WordBuffer *out)
{
    const size_t channel = out->size;
    const size_t volume = (size_t)(block[0] * block[1] * block[2]);
    const size_t groups = scratch->voxels / 64;
    LABEL *voxels = (LABEL *)scratch->block;
    ptrdiff_t grid[3], at[3], extent[3], near_extent[3], near_strides[3], near_block[3];
    int nearest[3], is_permuted;
    size_t header = channel, blocks = 1;
    LABEL uniform_label = 0;
    uint32_t uniform_offset = 0;
    int has_uniform = 0, axis, status;
    for (axis = 0; axis < 3; axis++) {
        grid[axis] = ceil_divide(shape[axis], block[axis]);
        blocks *= (size_t)grid[axis];
    }
    /* Blocks are gathered and numbered in the order of memory; only the numbers are turned. */
    order_axes(strides, nearest);
    is_permuted = nearest[0] != 0 || nearest[1] != 1;
    for (axis = 0; axis < 3; axis++) {
        near_strides[axis] = strides[nearest[axis]];
        near_block[axis] = block[nearest[axis]];
    }
    table_index_clear(&scratch->tables);
    if (!buffer_reserve(out, 2 * blocks))
        return SEG_NO_MEMORY;
    out->size += 2 * blocks;
    for (at[2] = 0; at[2] < grid[2]; at[2]++)
    for (at[1] = 0; at[1] < grid[1]; at[1]++)
    for (at[0] = 0; at[0] < grid[0]; at[0]++, header += 2) {
        const char *box = labels;
        unsigned width = 0;
        uint32_t table_offset;
        const size_t values_offset = out->size;
        for (axis = 0; axis < 3; axis++) {
            const ptrdiff_t start = at[axis] * block[axis];
            extent[axis] = smaller_of(block[axis], shape[axis] - start);
            box += start * strides[axis];
        }
        if (values_offset >= SEG_OFFSET_LIMIT)
            return SEG_VALUE_OFFSET_LIMIT;
        for (axis = 0; axis < 3; axis++)
            near_extent[axis] = extent[nearest[axis]];
        if (!NAME(gather_block)(box, near_extent, near_strides, near_block, voxels,
                                scratch->voxels)) {
            const LABEL label = *(const LABEL *)box;
            if (!has_uniform || label != uniform_label) {
                if (!buffer_reserve(out, LABEL_WORDS))
                    return SEG_NO_MEMORY;
                status = share_table(&scratch->tables, out, channel, &label, LABEL_WORDS,
                                     mix_hash(LABEL_WORDS, label), &uniform_offset);
                if (status)
                    return status;
                uniform_label = label;
                has_uniform = 1;
            }
            table_offset = uniform_offset;
        } else {
            LABEL few[FEW_LABELS], *table = few;
            NAME(LabelId) *pairs = NULL;
            uint8_t ranks[FEW_LABELS] = {0}, *few_ids = NULL;
            const uint32_t *ids = NULL;
            size_t count, words, i, j;
            uint64_t hash;
            count = NAME(number_few)(voxels, groups, scratch->few_ids, few);
            if (count) {
                LABEL sorted[FEW_LABELS];
                uint8_t order[FEW_LABELS];
                for (i = 0; i < count; i++) {
                    for (j = i; j > 0 && sorted[j - 1] > few[i]; j--) {
                        sorted[j] = sorted[j - 1];
                        order[j] = order[j - 1];
                    }
                    sorted[j] = few[i];
                    order[j] = (uint8_t)i;
                }
                for (i = 0; i < count; i++) {
                    few[i] = sorted[i];
                    ranks[order[i]] = (uint8_t)i;
                }
                if (is_permuted)
                    reorder_bytes(scratch->few_ids, scratch->turned, near_block, nearest);
                few_ids = is_permuted ? (uint8_t *)scratch->turned : scratch->few_ids;
                memset(few_ids + volume, order[0], scratch->voxels - volume);
            } else {
                if (!scratch_for_many_labels(scratch, sizeof(NAME(LabelId))))
                    return SEG_NO_MEMORY;
                count = NAME(number_labels)(scratch, voxels, volume);
                if (!count)
                    return SEG_TOO_MANY_LABELS;
                if (is_permuted)
                    reorder_words(scratch->ids, scratch->turned, near_block, nearest);
                ids = is_permuted ? scratch->turned : scratch->ids;
                pairs = (NAME(LabelId) *)scratch->pairs;
                pairs = NAME(sort_pairs)(pairs, pairs + scratch->max_labels, count);
                table = voxels; /* the voxels are known by number from here on */
                for (i = 0; i < count; i++) {
                    table[i] = pairs[i].label;
                    scratch->ranks[pairs[i].id] = (uint32_t)i;
                }
            }
            width = width_for(count);
            words = (volume * width + 31) / 32;
            if (!buffer_reserve(out, words + count * LABEL_WORDS))
                return SEG_NO_MEMORY;
            if (pairs)
                NAME(pack_ids)(ids, scratch->ranks, width, volume,
                               out->words + out->size, words);
            else
                NAME(pack_few)(few_ids, ranks, width, groups, out->words + out->size,
                               words);
            out->size += words;
            hash = count * LABEL_WORDS;
            for (i = 0; i < count; i++)
                hash = mix_hash(hash, table[i]);
            status = share_table(&scratch->tables, out, channel, table, count * LABEL_WORDS, hash,
                                 &table_offset);
            if (status)
                return status;
        }
        NGCORE_ASSERT(header + 2 <= channel + 2 * blocks);
        out->words[header] = table_offset | (uint32_t)width << 24;
        out->words[header + 1] = (uint32_t)(values_offset - channel);
    }
    return SEG_OK;
}

/* Encode every channel of labels[x, y, z, channel] (strides in bytes); the caller frees `out`. */
static int NAME(encode_chunk)(const char *labels, const ptrdiff_t *shape, const ptrdiff_t *strides,
                              const ptrdiff_t *block, WordBuffer *out)
{
    Scratch scratch;
    ptrdiff_t channel;
    int status = SEG_NO_MEMORY;
    const size_t volume = (size_t)(block[0] * block[1] * block[2]);
    if (scratch_init(&scratch, volume, sizeof(LABEL)) && buffer_reserve(out, (size_t)shape[3])) {
        status = SEG_OK;
        out->size = (size_t)shape[3];
        for (channel = 0; channel < shape[3] && status == SEG_OK; channel++) {
            if (out->size >= SEG_OFFSET_LIMIT) {
                status = SEG_VALUE_OFFSET_LIMIT;
                break;
            }
            out->words[channel] = (uint32_t)out->size;
            status = NAME(encode_channel)(labels + channel * strides[3], shape, strides, block,
                                          &scratch, out);
        }
    }
    scratch_free(&scratch);
    return status;
}
