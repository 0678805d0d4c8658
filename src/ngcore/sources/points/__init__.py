"""Tables of points and other annotations: one file for each format, read block by block."""
