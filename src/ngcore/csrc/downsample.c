/* The downsampling kernels for one type of voxel, VOXEL_IS_u8 or another of downsample_types.h, which
 * the build defines: a file per type, so that they are compiled side by side. */
#include "downsample.h"
#include "downsample_types.h"

/* The voxels [start, stop) of cell `cell` on one axis. */
static inline void cell_range(const Downsampling *job, int axis, ptrdiff_t cell, ptrdiff_t *start,
                              ptrdiff_t *stop)
{
    const ptrdiff_t at = cell * job->factors[axis] - job->first[axis];
    *start = at < 0 ? 0 : at;
    *stop = smaller_of(at + job->factors[axis], job->shape[axis]);
    NGCORE_ASSERT(*start < *stop);
}

/* k if n is 2^k, else -1. */
static inline int exact_log2(ptrdiff_t n)
{
    int k = 0;
    while (((ptrdiff_t)1 << k) < n)
        k++;
    return ((ptrdiff_t)1 << k) == n ? k : -1;
}

/* How to split rows of cells into planes; a factor of 0 says that there is no way. The largest
 * factor that has one is also the largest that loops take as a constant. */
#define MAX_SPLIT 8
typedef struct {
    int factor;
    size_t size; /* bytes of a voxel */
    uint8_t shuffle[MAX_SPLIT][MAX_SPLIT][16]; /* of voxels of less than 4 bytes */
} Splitter;
typedef struct {
    Splitter voxels, parts;
} Splitters;

/* Room beyond the end of scratch rows, so that vectors need no tail loop. */
#define ROW_SLACK 64

#define PASTE_NAMES(function, suffix) function##_##suffix
#define JOIN_NAMES(function, suffix) PASTE_NAMES(function, suffix)
#define NAME(function) JOIN_NAMES(function, INSTRUCTIONS)

#define INSTRUCTIONS baseline
#define VECTOR_BYTES 16
#include "downsample_kernels.h"
#undef INSTRUCTIONS
#undef VECTOR_BYTES

#ifdef NGCORE_AVX2
BEGIN_AVX2
#define WITH_AVX2
#define INSTRUCTIONS avx2
#define VECTOR_BYTES 32
#include "downsample_split.h"
#include "downsample_kernels.h"
END_AVX2
#endif

int JOIN_NAMES(downsample, TYPE_NAME)(const Downsampling *job, VOXEL outside, int use_avx2)
{
#ifdef NGCORE_AVX2
    if (use_avx2)
        return downsample_avx2(job, outside);
#endif
    (void)use_avx2;
    return downsample_baseline(job, outside);
}
