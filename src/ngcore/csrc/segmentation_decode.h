/* Decoder of a chunk, for labels of type LABEL. Included by segmentation.h, once per type.
 *
 * No offset is followed before it is known to lie inside its channel. Where a whole table of
 * 2^width entries lies inside, no index of the block can leave it and none is checked; else the
 * largest index is found first. Widths are constants in the unpacking loops.
 *
 * A region is a box of the chunk, {x0, y0, z0, x1, y1, z1}, not empty and inside of it. Only the
 * blocks that it touches are looked at; with the region of the whole chunk, unused bytes are found.
 */

static inline LABEL NAME(load_label)(const uint8_t *bytes)
{
    LABEL label;
    memcpy(&label, bytes, sizeof label);
    return label;
}

/* The largest index that a block's values hold, padding included. */
static uint32_t NAME(largest_index)(const uint8_t *values, unsigned width, uint64_t volume)
{
    uint32_t largest = 0;
    uint64_t i;
    const uint32_t mask = width == 32 ? UINT32_MAX : (UINT32_C(1) << width) - 1;
    if (!width)
        return 0;
    for (i = 0; i < volume; i++) {
        const uint64_t bit = i * width;
        const uint32_t index = load_word(values + bit / 32 * 4) >> (bit % 32) & mask;
        if (index > largest)
            largest = index;
    }
    return largest;
}

/* Fill the box with one label. `length` is a constant where it is 8. */
static inline void NAME(fill_rows)(LABEL label, char *box, ptrdiff_t length,
                                   const ptrdiff_t *extent, const ptrdiff_t *strides)
{
    ptrdiff_t x, y, z;
    for (z = 0; z < extent[2]; z++) {
        for (y = 0; y < extent[1]; y++) {
            LABEL *row = (LABEL *)(box + z * strides[2] + y * strides[1]);
            for (x = 0; x < length; x++)
                row[x] = label;
        }
    }
}

static void NAME(fill_box)(LABEL label, char *box, const ptrdiff_t *extent,
                           const ptrdiff_t *strides)
{
    ptrdiff_t x, y, z;
    if (strides[0] == sizeof(LABEL) && extent[0] == 8) {
        NAME(fill_rows)(label, box, 8, extent, strides);
    } else if (strides[0] == sizeof(LABEL)) {
        NAME(fill_rows)(label, box, extent[0], extent, strides);
    } else {
        for (z = 0; z < extent[2]; z++)
            for (y = 0; y < extent[1]; y++)
                for (x = 0; x < extent[0]; x++)
                    *(LABEL *)(box + z * strides[2] + y * strides[1] + x * strides[0]) = label;
    }
}

#ifdef WITH_AVX2
/* A whole table of 2, 4 or 16 labels (width 1, 2 or 4) in registers. */
typedef struct {
    __m256i low[2]; /* lower halves of the labels 0 to 7 and 8 to 15 */
#if LABEL_WORDS == 2
    __m256i high[2];
#endif
} NAME(SmallTable);

static inline NAME(SmallTable) NAME(load_small_table)(const uint8_t *table, unsigned width)
{
    NAME(SmallTable) small;
    uint32_t words[2][16];
    const unsigned count = 1u << width;
    unsigned i;
    for (i = 0; i < 16; i++) { /* repeated, so that no bit beyond an index matters */
        const uint8_t *entry = table + (i % count) * sizeof(LABEL);
        words[0][i] = load_word(entry);
#if LABEL_WORDS == 2
        words[1][i] = load_word(entry + 4);
#endif
    }
    for (i = 0; i < 2; i++) {
        small.low[i] = _mm256_loadu_si256((const __m256i *)words[0] + i);
#if LABEL_WORDS == 2
        small.high[i] = _mm256_loadu_si256((const __m256i *)words[1] + i);
#endif
    }
    return small;
}

static inline __m256i NAME(permute_table)(const __m256i *words, __m256i indices, unsigned width)
{
    const __m256i lower = _mm256_permutevar8x32_epi32(words[0], indices);
    if (width < 4)
        return lower;
    /* Bit 3 of an index, as the sign, chooses between the tables' halves. */
    return _mm256_castps_si256(_mm256_blendv_ps(
        _mm256_castsi256_ps(lower),
        _mm256_castsi256_ps(_mm256_permutevar8x32_epi32(words[1], indices)),
        _mm256_castsi256_ps(_mm256_slli_epi32(indices, 28))));
}

/* Look up eight voxels, whose values are `width` bytes; a constant of 1, 2 or 4. */
static inline void NAME(permute_eight)(const uint8_t *values, const NAME(SmallTable) *small,
                                       unsigned width, LABEL *to)
{
    uint32_t bits = 0;
    __m256i indices;
    memcpy(&bits, values, width);
    indices = _mm256_set1_epi32((int)bits);
#if LABEL_WORDS == 1
    indices = _mm256_srlv_epi32(
        indices, _mm256_mullo_epi32(_mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7),
                                    _mm256_set1_epi32((int)width)));
    _mm256_storeu_si256((__m256i *)to, NAME(permute_table)(small->low, indices, width));
