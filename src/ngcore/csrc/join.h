/* Vertices merged where they are equal, dropped where no triangle names them, and told apart by the
 * connected part that they are in: in linear time, or nearly.
 *
 * Everything is done in place; the order of vertices and of triangles stays. Every index names a
 * vertex. Scratch is 4 bytes a vertex for numbers, and 8 to 16 for the table.
 */
#ifndef NGCORE_JOIN_H
#define NGCORE_JOIN_H

#include "kernel_common.h"

#define NO_VERTEX UINT32_MAX

static inline uint32_t hash_of(const double *vertex)
{
    uint64_t hash = 0, bits;
    int axis;
    for (axis = 0; axis < 3; axis++) {
        const double at = vertex[axis] + 0.0; /* -0 is 0 */
        memcpy(&bits, &at, sizeof bits);
        hash = (hash ^ bits) * 0x9e3779b97f4a7c15u;
        hash ^= hash >> 32;
    }
    return (uint32_t)hash;
}

/* Set each vertex's number to the first vertex that is equal. `table`: `mask` + 1 entries, a power
 * of two that is larger than `count`. NaN is equal to nothing. */
static void find_equal(const double *vertices, size_t count, uint32_t *table, uint32_t mask,
                       uint32_t *number)
{
    size_t v;
    memset(table, 0xff, ((size_t)mask + 1) * sizeof *table);
    for (v = 0; v < count; v++) {
        const double *vertex = vertices + 3 * v;
        uint32_t at = hash_of(vertex) & mask;
        for (;; at = (at + 1) & mask) {
            const double *other = vertices + 3 * (size_t)table[at];
            if (table[at] == NO_VERTEX) {
                table[at] = (uint32_t)v;
                number[v] = (uint32_t)v;
                break;
            }
            if (vertex[0] == other[0] && vertex[1] == other[1] && vertex[2] == other[2]) {
                number[v] = table[at];
                break;
            }
        }
    }
}

/* Name other vertices, and drop the triangles that then name one twice; return how many stay. */
static size_t rename_corners(uint32_t *triangles, size_t count, const uint32_t *number)
{
    size_t t, kept = 0;
    for (t = 0; t < count; t++) {
        const uint32_t a = number[triangles[3 * t]], b = number[triangles[3 * t + 1]];
        const uint32_t c = number[triangles[3 * t + 2]];
        if (a == b || b == c || c == a)
            continue;
        triangles[3 * kept] = a;
        triangles[3 * kept + 1] = b;
        triangles[3 * kept + 2] = c;
        kept++;
    }
    return kept;
}

/* Drop the vertices that no triangle names; return how many stay. `number`: scratch. */
static size_t drop_unused(double *vertices, size_t vertex_count, uint32_t *triangles,
                          size_t triangle_count, uint32_t *number)
{
    const size_t corners = 3 * triangle_count;
    size_t v, c, kept = 0;
    memset(number, 0xff, vertex_count * sizeof *number);
    for (c = 0; c < corners; c++)
        number[triangles[c]] = 0;
    for (v = 0; v < vertex_count; v++) {
        if (number[v] == NO_VERTEX)
            continue;
        memmove(vertices + 3 * kept, vertices + 3 * v, 3 * sizeof *vertices);
        number[v] = (uint32_t)kept++;
    }
    for (c = 0; c < corners; c++)
        triangles[c] = number[triangles[c]];
    return kept;
}

/* Merge what is equal; return how many triangles stay, -1 where there is no memory. There are fewer
 * than 2^31 vertices. */
static ptrdiff_t join_surface(double *vertices, size_t *vertex_count, uint32_t *triangles,
                              size_t triangle_count)
{
    uint32_t mask = 1, *table, *number;
    ptrdiff_t left = -1;
    while (mask <= *vertex_count)
        mask = 2 * mask + 1;
    if (mask - *vertex_count < mask / 4) /* at most three quarters full */
        mask = 2 * mask + 1;
    table = (uint32_t *)malloc(((size_t)mask + 1) * sizeof *table);
    number = (uint32_t *)malloc(*vertex_count * sizeof *number + 1);
    if (table && number) {
        find_equal(vertices, *vertex_count, table, mask, number);
        left = (ptrdiff_t)rename_corners(triangles, triangle_count, number);
        *vertex_count = drop_unused(vertices, *vertex_count, triangles, (size_t)left, number);
    }
    free(table);
    free(number);
    return left;
}

/* Drop the vertices that no triangle names; return how many stay, -1 where there is no memory. */
static ptrdiff_t compact_surface(double *vertices, size_t vertex_count, uint32_t *triangles,
                                 size_t triangle_count)
{
    uint32_t *number = (uint32_t *)malloc(vertex_count * sizeof *number + 1);
    ptrdiff_t left = -1;
    if (number)
        left = (ptrdiff_t)drop_unused(vertices, vertex_count, triangles, triangle_count, number);
    free(number);
    return left;
}

static uint32_t root_of(uint32_t *parent, uint32_t v)
{
    while (parent[v] != v)
        v = parent[v] = parent[parent[v]];
    return v;
}

/* Point each vertex to the smallest one of its connected part. */
static void find_parts(const uint32_t *triangles, size_t triangle_count, uint32_t *parent,
                       size_t vertex_count)
{
    size_t t, v;
    int k;
    for (v = 0; v < vertex_count; v++)
        parent[v] = (uint32_t)v;
    for (t = 0; t < triangle_count; t++) {
        for (k = 1; k < 3; k++) {
            const uint32_t a = root_of(parent, triangles[3 * t]);
            const uint32_t b = root_of(parent, triangles[3 * t + k]);
            if (a < b)
                parent[b] = a;
            else
                parent[a] = b;
        }
    }
    for (v = 0; v < vertex_count; v++)
        parent[v] = root_of(parent, (uint32_t)v);
}

#endif
