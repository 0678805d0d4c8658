/* Copies a strided chunk, or a box of one, and finds out on the way whether any bit is set.
 *
 * Items of 1, 2, 4 or 8 bytes, whatever they mean. Axes are sorted by how close their items lie in the
 * copy, where those of axis 0 are neighbours; axes that lie behind one another in both are taken as
 * one. Then, the first case that fits:
 *   1. rows      axis 0 is contiguous in the source too: 64 bytes at a time, while the lines some
 *                rows further on are fetched, which are far apart in the row of chunks they lie in
 *   2. tiles     another axis lies closer together: squares of 64 bytes' side are turned around in
 *                the first-level cache, so that each line of the source and of the copy is touched
 *                once, not once per item
 *   3. items     axis 0 is the closest, but has gaps
 */
#ifndef NGCORE_CHUNK_COPY_H
#define NGCORE_CHUNK_COPY_H

#include "kernel_common.h"

enum { LINE = 64, FETCH_AHEAD = 2048 };

typedef struct {
    ptrdiff_t length, stride, to_stride; /* in items; in bytes */
} CopyAxis;

/* The axes of a copy; those behind `count` have length 1. */
typedef struct {
    CopyAxis axes[4];
    int count;
    const char *low, *high; /* what may be read, and written */
    char *to_low, *to_high;
} ChunkCopy;

#define ASSERT_COPY(job, from, to, from_bytes, to_bytes)                                          \
    do {                                                                                          \
        NGCORE_ASSERT((from) >= (job)->low && (from) + (from_bytes) <= (job)->high);              \
        NGCORE_ASSERT((to) >= (job)->to_low && (to) + (to_bytes) <= (job)->to_high);              \
    } while (0)

/* ---- rows ---- */

static inline uint64_t copy_line(const char *from, char *to)
{
    uint64_t words[LINE / 8];
    memcpy(words, from, LINE);
    memcpy(to, words, LINE);
    return (words[0] | words[1] | words[2] | words[3]) |
           (words[4] | words[5] | words[6] | words[7]);
}

/* Copy contiguous bytes while those at `ahead` are fetched. */
static inline uint64_t copy_row(const char *from, const char *ahead, ptrdiff_t bytes, char *to)
{
    uint64_t bits = 0, word = 0;
    ptrdiff_t at = 0;
    for (; at + LINE <= bytes; at += LINE) {
        NGCORE_PREFETCH(ahead + at);
        bits |= copy_line(from + at, to + at);
    }
    if (at < bytes)
        NGCORE_PREFETCH(ahead + at);
    if (at < bytes && bytes >= LINE) /* the last line once more: no loop for what is left */
        return bits | copy_line(from + bytes - LINE, to + bytes - LINE);
    for (; at < bytes; at += 8) {
        const size_t left = (size_t)smaller_of(8, bytes - at);
        word = 0;
        memcpy(&word, from + at, left);
        memcpy(to + at, &word, left);
        bits |= word;
    }
    return bits;
}

static uint64_t copy_rows(const ChunkCopy *job, const char *from, char *to, ptrdiff_t size)
{
    const CopyAxis *y = &job->axes[1], *z = &job->axes[2], *c = &job->axes[3];
    const ptrdiff_t bytes = job->axes[0].length * size;
    const ptrdiff_t ahead = smaller_of(1 + FETCH_AHEAD / bytes, y->length);
    uint64_t bits = 0;
    ptrdiff_t i, j, k;
    for (k = 0; k < c->length; k++) {
        for (j = 0; j < z->length; j++) {
            const char *row = from + k * c->stride + j * z->stride;
            const char *next = row + ahead * y->stride;
            char *row_to = to + k * c->to_stride + j * z->to_stride;
            for (i = 0; i < y->length; i++) {
                if (i + ahead == y->length)
                    next = from + k * c->stride + (j + 1) * z->stride;
                ASSERT_COPY(job, row, row_to, bytes, bytes);
                bits |= copy_row(row, next, bytes, row_to);
                row += y->stride;
                next += y->stride;
                row_to += y->to_stride;
            }
        }
    }
    return bits;
}

