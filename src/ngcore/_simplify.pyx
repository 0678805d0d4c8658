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
                               size_t triangle_count, double max_error, double share,
                               size_t fewest)


def connect(const uint32_t[:, ::1] triangles, uint32_t[::1] parts):
    """Set each vertex's entry to the smallest vertex of its connected part."""
    cdef size_t triangle_count = triangles.shape[0]
    cdef size_t vertex_count = parts.shape[0]
    with nogil:
        find_parts(&triangles[0, 0], triangle_count, &parts[0], vertex_count)


def simplify(double[:, ::1] vertices, uint32_t[:, ::1] triangles, double max_error, double share,
             size_t fewest):
    """Simplify in place; return how many triangles are left, the first ones of the array."""
    cdef size_t vertex_count = vertices.shape[0]
    cdef size_t triangle_count = triangles.shape[0]
    cdef ptrdiff_t left
    with nogil:
        left = simplify_surface(&vertices[0, 0], vertex_count, &triangles[0, 0], triangle_count,
                                max_error, share, fewest)
    if left < 0:
        raise MemoryError("no memory to simplify a surface")
    return left


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
