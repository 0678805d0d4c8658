"""Fixtures that every test may take."""

from hypothesis import settings

pytest_plugins = ["browser"]

# How long an example takes says more about the machine, and its other users, than the code.
settings.register_profile("ngcore", deadline=None)
settings.load_profile("ngcore")
