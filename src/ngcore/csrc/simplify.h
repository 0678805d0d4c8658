/* Edge collapse by quadric error: fewer triangles, each vertex within a bound of what it stands for.
 *
 * A vertex has the sum of the squared distances from the planes of the triangles that it stands for
 * (Garland and Heckbert, 1997). A collapse puts one vertex in the place of two, where that sum is
 * least, and is done only if it stays below the bound; so no vertex is farther than the bound from
 * any of those planes. Each pass allows twice the error of the one before, and collapses what
 * it comes to: sorting edges by error takes longer and leaves as many triangles. In a pass a vertex
 * takes part in one collapse at most, so the triangles around it are those that the pass began
 * with, with removed vertices replaced.
 *
 * Vertices on open edges, on edges of more than two triangles, and where two fans meet in a point
 * stay exactly where they are. Closed surfaces stay closed, and keep four triangles at least.
 *
 * The caller owns all memory but the scratch that `simplify_surface` takes and frees: about 125
 * bytes a vertex and 12 a triangle, and 48 a triangle that are touched where a vertex has so many.
 */
#ifndef NGCORE_SIMPLIFY_H
#define NGCORE_SIMPLIFY_H

#include <float.h>
#include <math.h>

#include "join.h"
#include "quadric.h"

#define PASSES 60
#define PULL 1e-3 /* of a quadric's trace: how much the middle of an edge attracts its collapse */
#define THIN 0.004 /* squared, twice the area of a triangle beside its longest edge's square */

/* The two other corners of a triangle around a vertex, in its order. */
typedef struct {
    uint32_t next, last;
} Side;

typedef struct {
    double *places; /* of vertices, vertex_count x 3: in units of the error, from a corner */
    double *bounds; /* squared, one a vertex */
    uint32_t *triangles; /* triangle_count x 3, changed in place */
    size_t vertex_count, triangle_count, fewest;
    Quadric *quadrics;
    uint32_t *first; /* vertex_count + 1: where the triangles of a vertex begin in `around` */
    uint32_t *around;
    Side *sides_of_keep, *sides_of_drop; /* scratch: as many as a vertex may have triangles */
    uint32_t *mark; /* a vertex that is beside the edge of `marks` has that number */
    uint32_t marks;
    uint8_t *is_fixed, *is_busy, *is_moved;
} Simplification;

