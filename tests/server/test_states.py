import json
import urllib.parse

import numpy as np
import pytest

from ngcore import FormatError
from ngcore.precomputed.info import ScaleInfo, VolumeInfo
from ngcore.server.states import (
    ValueRange,
    ValueSummary,
    VolumeLayer,
    viewer_state,
    viewer_url,
)

MM = 1_000_000


def layer(
    name="brain",
    *,
    volume_type="image",
    data_type="uint8",
    channels=1,
    size=(100, 120, 80),
    resolution=(MM, MM, MM),
    offset=(0, 0, 0),
    mesh=None,
    **members,
):
    scale = ScaleInfo(key="k", size=size, resolution=resolution, voxel_offset=offset)
    info = VolumeInfo(volume_type, data_type, channels, (scale,), mesh=mesh)
    return VolumeLayer(name, f"precomputed://http://localhost/{name}", info, **members)


def labels(name="labels", **members):
    return layer(name, volume_type="segmentation", data_type="uint32", **members)


OBLIQUE = np.array(
    [
        [0.96, -0.28, 0.0, -40.0 * MM],
        [0.28, 0.96, 0.0, -60.0 * MM],
        [0.0, 0.0, 1.0, 12.5 * MM],
        [0.0, 0.0, 0.0, 1.0],
    ]
)


def world_of(source, voxel):
    matrix = np.array(source["transform"]["matrix"])
    return (matrix[:, :-1] @ voxel + matrix[:, -1]).tolist()


def test_without_a_transform_the_source_is_its_url():
    state = viewer_state([layer(resolution=(8, 8, 40))])
    assert state["layers"][0]["source"] == "precomputed://http://localhost/brain"
    assert state["dimensions"] == {
        "x": [8e-9, "m"],
        "y": [8e-9, "m"],
        "z": [4e-8, "m"],
    }
    assert state["position"] == [50.5, 60.5, 40.5]


def test_matrix_maps_voxels_to_world_millimetres():
    state = viewer_state(
        [layer(resolution=(MM, 2 * MM, 3 * MM), offset=(5, -6, 7), volume_to_world_nm=OBLIQUE)]
    )
    source = state["layers"][0]["source"]
    assert source["transform"]["outputDimensions"] == {
        "x": [1e-3, "m"],
        "y": [1e-3, "m"],
        "z": [1e-3, "m"],
    }
    assert source["transform"]["inputDimensions"] == source["transform"]["outputDimensions"]
    expected = OBLIQUE @ [5 * MM, -6 * 2 * MM, 7 * 3 * MM, 1] / MM
    assert np.allclose(world_of(source, [5, -6, 7]), expected[:3], atol=1e-9)


def test_several_channels_add_a_channel_dimension():
    state = viewer_state([layer(channels=5, volume_to_world_nm=OBLIQUE)])
    transform = state["layers"][0]["source"]["transform"]
    assert np.shape(transform["matrix"]) == (4, 5)
    assert transform["matrix"][3] == [0, 0, 0, 1, 0]
    assert list(transform["outputDimensions"]) == ["x", "y", "z", "c^"]


def test_native_space_leaves_transforms_out():
    state = viewer_state([layer(volume_to_world_nm=OBLIQUE)], space="native")
    assert isinstance(state["layers"][0]["source"], str)
    assert "crossSectionOrientation" not in state


def test_identity_transform_changes_nothing():
    with_identity = viewer_state([layer(volume_to_world_nm=np.eye(4))])
    assert with_identity == viewer_state([layer()])


def test_volume_without_transform_lies_where_its_nanometres_say():
    state = viewer_state(
        [layer("a", volume_to_world_nm=OBLIQUE), layer("b", resolution=(500000,) * 3)]
    )
    assert world_of(state["layers"][1]["source"], [10, 20, 30]) == [5, 10, 15]


@pytest.mark.parametrize(
    ("voxel_nm", "unit"), [(MM, 1e-3), (700_000, 1e-3), (25_000, 1e-6), (8, 1e-9), (0.05, 1e-9)]
)
def test_world_unit_fits_the_voxels(voxel_nm, unit):
    state = viewer_state([layer(resolution=(voxel_nm,) * 3, volume_to_world_nm=OBLIQUE)])
    assert state["dimensions"]["x"] == [pytest.approx(unit), "m"]


