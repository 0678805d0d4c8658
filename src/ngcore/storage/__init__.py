"""Where the bytes of a volume live."""
