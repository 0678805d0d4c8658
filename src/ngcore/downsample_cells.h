/* One cell at a time, for voxels of type VOXEL: any cell, any method. Included once per type. */

typedef struct {
    SUM sum; /* WIDE_SUM: of the upper halves */
#ifdef WIDE_SUM
    uint64_t low; /* of the lower halves */
#endif
} NAME(Total);

static inline void NAME(add)(NAME(Total) *total, VOXEL voxel, ptrdiff_t times)
{
#ifdef WIDE_SUM
    total->sum += (SUM)(voxel >> 32) * (SUM)times;
    total->low += ((uint64_t)voxel & UINT32_MAX) * (uint64_t)times;
#else
    total->sum += (SUM)voxel * (SUM)times;
#endif
}

/* The mean of `count` voxels; integers are rounded to nearest, ties to even. */
static inline VOXEL NAME(mean)(const NAME(Total) *total, int64_t count)
{
#ifdef FLOATING
    return (VOXEL)(total->sum / (SUM)count);
#else
    SUM quotient = total->sum / (SUM)count, rest = total->sum % (SUM)count;
    if (rest < 0) { /* C rounds towards zero */
        quotient -= 1;
        rest += (SUM)count;
    }
#ifdef WIDE_SUM
    {
        /* rest < count < 2^31 and low < count * 2^32, so nothing here passes 64 bits. */
        const uint64_t low = ((uint64_t)rest << 32) + total->low, n = (uint64_t)count;
        const uint64_t over = low % n;
        uint64_t mean = ((uint64_t)quotient << 32) + low / n;
        mean += 2 * over > n || (2 * over == n && (mean & 1));
        return (VOXEL)mean;
    }
#else
    quotient += 2 * rest > (SUM)count || (2 * rest == (SUM)count && (quotient & 1));
    return (VOXEL)quotient;
#endif
#endif
}

/* Keys order and compare as voxels do. float32: -0 counts as 0; every NaN as one value that is
 * larger than all numbers. */
#ifdef FLOATING
#define KEY uint32_t
static inline KEY NAME(to_key)(VOXEL voxel)
{
    uint32_t bits;
    if (voxel != voxel)
        return UINT32_MAX;
    if (voxel == 0)
        return UINT32_C(0x80000000);
    memcpy(&bits, &voxel, sizeof bits);
    return bits >> 31 ? ~bits : bits | UINT32_C(0x80000000);
}

static inline VOXEL NAME(from_key)(KEY key)
{
    const uint32_t bits = key == UINT32_MAX ? UINT32_C(0x7FC00000)
                          : key >> 31       ? key & UINT32_C(0x7FFFFFFF)
                                            : ~key;
    VOXEL voxel;
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

/* The most frequent key; ties go to the smallest. Reorders the keys. */
static KEY NAME(majority)(KEY *keys, size_t count)
{
    KEY labels[16], best;
    size_t counts[16], seen = 0, i, k, most = 0;
    /* Few labels: count each, in the order of their appearance. */
    for (i = 0; i < count; i++) {
        for (k = 0; k < seen && labels[k] != keys[i]; k++) {
        }
        if (k == seen) {
            if (seen == 16)
                break;
            labels[seen] = keys[i];
            counts[seen++] = 0;
        }
        counts[k]++;
    }
    if (i == count) {
        best = labels[0];
        for (k = 0; k < seen; k++) {
            if (counts[k] > most || (counts[k] == most && labels[k] < best)) {
                most = counts[k];
                best = labels[k];
            }
        }
        return best;
    }
    /* Many: sort, then the longest run, the first of equals. */
    NAME(sort_keys)(keys, count);
    best = keys[0];
    for (i = 0; i < count; i = k) {
        for (k = i + 1; k < count && keys[k] == keys[i]; k++) {
        }
        if (k - i > most) {
            most = k - i;
            best = keys[i];
        }
    }
    return best;
}

#ifdef FLOATING /* NaN spreads */
static inline VOXEL NAME(smaller)(VOXEL a, VOXEL b) { return b < a || b != b ? b : a; }
static inline VOXEL NAME(larger)(VOXEL a, VOXEL b) { return b > a || b != b ? b : a; }
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
        const ptrdiff_t whole = job->factors[0] * job->factors[1] * job->factors[2];
        ptrdiff_t present = (stop - start) * count;
        NAME(Total) total = {0};
        for (row = 0; row < count; row++)
            for (x = start; x < stop; x++)
                NAME(add)(&total, rows[row][x], 1);
        if (job->has_outside && present < whole) {
            NAME(add)(&total, outside, whole - present);
            present = whole;
        }
        return NAME(mean)(&total, present);
    }
    case METHOD_MAJORITY: {
        size_t at = 0;
        for (row = 0; row < count; row++)
            for (x = start; x < stop; x++)
                keys[at++] = NAME(to_key)(rows[row][x]);
        return NAME(from_key)(NAME(majority)(keys, at));
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
