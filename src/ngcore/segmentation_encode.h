/* Encoder of one channel, for labels of type LABEL. Included by segmentation.h, once per type.
 *
 * Per block, the first case that fits:
 *   1. uniform       rows are compared with the first voxel in place; no bits are written
 *   2. few labels    each label is "peeled": one pass marks where it is, one bit per voxel. The
 *                    rank of a voxel in the sorted table is spread over bit planes, which are
 *                    ORs of those marks, so packing costs the same for every pattern of voxels
 *   3. many labels   a hash gives each voxel the number of its label, then numbers become ranks
 */

typedef struct {
    LABEL label;
    uint32_t id;
} NAME(LabelId);

/* 1 if every voxel of the box equals the first. */
static int NAME(box_is_uniform)(const char *box, const ptrdiff_t *extent, const ptrdiff_t *strides)
{
    const LABEL first = *(const LABEL *)box;
    ptrdiff_t x, y, z;
    for (z = 0; z < extent[2]; z++) {
        for (y = 0; y < extent[1]; y++) {
            const char *row = box + z * strides[2] + y * strides[1];
            LABEL different = 0;
            if (strides[0] == sizeof(LABEL)) {
                const LABEL *voxels = (const LABEL *)row;
                for (x = 0; x < extent[0]; x++)
                    different |= voxels[x] ^ first;
            } else {
                for (x = 0; x < extent[0]; x++)
                    different |= *(const LABEL *)(row + x * strides[0]) ^ first;
            }
            if (different)
                return 0;
        }
    }
    return 1;
}

/* Copy the box into a whole block, x fastest; what lies outside repeats the first voxel. */
static void NAME(gather_block)(const char *box, const ptrdiff_t *extent, const ptrdiff_t *strides,
                               const ptrdiff_t *block, LABEL *voxels, size_t room)
{
    const LABEL first = *(const LABEL *)box;
    const size_t volume = (size_t)(block[0] * block[1] * block[2]);
    ptrdiff_t x, y, z;
    size_t i;
    if (extent[0] < block[0] || extent[1] < block[1] || extent[2] < block[2]) {
        for (i = 0; i < volume; i++)
            voxels[i] = first;
    }
    for (i = volume; i < room; i++)
        voxels[i] = first;
    for (z = 0; z < extent[2]; z++) {
        for (y = 0; y < extent[1]; y++) {
            const char *row = box + z * strides[2] + y * strides[1];
            LABEL *to = voxels + block[0] * (y + block[1] * z);
            NGCORE_ASSERT((size_t)(to - voxels) + (size_t)extent[0] <= volume);
            if (strides[0] == sizeof(LABEL)) {
                memcpy(to, row, (size_t)extent[0] * sizeof(LABEL));
            } else {
                for (x = 0; x < extent[0]; x++)
                    to[x] = *(const LABEL *)(row + x * strides[0]);
            }
        }
    }
}

/* One bit per voxel: where it equals `label`. */
static void NAME(mark_equal)(const LABEL *voxels, size_t groups, LABEL label, uint64_t *mask)
{
    size_t group;
    int i, byte;
    for (group = 0; group < groups; group++) {
        const LABEL *from = voxels + 64 * group;
        uint8_t equal[64];
        uint64_t bits = 0;
        for (i = 0; i < 64; i++)
            equal[i] = from[i] == label;
        for (byte = 0; byte < 8; byte++) {
            uint64_t eight;
            memcpy(&eight, equal + 8 * byte, 8);
            /* The product gathers the low bit of each byte in the top byte. */
            bits |= (eight * UINT64_C(0x0102040810204080)) >> 56 << (8 * byte);
        }
        mask[group] = bits;
    }
}

