/* The compressed_segmentation chunk: limits, faults, growing output and the tables shared by blocks.
 *
 * Format: https://github.com/google/neuroglancer/blob/master/src/sliceview/compressed_segmentation
 * The encoder and decoder proper are in segmentation_encode.h and segmentation_decode.h, each
 * included once for 32-bit and once for 64-bit labels.
 */
#ifndef NGCORE_SEGMENTATION_H
#define NGCORE_SEGMENTATION_H

#include "kernel_common.h"

/* Why a chunk was refused; the Python wrapper words the message. */
enum {
    SEG_OK = 0,
    SEG_NO_MEMORY = 1,
    SEG_TABLE_OFFSET_LIMIT = 2, /* encode: a table lies at 2^24 words or beyond */
    SEG_VALUE_OFFSET_LIMIT = 3, /* encode: values lie at 2^24 words of the chunk or beyond */
    SEG_TOO_MANY_LABELS = 4,    /* encode: more than 65536 labels in one block */
    SEG_CHANNEL_OFFSET = 5,     /* decode, from here on */
    SEG_HEADERS_TRUNCATED = 6,
    SEG_BAD_WIDTH = 7,
    SEG_TABLE_OUTSIDE = 8,
    SEG_VALUES_OUTSIDE = 9,
    SEG_INDEX_OUTSIDE = 10,
    SEG_TRAILING = 11
};

#define SEG_OFFSET_LIMIT ((size_t)1 << 24)
#define SEG_MAX_LABELS 65536

static inline uint32_t load_word(const uint8_t *bytes)
{
    uint32_t word;
    memcpy(&word, bytes, sizeof word);
    return word;
}

/* ---- output that grows ---- */

typedef struct {
    uint32_t *words;
    size_t size;
    size_t capacity;
} WordBuffer;

/* Make room for `count` more words; 0 when there is no memory. */
static int buffer_reserve(WordBuffer *buffer, size_t count)
{
    size_t capacity = buffer->capacity ? buffer->capacity : 4096;
    uint32_t *words;
    if (buffer->capacity - buffer->size >= count)
        return 1;
    while (capacity - buffer->size < count)
        capacity *= 2;
    words = (uint32_t *)realloc(buffer->words, capacity * sizeof *words);
    if (!words)
        return 0;
    buffer->words = words;
    buffer->capacity = capacity;
    return 1;
}

/* ---- tables already written, found again by their content ---- */

typedef struct {
    uint64_t hash;
    uint32_t offset; /* words from the channel's start */
    uint32_t count;  /* words; 0: a free slot */
} TableSlot;

typedef struct {
    TableSlot *slots;
    size_t capacity; /* a power of two */
    size_t used;
} TableIndex;

static inline uint64_t mix_hash(uint64_t hash, uint64_t value)
{
    hash = (hash ^ value) * UINT64_C(0x9E3779B97F4A7C15);
    return hash ^ (hash >> 32);
}

static int table_index_grow(TableIndex *index)
{
    size_t capacity = index->capacity ? index->capacity * 2 : 256, i, at;
    TableSlot *slots = (TableSlot *)calloc(capacity, sizeof *slots);
    if (!slots)
        return 0;
    for (i = 0; i < index->capacity; i++) {
        if (!index->slots[i].count)
            continue;
        at = (size_t)index->slots[i].hash & (capacity - 1);
        while (slots[at].count)
            at = (at + 1) & (capacity - 1);
        slots[at] = index->slots[i];
    }
    free(index->slots);
    index->slots = slots;
    index->capacity = capacity;
    return 1;
}

static void table_index_clear(TableIndex *index)
{
    if (index->used)
        memset(index->slots, 0, index->capacity * sizeof *index->slots);
    index->used = 0;
}

/* Offset of an equal table, or of a new copy at the buffer's end (`count` words are reserved). */
static int share_table(TableIndex *index, WordBuffer *out, size_t channel, const void *table,
                       size_t count, uint64_t hash, uint32_t *offset)
{
    size_t at;
    TableSlot *slot;
    if (2 * index->used >= index->capacity && !table_index_grow(index))
        return SEG_NO_MEMORY;
    at = (size_t)hash & (index->capacity - 1);
    while ((slot = &index->slots[at])->count) {
        if (slot->hash == hash && slot->count == count &&
            !memcmp(out->words + channel + slot->offset, table, count * sizeof(uint32_t))) {
            *offset = slot->offset;
            return SEG_OK;
        }
        at = (at + 1) & (index->capacity - 1);
    }
    if (out->size - channel >= SEG_OFFSET_LIMIT)
        return SEG_TABLE_OFFSET_LIMIT;
    NGCORE_ASSERT(out->size + count <= out->capacity);
    memcpy(out->words + out->size, table, count * sizeof(uint32_t));
    slot->hash = hash;
    slot->offset = (uint32_t)(out->size - channel);
    slot->count = (uint32_t)count;
    index->used++;
    out->size += count;
    *offset = slot->offset;
    return SEG_OK;
}

