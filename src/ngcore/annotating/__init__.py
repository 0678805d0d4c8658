"""Annotations: from tables of points, lines, boxes, ellipsoids and polylines to every index.

`annotate` is the whole way; rows are spooled and sorted outside of memory (`sorting`), given to
levels and cells (`levels`), and written (`index_files`).
"""
