import numpy as np
import pytest

import ngcore
from ngcore.cli import run
from ngcore.cli._tables import byte_size


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1 KiB"),
        (1536, "1.5 KiB"),
        (1010 << 20, "1010 MiB"),
        (1023 << 20, "1023 MiB"),
        ((1 << 30) - 1, "1024 MiB"),
        (99 << 30, "99 GiB"),
        (12345 << 40, "12.1 PiB"),
    ],
)
def test_sizes_are_read_by_people(count, text):
    assert byte_size(count) == text


def test_info_of_layers_tells_properties_relations_and_levels(tmp_path, capsys):
    table = {axis: np.arange(3.0) for axis in "xyz"} | {"word": np.array(["a", "b", "a"])}
    table["cell"] = np.array([1, 2, 3])
    ngcore.annotations(table, tmp_path / "points", relations={"near": "cell"}, fsync=False)
    (tmp_path / "5.swc").write_text("1 0 0 0 0 1 -1\n")
    ngcore.skeletons(tmp_path / "5.swc", tmp_path / "neurons", fsync=False)
    assert run(["info", str(tmp_path / "points"), str(tmp_path / "neurons")]) == 0
    out = capsys.readouterr().out
    for line in ("relations: near", "word      uint8  2", "0      spatial0  1 x 1 x 1  3"):
        assert line in out
    assert "radius     float32  1" in out
