"""How much of what happens to files is found: with the digest, without, and without provenance."""

from collections import Counter

import damage
import numpy as np
import pytest
from thorough import amount

import ngcore
from ngcore.validating.validate import validate


def leave(_folder):
    """Take nothing away."""


@pytest.mark.parametrize(
    ("forget", "least"),
    [(leave, 0.99), (damage.forget_digests, 0.97), (damage.forget_provenance, 0.80)],
)
def test_damage_that_a_reader_would_see_is_found(made, tmp_path, forget, least):
    visible: Counter[str] = Counter()
    missed = []
    for seed in range(amount(21, 500)):
        rng = np.random.default_rng(seed)
        name = list(damage.VOLUMES)[rng.integers(len(damage.VOLUMES))]
        kind = damage.KINDS[seed % len(damage.KINDS)]
        folder = damage.copy(made(name), tmp_path / "volume")
        forget(folder)
        before = damage.seen(folder)
        what = kind(folder, made(name, 1), rng)
        if damage.seen(folder) == before:
            continue
        visible[kind.__name__] += 1
        if _is_sound(folder):
            missed.append(f"seed {seed}, {name}: {what}")
    total = sum(visible.values())
    assert set(visible) == {kind.__name__ for kind in damage.KINDS}
    print(f"{total - len(missed)} of {total} found; missed:", *missed, sep="\n")
    assert len(missed) <= (1 - least) * total, missed


def _is_sound(folder):
    try:
        return validate(folder, workers=1).is_sound
    except ngcore.InputError:
        return False
