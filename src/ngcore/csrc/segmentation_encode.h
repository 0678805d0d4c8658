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

#include "segmentation_few.h"

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