#else
    /* Unpacking joins the halves of labels 0, 1 | 2, 3 and of 4, 5 | 6, 7: look up in that order. */
    indices = _mm256_srlv_epi32(
        indices, _mm256_mullo_epi32(_mm256_setr_epi32(0, 1, 4, 5, 2, 3, 6, 7),
                                    _mm256_set1_epi32((int)width)));
    {
        const __m256i low = NAME(permute_table)(small->low, indices, width);
        const __m256i high = NAME(permute_table)(small->high, indices, width);
        _mm256_storeu_si256((__m256i *)to, _mm256_unpacklo_epi32(low, high));
        _mm256_storeu_si256((__m256i *)to + 1, _mm256_unpackhi_epi32(low, high));
    }
#endif
}
#endif

/* Look up eight voxels, whose values are `width` bytes; a constant of 1, 2, 4 or 8. */
static inline void NAME(look_up_eight)(const uint8_t *values, const uint8_t *table, unsigned width,
                                       LABEL *to)
{
    uint64_t indices = 0;
    int x;
    memcpy(&indices, values, width);
    if (width == 1) { /* two labels: choose without a look-up, all eight at once */
        const LABEL zero = NAME(load_label)(table);
        const LABEL change = zero ^ NAME(load_label)(table + sizeof(LABEL));
        for (x = 0; x < 8; x++)
            to[x] = zero ^ (change & ((LABEL)0 - ((LABEL)indices >> x & 1)));
    } else {
        const uint64_t mask = (UINT64_C(1) << width) - 1;
        for (x = 0; x < 8; x++)
            to[x] = NAME(load_label)(table + (size_t)(indices >> (x * width) & mask) *
                                                 sizeof(LABEL));
    }
}

/* Look up every voxel of the box, which starts `skip` voxels into the block; `width` is a constant
 * wherever this is inlined. A table that is not `whole` may be read only where the values say. */
static inline void NAME(look_up_box)(const uint8_t *values, const uint8_t *table, unsigned width,
                                     int whole, const ptrdiff_t *block, const ptrdiff_t *skip,
                                     char *box, const ptrdiff_t *extent,
                                     const ptrdiff_t *strides)
{
    const uint32_t mask = width == 32 ? UINT32_MAX : (UINT32_C(1) << width) - 1;
    const int has_rows_of_8 =
        extent[0] == block[0] && extent[0] % 8 == 0 && strides[0] == sizeof(LABEL);
    ptrdiff_t x, y, z;
#ifdef WITH_AVX2
    if (width <= 4 && whole && has_rows_of_8) { /* the table stays in registers */
        const NAME(SmallTable) small = NAME(load_small_table)(table, width);
        for (z = 0; z < extent[2]; z++) {
            for (y = 0; y < extent[1]; y++) {
                LABEL *row = (LABEL *)(box + z * strides[2] + y * strides[1]);
                const ptrdiff_t rows = skip[1] + y + block[1] * (skip[2] + z);
                const uint8_t *from = values + (size_t)(block[0] / 8 * rows) * width;
                for (x = 0; x < extent[0]; x += 8, from += width)
                    NAME(permute_eight)(from, &small, width, row + x);
            }
        }
        return;
    }
#endif
    if (width <= 8 && (width > 1 || whole) && has_rows_of_8) { /* whole bytes of values per row */
        for (z = 0; z < extent[2]; z++) {
            for (y = 0; y < extent[1]; y++) {
                LABEL *row = (LABEL *)(box + z * strides[2] + y * strides[1]);
                const ptrdiff_t rows = skip[1] + y + block[1] * (skip[2] + z);
                const uint8_t *from = values + (size_t)(block[0] / 8 * rows) * width;
                for (x = 0; x < extent[0]; x += 8, from += width)
                    NAME(look_up_eight)(from, table, width, row + x);
            }
        }
        return;
    }
    for (z = 0; z < extent[2]; z++) {
        for (y = 0; y < extent[1]; y++) {
            char *row = box + z * strides[2] + y * strides[1];
            const ptrdiff_t rows = skip[1] + y + block[1] * (skip[2] + z);
            uint64_t bit = (uint64_t)(skip[0] + block[0] * rows) * width;
            for (x = 0; x < extent[0]; x++, bit += width) {
                const uint32_t index = load_word(values + bit / 32 * 4) >> (bit % 32) & mask;
                *(LABEL *)(row + x * strides[0]) =
                    NAME(load_label)(table + (size_t)index * sizeof(LABEL));
            }
        }
    }
}

/* Decode the region of the channel at words [channel, end) of the chunk. `fault` is the word that
 * is wrong. */