def test_images_lie_under_segmentations():
    state = viewer_state([labels(), layer("a"), layer("b")])
    assert [item["name"] for item in state["layers"]] == ["a", "b", "labels"]
    assert [item.get("opacity") for item in state["layers"]] == [1, 0.5, None]


def test_position_is_the_middle_of_a_voxel_near_the_centre():
    members = {"resolution": (MM, MM, 4 * MM), "size": (11, 12, 6), "offset": (-3, 5, 9)}
    state = viewer_state([layer(volume_to_world_nm=OBLIQUE, **members)])
    voxel = np.linalg.solve(
        OBLIQUE @ np.diag([MM, MM, 4 * MM, 1]), [*(np.array(state["position"]) * MM), 1]
    )[:3]
    assert np.allclose(voxel % 1, 0.5, atol=1e-4)
    assert np.allclose(voxel, np.array([-3, 5, 9]) + np.array([11, 12, 6]) / 2, atol=0.51)


def test_view_fits_the_whole():
    state = viewer_state([layer(size=(100, 1000, 10), resolution=(8, 8, 400))], panel=(400, 360))
    assert 1000 < state["crossSectionScale"] * 360 < 1100
    assert 1000 < state["projectionScale"] < 1500
    assert state["layout"] == "4panel"


def test_view_is_centred_on_what_is_there_and_as_large():
    content = ((40.0, 30.0, 10.0), (80.0, 50.0, 999.0))
    state = viewer_state([layer(content=content)], panel=(400, 360))
    assert state["position"] == [60.5, 40.5, 45.5]
    assert 70 < state["crossSectionScale"] * 360 < 80


def test_brightness_sets_range_and_window():
    shown = ValueRange(10, 200, 0, 255)
    shader = viewer_state([layer(values=ValueSummary(shown))])["layers"][0]["shader"]
    assert "#uicontrol invlerp normalized(range=[10, 200], window=[0, 255])" in shader


def test_64_bit_brightness_keeps_its_last_bits():
    shown = ValueRange(2**62 + 1, 2**63 + 1, 0, 2**64 - 1)
    shader = viewer_state([layer(data_type="uint64", values=ValueSummary(shown))])["layers"][0][
        "shader"
    ]
    assert 'range=["4611686018427387905", "9223372036854775809"]' in shader


def test_three_bytes_are_red_green_and_blue():
    shader = viewer_state([layer(channels=3)])["layers"][0]["shader"]
    assert "emitRGB" in shader


@pytest.mark.parametrize(("channels", "data_type"), [(2, "uint8"), (3, "int16"), (5, "float32")])
def test_other_channels_are_chosen_one_at_a_time(channels, data_type):
    shader = viewer_state([layer(channels=channels, data_type=data_type)])["layers"][0]["shader"]
    assert "#uicontrol invlerp normalized(channel=0)" in shader


def test_labels_are_selected_as_text():
    state = viewer_state([labels(labels=(1, 2, 2**63 + 1))])
    assert state["layers"][0]["segments"] == ["1", "2", "9223372036854775809"]


def test_meshes_are_not_hidden_by_sections():
    assert viewer_state([labels(mesh="mesh")])["showSlices"] is False
    assert viewer_state([labels()])["showSlices"] is True


@pytest.mark.parametrize(
    "matrix",
    [
        np.eye(3),
        np.diag([1, 1, 0, 1.0]),
        np.diag([1, 1, np.nan, 1.0]),
        np.diag([1, 1, 1, 2.0]),
    ],
)
def test_transform_that_is_no_affine_is_refused(matrix):
    with pytest.raises(FormatError, match="brain must be an invertible 4x4 affine"):
        layer(volume_to_world_nm=matrix)


def test_url_carries_the_state():
    state = viewer_state([layer("Gehirn Ä #1", values=ValueSummary(ValueRange(0, 1.5, 0, 2)))])
    url = viewer_url("https://example.org/v/", state)
    assert url.isascii()
    assert not set(url) & set(" \"'<>{}")
    base, _, fragment = url.partition("#!")
    assert base == "https://example.org/v/"
    assert json.loads(urllib.parse.unquote(fragment)) == state
