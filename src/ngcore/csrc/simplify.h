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
 * bytes a vertex and 100 a triangle.
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

typedef struct {
    double *vertices; /* vertex_count x 3, changed in place */
    double *bounds; /* squared, one a vertex */
    uint32_t *triangles; /* triangle_count x 3, changed in place */
    size_t vertex_count, triangle_count, fewest;
    Quadric *quadrics;
    uint32_t *first; /* vertex_count + 1: where the triangles of a vertex begin in `around` */
    uint32_t *around;
    uint32_t *other; /* which vertex stands for a vertex */
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

/* The two corners behind `v` in a triangle, in its order, as they are now. */
static inline void other_corners(const Simplification *s, uint32_t triangle, uint32_t v,
                                 uint32_t *next, uint32_t *last)
{
    const uint32_t *corner = s->triangles + 3 * (size_t)triangle;
    const uint32_t a = s->other[corner[0]], b = s->other[corner[1]], c = s->other[corner[2]];
    if (a == v) {
        *next = b;
        *last = c;
    } else if (b == v) {
        *next = c;
        *last = a;
    } else {
        *next = a;
        *last = b;
    }
}

/* Whether the triangles around a vertex are one closed fan. */
static int is_inside(const Simplification *s, uint32_t v)
{
    const uint32_t begin = s->first[v], end = s->first[v + 1];
    uint32_t start, at, next, last, i, steps = 0;
    if (end - begin < 3)
        return 0;
    other_corners(s, s->around[begin], v, &start, &at);
    next = start;
    do { /* from each triangle to the one that begins where it ends */
        uint32_t found = 0, to = 0;
        if (steps++ > end - begin)
            return 0;
        for (i = begin; i < end; i++) {
            other_corners(s, s->around[i], v, &next, &last);
            if (next == at) {
                found++;
                to = last;
            }
        }
        if (found != 1)
            return 0;
        at = to;
    } while (at != start);
    /* The first triangle was not walked over: it ends the loop, from `start` to the first `at`. */
    return steps == end - begin - 1;
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
            /* An edge with a free end is there twice, once in each direction. */
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

/* Whether a triangle of `v`, which moves to `to`, would turn over or lose its area. */
static int would_flip(const Simplification *s, uint32_t v, uint32_t partner, const double *to)
{
    uint32_t i, next, last;
    for (i = s->first[v]; i < s->first[v + 1]; i++) {
        const double *from = s->vertices + 3 * (size_t)v, *b, *c;
        double before[3], after[3], along, old_size, new_size;
        other_corners(s, s->around[i], v, &next, &last);
        if (next == partner || last == partner || next == last || next == v || last == v)
            continue; /* goes, or is gone */
        b = s->vertices + 3 * (size_t)next;
        c = s->vertices + 3 * (size_t)last;
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

/* Whether `v` has a triangle with both others. */
static int has_triangle(const Simplification *s, uint32_t v, uint32_t a, uint32_t b)
{
    uint32_t i, next, last;
    for (i = s->first[v]; i < s->first[v + 1]; i++) {
        other_corners(s, s->around[i], v, &next, &last);
        if ((next == a && last == b) || (next == b && last == a))
            return 1;
    }
    return 0;
}

/* Whether two vertices can become one with the surface staying what it is: their common neighbours
 * are the two beside the edge, and no two triangles become the same. */
static int keeps_topology(const Simplification *s, uint32_t keep, uint32_t drop)
{
    uint32_t i, j, next, last, other_next, other_last, common = 0;
    for (i = s->first[drop]; i < s->first[drop + 1]; i++) {
        other_corners(s, s->around[i], drop, &next, &last);
        if (next == last || next == drop || last == drop)
            continue;
        if (next != keep) { /* each neighbour is `next` of one triangle around a closed fan */
            for (j = s->first[keep]; j < s->first[keep + 1]; j++) {
                other_corners(s, s->around[j], keep, &other_next, &other_last);
                if (other_next == other_last || other_next == keep || other_last == keep)
                    continue;
                if (other_next == next || other_last == next) {
                    common++;
                    break;
                }
            }
        }
        if (next != keep && last != keep && has_triangle(s, keep, next, last))
            return 0;
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
        double to[3];
        if (s->is_busy[keep] || s->is_busy[drop])
            continue;
        for (axis = 0; axis < 3; axis++)
            to[axis] = s->vertices[3 * (size_t)keep + axis] + collapse->at[axis];
        if (!keeps_topology(s, keep, drop) || would_flip(s, keep, drop, to) ||
            would_flip(s, drop, keep, to))
            continue;
        memcpy(s->vertices + 3 * (size_t)keep, to, sizeof to);
        s->quadrics[keep] = sum_of(s->quadrics + keep, s->quadrics + drop);
        s->other[drop] = keep;
        s->is_busy[keep] = s->is_busy[drop] = 1;
        left -= 2;
        done++;
    }
    return done;
}

/* Put the vertices that are left into the triangles, and drop those that are gone. */
static void drop_triangles(Simplification *s)
{
    size_t t, kept = 0;
    for (t = 0; t < s->triangle_count; t++) {
        const uint32_t a = s->other[s->triangles[3 * t]], b = s->other[s->triangles[3 * t + 1]];
        const uint32_t c = s->other[s->triangles[3 * t + 2]];
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
 * `boxes`: 6 a vertex, scratch. Uses `other`, and leaves in it that each vertex stands for itself. */
static void find_bounds(Simplification *s, double *boxes, double max_error, double share)
{
    size_t v;
    int axis;
    find_parts(s->triangles, s->triangle_count, s->other, s->vertex_count);
    for (v = 0; v < s->vertex_count; v++) {
        double *box = boxes + 6 * (size_t)s->other[v];
        for (axis = 0; axis < 3; axis++) {
            const double at = s->vertices[3 * v + axis];
            if (s->other[v] == v) /* the first of its part */
                box[axis] = box[axis + 3] = at;
            else if (at < box[axis])
                box[axis] = at;
            else if (at > box[axis + 3])
                box[axis + 3] = at;
        }
    }
    for (v = 0; v < s->vertex_count; v++) {
        const double *box = boxes + 6 * (size_t)s->other[v];
        double squared = 0, own;
        for (axis = 0; axis < 3; axis++)
            squared += (box[axis + 3] - box[axis]) * (box[axis + 3] - box[axis]);
        own = share * share * squared;
        s->bounds[v] = own < max_error * max_error ? own : max_error * max_error;
    }
    for (v = 0; v < s->vertex_count; v++)
        s->other[v] = (uint32_t)v;
}

static void run_passes(Simplification *s)
{
    /* The cheapest first: the bound is reached in the third pass. */
    double share = 1.0 / 16;
    int pass;
    size_t v;
    for (pass = 0; pass < PASSES && s->triangle_count > s->fewest; pass++) {
        size_t done, before = s->triangle_count;
        find_neighbours(s);
        if (!pass)
            find_fixed(s);
        done = find_collapses(s, share);
        sort_collapses(s->collapses, done, s->order);
        done = collapse_edges(s, done);
        drop_triangles(s);
        for (v = 0; v < s->vertex_count; v++)
            s->other[v] = (uint32_t)v;
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
    s.other = (uint32_t *)malloc(vertex_count * sizeof *s.other + 1);
    s.is_fixed = (uint8_t *)malloc(vertex_count + 1);
    s.is_busy = (uint8_t *)malloc(vertex_count + 1);
    s.collapses = (Collapse *)malloc(3 * triangle_count * sizeof *s.collapses + 1);
    s.order = (uint32_t *)malloc(3 * triangle_count * sizeof *s.order + 1);
    if (boxes && s.bounds && s.quadrics && s.first && s.around && s.other && s.is_fixed &&
        s.is_busy && s.collapses && s.order) {
        find_bounds(&s, boxes, max_error, share);
        find_quadrics(&s);
        run_passes(&s);
        left = (ptrdiff_t)s.triangle_count;
    }
    free(boxes);
    free(s.bounds);
    free(s.quadrics);
    free(s.first);
    free(s.around);
    free(s.other);
    free(s.is_fixed);
    free(s.is_busy);
    free(s.collapses);
    free(s.order);
    return left;
}

#endif
