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

static inline ptrdiff_t smaller_of(ptrdiff_t a, ptrdiff_t b) { return a < b ? a : b; }

static inline ptrdiff_t ceil_divide(ptrdiff_t a, ptrdiff_t b) { return (a + b - 1) / b; }

#endif
