"""Fixtures that every test may take."""

import signal

from hypothesis import settings

pytest_plugins = ["browser"]

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell starts background jobs deaf to Ctrl-C, and processes that tests start inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)

# How long an example takes says more about the machine, and its other users, than the code.
settings.register_profile("ngcore", deadline=None)
settings.load_profile("ngcore")
