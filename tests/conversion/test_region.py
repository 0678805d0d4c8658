import nibabel
import numpy as np
import pytest

import ngcore
from ngcore.conversion import region
from ngcore.conversion.memory import mapped_bytes
from ngcore.conversion.options import ConvertOptions
from ngcore.conversion.prepare import open_for, prepare
from ngcore.sources.volumes.raw import RawSource


@pytest.mark.parametrize("order", "FC")
def test_values_to_be_mapped_are_read_in_blocks_however_large_a_plane_is(
    tmp_path, monkeypatch, order
):
    voxels = np.random.default_rng(0).integers(0, 256, (70, 90, 5)).astype(np.float64)
    np.save(tmp_path / "a.npy", np.array(voxels, order=order))
    block = 8 << 10
    monkeypatch.setattr(region, "BLOCK_BYTES", block)
    sizes = []
    read = RawSource.read

    def watched(self, box, out):
        sizes.append(out.nbytes)
        read(self, box, out)

    monkeypatch.setattr(RawSource, "read", watched)
    made = ngcore.convert(
        tmp_path / "a.npy",
        tmp_path / "out",
        resolution=(1, 1, 1),
        data_type="uint8",
        chunk_size=(32, 32, 1),
        max_scales=1,
    )
    assert np.array_equal(np.asarray(made.scales[0][...])[..., 0], voxels.astype(np.uint8))
    assert max(sizes) <= block < voxels[:, :, 0].nbytes
    assert sum(sizes) == voxels.nbytes


def test_planes_that_are_read_whole_to_be_mapped_count_as_memory(tmp_path):
    planes = np.zeros((2048, 1024, 2), np.float32)
    image = nibabel.Nifti1Image(planes, np.eye(4))
    nibabel.save(image, tmp_path / "a.nii")
    nibabel.save(image, tmp_path / "a.nii.gz")
    options = ConvertOptions(resolution=(1, 1, 1), data_type="uint8", workers=2)
    scratch = []
    for name, expected in (("a.nii", 0), ("a.nii.gz", planes.nbytes // 2)):
        with open_for(tmp_path / name, options) as source:
            made = prepare(source, options)
            widths, threads = made.plan.passes[0].widths, made.plan.threads
            assert mapped_bytes(source, made.mapping, widths, threads) == expected
            scratch.append(made.plan.scratch_bytes - source.scratch_bytes)
    assert scratch[1] - scratch[0] == planes.nbytes // 2