/* Peel labels off a block. Returns how many, or 0 if there are more than SEG_MAX_PEELED. */
static size_t NAME(peel_labels)(const LABEL *voxels, size_t groups, uint64_t *masks, LABEL *labels)
{
    size_t count = 0, group, start = 0;
    LABEL next = voxels[0];
    for (;;) {
        labels[count] = next;
        NAME(mark_equal)(voxels, groups, next, masks + count * groups);
        count++;
        for (group = start; group < groups; group++) {
            uint64_t seen = 0;
            size_t k;
            for (k = 0; k < count; k++)
                seen |= masks[k * groups + group];
            if (~seen) {
                next = voxels[64 * group + (size_t)lowest_bit(~seen)];
                break;
            }
        }
        if (group == groups)
            return count;
        if (count == SEG_MAX_PEELED)
            return 0;
        start = group;
    }
}

/* Write `width` bits per voxel from the marks of the sorted labels. */
static void NAME(pack_masks)(const uint64_t *masks, size_t groups, size_t labels,
                             const uint8_t *order, unsigned width, size_t volume, uint32_t *values,
                             size_t words)
{
    size_t group, rank;
    for (group = 0; group < groups; group++) {
        uint64_t plane[4] = {0, 0, 0, 0}, packed[4];
        const size_t left = volume - 64 * group;
        const uint64_t inside = left >= 64 ? ~UINT64_C(0) : (UINT64_C(1) << left) - 1;
        const size_t first_word = group * 2 * width;
        unsigned i;
        for (rank = 1; rank < labels; rank++) {
            const uint64_t mask = masks[order[rank] * groups + group] & inside;
            if (rank & 1)
                plane[0] |= mask;
            if (rank & 2)
                plane[1] |= mask;
            if (rank & 4)
                plane[2] |= mask;
        }
        if (width == 1) {
            packed[0] = plane[0];
        } else if (width == 2) {
            for (i = 0; i < 2; i++)
                packed[i] = spread_by_2(plane[0] >> (32 * i)) |
                            spread_by_2(plane[1] >> (32 * i)) << 1;
        } else {
            for (i = 0; i < 4; i++)
                packed[i] = spread_by_4(plane[0] >> (16 * i)) |
                            spread_by_4(plane[1] >> (16 * i)) << 1 |
                            spread_by_4(plane[2] >> (16 * i)) << 2;
        }
        NGCORE_ASSERT(first_word < words);
        memcpy(values + first_word, packed,
               sizeof(uint32_t) * (words - first_word < 2 * width ? words - first_word : 2 * width));
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
    ptrdiff_t grid[3], at[3], extent[3];
    size_t header = channel, blocks = 1;
    LABEL uniform_label = 0;
    uint32_t uniform_offset = 0;
    int has_uniform = 0, axis, status;
    for (axis = 0; axis < 3; axis++) {
        grid[axis] = ceil_divide(shape[axis], block[axis]);
        blocks *= (size_t)grid[axis];
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
        if (NAME(box_is_uniform)(box, extent, strides)) {
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
            LABEL *voxels = (LABEL *)scratch->block;
            LABEL few[SEG_MAX_PEELED], *table = few;
            NAME(LabelId) *pairs = NULL;
            uint8_t order[SEG_MAX_PEELED];
            size_t count, words, i, j;
            uint64_t hash;
            NAME(gather_block)(box, extent, strides, block, voxels, scratch->voxels);
            count = NAME(peel_labels)(voxels, groups, scratch->masks, few);
            if (count) {
                LABEL sorted[SEG_MAX_PEELED];
                for (i = 0; i < count; i++) {
                    for (j = i; j > 0 && sorted[j - 1] > few[i]; j--) {
                        sorted[j] = sorted[j - 1];
                        order[j] = order[j - 1];
                    }
                    sorted[j] = few[i];
                    order[j] = (uint8_t)i;
                }
                memcpy(few, sorted, sizeof few);
            } else {
                if (!scratch_for_many_labels(scratch, sizeof(NAME(LabelId))))
                    return SEG_NO_MEMORY;
                count = NAME(number_labels)(scratch, voxels, volume);
                if (!count)
                    return SEG_TOO_MANY_LABELS;
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
                NAME(pack_ids)(scratch->ids, scratch->ranks, width, volume,
                               out->words + out->size, words);
            else
                NAME(pack_masks)(scratch->masks, groups, count, order, width, volume,
                                 out->words + out->size, words);
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