static int NAME(decode_channel)(const uint8_t *data, size_t channel, size_t end, char *out,
                                const ptrdiff_t *shape, const ptrdiff_t *strides,
                                const ptrdiff_t *block, const ptrdiff_t *region, size_t *fault)
{
    const size_t room = end - channel; /* words */
    const uint8_t *base = data + 4 * channel;
    const uint64_t volume = (uint64_t)(block[0] * block[1] * block[2]);
    ptrdiff_t grid[3], first[3], last[3], at[3], extent[3], skip[3];
    size_t headers = 2, last_table = 0, last_header = 0, used;
    int axis, is_whole = 1;
    for (axis = 0; axis < 3; axis++) {
        grid[axis] = ceil_divide(shape[axis], block[axis]);
        headers *= (size_t)grid[axis];
        first[axis] = region[axis] / block[axis];
        last[axis] = (region[axis + 3] - 1) / block[axis];
        is_whole = is_whole && !region[axis] && region[axis + 3] == shape[axis];
    }
    *fault = channel;
    if (headers > room)
        return SEG_HEADERS_TRUNCATED;
    used = headers;
    for (at[2] = first[2]; at[2] <= last[2]; at[2]++)
    for (at[1] = first[1]; at[1] <= last[1]; at[1]++)
    for (at[0] = first[0]; at[0] <= last[0]; at[0]++) {
        const size_t header = 2 * (size_t)(at[0] + grid[0] * (at[1] + grid[1] * at[2]));
        const uint32_t word = load_word(base + 4 * header);
        const size_t table_offset = word & 0xFFFFFF;
        const size_t values_offset = load_word(base + 4 * header + 4);
        const unsigned width = word >> 24;
        const uint8_t *table = base + 4 * table_offset, *values = base;
        int whole = 1;
        char *box = out;
        *fault = channel + header;
        if (width > 32 || (width & (width - 1)))
            return SEG_BAD_WIDTH;
        if (table_offset < headers || table_offset + LABEL_WORDS > room)
            return SEG_TABLE_OUTSIDE;
        if (table_offset >= last_table) {
            last_table = table_offset;
            last_header = header;
        }
        if (width) {
            const uint64_t words = (volume * width + 31) / 32;
            *fault = channel + header + 1;
            if (values_offset < headers || values_offset > room || words > room - values_offset)
                return SEG_VALUES_OUTSIDE;
            values += 4 * values_offset;
            if (values_offset + words > used)
                used = values_offset + (size_t)words;
            *fault = channel + values_offset;
            whole = (uint64_t)LABEL_WORDS << width <= room - table_offset;
            if (!whole && NAME(largest_index)(values, width, volume) >=
                              (room - table_offset) / LABEL_WORDS)
                return SEG_INDEX_OUTSIDE;
        }
        for (axis = 0; axis < 3; axis++) {
            const ptrdiff_t origin = at[axis] * block[axis];
            const ptrdiff_t start = larger_of(origin, region[axis]);
            skip[axis] = start - origin;
            extent[axis] = smaller_of(origin + block[axis], region[axis + 3]) - start;
            box += (start - region[axis]) * strides[axis];
        }
#define LOOK_UP(bits) \
    NAME(look_up_box)(values, table, bits, whole, block, skip, box, extent, strides)
        switch (width) {
        case 0: NAME(fill_box)(NAME(load_label)(table), box, extent, strides); break;
        case 1: LOOK_UP(1); break;
        case 2: LOOK_UP(2); break;
        case 4: LOOK_UP(4); break;
        case 8: LOOK_UP(8); break;
        case 16: LOOK_UP(16); break;
        default: LOOK_UP(32); break;
#undef LOOK_UP
        }
    }
    if (!is_whole)
        return SEG_OK;
    /* The last table ends with the largest index of a block that uses it. */
    {
        const unsigned width = load_word(base + 4 * last_header) >> 24;
        const uint8_t *values = base;
        size_t stop;
        if (width)
            values += 4 * (size_t)load_word(base + 4 * last_header + 4);
        stop = last_table +
               LABEL_WORDS * ((size_t)NAME(largest_index)(values, width, volume) + 1);
        if (stop > used)
            used = stop;
    }
    *fault = channel + used;
    return used < room ? SEG_TRAILING : SEG_OK;
}

/* Decode the region of a chunk of `size` words and `shape` into out[x, y, z, channel], which has
 * the shape of the region (strides in bytes). */
static int NAME(decode_chunk)(const uint8_t *data, size_t size, char *out, const ptrdiff_t *shape,
                              const ptrdiff_t *strides, const ptrdiff_t *block,
                              const ptrdiff_t *region, size_t *fault)
{
    const size_t channels = (size_t)shape[3];
    size_t channel, start, stop;
    int status = SEG_OK;
    *fault = 0;
    if (size < channels)
        return SEG_HEADERS_TRUNCATED;
    for (channel = 0; channel < channels && status == SEG_OK; channel++) {
        *fault = channel;
        start = load_word(data + 4 * channel);
        stop = channel + 1 < channels ? load_word(data + 4 * channel + 4) : size;
        /* Channels lie one after the other: the first right behind the offsets. */
        if ((channel == 0 && start != channels) || start > stop || stop > size)
            return SEG_CHANNEL_OFFSET;
        status = NAME(decode_channel)(data, start, stop, out + (ptrdiff_t)channel * strides[3],
                                      shape, strides, block, region, fault);
    }
    return status;
}
