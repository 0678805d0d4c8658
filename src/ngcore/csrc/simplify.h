/* Edge collapse by quadric error: fewer triangles, each vertex within a bound of what it stands for.
 *
 * A vertex has the sum of the squared distances from the planes of the triangles that it stands for
 * (Garland and Heckbert, 1997). A collapse puts one vertex in the place of two, where that sum is
 * least, and is done only if it stays below the bound; so no vertex is farther than the bound from
 * any of those planes. Passes take the edges in the order of their errors. In a pass a vertex takes
 * part in one collapse at most, so the triangles around it are those that the pass began with, with
 * removed vertices replaced.
 *
 * Vertices on open edges, on edges of more than two triangles, and where two fans meet in a point
 * stay exactly where they are. Closed surfaces stay closed, and keep four triangles at least.
 *
 * The caller owns all memory but the scratch that `simplify_surface` takes and frees: about 170
 * bytes a vertex and 90 a triangle, and 48 a triangle that are touched where a vertex has so many.
 */
#ifndef NGCORE_SIMPLIFY_H
#define NGCORE_SIMPLIFY_H

#include <float.h>
#include <math.h>

#include "kernel_common.h"

#define PASSES 60
#define BUCKETS 4096

/* q[0..5]: xx xy xz yy yz zz; q[6..8]: x y z; q[9]: constant. */
typedef struct {
    double q[10];
} Quadric;

typedef struct {
    uint32_t keep, drop;
    float error;
    float at[3]; /* from the place of `keep` */
} Collapse;

/* The two other corners of a triangle around a vertex, in its order. */
typedef struct {
    uint32_t next, last;
} Side;

typedef struct {
    double *vertices; /* vertex_count x 3, changed in place */
    double *bounds; /* squared, one a vertex */
    uint32_t *triangles; /* triangle_count x 3, changed in place */
    size_t vertex_count, triangle_count, fewest;
    Quadric *quadrics;
    uint32_t *first; /* vertex_count + 1: where the triangles of a vertex begin in `around` */
    uint32_t *around;
    Side *sides_of_keep, *sides_of_drop; /* scratch: as many as a vertex may have triangles */
    uint8_t *is_fixed, *is_busy;
    Collapse *collapses;
    uint32_t *order;
} Simplification;

static inline void add_plane(Quadric *to, const double *n, double d)
{
    to->q[0] += n[0] * n[0];
    to->q[1] += n[0] * n[1];
    to->q[2] += n[0] * n[2];
    to->q[3] += n[1] * n[1];
    to->q[4] += n[1] * n[2];
    to->q[5] += n[2] * n[2];
    to->q[6] += n[0] * d;
    to->q[7] += n[1] * d;
    to->q[8] += n[2] * d;
    to->q[9] += d * d;
}

static inline double error_at(const Quadric *a, const double *p)
{
    const double *q = a->q;
    const double sum = p[0] * (q[0] * p[0] + 2 * (q[1] * p[1] + q[2] * p[2] + q[6])) +
                       p[1] * (q[3] * p[1] + 2 * (q[4] * p[2] + q[7])) +
                       p[2] * (q[5] * p[2] + 2 * q[8]) + q[9];
    return sum < 0 ? 0 : sum;
}

static inline void cross_of(const double *a, const double *b, const double *c, double *out)
{
    const double u[3] = {b[0] - a[0], b[1] - a[1], b[2] - a[2]};
    const double v[3] = {c[0] - a[0], c[1] - a[1], c[2] - a[2]};
    out[0] = u[1] * v[2] - u[2] * v[1];
    out[1] = u[2] * v[0] - u[0] * v[2];
    out[2] = u[0] * v[1] - u[1] * v[0];
}

static inline double dot_of(const double *a, const double *b)
{
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
}

