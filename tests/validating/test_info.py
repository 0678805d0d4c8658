import pytest
from findings import edit_json, found, only


@pytest.mark.parametrize("quick", [False, True])
def test_null_sharding_is_a_fault_that_hides_no_other(files, quick):
    edit_json(files / "info", lambda info: info["scales"][0].update(sharding=None))
    (files / "8_8_8" / "0-16_0-16_0-16").write_bytes(b"")
    lines = found(files, quick=quick)
    assert lines[0].startswith("8_8_8/0-16_0-16_0-16: ")
    assert lines[-1].startswith("info: scales[0].sharding: null")


def test_every_scale_with_a_fault_is_named_by_its_json_path(files):
    def spoil(info):
        info["scales"][0]["size"][2] = -1
        info["scales"][2]["encoding"] = "mpeg"

    edit_json(files / "info", spoil)
    lines = found(files)
    assert lines[0].startswith("info: scales[0].size[2]: ")
    assert lines[1].startswith("info: scales[2].encoding: ")
    assert len(lines) == 2


def test_info_that_is_no_json_is_a_fault(files):
    (files / "info").write_text((files / "info").read_text()[:-20])
    assert only(found(files)).startswith("info: not JSON")


def test_scale_that_covers_less_than_the_one_before_is_named(files):
    edit_json(files / "info", lambda info: info["scales"][1]["size"].__setitem__(0, 24))
    assert any(
        line.startswith("info: scales[1].size[0]: covers voxels 0 to 24") for line in found(files)
    )
