"""What `ngcore convert` writes and `ngcore view` shows, in the real Neuroglancer client."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import nibabel
import numpy as np
import pytest
from heads import LINEAR
from real_data import nilearn_data
from shown_states import name_volumes, state_of
from thorough import IS_THOROUGH

import ngcore

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from browser import Neuroglancer

pytestmark = pytest.mark.browser

MM = (1e6, 1e6, 1e6)
LAYOUTS = {
    "sharded": {},
    "sharded-raw": {"gzip": False},
    "flat": {"sharding": False},
    "flat-gz": {"sharding": False, "gzip": True},
    "nested": {"sharding": False, "layout": "nested"},
    "nested-gz": {"sharding": False, "layout": "nested", "gzip": True},
}
RNG = np.random.default_rng(20)


def convert(neuroglancer: Neuroglancer, name: str, source: Any, **options: Any) -> Path:
    dest = neuroglancer.folder / name
    if isinstance(source, np.ndarray):
        options.setdefault("resolution", MM)
    ngcore.convert(source, dest, fsync=False, **options)
    return dest


def shown_state(neuroglancer: Neuroglancer, *dests: Path, space: str = "world") -> dict[str, Any]:
    """Return the state that `ngcore view` makes, close enough for scale 0 to be loaded."""
    volumes = name_volumes(dests)
    state = state_of(volumes, {name: neuroglancer.source(name) for name in volumes}, space=space)
    return state | {"crossSectionScale": 0.4}


def show(
    neuroglancer: Neuroglancer, *dests: Path, position: Sequence[float] | None = None
) -> dict[str, Any]:
    state = shown_state(neuroglancer, *dests)
    if position is not None:
        state["position"] = list(position)
    neuroglancer.load(state)
    return state


def assert_values(
    neuroglancer: Neuroglancer, layer: str, array: np.ndarray, state: dict[str, Any], offset=0
) -> None:
    """Check voxels of the three sections through the position: in voxels, native space."""
    middle = np.floor(state["position"]).astype(int) - offset
    low = np.maximum(middle - 20, 0)
    high = np.minimum(middle + 20, np.array(array.shape[:3]) - 1)
    corners = [(x, y, middle[2]) for x in (low[0], high[0]) for y in (low[1], high[1])]
    for voxel in [tuple(middle), *corners, (middle[0], low[1], high[2])]:
        expected = array[tuple(voxel)].tolist()
        found = neuroglancer.value_at(layer, np.array(voxel) + offset + 0.5)
        if isinstance(found, str):
            found = int(found)
        assert found == expected, (layer, voxel)


@pytest.fixture(scope="module")
def brain(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A real T1 and its tissue labels as NIfTI files."""
    data = nilearn_data("")
    t1, grey, white = (
        nibabel.load(data / f"mni_icbm152_{kind}_tal_nlin_sym_09a_converted.nii.gz")
        for kind in ("t1", "gm", "wm")
    )
    grey_part, white_part = (np.asarray(image.dataobj, np.float32) for image in (grey, white))
    tissue = np.where(grey_part > white_part, 1, 2) * (grey_part + white_part > 100)
    folder = tmp_path_factory.mktemp("brain")
    nibabel.save(t1, folder / "t1.nii")
    labels = nibabel.Nifti1Image(tissue.astype(np.int16), t1.affine)
    nibabel.save(labels, folder / "tissue_dseg.nii")
    return folder / "t1.nii", folder / "tissue_dseg.nii"


@pytest.mark.parametrize("layout", LAYOUTS if IS_THOROUGH else ["sharded", "flat", "nested-gz"])
def test_brain_and_its_tissues_are_shown_exactly(
    neuroglancer: Neuroglancer, brain: tuple[Path, Path], layout: str
) -> None:
    images = [nibabel.load(path) for path in brain]
    dests = [
        convert(neuroglancer, f"{name}-{layout}", path, **LAYOUTS[layout])
        for name, path in zip(("t1", "tissue"), brain, strict=True)
    ]
    show(neuroglancer, *dests, position=(10, -20, 20))
    to_voxel = np.linalg.inv(images[0].affine)
    for point in [(10, -20, 20), (-30, -20, 20), (10, -60, 20), (10, -20, 45), (35, 10, 20)]:
        voxel = tuple(np.rint(to_voxel @ [*point, 1]).astype(int)[:3])
        t1, tissue = (int(np.asarray(image.dataobj[voxel])) for image in images)
        assert neuroglancer.value_at(dests[0].name, point) == t1
        assert neuroglancer.value_at(dests[1].name, point) == str(tissue)


