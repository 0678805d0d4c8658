import json

import numpy as np
import pytest

import ngcore
from ngcore.classic.chunks_from_source import volume_to_raw_chunks
from ngcore.classic.scales_info import generate_scales_info
from ngcore.errors import FormatError, InputError


def test_minimal_hand_written_info_is_enough(tmp_path):
    (tmp_path / "full.json").write_text(
        json.dumps(
            {
                "type": "image",
                "data_type": "uint8",
                "num_channels": 1,
                "scales": [
                    {
                        "size": [300, 300, 40],
                        "resolution": [8.0, 8, 40],
                        "voxel_offset": [0, 0, 0],
                    }
                ],
            }
        )
    )
    info = generate_scales_info(tmp_path / "full.json", tmp_path)
    assert [scale.key for scale in info.scales] == ["8_8_40", "16_16_40", "32_32_40", "64_64_80"]
    assert info.scales[0].chunk_size == (128, 128, 32)
    assert {scale.encoding for scale in info.scales} == {"raw"}
    assert ngcore.open(tmp_path).info == info


def test_info_made_anew_keeps_the_folders_of_meshes_and_properties(tmp_path):
    full = {"type": "segmentation", "data_type": "uint32", "num_channels": 1}
    full["scales"] = [{"size": [9, 9, 9], "resolution": [1, 1, 1]}]
    (tmp_path / "full.json").write_text(json.dumps(full))
    generate_scales_info(tmp_path / "full.json", tmp_path)
    folders = {"mesh": "surfaces", "skeletons": "lines", "segment_properties": "names"}
    info = json.loads((tmp_path / "info").read_text())
    (tmp_path / "info").write_text(json.dumps(info | folders))
    generate_scales_info(tmp_path / "full.json", tmp_path, encoding="compressed_segmentation")
    assert json.loads((tmp_path / "info").read_text()).items() >= folders.items()
    (tmp_path / "full.json").write_text(json.dumps(full | {"mesh": "others"}))
    generate_scales_info(tmp_path / "full.json", tmp_path)
    assert ngcore.open(tmp_path).info.mesh == "others"
    (tmp_path / "info").write_text("{")
    generate_scales_info(tmp_path / "full.json", tmp_path)
    assert ngcore.open(tmp_path).info.mesh == "others"


@pytest.mark.parametrize("data_type", ["uint8", "int8", "uint16", "int16", "int32", "uint32"])
def test_compressed_labels_become_uint32(tmp_path, data_type):
    full = {"data_type": data_type, "num_channels": 1}
    full["scales"] = [{"size": [9, 9, 9], "resolution": [1, 1, 1]}]
    (tmp_path / "full.json").write_text(json.dumps(full))
    info = generate_scales_info(
        tmp_path / "full.json", tmp_path, encoding="compressed_segmentation"
    )
    assert (info.type, info.data_type) == ("segmentation", "uint32")
    assert info.scales[0].compressed_segmentation_block_size == (8, 8, 8)
    np.save(tmp_path / "v.npy", np.full((9, 9, 9), -1, np.int16))
    with pytest.raises(InputError, match="negative"):
        volume_to_raw_chunks(tmp_path / "v.npy", tmp_path)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ("{", "not JSON"),
        ('{"data_type": "uint8", "num_channels": 1}', "scales: missing"),
        ('{"data_type": "uint8", "num_channels": 1, "scales": []}', "an array with one scale"),
        (
            '{"data_type": "uint8", "num_channels": 1, "scales": [{"size": [1, 2, 0],'
            ' "resolution": [1, 1, 1]}]}',
            r"scales\[0\].size\[2\]",
        ),
        (
            '{"data_type": "int64", "num_channels": 1, "scales": [{"size": [1, 2, 3],'
            ' "resolution": [1, 1, 1]}]}',
            "data_type: expected one of",
        ),
    ],
)
def test_bad_fullres_info_is_refused_by_place(tmp_path, document, message):
    (tmp_path / "full.json").write_text(document)
    with pytest.raises(FormatError, match=f"full.json: .*{message}"):
        generate_scales_info(tmp_path / "full.json", tmp_path)
    assert not (tmp_path / "info").exists()


def test_float_labels_can_not_be_compressed(tmp_path):
    full = {"data_type": "float32", "num_channels": 1, "type": "image"}
    full["scales"] = [{"size": [9, 9, 9], "resolution": [1, 1, 1]}]
    (tmp_path / "full.json").write_text(json.dumps(full))
    with pytest.raises(InputError, match="hold uint32 or uint64, got float32"):
        generate_scales_info(tmp_path / "full.json", tmp_path, encoding="compressed_segmentation")
