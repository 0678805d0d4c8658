/* What each type of voxel is computed with. Included by downsample.c, which is compiled once per type.
 *
 *   SUM    of a whole cell, which has fewer than 2^31 voxels; WIDE_SUM: 64-bit voxels are summed as
 *          two parts; FLOATING: float32, summed as double
 *   PART   of the voxels at one x in at most MAX_PART_ROWS rows,
 *          and of all voxels of a cell, of at most MAX_TOTAL_VOXELS
 *   TOTAL  takes over for cells of more than MAX_PART_VOXELS, where PART is narrow
 *   PAIR   two voxels as one unsigned word, which holds the sum of eight
 *   SIGNED_KEY      as wide as the keys of majority
 *   SHUFFLE_PAIRS   AVX2 can split pairs of voxels in registers
 *   MAX_FLOAT_VOXELS  in a cell whose mean float divides well enough
 *   SUM_DOUBLE      parts are double; SUM_SHIFTED: and lowered by 2^31
 */

#define NO_LIMIT PTRDIFF_MAX

#if defined(VOXEL_IS_u8)
#define VOXEL uint8_t
#define TYPE_NAME u8
#define SUM int64_t
#define PART uint16_t
#define TOTAL int32_t
#define MAX_PART_ROWS 256
#define MAX_PART_VOXELS 256
#define MAX_TOTAL_VOXELS (1 << 23)
#define MAX_FLOAT_VOXELS 32768
#define SIGNED_KEY int8_t
#define PAIR uint16_t

#elif defined(VOXEL_IS_i8)
#define VOXEL int8_t
#define TYPE_NAME i8
#define SUM int64_t
#define PART int16_t
#define TOTAL int32_t
#define MAX_PART_ROWS 256
#define MAX_PART_VOXELS 256
#define MAX_TOTAL_VOXELS (1 << 23)
#define MAX_FLOAT_VOXELS 32768
#define SIGNED_KEY int8_t
#define PAIR uint16_t

#elif defined(VOXEL_IS_u16)
#define VOXEL uint16_t
#define TYPE_NAME u16
#define SUM int64_t
#define PART int32_t
#define MAX_PART_ROWS 32768
#define MAX_TOTAL_VOXELS 32768
#define MAX_FLOAT_VOXELS 255
#define SIGNED_KEY int16_t
#define PAIR uint32_t

#elif defined(VOXEL_IS_i16)
#define VOXEL int16_t
#define TYPE_NAME i16
#define SUM int64_t
#define PART int32_t
#define MAX_PART_ROWS 32768
#define MAX_TOTAL_VOXELS 32768
#define MAX_FLOAT_VOXELS 255
#define SIGNED_KEY int16_t
#define PAIR uint32_t

#elif defined(VOXEL_IS_u32)
#define VOXEL uint32_t
#define TYPE_NAME u32
#define SUM int64_t
#define PART double
#define SUM_DOUBLE
#define SUM_SHIFTED
#define MAX_PART_ROWS 262144
#define MAX_TOTAL_VOXELS 262144
#define SIGNED_KEY int32_t
#define PAIR uint64_t
#define SHUFFLE_PAIRS

#elif defined(VOXEL_IS_i32)
#define VOXEL int32_t
#define TYPE_NAME i32
#define SUM int64_t
#define PART double
#define SUM_DOUBLE
#define MAX_PART_ROWS 262144
#define MAX_TOTAL_VOXELS 262144
#define SIGNED_KEY int32_t
#define PAIR uint64_t
#define SHUFFLE_PAIRS

#elif defined(VOXEL_IS_u64)
#define WIDE_SUM
#define VOXEL uint64_t
#define TYPE_NAME u64
#define SUM uint64_t
#define PART uint64_t
#define MAX_PART_ROWS 262144
#define MAX_TOTAL_VOXELS 262144
#define SIGNED_KEY int64_t
#define SHUFFLE_PAIRS

#elif defined(VOXEL_IS_i64)
#define WIDE_SUM
#define VOXEL int64_t
#define TYPE_NAME i64
#define SUM uint64_t
#define PART uint64_t
#define MAX_PART_ROWS 262144
#define MAX_TOTAL_VOXELS 262144
#define SIGNED_KEY int64_t
#define SHUFFLE_PAIRS

#elif defined(VOXEL_IS_f32)
#define FLOATING
#define VOXEL float
#define TYPE_NAME f32
#define SUM double
#define PART double
#define MAX_PART_ROWS NO_LIMIT
#define MAX_TOTAL_VOXELS NO_LIMIT
#define SUM_DOUBLE
#define SIGNED_KEY int32_t

#else
#error "define VOXEL_IS_u8, or another of the types above"
#endif
