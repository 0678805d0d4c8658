"""A volume that the real Neuroglancer client can't load, and can once it is repaired."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from classic_peer import write_sharded
from shown_states import name_volumes, state_of

from ngcore.repairing.repair import repair
from ngcore.validating.validate import validate

if TYPE_CHECKING:
    from browser import Neuroglancer

pytestmark = pytest.mark.browser


def test_shards_of_neuroglancer_scripts_fail_and_are_shown_once_repaired(
    neuroglancer: Neuroglancer,
) -> None:
    image = np.zeros((48, 48, 48), np.uint8)
    image[20:40, 16:44, 10:] = np.random.default_rng(7).integers(1, 256, (20, 28, 38))
    folder = neuroglancer.folder / "of-neuroglancer-scripts"
    write_sharded(folder, image, "1,1,0")

    def state(name: str) -> dict[str, object]:
        volumes = name_volumes([neuroglancer.folder / name])
        state = state_of(
            volumes, {key: neuroglancer.source(key) for key in volumes}, space="native"
        )
        return state | {"crossSectionScale": 0.4, "position": [24.5, 24.5, 24.5]}

    with pytest.raises(AssertionError, match="chunks failed"):
        neuroglancer.load(state(folder.name))
    neuroglancer.start()
    assert not validate(folder).is_sound
    report = repair(folder, neuroglancer.folder / "repaired", fsync=False)
    assert report.is_sound
    assert report.changes.keys() == {"zlib", "phantom"}
    neuroglancer.load(state("repaired"))
    for voxel in [(24, 24, 24), (20, 24, 24), (24, 43, 24), (5, 24, 24), (24, 24, 40)]:
        found = neuroglancer.value_at("repaired", np.array(voxel) + 0.5)
        assert found == int(image[voxel]), voxel
