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

/* The three spatial axes, the one whose voxels lie closest together first. */
static void order_axes(const ptrdiff_t *strides, int *order)
{
    int i, j;
    for (i = 0; i < 3; i++) {
        for (j = i; j > 0 && llabs(strides[order[j - 1]]) > llabs(strides[i]); j--)
            order[j] = order[j - 1];
        order[j] = i;
    }
}

/* ---- numbers of voxels, from the order of memory to the order of the block ---- */

/* Transpose 8 rows of 8 bytes, `stride` bytes apart: swap halves, quarters, then eighths. */
static inline void transpose_bytes(const uint8_t *from, uint8_t *to, size_t stride)
{
    static const uint64_t keep[3] = {UINT64_C(0x00000000FFFFFFFF), UINT64_C(0x0000FFFF0000FFFF),
                                     UINT64_C(0x00FF00FF00FF00FF)};
    uint64_t rows[8];
    int stage, i;
    for (i = 0; i < 8; i++)
        memcpy(rows + i, from + (size_t)i * stride, 8);
    for (stage = 0; stage < 3; stage++) {
        const int distance = 4 >> stage;
        for (i = 0; i < 8; i++) {
            if (!(i & distance)) {
                const uint64_t a = rows[i], b = rows[i + distance], low = keep[stage];
                rows[i] = (a & low) | (b & low) << (8 * distance);
                rows[i + distance] = (a >> (8 * distance) & low) | (b & ~low);
            }
        }
    }
    for (i = 0; i < 8; i++)
        memcpy(to + (size_t)i * stride, rows + i, 8);
}

/* Distance in the block (x fastest) between neighbours on each axis of memory. */
static void block_steps(const ptrdiff_t *near_block, const int *nearest, ptrdiff_t *steps)
{
    ptrdiff_t block[3];
    int axis;
    for (axis = 0; axis < 3; axis++)
        block[nearest[axis]] = near_block[axis];
    for (axis = 0; axis < 3; axis++)
        steps[axis] = nearest[axis] == 0 ? 1 : nearest[axis] == 1 ? block[0] : block[0] * block[1];
}

static void reorder_bytes(const uint8_t *from, uint32_t *turned, const ptrdiff_t *near_block,
                          const int *nearest)
{
    uint8_t *to = (uint8_t *)turned;
    ptrdiff_t steps[3], x, y, z;
    block_steps(near_block, nearest, steps);
    if (nearest[0] == 2 && nearest[1] == 1 && near_block[0] == 8 && near_block[1] == 8 &&
        near_block[2] == 8) { /* C order and the usual block */
        for (y = 0; y < 8; y++)
            transpose_bytes(from + 8 * y, to + 8 * y, 64);
        return;
    }
    for (z = 0; z < near_block[2]; z++)
        for (y = 0; y < near_block[1]; y++)
            for (x = 0; x < near_block[0]; x++)
                to[x * steps[0] + y * steps[1] + z * steps[2]] = *from++;
}

static void reorder_words(const uint32_t *from, uint32_t *to, const ptrdiff_t *near_block,
                          const int *nearest)
{
    ptrdiff_t steps[3], x, y, z;
    block_steps(near_block, nearest, steps);
    for (z = 0; z < near_block[2]; z++)
        for (y = 0; y < near_block[1]; y++)
            for (x = 0; x < near_block[0]; x++)
                to[x * steps[0] + y * steps[1] + z * steps[2]] = *from++;
}

/* ---- bits ---- */

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

#define FEW_LABELS 16    /* what one byte shuffle looks up */
#define UNNUMBERED 0xFF

typedef struct {
    size_t voxels;        /* in one block, padded to whole 64s */
    void *block;          /* LABEL[voxels]: the block, gathered, x fastest */
    uint8_t *few_ids;     /* [voxels]: number of each voxel's label, for few labels */
    void *pairs;          /* LabelId[2][max_labels]: labels by first appearance, then sorted */
    uint32_t *ids;        /* [voxels]: the same for many labels */
    uint32_t *turned;     /* [voxels]: numbers turned from the order of memory to x, y, z */
    uint32_t *ranks;      /* [max_labels] */
    uint32_t *slots;      /* hash of labels to id + 1 */
    size_t max_labels;
    size_t slot_count;    /* a power of two */
    TableIndex tables;
} Scratch;

static void scratch_free(Scratch *scratch)
{
    free(scratch->block);
    free(scratch->few_ids);
    free(scratch->pairs);
    free(scratch->ids);
    free(scratch->turned);
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
    scratch->few_ids = (uint8_t *)malloc(scratch->voxels);
    scratch->turned = (uint32_t *)malloc(scratch->voxels * sizeof(uint32_t));
    return scratch->block && scratch->few_ids && scratch->turned && table_index_grow(&scratch->tables);
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

/* ---- the codec, for each type of label and each set of instructions ---- */

#define VECTOR Vector16

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

#ifdef NGCORE_AVX2
BEGIN_AVX2
#define WITH_AVX2
#undef VECTOR
#define VECTOR Vector32

#define LABEL uint32_t
#define LABEL_WORDS 1
#define NAME(function) function##_u32_avx2
#include "segmentation_encode.h"
#include "segmentation_decode.h"
#undef LABEL
#undef LABEL_WORDS
#undef NAME

#define LABEL uint64_t
#define LABEL_WORDS 2
#define NAME(function) function##_u64_avx2
#include "segmentation_encode.h"
#include "segmentation_decode.h"
#undef LABEL
#undef LABEL_WORDS
#undef NAME

#undef WITH_AVX2
END_AVX2
#endif

/* The best codec for this machine. */
typedef int EncodeChunk(const char *, const ptrdiff_t *, const ptrdiff_t *, const ptrdiff_t *,
                        WordBuffer *);
typedef int DecodeChunk(const uint8_t *, size_t, char *, const ptrdiff_t *, const ptrdiff_t *,
                        const ptrdiff_t *, const ptrdiff_t *, size_t *);

typedef struct {
    const char *instructions;
    EncodeChunk *encode_u32, *encode_u64;
    DecodeChunk *decode_u32, *decode_u64;
} Codec;

static Codec choose_codec(int only_baseline)
{
    const Codec baseline = {"baseline", encode_chunk_u32, encode_chunk_u64, decode_chunk_u32,
                            decode_chunk_u64};
#ifdef NGCORE_AVX2
    const Codec avx2 = {"avx2", encode_chunk_u32_avx2, encode_chunk_u64_avx2,
                        decode_chunk_u32_avx2, decode_chunk_u64_avx2};
    if (!only_baseline && cpu_has_avx2())
        return avx2;
#endif
    (void)only_baseline;
    return baseline;
}

#endif
