"""What is fuzzed takes its seeds, and answers any change to them with an error of ngcore's."""

import random
import warnings

import pytest
from thorough import amount

from fuzz.mutation import mutated_bytes, mutated_json
from fuzz.targets import TARGETS, is_sound


@pytest.mark.parametrize("name", TARGETS)
def test_seeds_are_sound(name, tmp_path):
    target = TARGETS[name]
    for seed in target.seeds():
        target.run(seed, tmp_path)


@pytest.mark.parametrize("name", TARGETS)
def test_changed_seeds_are_read_or_refused(name, tmp_path):
    target = TARGETS[name]
    rng = random.Random(name)
    seeds = list(target.seeds())
    refused = 0
    with warnings.catch_warnings():
        # tifffile's and trimesh's, about numbers that are refused afterwards
        warnings.simplefilter("ignore")
        for number in range(amount(24, 3000)):
            seed = seeds[number % len(seeds)]
            change = mutated_json if target.is_json and number % 4 else mutated_bytes
            data = change(seed, rng)
            assert data is not None
            refused += not is_sound(target, data, tmp_path)
    assert refused
