/* One cell at a time, for voxels of type VOXEL: any cell, any method. Included by downsample.c, once
 * per set of instructions. */

typedef struct {
    SUM sum; /* WIDE_SUM: of the upper halves, shifted up to be positive */
#ifdef WIDE_SUM
    uint64_t low; /* of the lower halves */
#endif
} NAME(Total);

#ifdef WIDE_SUM
/* Order as unsigned numbers: signed voxels are shifted up by 2^63, which no rounding notices. */
static inline uint64_t NAME(flip_sign)(uint64_t bits)
{
    return (VOXEL)-1 < 1 ? bits ^ UINT64_C(1) << 63 : bits;
}
#endif

static inline void NAME(add)(NAME(Total) *total, VOXEL voxel, ptrdiff_t times)
{
#ifdef WIDE_SUM
    const uint64_t bits = NAME(flip_sign)((uint64_t)voxel);
    total->sum += (bits >> 32) * (uint64_t)times;
    total->low += (bits & UINT32_MAX) * (uint64_t)times;
#else
    total->sum += (SUM)voxel * (SUM)times;
#endif
}

/* Only wide sums are divided by way of an inverse. */
#ifdef WIDE_SUM
#define MEAN_DIVIDER(voxels) make_divider((uint64_t)(voxels))
#else
#define MEAN_DIVIDER(voxels) ((Divider){(uint64_t)(voxels), 0})
#endif

/* The mean of a cell; integers are rounded to nearest, ties to even. */
#if defined(FLOATING)
static inline VOXEL NAME(mean)(const NAME(Total) *total, Divider count)
{
    return (VOXEL)(total->sum / (SUM)count.by);
}
#elif defined(WIDE_SUM)
static inline VOXEL NAME(mean)(const NAME(Total) *total, Divider count)
{
    /* rest < count < 2^31 and low < count * 2^32, so nothing here passes 64 bits. */
    uint64_t rest, mean = divide(total->sum, count, &rest) << 32;
    mean += divide((rest << 32) + total->low, count, &rest);
    mean += (2 * rest > count.by) | ((2 * rest == count.by) & mean);
    return (VOXEL)NAME(flip_sign)(mean);
}
#else
static inline VOXEL NAME(mean)(const NAME(Total) *total, Divider count)
{
    const SUM n = (SUM)count.by;
    SUM quotient = total->sum / n, rest = total->sum % n;
    if ((VOXEL)-1 < 1 && rest < 0) { /* C rounds towards zero */
        quotient -= 1;
        rest += n;
    }
    quotient += 2 * rest > n || (2 * rest == n && (quotient & 1));
    return (VOXEL)quotient;
}
#endif

/* Keys order and compare as voxels do. float32: -0 counts as 0; every NaN as one value that is
 * larger than all numbers. */
#ifdef FLOATING
#define KEY uint32_t
static inline KEY NAME(key_of_bits)(uint32_t bits)
{
    const uint32_t magnitude = bits & UINT32_C(0x7FFFFFFF);
    uint32_t key = bits >> 31 ? ~bits : bits | UINT32_C(0x80000000);
    key = magnitude ? key : UINT32_C(0x80000000);
    return magnitude > UINT32_C(0x7F800000) ? UINT32_MAX : key;
}

static inline KEY NAME(to_key)(VOXEL voxel)
{
    uint32_t bits;
    memcpy(&bits, &voxel, sizeof bits);
    return NAME(key_of_bits)(bits);
}

static inline VOXEL NAME(from_key)(KEY key)
{
    uint32_t bits = key >> 31 ? key & UINT32_C(0x7FFFFFFF) : ~key;
    VOXEL voxel;
    bits = key == UINT32_MAX ? UINT32_C(0x7FC00000) : bits;
    memcpy(&voxel, &bits, sizeof voxel);
    return voxel;
}
#else
#define KEY VOXEL
static inline KEY NAME(to_key)(VOXEL voxel) { return voxel; }
static inline VOXEL NAME(from_key)(KEY key) { return key; }
#endif

/* Heap sort: no recursion, no bad case, no second buffer. */
static void NAME(sort_keys)(KEY *keys, size_t count)
{
    size_t start = count / 2, stop = count;
    while (stop > 1) {
        size_t root, child;
        KEY key;
        if (start > 0) {
            key = keys[--start];
        } else {
            key = keys[--stop];
            keys[stop] = keys[0];
        }
        root = start;
        while ((child = 2 * root + 1) < stop) {
            if (child + 1 < stop && keys[child + 1] > keys[child])
                child++;
            if (keys[child] <= key)
                break;
            keys[root] = keys[child];
            root = child;
        }
        keys[root] = key;
    }
}

