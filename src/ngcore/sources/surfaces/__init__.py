"""Triangles, from the files in which the field keeps surfaces."""
