"""The version, once for the package, its metadata and the files that it writes.

Asking for the metadata of an installed package imports the standard library's e-mail parser.
"""

__version__ = "0.1.0"