static void find_quadrics(Simplification *s)
{
    size_t t;
    int k;
    memset(s->quadrics, 0, s->vertex_count * sizeof *s->quadrics);
    for (t = 0; t < s->triangle_count; t++) {
        const uint32_t *corner = s->triangles + 3 * t;
        const double *a = s->vertices + 3 * (size_t)corner[0];
        double n[3], length;
        cross_of(a, s->vertices + 3 * (size_t)corner[1], s->vertices + 3 * (size_t)corner[2], n);
        length = sqrt(dot_of(n, n));
        if (!(length > 0))
            continue;
        for (k = 0; k < 3; k++)
            n[k] /= length;
        for (k = 0; k < 3; k++)
            add_plane(s->quadrics + corner[k], n, -dot_of(n, a));
    }
}

/* List the triangles around each vertex. */
static void find_neighbours(Simplification *s)
{
    const size_t corners = 3 * s->triangle_count;
    size_t v, c;
    memset(s->first, 0, (s->vertex_count + 1) * sizeof *s->first);
    for (c = 0; c < corners; c++)
        s->first[s->triangles[c] + 1]++;
    for (v = 0; v < s->vertex_count; v++)
        s->first[v + 1] += s->first[v];
    for (c = 0; c < corners; c++)
        s->around[s->first[s->triangles[c]]++] = (uint32_t)(c / 3);
    for (v = s->vertex_count; v > 0; v--)
        s->first[v] = s->first[v - 1];
    s->first[0] = 0;
}

/* List the sides around a vertex, as they are now; return how many. */
static uint32_t find_sides(const Simplification *s, uint32_t v, Side *sides)
{
    const uint32_t *around = s->around + s->first[v];
    const uint32_t count = s->first[v + 1] - s->first[v];
    uint32_t i;
    for (i = 0; i < count; i++) {
        const uint32_t *corner = s->triangles + 3 * (size_t)around[i];
        const int at = corner[0] == v ? 0 : corner[1] == v ? 1 : 2;
        sides[i].next = corner[at == 2 ? 0 : at + 1];
        sides[i].last = corner[at == 0 ? 2 : at - 1];
    }
    return count;
}

/* Whether the triangles around a vertex are one closed fan. */
static int is_inside(const Simplification *s, uint32_t v)
{
    const Side *sides = s->sides_of_keep;
    const uint32_t count = find_sides(s, v, s->sides_of_keep);
    uint32_t at, i, steps = 0;
    if (count < 3)
        return 0;
    at = sides[0].last;
    do { /* from each triangle to the one that begins where it ends */
        uint32_t found = 0, to = 0;
        if (steps++ > count)
            return 0;
        for (i = 0; i < count; i++) {
            if (sides[i].next == at) {
                found++;
                to = sides[i].last;
            }
        }
        if (found != 1)
            return 0;
        at = to;
    } while (at != sides[0].next);
    /* The first triangle was not walked over: it ends the loop, from its `next` to its `last`. */
    return steps == count - 1;
}

static void find_fixed(Simplification *s)
{
    size_t v;
    for (v = 0; v < s->vertex_count; v++)
        s->is_fixed[v] = !is_inside(s, (uint32_t)v);
}

/* The place where the summed error is least, or the better of the ends and their middle. */
static double best_place(const Quadric *sum, const double *a, const double *b, int is_a_fixed,
                         double *place)
{
    const double *q = sum->q;
    double middle[3], least, error;
    int k;
    memcpy(place, a, 3 * sizeof *place);
    least = error_at(sum, a);
    if (is_a_fixed)
        return least;
    {
        const double xx = q[3] * q[5] - q[4] * q[4], xy = q[2] * q[4] - q[1] * q[5];
        const double xz = q[1] * q[4] - q[2] * q[3], yy = q[0] * q[5] - q[2] * q[2];
        const double yz = q[1] * q[2] - q[0] * q[4], zz = q[0] * q[3] - q[1] * q[1];
        const double determinant = q[0] * xx + q[1] * xy + q[2] * xz;
        const double trace = q[0] + q[3] + q[5];
        if (determinant > 1e-4 * trace * trace * trace) { /* a corner, and not nearly an edge */
            const double best[3] = {-(xx * q[6] + xy * q[7] + xz * q[8]) / determinant,
                                    -(xy * q[6] + yy * q[7] + yz * q[8]) / determinant,
                                    -(xz * q[6] + yz * q[7] + zz * q[8]) / determinant};
            error = error_at(sum, best);
            if (error < least) {
                memcpy(place, best, sizeof best);
                least = error;
            }
            return least;
        }
    }
    for (k = 0; k < 3; k++)
        middle[k] = (a[k] + b[k]) / 2;
    error = error_at(sum, b);
    if (error < least) {
        memcpy(place, b, 3 * sizeof *place);
        least = error;
    }
    error = error_at(sum, middle);
    if (error < least) {
        memcpy(place, middle, sizeof middle);
        least = error;
    }
    return least;
}