/* Count a label and drop it, label by label, until none that is left can win: one round for most
 * cells, and no branch depends on a voxel. Many labels are sorted instead. `most` of the cell's
 * voxels held `best`; keys are the others. Ties go to the smallest. */
static KEY NAME(majority)(KEY *keys, size_t count, KEY best, size_t most)
{
    size_t rounds, i, k;
    for (rounds = 0; rounds < 16 && count >= most; rounds++) {
        const KEY label = keys[0];
        size_t left = 0;
        for (i = 0; i < count; i++) {
            const KEY key = keys[i];
            keys[left] = key;
            left += key != label;
        }
        if (count - left > most || (count - left == most && label < best)) {
            most = count - left;
            best = label;
        }
        count = left;
    }
    if (count < most)
        return best;
    NAME(sort_keys)(keys, count);
    for (i = 0; i < count; i = k) {
        for (k = i + 1; k < count && keys[k] == keys[i]; k++) {
        }
        if (k - i > most || (k - i == most && keys[i] < best)) {
            most = k - i;
            best = keys[i];
        }
    }
    return best;
}

#ifdef FLOATING /* NaN spreads. Chosen by a mask: no branch keeps loops from being vectors. */
static inline VOXEL NAME(second_if)(int take, VOXEL a, VOXEL b)
{
    const uint32_t mask = 0 - (uint32_t)take;
    uint32_t first, second;
    memcpy(&first, &a, sizeof first);
    memcpy(&second, &b, sizeof second);
    first = (first & ~mask) | (second & mask);
    memcpy(&a, &first, sizeof first);
    return a;
}
static inline VOXEL NAME(smaller)(VOXEL a, VOXEL b)
{
    return NAME(second_if)((b < a) | (b != b), a, b);
}
static inline VOXEL NAME(larger)(VOXEL a, VOXEL b)
{
    return NAME(second_if)((b > a) | (b != b), a, b);
}
#else
static inline VOXEL NAME(smaller)(VOXEL a, VOXEL b) { return b < a ? b : a; }
static inline VOXEL NAME(larger)(VOXEL a, VOXEL b) { return b > a ? b : a; }
#endif


/* One cell, from voxels [start, stop) of each of its rows. */
static VOXEL NAME(reduce_cell)(const Downsampling *job, const VOXEL *const *rows, ptrdiff_t count,
                               ptrdiff_t start, ptrdiff_t stop, VOXEL outside, KEY *keys)
{
    VOXEL value = rows[0][start];
    ptrdiff_t row, x;
    switch (job->method) {
    case METHOD_AVERAGE: {
        ptrdiff_t present = (stop - start) * count;
        NAME(Total) total = {0};
#ifdef FLOATING /* in the order of rows of whole cells, so that the sum is the same to the bit */
        for (x = start; x < stop; x++) {
            SUM column = rows[0][x];
            for (row = 1; row < count; row++)
                column += rows[row][x];
            total.sum = x == start ? column : total.sum + column;
        }
#else
        for (row = 0; row < count; row++)
            for (x = start; x < stop; x++)
                NAME(add)(&total, rows[row][x], 1);
#endif
        if (job->has_outside) {
            const ptrdiff_t whole = job->factors[0] * job->factors[1] * job->factors[2];
            NAME(add)(&total, outside, whole - present);
            present = whole;
        }
        return NAME(mean)(&total, MEAN_DIVIDER(present));
    }
    case METHOD_MAJORITY: {
        const KEY first = NAME(to_key)(value);
        const size_t voxels = (size_t)((stop - start) * count);
        size_t others = 0;
        for (row = 0; row < count; row++) {
            const VOXEL *from = rows[row];
            for (x = start; x < stop; x++) {
                const KEY key = NAME(to_key)(from[x]);
                keys[others] = key;
                others += key != first;
            }
        }
        return NAME(from_key)(NAME(majority)(keys, others, first, voxels - others));
    }
    case METHOD_MIN:
        for (row = 0; row < count; row++)
            for (x = start; x < stop; x++)
                value = NAME(smaller)(value, rows[row][x]);
        return value;
    case METHOD_MAX:
        for (row = 0; row < count; row++)
            for (x = start; x < stop; x++)
                value = NAME(larger)(value, rows[row][x]);
        return value;
    default: return value; /* METHOD_STRIDE */
    }
}
#undef MEAN_DIVIDER