/* ---- bits ---- */

/* Put the low 32 bits of `bits` at the even positions of a 64-bit word. */
static inline uint64_t spread_by_2(uint64_t bits)
{
    bits &= UINT64_C(0xFFFFFFFF);
    bits = (bits | bits << 16) & UINT64_C(0x0000FFFF0000FFFF);
    bits = (bits | bits << 8) & UINT64_C(0x00FF00FF00FF00FF);
    bits = (bits | bits << 4) & UINT64_C(0x0F0F0F0F0F0F0F0F);
    bits = (bits | bits << 2) & UINT64_C(0x3333333333333333);
    return (bits | bits << 1) & UINT64_C(0x5555555555555555);
}

/* Put the low 16 bits of `bits` at every fourth position of a 64-bit word. */
static inline uint64_t spread_by_4(uint64_t bits)
{
    bits &= UINT64_C(0xFFFF);
    bits = (bits | bits << 24) & UINT64_C(0x000000FF000000FF);
    bits = (bits | bits << 12) & UINT64_C(0x000F000F000F000F);
    bits = (bits | bits << 6) & UINT64_C(0x0303030303030303);
    return (bits | bits << 3) & UINT64_C(0x1111111111111111);
}

static inline int lowest_bit(uint64_t bits)
{
#if defined(_MSC_VER) && !defined(__clang__)
    int at = 0;
    while (!(bits >> at & 1))
        at++;
    return at;
#else
    return __builtin_ctzll(bits);
#endif
}

/* Bits per voxel that the format allows for this many labels: 0, 1, 2, 4, 8 or 16. */
static inline unsigned width_for(size_t labels)
{
    unsigned width = 0;
    while (((size_t)1 << width) < labels)
        width = width ? width * 2 : 1;
    return width;
}

/* ---- scratch of one encode call ---- */

#define SEG_MAX_PEELED 8

typedef struct {
    size_t voxels;        /* in one block, padded to whole 64s */
    void *block;          /* LABEL[voxels]: the block, gathered, x fastest */
    uint64_t *masks;      /* [SEG_MAX_PEELED][voxels / 64]: where each label is */
    void *pairs;          /* LabelId[2][max_labels]: labels by first appearance, then sorted */
    uint32_t *ids;        /* [voxels] */
    uint32_t *ranks;      /* [max_labels] */
    uint32_t *slots;      /* hash of labels to id + 1 */
    size_t max_labels;
    size_t slot_count;    /* a power of two */
    TableIndex tables;
} Scratch;

static void scratch_free(Scratch *scratch)
{
    free(scratch->block);
    free(scratch->masks);
    free(scratch->pairs);
    free(scratch->ids);
    free(scratch->ranks);
    free(scratch->slots);
    free(scratch->tables.slots);
}

/* Room for the few-label path; the rest is made when a block first needs it. */
static int scratch_init(Scratch *scratch, size_t block_voxels, size_t label_size)
{
    memset(scratch, 0, sizeof *scratch);
    scratch->voxels = (block_voxels + 63) / 64 * 64;
    scratch->block = malloc(scratch->voxels * label_size);
    scratch->masks = (uint64_t *)malloc(SEG_MAX_PEELED * (scratch->voxels / 64) * sizeof(uint64_t));
    return scratch->block && scratch->masks && table_index_grow(&scratch->tables);
}

static int scratch_for_many_labels(Scratch *scratch, size_t pair_size)
{
    if (scratch->slots)
        return 1;
    scratch->max_labels = scratch->voxels < SEG_MAX_LABELS ? scratch->voxels : SEG_MAX_LABELS;
    scratch->slot_count = 64;
    while (scratch->slot_count < 2 * scratch->max_labels)
        scratch->slot_count *= 2;
    scratch->pairs = malloc(2 * scratch->max_labels * pair_size);
    scratch->ids = (uint32_t *)malloc(scratch->voxels * sizeof(uint32_t));
    scratch->ranks = (uint32_t *)malloc(scratch->max_labels * sizeof(uint32_t));
    scratch->slots = (uint32_t *)malloc(scratch->slot_count * sizeof(uint32_t));
    return scratch->pairs && scratch->ids && scratch->ranks && scratch->slots;
}

#define LABEL uint32_t
#define LABEL_WORDS 1
#define NAME(function) function##_u32
#include "segmentation_encode.h"
#include "segmentation_decode.h"
#undef LABEL
#undef LABEL_WORDS
#undef NAME

#define LABEL uint64_t
#define LABEL_WORDS 2
#define NAME(function) function##_u64
#include "segmentation_encode.h"
#include "segmentation_decode.h"
#undef LABEL
#undef LABEL_WORDS
#undef NAME

#endif
