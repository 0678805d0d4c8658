"""How large the tests are: `make test` runs them small, `make test-thorough` runs them large."""

import os

IS_THOROUGH = os.environ.get("NGCORE_THOROUGH", "") not in ("", "0")


def amount(quick: int, thorough: int) -> int:
    """Return the number of cases a test runs, in quick and in thorough runs."""
    return thorough if IS_THOROUGH else quick
