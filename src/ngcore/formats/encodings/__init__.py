"""One file per chunk encoding."""