/* ---- items one by one ---- */

static inline uint64_t copy_items(const char *from, ptrdiff_t stride, ptrdiff_t count, int size,
                                  char *to)
{
    uint64_t bits = 0, item = 0;
    ptrdiff_t i;
    for (i = 0; i < count; i++) {
        memcpy(&item, from + i * stride, (size_t)size);
        memcpy(to + i * size, &item, (size_t)size);
        bits |= item;
    }
    return bits;
}

static inline uint64_t copy_rows_of_items(const ChunkCopy *job, const char *from, char *to, int size)
{
    const CopyAxis *x = &job->axes[0], *y = &job->axes[1], *z = &job->axes[2], *c = &job->axes[3];
    uint64_t bits = 0;
    ptrdiff_t i, j, k;
    for (k = 0; k < c->length; k++) {
        for (j = 0; j < z->length; j++) {
            for (i = 0; i < y->length; i++) {
                const char *row = from + k * c->stride + j * z->stride + i * y->stride;
                char *row_to = to + k * c->to_stride + j * z->to_stride + i * y->to_stride;
                ASSERT_COPY(job, row, row_to, size, x->length * size);
                bits |= copy_items(row, x->stride, x->length, size, row_to);
            }
        }
    }
    return bits;
}

/* ---- tiles ---- */

#ifdef __SSE2__
#include <emmintrin.h>
enum { SQUARE = 16 };

/* Items of 1, 2 or 4 bytes of two lines, one of each in turn. */
static inline __m128i pair_items(__m128i a, __m128i b, int size, int is_high)
{
    switch (size) {
    case 1: return is_high ? _mm_unpackhi_epi8(a, b) : _mm_unpacklo_epi8(a, b);
    case 2: return is_high ? _mm_unpackhi_epi16(a, b) : _mm_unpacklo_epi16(a, b);
    default: return is_high ? _mm_unpackhi_epi32(a, b) : _mm_unpacklo_epi32(a, b);
    }
}

/* Turn a square of 16 bytes' side within a tile: to pair the lines of its two halves, item by item,
 * moves the highest bit of a line's number to the lowest of the place in the line, and each other bit
 * one up. After as many steps as there are bits, numbers and places are exchanged. */
static inline uint64_t turn_square(const char *from, int size, char *to, ptrdiff_t to_stride)
{
    const int count = SQUARE / size;
    __m128i lines[SQUARE], paired[SQUARE], any = _mm_setzero_si128();
    uint64_t bits[2];
    int step, i;
    for (i = 0; i < count; i++) {
        lines[i] = _mm_loadu_si128((const __m128i *)(from + i * LINE));
        any = _mm_or_si128(any, lines[i]);
    }
    for (step = 1; step < count; step *= 2) {
        for (i = 0; i < count; i++)
            paired[i] = pair_items(lines[i / 2], lines[(i + count) / 2], size, i & 1);
        for (i = 0; i < count; i++)
            lines[i] = paired[i];
    }
    for (i = 0; i < count; i++)
        _mm_storeu_si128((__m128i *)(to + i * to_stride), lines[i]);
    _mm_storeu_si128((__m128i *)bits, any);
    return bits[0] | bits[1];
}
#else
enum { SQUARE = 8 };

/* Turn a square of 8 bytes' side within a tile: item k of word i becomes item i of word k. */
static inline uint64_t turn_square(const char *from, int size, char *to, ptrdiff_t to_stride)
{
    const int count = SQUARE / size;
    uint64_t words[SQUARE], bits = 0;
    int step, i;
    for (i = 0; i < count; i++) {
        memcpy(&words[i], from + i * LINE, 8);
        bits |= words[i];
    }
    for (step = 1; step < count; step *= 2) {
        const int shift = 8 * size * step;
        const uint64_t low = UINT64_MAX / (((uint64_t)1 << shift) + 1); /* every other `shift` bits */
        for (i = 0; i < count; i++) {
            if (!(i & step)) {
                const uint64_t swapped = ((words[i] >> shift) ^ words[i + step]) & low;
                words[i + step] ^= swapped;
                words[i] ^= swapped << shift;
            }
        }
    }
    for (i = 0; i < count; i++)
        memcpy(to + i * to_stride, &words[i], 8);
    return bits;
}
#endif