static inline Quadric sum_of(const Quadric *a, const Quadric *b)
{
    Quadric sum;
    int k;
    for (k = 0; k < 10; k++)
        sum.q[k] = a->q[k] + b->q[k];
    return sum;
}

/* Collect the edges that may be collapsed, and their errors. */
static size_t find_collapses(Simplification *s, double share)
{
    size_t t, count = 0;
    int k;
    for (t = 0; t < s->triangle_count; t++) {
        const uint32_t *corner = s->triangles + 3 * t;
        for (k = 0; k < 3; k++) {
            const uint32_t a = corner[k], b = corner[k == 2 ? 0 : k + 1];
            Quadric sum;
            double place[3], error, bound;
            Collapse *found = s->collapses + count;
            int axis;
            /* An edge with a free end occurs twice, once in each direction. */
            if (s->is_fixed[b] || (!s->is_fixed[a] && a > b))
                continue;
            sum = sum_of(s->quadrics + a, s->quadrics + b);
            error = best_place(&sum, s->vertices + 3 * (size_t)a, s->vertices + 3 * (size_t)b,
                               s->is_fixed[a], place);
            bound = s->bounds[a] < s->bounds[b] ? s->bounds[a] : s->bounds[b];
            if (!(error <= share * bound))
                continue;
            found->keep = a;
            found->drop = b;
            found->error = (float)error;
            for (axis = 0; axis < 3; axis++)
                found->at[axis] = (float)(place[axis] - s->vertices[3 * (size_t)a + axis]);
            count++;
        }
    }
    return count;
}

static inline uint32_t bucket_of(float error)
{
    uint32_t bits;
    memcpy(&bits, &error, sizeof bits);
    return bits >> 19; /* the sign is 0: 12 bits */
}

/* Sort by error, as exactly as its first twelve bits say. */
static void sort_collapses(const Collapse *collapses, size_t count, uint32_t *order)
{
    uint32_t starts[BUCKETS + 1];
    size_t i;
    memset(starts, 0, sizeof starts);
    for (i = 0; i < count; i++)
        starts[bucket_of(collapses[i].error) + 1]++;
    for (i = 0; i < BUCKETS; i++)
        starts[i + 1] += starts[i];
    for (i = 0; i < count; i++)
        order[starts[bucket_of(collapses[i].error)]++] = (uint32_t)i;
}

/* Whether a side is of a triangle that goes with its vertex's collapse, or is gone already. */
static inline int is_gone(Side side, uint32_t v)
{
    return side.next == side.last || side.next == v || side.last == v;
}

/* Whether a triangle of `v`, which moves to `to`, would turn over or lose its area. */
static int would_flip(const Simplification *s, uint32_t v, uint32_t partner, const Side *sides,
                      uint32_t count, const double *to)
{
    const double *from = s->vertices + 3 * (size_t)v;
    uint32_t i;
    for (i = 0; i < count; i++) {
        const double *b = s->vertices + 3 * (size_t)sides[i].next;
        const double *c = s->vertices + 3 * (size_t)sides[i].last;
        double before[3], after[3], along, old_size, new_size;
        if (sides[i].next == partner || sides[i].last == partner || is_gone(sides[i], v))
            continue;
        cross_of(from, b, c, before);
        cross_of(to, b, c, after);
        old_size = dot_of(before, before);
        new_size = dot_of(after, after);
        along = dot_of(before, after);
        if (old_size > 0 && (along <= 0 || along * along < 0.04 * old_size * new_size))
            return 1;
        if (!(new_size > 1e-14 * old_size))
            return 1;
    }
    return 0;
}

