"""Compressions of bytes that are not encodings of chunks."""
