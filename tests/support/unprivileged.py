"""Permissions of files that mean something, whoever runs the tests."""

import contextlib
import ctypes
import os
import sys

import pytest

_VERSION = 0x20080522  # of the structures below, see capset(2)
_DAC_OVERRIDE, _DAC_READ_SEARCH = 1, 2


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Capabilities(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_uint32) for name in ("effective", "permitted", "inheritable"))


@contextlib.contextmanager
def bound_by_permissions():
    """Let permissions bind this thread, and those that it starts, as they bind everybody.

    Root on Linux lays down the two capabilities that make it an exception; it stays root, so
    what it owns and may read, such as the interpreter, it may read as before.
    """
    if os.name != "posix":
        pytest.skip("Windows has no such permissions")
    if os.geteuid() != 0:
        yield
        return
    if not sys.platform.startswith("linux"):
        pytest.skip("root may do anything here")
    library = ctypes.CDLL(None, use_errno=True)
    header, found = _Header(_VERSION, 0), (_Capabilities * 2)()

    def call(name):
        if getattr(library, name)(ctypes.byref(header), found) != 0:
            raise OSError(ctypes.get_errno(), name)

    call("capget")
    before = found[0].effective
    found[0].effective &= ~(1 << _DAC_OVERRIDE | 1 << _DAC_READ_SEARCH)
    call("capset")
    try:
        yield
    finally:
        found[0].effective = before
        call("capset")
