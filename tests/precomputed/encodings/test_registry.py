"""A new encoding is one class; nothing else has to know it."""

import zlib
from typing import ClassVar

import numpy as np
import pytest
from encoding_contract import EncodingContract

import ngcore
from ngcore.errors import FormatError
from ngcore.precomputed.encodings import ChunkEncoding, register, unregister


class Toy(ChunkEncoding):
    """Voxels as zlib packs them."""

    name: ClassVar[str] = "toy"

    def __post_init__(self):
        pass

    def encode(self, chunk):
        return zlib.compress(self._voxels(chunk).tobytes(order="F"))

    def decode(self, data, shape):
        try:
            plain = zlib.decompress(data)
        except zlib.error as error:
            raise FormatError(f"no toy: {error}") from error
        if len(plain) != self.decoded_size(shape):
            raise FormatError("no toy of this size")
        return np.frombuffer(plain, self.dtype).reshape(shape, order="F").copy(order="F")


@pytest.fixture(autouse=True)
def toy():
    yield register(Toy)
    unregister(Toy)


class TestToy(EncodingContract):
    kinds = (("uint8", 1), ("float32", 3))

    def make(self, dtype, channels):
        return Toy(dtype, channels)


@pytest.mark.parametrize("sharding", [True, False])
def test_a_toy_goes_the_whole_way(tmp_path, sharding):
    rng = np.random.default_rng(0)
    voxels = rng.integers(0, 9, (70, 40, 33), np.uint16)
    made = ngcore.convert(
        voxels,
        tmp_path / "out",
        encoding="toy",
        resolution=(8, 8, 8),
        chunk_size=32,
        sharding=sharding,
    )
    assert {scale.info.encoding for scale in made.scales} == {"toy"}
    opened = ngcore.open(tmp_path / "out")
    assert (opened.scales[0][..., 0] == voxels).all()
    assert (opened.scales[0][5:7, 3, ::-2, 0] == voxels[5:7, 3, ::-2]).all()
    checked = ngcore.validate(tmp_path / "out")
    assert checked.is_sound
    if not sharding:
        chunk = tmp_path / "out/8_8_8/0-32_0-32_0-32"
        chunk.write_bytes(b"spoilt")
        with pytest.raises(FormatError, match="no toy"):
            ngcore.open(tmp_path / "out").scales[0][:2, 0, 0]
        assert not ngcore.validate(tmp_path / "out").is_sound


def test_what_is_not_registered_is_refused(tmp_path):
    unregister(Toy)
    with pytest.raises(ngcore.InputError, match="encoding must be one of auto, raw, png"):
        ngcore.convert(
            np.zeros((4, 4, 4), np.uint8), tmp_path / "out", encoding="toy", resolution=(8, 8, 8)
        )


def test_one_of_ngcore_that_was_replaced_is_back(tmp_path):
    own = type("Own", (Toy,), {"name": "png"})
    register(own)
    unregister(own)
    ones = np.ones((4, 4, 4), np.uint8)
    volume = ngcore.convert(ones, tmp_path / "out", encoding="png", resolution=(8, 8, 8))
    assert volume.scales[0][0, 0, 0] == 1