/* Turn a tile: item j of line i becomes item i of line j. */
static inline uint64_t turn_tile(const char *tile, int size, char *to, ptrdiff_t to_stride)
{
    const int side = LINE / size, count = SQUARE / size;
    uint64_t bits = 0, word;
    int i, j;
    if (size == 8) { /* a line of the copy after the other */
        for (j = 0; j < side; j++) {
            for (i = 0; i < side; i++) {
                memcpy(&word, tile + i * LINE + j * 8, 8);
                memcpy(to + j * to_stride + i * 8, &word, 8);
                bits |= word;
            }
        }
        return bits;
    }
    for (j = 0; j < side; j += count)
        for (i = 0; i < side; i += count)
            bits |= turn_square(tile + i * LINE + j * size, size, to + j * to_stride + i * size,
                                to_stride);
    return bits;
}

/* Copy a plane: `x` is contiguous in the copy, `near` has the smaller strides in the source. */
static inline uint64_t copy_plane(const ChunkCopy *job, const char *from, ptrdiff_t ahead, char *to,
                                  const CopyAxis *near, int size)
{
    const CopyAxis *x = &job->axes[0];
    const ptrdiff_t side = LINE / size;
    char tile[LINE * LINE], turned[LINE * LINE];
    uint64_t bits = 0;
    ptrdiff_t first, start, i;
    memset(tile, 0, (size_t)(side * LINE)); /* what no item is put in must not look set */
    for (start = 0; start < x->length; start += side) {
        const ptrdiff_t lines = smaller_of(side, x->length - start);
        for (first = 0; first < near->length; first += side) {
            const ptrdiff_t items = smaller_of(side, near->length - first);
            const char *corner = from + start * x->stride + first * near->stride;
            char *corner_to = to + start * size + first * near->to_stride;
            for (i = 0; i < lines; i++) {
                const char *line = corner + i * x->stride;
                NGCORE_PREFETCH(line + ahead);
                if (near->stride == size && items == side)
                    memcpy(tile + i * LINE, line, LINE);
                else
                    copy_items(line, near->stride, items, size, tile + i * LINE);
            }
            ASSERT_COPY(job, corner, corner_to, size, (items - 1) * near->to_stride + lines * size);
            if (size == 8 && lines == side && items == side) {
                bits |= turn_tile(tile, size, corner_to, near->to_stride);
                continue;
            }
            /* Lines of the copy that are 2^k bytes apart share a place in the cache: more than a few
             * are written once each, whole. Items left from the tile before are of this chunk too, so
             * no false bits. */
            bits |= turn_tile(tile, size, turned, LINE);
            for (i = 0; i < items; i++) {
                if (lines == side)
                    memcpy(corner_to + i * near->to_stride, turned + i * LINE, LINE);
                else
                    memcpy(corner_to + i * near->to_stride, turned + i * LINE,
                           (size_t)(lines * size));
            }
        }
    }
    return bits;
}

static inline uint64_t copy_tiles(const ChunkCopy *job, const char *from, char *to, int near,
                                  int size)
{
    /* Of the other two axes, the one with the smaller strides goes inside. */
    const CopyAxis *inner = &job->axes[near == 1 ? 2 : 1], *outer = &job->axes[near == 3 ? 2 : 3];
    uint64_t bits = 0;
    ptrdiff_t i, j;
    if (llabs((long long)inner->stride) > llabs((long long)outer->stride)) {
        const CopyAxis *swapped = inner;
        inner = outer;
        outer = swapped;
    }
    for (j = 0; j < outer->length; j++) {
        for (i = 0; i < inner->length; i++)
            bits |= copy_plane(job, from + j * outer->stride + i * inner->stride, inner->stride,
                               to + j * outer->to_stride + i * inner->to_stride, &job->axes[near],
                               size);
    }
    return bits;
}