/* Whether two vertices can become one with the surface staying what it is: their common neighbours
 * are the two beside the edge, and no two triangles become the same. */
static int keeps_topology(uint32_t keep, const Side *of_keep, uint32_t keep_count, uint32_t drop,
                          const Side *of_drop, uint32_t drop_count)
{
    uint32_t i, j, common = 0;
    for (i = 0; i < drop_count; i++) {
        const uint32_t next = of_drop[i].next, last = of_drop[i].last;
        int is_common = 0;
        if (next == keep || is_gone(of_drop[i], drop))
            continue; /* each neighbour is `next` of one triangle around a closed fan */
        for (j = 0; j < keep_count; j++) {
            const uint32_t a = of_keep[j].next, b = of_keep[j].last;
            if ((a != next && b != next) || is_gone(of_keep[j], keep))
                continue;
            if (last != keep && (a == last || b == last))
                return 0;
            is_common = 1;
        }
        common += is_common;
    }
    return common == 2;
}

/* Do what the pass found, the smallest errors first; return how many. */
static size_t collapse_edges(Simplification *s, size_t count)
{
    size_t done = 0, left = s->triangle_count, i;
    int axis;
    memset(s->is_busy, 0, s->vertex_count);
    for (i = 0; i < count && left > s->fewest + 1; i++) {
        const Collapse *collapse = s->collapses + s->order[i];
        const uint32_t keep = collapse->keep, drop = collapse->drop;
        uint32_t keep_count, drop_count, j;
        double to[3];
        if (s->is_busy[keep] || s->is_busy[drop])
            continue;
        for (axis = 0; axis < 3; axis++)
            to[axis] = s->vertices[3 * (size_t)keep + axis] + collapse->at[axis];
        keep_count = find_sides(s, keep, s->sides_of_keep);
        drop_count = find_sides(s, drop, s->sides_of_drop);
        if (!keeps_topology(keep, s->sides_of_keep, keep_count, drop, s->sides_of_drop,
                            drop_count) ||
            would_flip(s, keep, drop, s->sides_of_keep, keep_count, to) ||
            would_flip(s, drop, keep, s->sides_of_drop, drop_count, to))
            continue;
        memcpy(s->vertices + 3 * (size_t)keep, to, sizeof to);
        s->quadrics[keep] = sum_of(s->quadrics + keep, s->quadrics + drop);
        for (j = s->first[drop]; j < s->first[drop + 1]; j++) {
            uint32_t *corner = s->triangles + 3 * (size_t)s->around[j];
            for (axis = 0; axis < 3; axis++)
                if (corner[axis] == drop)
                    corner[axis] = keep;
        }
        s->is_busy[keep] = s->is_busy[drop] = 1;
        left -= 2;
        done++;
    }
    return done;
}