@pytest.mark.parametrize("data_type", ["uint8", "uint32"])
def test_shards_of_zeros_are_no_errors(neuroglancer: Neuroglancer, data_type: str) -> None:
    array = np.zeros((200, 200, 200), data_type)
    array[:8, :8, :8] = 200
    volume_type = "image" if data_type == "uint8" else "segmentation"
    dest = convert(
        neuroglancer, f"zeros-{data_type}", array, type=volume_type, chunk_size=(16, 16, 16)
    )
    assert len(list(dest.glob("*/*.shard"))) > 2
    state = show(neuroglancer, dest)
    assert_values(neuroglancer, dest.name, array, state)


@pytest.mark.parametrize(
    ("channels", "data_type", "layout"),
    [
        (3, "uint8", "sharded"),
        (3, "uint8", "flat"),
        (5, "int16", "sharded"),
        (2, "float32", "flat"),
    ],
)
def test_channels_are_shown_exactly(
    neuroglancer: Neuroglancer, channels: int, data_type: str, layout: str
) -> None:
    array = RNG.integers(0, 200, (50, 60, 70, channels)).astype(data_type)
    if data_type == "int16":
        array -= 100
    name = f"channels-{channels}-{data_type}-{layout}"
    dest = convert(neuroglancer, name, array, **LAYOUTS[layout])
    state = show(neuroglancer, dest)
    assert_values(neuroglancer, dest.name, array, state)


@pytest.mark.parametrize("data_type", ["int8", "uint64", "float32"])
def test_data_types_are_shown_exactly(neuroglancer: Neuroglancer, data_type: str) -> None:
    array = RNG.integers(1, 100, (40, 41, 42)).astype(data_type)
    if data_type == "uint64":
        array += np.uint64(2**63)
    if data_type in ("int8", "int32"):
        array -= 50
    dest = convert(
        neuroglancer, f"type-{data_type}", array, data_type=data_type, voxel_offset=(-7, 5, 1001)
    )
    state = show(neuroglancer, dest)
    assert_values(neuroglancer, dest.name, array, state, offset=np.array([-7, 5, 1001]))


@pytest.mark.parametrize(("data_type", "layout"), [("uint32", "nested-gz"), ("uint64", "sharded")])
def test_labels_at_odd_negative_offsets_are_shown_exactly(
    neuroglancer: Neuroglancer, data_type: str, layout: str
) -> None:
    array = RNG.integers(1, 400, (70, 60, 50)).astype(data_type)
    if data_type == "uint64":
        array[array > 200] += np.uint64(2**62 + 1)
    offset = (-31, -5, 9)
    dest = convert(
        neuroglancer,
        f"labels-{data_type}-{layout}",
        array,
        type="segmentation",
        voxel_offset=offset,
        **LAYOUTS[layout],
    )
    state = show(neuroglancer, dest)
    assert_values(neuroglancer, dest.name, array, state, offset=np.array(offset))


@pytest.mark.parametrize("encoding", ["png", "jpeg"])
def test_compressed_images_are_shown(neuroglancer: Neuroglancer, encoding: str) -> None:
    array = np.full((60, 60, 60), 120, np.uint8)
    array[:, 30:] = 40
    dest = convert(neuroglancer, f"encoding-{encoding}", array, encoding=encoding)
    show(neuroglancer, dest)
    assert neuroglancer.value_at(dest.name, (10.5, 15.5, 30.5)) == pytest.approx(120, abs=2)
    assert neuroglancer.value_at(dest.name, (10.5, 45.5, 30.5)) == pytest.approx(40, abs=2)


OBLIQUE = ("rotated", "left-handed", "permuted")


