/* The methods for voxels of type VOXEL. Included by downsample.h, once per type.
 *
 * A cell holds fewer than 2^31 voxels, so int64 holds the sum of any type of up to 32 bits.
 * 64-bit types (WIDE_SUM) are summed as two halves of 32 bits, float32 (FLOATING) as double.
 */

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

static inline VOXEL NAME(smaller)(VOXEL a, VOXEL b) { return b < a || b != b ? b : a; }
static inline VOXEL NAME(larger)(VOXEL a, VOXEL b) { return b > a || b != b ? b : a; }

/* One row of the result from the rows of its cells, all contiguous. */
static void NAME(reduce_rows)(const Downsampling *job, const VOXEL *const *rows, ptrdiff_t count,
                              VOXEL outside, KEY *keys, VOXEL *to)
{
    ptrdiff_t cell, start, stop, row, x;
    const ptrdiff_t whole = job->factors[0] * job->factors[1] * job->factors[2];
    for (cell = 0; cell < job->out_shape[0]; cell++) {
        VOXEL value;
        cell_range(job, 0, cell, &start, &stop);
        value = rows[0][start];
        switch (job->method) {
        case METHOD_AVERAGE: {
            NAME(Total) total = {0};
            ptrdiff_t present = (stop - start) * count;
            for (row = 0; row < count; row++)
                for (x = start; x < stop; x++)
                    NAME(add)(&total, rows[row][x], 1);
            if (job->has_outside && present < whole) {
                NAME(add)(&total, outside, whole - present);
                present = whole;
            }
            value = NAME(mean)(&total, present);
            break;
        }
        case METHOD_MAJORITY: {
            size_t at = 0;
            for (row = 0; row < count; row++)
                for (x = start; x < stop; x++)
                    keys[at++] = NAME(to_key)(rows[row][x]);
            value = NAME(from_key)(NAME(majority)(keys, at));
            break;
        }
        case METHOD_MIN:
            for (row = 0; row < count; row++)
                for (x = start; x < stop; x++)
                    value = NAME(smaller)(value, rows[row][x]);
            break;
        case METHOD_MAX:
            for (row = 0; row < count; row++)
                for (x = start; x < stop; x++)
                    value = NAME(larger)(value, rows[row][x]);
            break;
        default: break; /* METHOD_STRIDE */
        }
        to[cell] = value;
    }
}

/* Run the whole job; 0 when there is no memory for its scratch rows. */
static int NAME(downsample)(const Downsampling *job, VOXEL outside)
{
    const int gathers = job->strides[0] != sizeof(VOXEL);
    const int scatters = job->out_strides[0] != sizeof(VOXEL);
    const ptrdiff_t width = job->shape[0];
    const ptrdiff_t most_rows = smaller_of(job->factors[1], job->shape[1]) *
                                smaller_of(job->factors[2], job->shape[2]);
    const VOXEL **rows = (const VOXEL **)malloc((size_t)most_rows * sizeof *rows);
    KEY *keys = NULL;
    VOXEL *gathered = NULL, *result = NULL;
    ptrdiff_t x, y, z, at_y, at_z, channel, y_start, y_stop, z_start, z_stop;
    int done = 0;
    if (job->method == METHOD_MAJORITY)
        keys = (KEY *)malloc((size_t)(most_rows * smaller_of(job->factors[0], width)) *
                             sizeof *keys);
    if (gathers)
        gathered = (VOXEL *)malloc((size_t)(most_rows * width) * sizeof *gathered);
    if (scatters)
        result = (VOXEL *)malloc((size_t)job->out_shape[0] * sizeof *result);
    if (!rows || (job->method == METHOD_MAJORITY && !keys) || (gathers && !gathered) ||
        (scatters && !result))
        goto finish;
    for (channel = 0; channel < job->out_shape[3]; channel++)
    for (at_z = 0; at_z < job->out_shape[2]; at_z++)
    for (at_y = 0; at_y < job->out_shape[1]; at_y++) {
        char *to = job->to + at_y * job->out_strides[1] + at_z * job->out_strides[2] +
                   channel * job->out_strides[3];
        ptrdiff_t count = 0;
        cell_range(job, 1, at_y, &y_start, &y_stop);
        cell_range(job, 2, at_z, &z_start, &z_stop);
        for (z = z_start; z < z_stop; z++) {
            for (y = y_start; y < y_stop; y++) {
                const char *row = job->from + y * job->strides[1] + z * job->strides[2] +
                                  channel * job->strides[3];
                NGCORE_ASSERT(count < most_rows);
                if (gathers) {
                    VOXEL *copy = gathered + count * width;
                    for (x = 0; x < width; x++)
                        copy[x] = *(const VOXEL *)(row + x * job->strides[0]);
                    row = (const char *)copy;
                }
                rows[count++] = (const VOXEL *)row;
            }
        }
        NAME(reduce_rows)(job, rows, count, outside, keys, scatters ? result : (VOXEL *)to);
        if (scatters) {
            for (x = 0; x < job->out_shape[0]; x++)
                *(VOXEL *)(to + x * job->out_strides[0]) = result[x];
        }
    }
    done = 1;
finish:
    free(rows);
    free(keys);
    free(gathered);
    free(result);
    return done;
}
#undef KEY