/* Drop the triangles that have lost a corner. */
static void drop_triangles(Simplification *s)
{
    size_t t, kept = 0;
    for (t = 0; t < s->triangle_count; t++) {
        const uint32_t a = s->triangles[3 * t], b = s->triangles[3 * t + 1];
        const uint32_t c = s->triangles[3 * t + 2];
        if (a == b || b == c || c == a)
            continue;
        s->triangles[3 * kept] = a;
        s->triangles[3 * kept + 1] = b;
        s->triangles[3 * kept + 2] = c;
        kept++;
    }
    s->triangle_count = kept;
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

/* A vertex may err by `max_error`, or by a share of the diagonal of the box around its part.
 * `boxes`: 6 a vertex, and `parts`: 1 a vertex, are scratch. */
static void find_bounds(Simplification *s, double *boxes, uint32_t *parts, double max_error,
                        double share)
{
    size_t v;
    int axis;
    find_parts(s->triangles, s->triangle_count, parts, s->vertex_count);
    for (v = 0; v < s->vertex_count; v++) {
        double *box = boxes + 6 * (size_t)parts[v];
        for (axis = 0; axis < 3; axis++) {
            const double at = s->vertices[3 * v + axis];
            if (parts[v] == v) /* the first of its part */
                box[axis] = box[axis + 3] = at;
            else if (at < box[axis])
                box[axis] = at;
            else if (at > box[axis + 3])
                box[axis + 3] = at;
        }
    }
    for (v = 0; v < s->vertex_count; v++) {
        const double *box = boxes + 6 * (size_t)parts[v];
        double squared = 0, own;
        for (axis = 0; axis < 3; axis++)
            squared += (box[axis + 3] - box[axis]) * (box[axis + 3] - box[axis]);
        own = share * share * squared;
        s->bounds[v] = own < max_error * max_error ? own : max_error * max_error;
    }
}

static void run_passes(Simplification *s)
{
    /* The cheapest first: the bound is reached in the third pass. */
    double share = 1.0 / 16;
    int pass;
    for (pass = 0; pass < PASSES && s->triangle_count > s->fewest; pass++) {
        size_t done, before = s->triangle_count;
        find_neighbours(s);
        if (!pass)
            find_fixed(s);
        done = find_collapses(s, share);
        sort_collapses(s->collapses, done, s->order);
        done = collapse_edges(s, done);
        drop_triangles(s);
        if (share < 1)
            share *= 4;
        else if (done * 64 < before)
            break;
    }
}

/* Simplify in place; every index names a vertex. Return the number of triangles that are left, -1
 * where there is no memory.
 *
 * `vertices` that no triangle names any more stay in the array. A vertex errs by no more than
 * `max_error`, and by no more than `share` of the diagonal of the box around its connected part. */
static ptrdiff_t simplify_surface(double *vertices, size_t vertex_count, uint32_t *triangles,
                                  size_t triangle_count, double max_error, double share,
                                  size_t fewest)
{
    Simplification s;
    double *boxes = (double *)malloc(6 * vertex_count * sizeof *boxes + 1);
    ptrdiff_t left = -1;
    s.vertices = vertices;
    s.vertex_count = vertex_count;
    s.triangles = triangles;
    s.triangle_count = triangle_count;
    s.fewest = fewest;
    s.bounds = (double *)malloc(vertex_count * sizeof *s.bounds + 1);
    s.quadrics = (Quadric *)malloc(vertex_count * sizeof *s.quadrics + 1);
    s.first = (uint32_t *)malloc((vertex_count + 1) * sizeof *s.first);
    s.around = (uint32_t *)malloc(3 * triangle_count * sizeof *s.around + 1);
    s.sides_of_keep = (Side *)malloc(3 * triangle_count * sizeof *s.sides_of_keep + 1);
    s.sides_of_drop = (Side *)malloc(3 * triangle_count * sizeof *s.sides_of_drop + 1);
    s.is_fixed = (uint8_t *)malloc(vertex_count + 1);
    s.is_busy = (uint8_t *)malloc(vertex_count + 1);
    s.collapses = (Collapse *)malloc(3 * triangle_count * sizeof *s.collapses + 1);
    s.order = (uint32_t *)malloc(3 * triangle_count * sizeof *s.order + 1);
    if (boxes && s.bounds && s.quadrics && s.first && s.around && s.sides_of_keep && s.sides_of_drop && s.is_fixed &&
        s.is_busy && s.collapses && s.order) {
        find_bounds(&s, boxes, s.first, max_error, share); /* `first` has no use yet */
        find_quadrics(&s);
        run_passes(&s);
        left = (ptrdiff_t)s.triangle_count;
    }
    free(boxes);
    free(s.bounds);
    free(s.quadrics);
    free(s.first);
    free(s.around);
    free(s.sides_of_keep);
    free(s.sides_of_drop);
    free(s.is_fixed);
    free(s.is_busy);
    free(s.collapses);
    free(s.order);
    return left;
}

#endif
