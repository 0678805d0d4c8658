/* Sums of squared distances from planes (Garland and Heckbert, 1997), and the algebra they need. */
#ifndef NGCORE_QUADRIC_H
#define NGCORE_QUADRIC_H

#include "kernel_common.h"

/* q[0..5]: xx xy xz yy yz zz; q[6..8]: x y z; q[9]: constant. */
typedef struct {
    double q[10];
} Quadric;

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

/* The square of it. */
static inline double distance_between(const double *a, const double *b)
{
    const double d[3] = {b[0] - a[0], b[1] - a[1], b[2] - a[2]};
    return dot_of(d, d);
}

static inline Quadric sum_of(const Quadric *a, const Quadric *b)
{
    Quadric sum;
    int k;
    for (k = 0; k < 10; k++)
        sum.q[k] = a->q[k] + b->q[k];
    return sum;
}

/* Find where a sum is least, each direction pulled towards `middle` by a share of its trace; return
 * whether there is such a place: without a pull there is none along an edge or in a plane. */
static inline int find_least(const Quadric *sum, double pull, const double *middle, double *place)
{
    const double *q = sum->q;
    const double trace = q[0] + q[3] + q[5], e = pull * trace;
    const double a = q[0] + e, b = q[3] + e, c = q[5] + e;
    const double x = e * middle[0] - q[6], y = e * middle[1] - q[7], z = e * middle[2] - q[8];
    const double xx = b * c - q[4] * q[4], xy = q[2] * q[4] - q[1] * c, xz = q[1] * q[4] - q[2] * b;
    const double yy = a * c - q[2] * q[2], yz = q[1] * q[2] - a * q[4], zz = a * b - q[1] * q[1];
    const double determinant = a * xx + q[1] * xy + q[2] * xz;
    if (!(determinant > (pull > 0 ? 0 : 1e-4) * trace * trace * trace))
        return 0;
    place[0] = (xx * x + xy * y + xz * z) / determinant;
    place[1] = (xy * x + yy * y + yz * z) / determinant;
    place[2] = (xz * x + yz * y + zz * z) / determinant;
    return 1;
}

#endif
