/* What both kernels share: checks of bounds that a build can switch on, and integer helpers. */
#ifndef NGCORE_KERNEL_COMMON_H
#define NGCORE_KERNEL_COMMON_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "ngcore's kernels read and write little-endian words in place"
#endif

/* A kernel runs without the GIL and cannot raise: a broken promise stops the process, loudly. */
#ifdef NGCORE_CHECKED
#define NGCORE_ASSERT(claim)                                                                      \
    do {                                                                                          \
        if (!(claim)) {                                                                           \
            fprintf(stderr, "%s:%d: ngcore kernel: broken: %s\n", __FILE__, __LINE__, #claim);    \
            abort();                                                                              \
        }                                                                                         \
    } while (0)
#else
#define NGCORE_ASSERT(claim) ((void)0)
#endif

#if defined(_MSC_VER)
#define NGCORE_RESTRICT __restrict
#else
#define NGCORE_RESTRICT restrict
#endif

/* For loops whose vectors hang on what `restrict` says of arguments, which inlining forgets. */
#if defined(_MSC_VER)
#define NGCORE_NOINLINE __declspec(noinline)
#elif defined(__GNUC__) || defined(__clang__)
#define NGCORE_NOINLINE __attribute__((noinline))
#else
#define NGCORE_NOINLINE
#endif

/* Kernels are compiled twice where that pays: for any x86-64, and for one with AVX2, which is
 * chosen when the module is imported. `BEGIN_AVX2` and `END_AVX2` enclose the second copy. */
#if defined(__x86_64__) && defined(__clang__)
#define NGCORE_AVX2 1
#define BEGIN_AVX2                                                                                \
    _Pragma("clang attribute push(__attribute__((target(\"avx2,bmi,bmi2\"))), apply_to = function)")
#define END_AVX2 _Pragma("clang attribute pop")
#elif defined(__x86_64__) && defined(__GNUC__)
#define NGCORE_AVX2 1
#define BEGIN_AVX2 _Pragma("GCC push_options") _Pragma("GCC target(\"avx2,bmi,bmi2\")")
#define END_AVX2 _Pragma("GCC pop_options")
#endif

#ifdef NGCORE_AVX2
#include <immintrin.h>
static inline int cpu_has_avx2(void)
{
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") &&
           __builtin_cpu_supports("bmi2");
}
#else
static inline int cpu_has_avx2(void) { return 0; }
#endif

/* Vectors for bitwise work, wherever the compiler has them: SSE2, NEON, AVX2. */
#if defined(__GNUC__) || defined(__clang__)
#define NGCORE_VECTORS 1
typedef uint64_t Vector16 __attribute__((vector_size(16), aligned(1), may_alias));
typedef uint64_t Vector32 __attribute__((vector_size(32), aligned(1), may_alias));
#endif

/* A hint, which may name any address. */
#if defined(__GNUC__) || defined(__clang__)
#define NGCORE_PREFETCH(address) __builtin_prefetch(address)
#else
#define NGCORE_PREFETCH(address) ((void)(address))
#endif

/* Division by the same number again and again, without dividing where products of 128 bits are. */
typedef struct {
    uint64_t by, inverse;
} Divider;

static inline Divider make_divider(uint64_t by)
{
    const Divider divider = {by, UINT64_MAX / by};
    return divider;
}

static inline uint64_t divide(uint64_t number, Divider divider, uint64_t *rest)
{
#ifdef __SIZEOF_INT128__
    uint64_t quotient = (uint64_t)((unsigned __int128)number * divider.inverse >> 64);
    *rest = number - quotient * divider.by;
    /* The inverse is rounded down: the quotient is at most 2 too small. No branch: it is random. */
    uint64_t more = *rest >= divider.by;
    quotient += more;
    *rest -= more ? divider.by : 0;
    more = *rest >= divider.by;
    quotient += more;
    *rest -= more ? divider.by : 0;
    NGCORE_ASSERT(*rest < divider.by);
    return quotient;
#else
    *rest = number % divider.by;
    return number / divider.by;
#endif
}

static inline ptrdiff_t smaller_of(ptrdiff_t a, ptrdiff_t b) { return a < b ? a : b; }
static inline ptrdiff_t larger_of(ptrdiff_t a, ptrdiff_t b) { return a > b ? a : b; }

static inline ptrdiff_t ceil_divide(ptrdiff_t a, ptrdiff_t b) { return (a + b - 1) / b; }

#endif
