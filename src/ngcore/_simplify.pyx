"""Gate to the kernels that simplify and join surfaces: arrays in, one C call without the GIL.

The caller has checked that every index names a vertex; see `ngcore.arrays.triangles`.
"""

from libc.stdint cimport uint32_t

cdef extern from "join.h" nogil:
    ptrdiff_t join_surface(double *vertices, size_t *vertex_count, uint32_t *triangles,
                           size_t triangle_count)
    ptrdiff_t compact_surface(double *vertices, size_t vertex_count, uint32_t *triangles,
                              size_t triangle_count)

cdef extern from "simplify.h" nogil:
    void find_parts(const uint32_t *triangles, size_t triangle_count, uint32_t *parent,
                    size_t vertex_count)
    ptrdiff_t simplify_surface(double *vertices, size_t vertex_count, uint32_t *triangles,
                               size_t triangle_count, const double *units, double max_error,
                               double share, size_t fewest, double first_share)


def connect(const uint32_t[:, ::1] triangles, uint32_t[::1] parts):
    """Set each vertex's entry to the smallest vertex of its connected part."""
    cdef size_t triangle_count = triangles.shape[0]
    cdef size_t vertex_count = parts.shape[0]
    with nogil:
        find_parts(&triangles[0, 0], triangle_count, &parts[0], vertex_count)


def simplify(double[:, ::1] vertices, uint32_t[:, ::1] triangles, const double[::1] units,
             double max_error, double share, size_t fewest, double first_share):
    """Simplify in place; return how many vertices and triangles are left, the first ones."""
    cdef size_t vertex_count = vertices.shape[0]
    cdef size_t triangle_count = triangles.shape[0]
    cdef ptrdiff_t left
    cdef ptrdiff_t used = -1
    with nogil:
        left = simplify_surface(&vertices[0, 0], vertex_count, &triangles[0, 0], triangle_count,
                                &units[0], max_error, share, fewest, first_share)
        if left >= 0:
            used = compact_surface(&vertices[0, 0], vertex_count, &triangles[0, 0], left)
    if used < 0:
        raise MemoryError("no memory to simplify a surface")
    return used, left


def join(double[:, ::1] vertices, uint32_t[:, ::1] triangles):
    """Merge equal vertices in place; return how many vertices and triangles are left.

    Those are the first ones of the arrays. Triangles that name a vertex twice are dropped, and
    vertices that none names.
    """
    cdef size_t vertex_count = vertices.shape[0]
    cdef size_t triangle_count = triangles.shape[0]
    cdef ptrdiff_t left
    with nogil:
        left = join_surface(&vertices[0, 0], &vertex_count, &triangles[0, 0], triangle_count)
    if left < 0:
        raise MemoryError("no memory to join surfaces")
    return vertex_count, left


def compact(double[:, ::1] vertices, uint32_t[:, ::1] triangles):
    """Drop vertices that no triangle names, in place; return how many are left, the first ones."""
    cdef size_t vertex_count = vertices.shape[0]
    cdef size_t triangle_count = triangles.shape[0]
    cdef ptrdiff_t left
    with nogil:
        left = compact_surface(&vertices[0, 0], vertex_count, &triangles[0, 0], triangle_count)
    if left < 0:
        raise MemoryError("no memory to compact a surface")
    return left
