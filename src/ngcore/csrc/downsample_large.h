/* Majorities of large cells, one by one, a vector of voxels at a time. Included by
 * downsample_majority.h, once per set of instructions. */

/* Copy `bytes` as two moves of a constant size that overlap; none reads or writes beyond. */
static inline void NAME(copy_run)(char *to, const char *from, size_t bytes)
{
#define MOVE_TWICE(size)                                                                          \
    do {                                                                                          \
        memcpy(to, from, size);                                                                   \
        memcpy(to + bytes - (size), from + bytes - (size), size);                                 \
    } while (0)
    if (bytes > 64)
        memcpy(to, from, bytes);
    else if (bytes >= 32)
        MOVE_TWICE(32);
    else if (bytes >= 16)
        MOVE_TWICE(16);
    else if (bytes >= 8)
        MOVE_TWICE(8);
    else if (bytes >= 4)
        MOVE_TWICE(4);
    else if (bytes >= 2)
        MOVE_TWICE(2);
    else
        *to = *from;
#undef MOVE_TWICE
}

/* The largest cell whose counts fit in signed bytes, 16 lanes of them. */
#define MAX_COUNTED_VOXELS 2000

/* The sum of counts, of at most MAX_COUNTED_VOXELS in all. Narrow ones are added within words: products
 * add up the quarters of a word in the highest. */
static inline size_t NAME(sum_of)(NAME(Counts) counts)
{
    size_t k, sum = 0;
    if (sizeof(KEY) <= 2) {
        const uint64_t bytes = UINT64_C(0x00FF00FF00FF00FF);
        uint64_t words[VECTOR_BYTES / 8], quarters = 0;
        memcpy(words, &counts, sizeof words);
        for (k = 0; k < VECTOR_BYTES / 8; k++)
            quarters += sizeof(KEY) == 2 ? words[k] : (words[k] & bytes) + (words[k] >> 8 & bytes);
        return (size_t)(quarters * UINT64_C(0x0001000100010001) >> 48);
    }
    for (k = 0; k < NAME(LANES); k++)
        sum += (size_t)counts[k];
    return sum;
}

/* The majority of one cell, label by label as above, but a vector of its keys at a time. `keys` has
 * room for a whole vector more. */
static KEY NAME(majority_of_cell)(KEY *keys, size_t voxels)
{
    const size_t lanes = NAME(LANES), vectors = (voxels + lanes - 1) / lanes;
    const KEY first = keys[0];
    KEY best = first, label = first;
    size_t most = 0, left = voxels, padding = vectors * lanes - voxels, i, k, round;
    NAME(Keys) firsts = {0};
    firsts += first;
    for (i = voxels; i < vectors * lanes; i++)
        keys[i] = first;
    for (round = 0; round < 16; round++) {
        const NAME(Keys) labels = (firsts ^ firsts) + label;
        NAME(Keys) other = firsts;
        NAME(Counts) counts = (NAME(Counts))(firsts ^ firsts);
        size_t count;
        for (i = 0; i < vectors; i++) {
            NAME(Keys) *at = (NAME(Keys) *)(keys + i * lanes);
            const NAME(Keys) equal = NAME(equal)(*at, labels);
            const NAME(Keys) rest = NAME(choose)(equal, firsts, *at); /* the label is dropped */
            counts -= (NAME(Counts))equal;
            other = NAME(choose)(NAME(equal)(rest, firsts), other, rest);
            *at = rest;
        }
        count = NAME(sum_of)(counts) - padding; /* which holds the first label */
        padding = 0;
        left -= count;
        if (count > most || (count == most && label < best)) {
            most = count;
            best = label;
        }
        if (left < most)
            return best;
        for (k = 0; other[k] == first; k++) {
            if (k + 1 == lanes)
                return best;
        }
        label = other[k];
    }
    for (i = 0, k = 0; i < voxels; i++) { /* what is left, in front */
        const KEY key = keys[i];
        keys[k] = key;
        k += key != first;
    }
    return NAME(majority)(keys, k, best, most);
}

/* Large cells, one by one. */
static void NAME(majority_each)(const VOXEL *const *rows, ptrdiff_t count, ptrdiff_t factor,
                                ptrdiff_t cells, KEY *keys, VOXEL *to)
{
    /* One move takes a short row of a cell, and more, which the next row overwrites; but not at the
     * end of the rows, beyond which nothing may be read. */
    const ptrdiff_t move = 16 / (ptrdiff_t)sizeof(KEY);
    ptrdiff_t i, row;
    for (i = 0; i < cells; i++) {
        if (sizeof(KEY) <= 2 && factor <= move && i * factor + move <= cells * factor)
            for (row = 0; row < count; row++)
                memcpy(keys + row * factor, rows[row] + i * factor, 16);
        else
            for (row = 0; row < count; row++)
                NAME(copy_run)((char *)(keys + row * factor),
                               (const char *)(rows[row] + i * factor),
                               (size_t)factor * sizeof(KEY));
#ifdef FLOATING
        for (row = 0; row < count * factor; row++)
            keys[row] = NAME(key_of_bits)(keys[row]);
#endif
        to[i] = NAME(from_key)(NAME(majority_of_cell)(keys, (size_t)(count * factor)));
    }
}