static void find_quadrics(Simplification *s)
{
    size_t t;
    int k;
    memset(s->quadrics, 0, s->vertex_count * sizeof *s->quadrics);
    for (t = 0; t < s->triangle_count; t++) {
        const uint32_t *corner = s->triangles + 3 * t;
        const double *a = s->places + 3 * (size_t)corner[0];
        double n[3], length;
        cross_of(a, s->places + 3 * (size_t)corner[1], s->places + 3 * (size_t)corner[2], n);
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

/* Find where the error of two vertices together is least; return the error there. One that is fixed
 * comes first, and stays. */
static double best_place(const Simplification *s, uint32_t first, uint32_t second, double *place)
{
    const double *a = s->places + 3 * (size_t)first, *b = s->places + 3 * (size_t)second;
    const Quadric sum = sum_of(s->quadrics + first, s->quadrics + second);
    const double middle[3] = {(a[0] + b[0]) / 2, (a[1] + b[1]) / 2, (a[2] + b[2]) / 2};
    if (s->is_fixed[first] ||
        !(find_least(&sum, 0, middle, place) || find_least(&sum, PULL, middle, place)))
        memcpy(place, a, 3 * sizeof *place);
    return error_at(&sum, place);
}

/* Whether a side is of a triangle that goes with its vertex's collapse, or is gone already. */
static inline int is_gone(Side side, uint32_t v)
{
    return side.next == side.last || side.next == v || side.last == v;
}

/* Whether a triangle, the square of twice whose area is `size`, is a sliver: they tilt easily, and
 * then their planes say little of where the surface was. */
static inline int is_thin(const double *a, const double *b, const double *c, double size)
{
    const double ab = distance_between(a, b), bc = distance_between(b, c);
    const double ca = distance_between(c, a);
    const double longest = ab > bc ? (ab > ca ? ab : ca) : (bc > ca ? bc : ca);
    return size < THIN * longest * longest;
}

/* Whether a triangle of `v`, which moves to `to`, would turn over, lose its area or become thin. */
static int would_flip(const Simplification *s, uint32_t v, uint32_t partner, const Side *sides,
                      uint32_t count, const double *to)
{
    const double *from = s->places + 3 * (size_t)v;
    uint32_t i;
    for (i = 0; i < count; i++) {
        const double *b = s->places + 3 * (size_t)sides[i].next;
        const double *c = s->places + 3 * (size_t)sides[i].last;
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
        if (new_size < old_size && is_thin(to, b, c, new_size))
            return 1;
    }
    return 0;
}

/* Whether two vertices can become one with the surface staying what it is: their common neighbours
 * are the two beside the edge, and no two triangles become the same. */
static int keeps_topology(Simplification *s, uint32_t keep, uint32_t keep_count, uint32_t drop,
                          uint32_t drop_count)
{
    const Side *of_keep = s->sides_of_keep, *of_drop = s->sides_of_drop;
    uint32_t i, j, common = 0;
    s->marks++;
    for (i = 0; i < keep_count; i++)
        if (!is_gone(of_keep[i], keep)) /* each neighbour is `next` of one triangle around a fan, */
            s->mark[of_keep[i].next] = s->mark[of_keep[i].last] = s->marks; /* unless it is open */
    for (i = 0; i < drop_count; i++) {
        const uint32_t next = of_drop[i].next, last = of_drop[i].last;
        if (next == keep || s->mark[next] != s->marks || is_gone(of_drop[i], drop))
            continue;
        common++;
        if (last == keep || s->mark[last] != s->marks)
            continue;
        for (j = 0; j < keep_count; j++) {
            const uint32_t a = of_keep[j].next, b = of_keep[j].last;
            if (((a == next && b == last) || (a == last && b == next)) && !is_gone(of_keep[j], keep))
                return 0;
        }
    }
    return common == 2;
}

/* Put `keep` at `to` in the place of both, if the surface stays what it is; return whether. */
static int collapse_edge(Simplification *s, uint32_t keep, uint32_t drop, const double *to)
{
    const uint32_t keep_count = find_sides(s, keep, s->sides_of_keep);
    const uint32_t drop_count = find_sides(s, drop, s->sides_of_drop);
    double *place = s->places + 3 * (size_t)keep;
    uint32_t i;
    int axis;
    if (!keeps_topology(s, keep, keep_count, drop, drop_count) ||
        would_flip(s, drop, keep, s->sides_of_drop, drop_count, to) ||
        would_flip(s, keep, drop, s->sides_of_keep, keep_count, to))
        return 0;
    for (axis = 0; axis < 3; axis++) {
        if (place[axis] != to[axis])
            s->is_moved[keep] = 1;
        place[axis] = to[axis];
    }
    s->quadrics[keep] = sum_of(s->quadrics + keep, s->quadrics + drop);
    for (i = s->first[drop]; i < s->first[drop + 1]; i++) {
        uint32_t *corner = s->triangles + 3 * (size_t)s->around[i];
        for (axis = 0; axis < 3; axis++)
            if (corner[axis] == drop)
                corner[axis] = keep;
    }
    s->is_busy[keep] = s->is_busy[drop] = 1;
    return 1;
}

/* Collapse edges whose error is within a share of their bounds; return how many. */
static size_t collapse_edges(Simplification *s, double share)
{
    size_t done = 0, left = s->triangle_count, t;
    int k;
    memset(s->is_busy, 0, s->vertex_count);
    for (t = 0; t < s->triangle_count && left > s->fewest + 1; t++) {
        const uint32_t *corner = s->triangles + 3 * t;
        if (corner[0] == corner[1] || corner[1] == corner[2] || corner[2] == corner[0])
            continue;
        for (k = 0; k < 3; k++) {
            const uint32_t a = corner[k], b = corner[k == 2 ? 0 : k + 1];
            double place[3], bound;
            /* An edge with a free end occurs twice, once in each direction. */
            if (s->is_busy[a] || s->is_busy[b] || s->is_fixed[b] || (!s->is_fixed[a] && a > b))
                continue;
            bound = share * (s->bounds[a] < s->bounds[b] ? s->bounds[a] : s->bounds[b]);
            if (best_place(s, a, b, place) <= bound && collapse_edge(s, a, b, place)) {
                left -= 2;
                done++;
                break;
            }
        }
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
            const double at = s->places[3 * v + axis];
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

static void run_passes(Simplification *s, double share)
{
    int pass;
    for (pass = 0; pass < PASSES && s->triangle_count > s->fewest; pass++) {
        const size_t before = s->triangle_count;
        size_t done;
        find_neighbours(s);
        if (!pass)
            find_fixed(s);
        done = collapse_edges(s, share);
        drop_triangles(s);
        if (share < 1)
            share *= 2;
        else if (done * 64 < before)
            break;
    }
}

/* Measure vertices in units of the error, from a corner of the surface: a place far away costs no
 * digits. */
static void find_places(Simplification *s, const double *vertices, const double *units,
                        double *origin)
{
    size_t v;
    int axis;
    for (axis = 0; axis < 3; axis++)
        origin[axis] = DBL_MAX;
    for (v = 0; v < s->vertex_count; v++)
        for (axis = 0; axis < 3; axis++)
            if (vertices[3 * v + axis] < origin[axis])
                origin[axis] = vertices[3 * v + axis];
    for (v = 0; v < s->vertex_count; v++)
        for (axis = 0; axis < 3; axis++)
            s->places[3 * v + axis] = (vertices[3 * v + axis] - origin[axis]) * units[axis];
}

/* Move the vertices that moved; the others are where they were, to the last bit. */
static void move_vertices(const Simplification *s, double *vertices, const double *units,
                          const double *origin)
{
    size_t v;
    int axis;
    for (v = 0; v < s->vertex_count; v++)
        if (s->is_moved[v])
            for (axis = 0; axis < 3; axis++)
                vertices[3 * v + axis] = s->places[3 * v + axis] / units[axis] + origin[axis];
}

/* Simplify in place; every index names a vertex. Return the number of triangles that are left, -1
 * where there is no memory.
 *
 * `vertices` that no triangle names any more stay in the array. A vertex errs by no more than
 * `max_error`, and by no more than `share` of the diagonal of the box around its connected part;
 * `units` is what one unit along each axis is worth in those of the error. The first pass allows
 * `first_share` of the squared error. */
static ptrdiff_t simplify_surface(double *vertices, size_t vertex_count, uint32_t *triangles,
                                  size_t triangle_count, const double *units, double max_error,
                                  double share, size_t fewest, double first_share)
{
    const size_t vertex_bytes = sizeof(Quadric) + 4 * sizeof(double) + 2 * sizeof(uint32_t) + 3;
    const size_t corner_bytes = 2 * sizeof(Side) + sizeof(uint32_t);
    char *scratch = (char *)malloc(vertex_count * vertex_bytes + 3 * triangle_count * corner_bytes +
                                   sizeof(uint32_t));
    Simplification s;
    double origin[3];
    if (!scratch)
        return -1;
    s.vertex_count = vertex_count;
    s.triangles = triangles;
    s.triangle_count = triangle_count;
    s.fewest = fewest;
    s.marks = 0;
    s.quadrics = (Quadric *)scratch; /* what is larger comes first, so that all is aligned */
    s.places = (double *)(s.quadrics + vertex_count);
    s.bounds = s.places + 3 * vertex_count;
    s.sides_of_keep = (Side *)(s.bounds + vertex_count);
    s.sides_of_drop = s.sides_of_keep + 3 * triangle_count;
    s.around = (uint32_t *)(s.sides_of_drop + 3 * triangle_count);
    s.first = s.around + 3 * triangle_count;
    s.mark = s.first + vertex_count + 1;
    s.is_fixed = (uint8_t *)(s.mark + vertex_count);
    s.is_busy = s.is_fixed + vertex_count;
    s.is_moved = s.is_busy + vertex_count;
    memset(s.mark, 0, vertex_count * sizeof *s.mark);
    memset(s.is_moved, 0, vertex_count);
    find_places(&s, vertices, units, origin);
    /* Quadrics and `first` have no use yet. */
    find_bounds(&s, (double *)s.quadrics, s.first, max_error, share);
    find_quadrics(&s);
    run_passes(&s, first_share);
    move_vertices(&s, vertices, units, origin);
    free(scratch);
    return (ptrdiff_t)s.triangle_count;
}

#endif
