"""How much of what happens to files is found: with the digest, and without."""

from collections import Counter

import numpy as np
import pytest

import damage
import ngcore
from ngcore.pipelines.validate import validate
from thorough import amount


@pytest.fixture(scope="module")
def volumes(tmp_path_factory):
    """Each kind of volume, twice: of two images."""
    folder = tmp_path_factory.mktemp("volumes")
    for name in damage.VOLUMES:
        for seed in (0, 1):
            damage.make_volume(folder / name / str(seed), name, seed)
    return folder


@pytest.mark.parametrize(("has_digest", "least"), [(True, 0.99), (False, 0.90)])
def test_damage_that_a_reader_would_see_is_found(volumes, tmp_path, has_digest, least):
    visible: Counter[str] = Counter()
    missed = []
    for seed in range(amount(28, 500)):
        rng = np.random.default_rng(seed)
        name = list(damage.VOLUMES)[rng.integers(len(damage.VOLUMES))]
        kind = damage.KINDS[seed % len(damage.KINDS)]
        folder = damage.copy(volumes / name / "0", tmp_path / "volume")
        if not has_digest:
            damage.forget_digests(folder)
        before = damage.seen(folder)
        what = kind(folder, volumes / name / "1", rng)
        if damage.seen(folder) == before:
            continue
        visible[kind.__name__] += 1
        if _is_sound(folder):
            missed.append(f"seed {seed}, {name}: {what}")
    total = sum(visible.values())
    assert set(visible) == {kind.__name__ for kind in damage.KINDS}
    assert len(missed) <= (1 - least) * total, missed


def _is_sound(folder):
    try:
        return validate(folder, workers=1).is_sound
    except ngcore.InputError:
        return False
