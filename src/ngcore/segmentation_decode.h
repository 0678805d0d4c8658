/* Decoder of a chunk, for labels of type LABEL. Included by segmentation.h, once per type.
 *
 * No offset is followed before it is known to lie inside its channel. Where a whole table of
 * 2^width entries lies inside, no index of the block can leave it and none is checked; else the
 * largest index is found first. Widths are constants in the unpacking loops.
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

static void NAME(fill_box)(LABEL label, char *box, const ptrdiff_t *extent,
                           const ptrdiff_t *strides)
{
    ptrdiff_t x, y, z;
    for (z = 0; z < extent[2]; z++) {
        for (y = 0; y < extent[1]; y++) {
            char *row = box + z * strides[2] + y * strides[1];
            if (strides[0] == sizeof(LABEL)) {
                LABEL *voxels = (LABEL *)row;
                for (x = 0; x < extent[0]; x++)
                    voxels[x] = label;
            } else {
                for (x = 0; x < extent[0]; x++)
                    *(LABEL *)(row + x * strides[0]) = label;
            }
        }
    }
}

/* Look up every voxel of the box; `width` is a constant wherever this is inlined. */
static inline void NAME(look_up_box)(const uint8_t *values, const uint8_t *table, unsigned width,
                                     const ptrdiff_t *block, char *box, const ptrdiff_t *extent,
                                     const ptrdiff_t *strides)
{
    const uint32_t mask = width == 32 ? UINT32_MAX : (UINT32_C(1) << width) - 1;
    ptrdiff_t x, y, z;
    for (z = 0; z < extent[2]; z++) {
        for (y = 0; y < extent[1]; y++) {
            char *row = box + z * strides[2] + y * strides[1];
            uint64_t bit = (uint64_t)(block[0] * (y + block[1] * z)) * width;
            for (x = 0; x < extent[0]; x++, bit += width) {
                const uint32_t index = load_word(values + bit / 32 * 4) >> (bit % 32) & mask;
                *(LABEL *)(row + x * strides[0]) =
                    NAME(load_label)(table + (size_t)index * sizeof(LABEL));
            }
        }
    }
}

/* Decode the channel at words [channel, end) of the chunk. `fault` is the word that is wrong. */
static int NAME(decode_channel)(const uint8_t *data, size_t channel, size_t end, char *out,
                                const ptrdiff_t *shape, const ptrdiff_t *strides,
                                const ptrdiff_t *block, size_t *fault)
{
    const size_t room = end - channel; /* words */
    const uint8_t *base = data + 4 * channel;
    const uint64_t volume = (uint64_t)(block[0] * block[1] * block[2]);
    ptrdiff_t grid[3], at[3], extent[3];
    size_t headers = 2, header = 0, last_table = 0, last_header = 0, used;
    int axis;
    for (axis = 0; axis < 3; axis++) {
        grid[axis] = ceil_divide(shape[axis], block[axis]);
        headers *= (size_t)grid[axis];
    }
    *fault = channel;
    if (headers > room)
        return SEG_HEADERS_TRUNCATED;
    used = headers;
    for (at[2] = 0; at[2] < grid[2]; at[2]++)
    for (at[1] = 0; at[1] < grid[1]; at[1]++)
    for (at[0] = 0; at[0] < grid[0]; at[0]++, header += 2) {
        const uint32_t word = load_word(base + 4 * header);
        const size_t table_offset = word & 0xFFFFFF;
        const size_t values_offset = load_word(base + 4 * header + 4);
        const unsigned width = word >> 24;
        const uint8_t *table = base + 4 * table_offset, *values = base;
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
            if ((uint64_t)LABEL_WORDS << width > room - table_offset &&
                NAME(largest_index)(values, width, volume) >=
                    (room - table_offset) / LABEL_WORDS)
                return SEG_INDEX_OUTSIDE;
        }
        for (axis = 0; axis < 3; axis++) {
            const ptrdiff_t start = at[axis] * block[axis];
            extent[axis] = smaller_of(block[axis], shape[axis] - start);
            box += start * strides[axis];
        }
        switch (width) {
        case 0: NAME(fill_box)(NAME(load_label)(table), box, extent, strides); break;
        case 1: NAME(look_up_box)(values, table, 1, block, box, extent, strides); break;
        case 2: NAME(look_up_box)(values, table, 2, block, box, extent, strides); break;
        case 4: NAME(look_up_box)(values, table, 4, block, box, extent, strides); break;
        case 8: NAME(look_up_box)(values, table, 8, block, box, extent, strides); break;
        case 16: NAME(look_up_box)(values, table, 16, block, box, extent, strides); break;
        default: NAME(look_up_box)(values, table, 32, block, box, extent, strides); break;
        }
    }
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

/* Decode `size` words into out[x, y, z, channel] (strides in bytes). */
static int NAME(decode_chunk)(const uint8_t *data, size_t size, char *out, const ptrdiff_t *shape,
                              const ptrdiff_t *strides, const ptrdiff_t *block, size_t *fault)
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
                                      shape, strides, block, fault);
    }
    return status;
}