@pytest.mark.parametrize("name", OBLIQUE)
def test_voxel_middles_lie_where_the_affine_says(
    neuroglancer: Neuroglancer, tmp_path: Path, name: str
) -> None:
    """Every voxel has its own value, and a point 0.49 voxel from its middle still shows it."""
    affine = np.eye(4)
    affine[:3, :3] = LINEAR[name]
    affine[:3, 3] = (5, -7, 11)
    array = RNG.permutation(20 * 21 * 22).reshape(20, 21, 22).astype(np.int16)
    nibabel.save(nibabel.Nifti1Image(array, affine), tmp_path / "unique.nii")
    dest = convert(neuroglancer, f"unique-{name}", tmp_path / "unique.nii")
    voxel = (3, 17, 4)
    middle = (affine @ [*voxel, 1])[:3]
    show(neuroglancer, dest, position=middle)
    for shift in (-0.49, 0, 0.49):
        for axis in range(3):
            point = middle + affine[:3, axis] * shift
            assert neuroglancer.value_at(dest.name, point) == int(array[voxel])


def test_channels_lie_where_the_affine_says(neuroglancer: Neuroglancer, tmp_path: Path) -> None:
    affine = np.eye(4)
    affine[:3, :3] = LINEAR["left-handed"]
    affine[:3, 3] = (5, -7, 11)
    array = RNG.integers(0, 3000, (20, 21, 22, 4)).astype(np.int16)
    nibabel.save(nibabel.Nifti1Image(array, affine), tmp_path / "series.nii")
    dest = convert(neuroglancer, "series", tmp_path / "series.nii")
    middle = (affine @ [12, 9, 5, 1])[:3]
    show(neuroglancer, dest, position=middle)
    assert neuroglancer.value_at("series", middle) == array[12, 9, 5].tolist()


def test_native_space_counts_voxels(neuroglancer: Neuroglancer, tmp_path: Path) -> None:
    affine = np.diag([2.0, 3.0, 4.0, 1.0])
    affine[:3, 3] = 50
    array = RNG.integers(1, 200, (30, 31, 32)).astype(np.uint8)
    nibabel.save(nibabel.Nifti1Image(array, affine), tmp_path / "native.nii")
    dest = convert(neuroglancer, "native", tmp_path / "native.nii")
    state = shown_state(neuroglancer, dest, space="native")
    neuroglancer.load(state)
    assert_values(neuroglancer, "native", array, state)


def test_index_page_leads_to_the_viewer(neuroglancer: Neuroglancer) -> None:
    array = RNG.integers(1, 200, (30, 31, 32)).astype(np.uint8)
    convert(neuroglancer, "indexed", array)
    page = neuroglancer.page
    page.goto(neuroglancer.origin)
    link = page.get_by_role("link", name="indexed", exact=True).get_attribute("href")
    with neuroglancer.visiting(neuroglancer.origin + str(link)):
        assert neuroglancer.value_at("indexed", (15.5, 15.5, 16.5)) == int(array[15, 15, 16])


def small(neuroglancer: Neuroglancer, name: str) -> Path:
    return convert(
        neuroglancer, name, RNG.integers(1, 200, (30, 31, 32)).astype(np.uint8), sharding=False
    )


@pytest.fixture
def fresh_page_after(neuroglancer: Neuroglancer) -> Iterator[None]:
    """Leave no failed chunk behind: the client remembers them, and later tests share its page."""
    yield
    neuroglancer.start()


@pytest.mark.usefixtures("fresh_page_after")
def test_harness_sees_a_truncated_chunk(neuroglancer: Neuroglancer) -> None:
    dest = small(neuroglancer, "truncated")
    (chunk,) = dest.glob("*_*_*/0-*")
    chunk.write_bytes(chunk.read_bytes()[:-1])
    with pytest.raises(AssertionError):
        show(neuroglancer, dest)


@pytest.mark.usefixtures("fresh_page_after")
def test_harness_sees_a_missing_chunk(neuroglancer: Neuroglancer) -> None:
    dest = small(neuroglancer, "missing")
    (chunk,) = dest.glob("*_*_*/0-*")
    chunk.unlink()
    with pytest.raises(AssertionError):
        show(neuroglancer, dest)


@pytest.mark.usefixtures("fresh_page_after")
def test_harness_sees_a_broken_source(neuroglancer: Neuroglancer) -> None:
    dest = small(neuroglancer, "broken")
    state = shown_state(neuroglancer, dest)
    info = json.loads((dest / "info").read_text())
    info["scales"][0]["encoding"] = "unheard-of"
    (dest / "info").write_text(json.dumps(info))
    with pytest.raises(AssertionError):
        neuroglancer.load(state)
