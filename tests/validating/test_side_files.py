import pytest
from findings import edit_json, found, only


def test_damaged_provenance_is_a_warning(files):
    (files / "provenance").write_text("{")
    assert not found(files)
    assert found(files, "warning")[0].startswith("provenance: not JSON")


def test_digest_of_an_unknown_kind_is_a_warning(files):
    def spoil(provenance):
        provenance["processing"][-1]["method"]["digests"]["algorithm"] = "md5"

    edit_json(files / "provenance", spoil)
    assert not found(files)
    assert "not one that this version of ngcore knows" in only(found(files, "warning"))


@pytest.mark.parametrize("digests", [-1, {}, {"scales": ["a"]}, {"scales": {"8_8_8": 1}}])
def test_digests_that_are_none_are_a_warning(files, digests):
    def spoil(provenance):
        provenance["processing"][-1]["method"]["digests"] = digests

    edit_json(files / "provenance", spoil)
    assert not found(files)
    assert "digests can't be compared" in only(found(files, "warning"))


@pytest.mark.parametrize(
    "document",
    [
        "{",
        "NaN",
        "[]",
        "[[1, 0, 0, 0]]",
        "[[1,0,0,0],[0,1,0,0],[0,0,1,0],[0,0,0,2]]",
        "[[1,0,0,0],[0,1,0,0],[0,0,0,0],[0,0,0,1]]",
        "[[1,0,0,NaN],[0,1,0,0],[0,0,1,0],[0,0,0,1]]",
    ],
)
def test_transform_that_is_no_affine_matrix_is_a_fault(files, document):
    (files / "transform.json").write_text(document)
    assert only(found(files)).startswith("transform.json: ")


def test_conversion_that_left_its_work_folder_is_a_warning(files):
    (files / ".ngcore").mkdir()
    assert only(found(files, "warning")).startswith(".ngcore: left by a conversion")