/* ---- the choice ---- */

/* The axis to turn tiles with: the one that fills them best of those closer together than axis 0,
 * or 0 if none is. */
static int nearest_axis(const ChunkCopy *job, int size)
{
    int axis, best = 0;
    for (axis = 1; axis < job->count; axis++) {
        const CopyAxis *other = &job->axes[axis], *chosen = &job->axes[best];
        const long long stride = llabs((long long)other->stride);
        const ptrdiff_t filled = smaller_of(other->length, LINE / size);
        const ptrdiff_t best_filled = best ? smaller_of(chosen->length, LINE / size) : 0;
        if (stride < llabs((long long)job->axes[0].stride) &&
            (filled > best_filled ||
             (filled == best_filled && stride < llabs((long long)chosen->stride))))
            best = axis;
    }
    return best;
}

static NGCORE_NOINLINE uint64_t copy_turned(const ChunkCopy *job, const char *from, char *to,
                                            ptrdiff_t size)
{
    const int near = nearest_axis(job, (int)size);
    switch (size) { /* constants, for the compiler to unroll */
    case 1: return near ? copy_tiles(job, from, to, near, 1) : copy_rows_of_items(job, from, to, 1);
    case 2: return near ? copy_tiles(job, from, to, near, 2) : copy_rows_of_items(job, from, to, 2);
    case 4: return near ? copy_tiles(job, from, to, near, 4) : copy_rows_of_items(job, from, to, 4);
    default: return near ? copy_tiles(job, from, to, near, 8) : copy_rows_of_items(job, from, to, 8);
    }
}

/* Add an axis, in order of its stride in the copy; one that lies behind the last in both is one with
 * it. */
static void add_axis(ChunkCopy *job, CopyAxis next)
{
    CopyAxis *last = job->count ? &job->axes[job->count - 1] : NULL;
    if (next.length == 1)
        return;
    if (last && next.stride == last->length * last->stride &&
        next.to_stride == last->length * last->to_stride)
        last->length *= next.length;
    else
        job->axes[job->count++] = next;
}

/* Copy from[shape] to `to`, strides in bytes: 1 if any bit is set, 0 if none is, and -1, with nothing
 * copied, if no axis has neighbours in the copy, or one runs backwards there. */
static int copy_chunk(const char *from, const ptrdiff_t *shape, const ptrdiff_t *strides,
                      ptrdiff_t size, char *to, const ptrdiff_t *to_strides)
{
    ChunkCopy job;
    CopyAxis sorted[4];
    int axis, at;
    NGCORE_ASSERT(size == 1 || size == 2 || size == 4 || size == 8);
    job.count = 0;
    job.low = job.high = from;
    job.to_low = job.to_high = to;
    for (axis = 0; axis < 4; axis++) {
        const CopyAxis next = {shape[axis], strides[axis], to_strides[axis]};
        const ptrdiff_t reach = (next.length - 1) * next.stride;
        if (next.length == 0)
            return 0;
        if (next.length > 1 && next.to_stride < size)
            return -1;
        if (reach < 0)
            job.low += reach;
        else
            job.high += reach;
        job.to_high += (next.length - 1) * next.to_stride;
        for (at = axis; at > 0 && sorted[at - 1].to_stride > next.to_stride; at--)
            sorted[at] = sorted[at - 1];
        sorted[at] = next;
    }
    job.high += size;
    job.to_high += size;
    for (axis = 0; axis < 4; axis++)
        add_axis(&job, sorted[axis]);
    for (axis = job.count; axis < 4; axis++) {
        const CopyAxis none = {1, axis ? 0 : size, axis ? 0 : size};
        job.axes[axis] = none;
    }
    if (job.axes[0].to_stride != size)
        return -1;
    if (job.axes[0].stride == size)
        return copy_rows(&job, from, to, size) != 0;
    return copy_turned(&job, from, to, size) != 0;
}

#endif
