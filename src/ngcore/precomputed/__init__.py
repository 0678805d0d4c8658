"""The precomputed format as bytes and JSON: no I/O here."""
