"""What `provenance` says is one value; others' members and steps stay as they are."""

import json

import pytest

from ngcore.errors import FormatError
from ngcore.volume.provenance import Provenance
from ngcore.volume.seal import EntriesDigest, Seal, file_digest, sealed_members

SEAL = Seal({"8_8_8": "0f"}, {"transform.json": "ab"}, {"mesh": "cd"}, {"data_type": "uint8"})


def made():
    return Provenance.of(["t1.nii.gz"], "convert", {"type": "image"}).sealed(SEAL)


def test_what_is_written_is_read_back():
    assert Provenance.from_json(made().to_json()) == made()


def test_it_has_the_shape_that_cloudvolume_reads():
    from cloudvolume.provenance import DataLayerProvenance

    known = DataLayerProvenance().from_json(made().to_json().decode())
    known.validate()
    assert Provenance.from_json(known.serialize().encode()) == made()


def test_a_later_step_of_another_program_does_not_switch_the_seal_off():
    document = json.loads(made().to_json())
    document["processing"].append({"method": {"task": "DownsampleTask"}, "by": "somebody"})
    known = Provenance.from_json(json.dumps(document).encode())
    assert known.seal == SEAL
    assert not known.is_changed
    assert known.later_steps == ("DownsampleTask",)
    again = Provenance.from_json(known.to_json())
    assert again == known


def test_the_seal_moves_to_the_last_step_of_ngcore():
    known = made().with_step("labels", {"table": "names.csv"})
    steps = json.loads(known.to_json())["processing"]
    assert [{"digests", "seal"} & step["method"].keys() for step in steps] == [
        set(),
        {"digests", "seal"},
    ]
    assert Provenance.from_json(known.to_json()) == known


@pytest.mark.parametrize(
    "change",
    [
        lambda method: method["digests"]["scales"].clear(),
        lambda method: method["seal"].pop("files"),
        lambda method: method["seal"].pop("check"),
        lambda method: method["seal"]["info"].update(data_type="int8"),
        lambda method: method.update(type="segmentation"),
    ],
)
def test_a_change_of_what_ngcore_recorded_is_seen(change):
    document = json.loads(made().to_json())
    change(document["processing"][0]["method"])
    assert Provenance.from_json(json.dumps(document).encode()).is_changed


def test_digests_of_ngcore_before_the_seal_are_taken_as_they_are():
    digests, _ = Seal({"8_8_8": "0f"}).to_json()
    method = {"task": "ngcore convert", "version": "0.1.0", "digests": digests}
    known = Provenance.from_json(json.dumps({"processing": [{"method": method}]}).encode())
    assert known.seal == Seal({"8_8_8": "0f"})
    assert not known.is_changed


@pytest.mark.parametrize("member", ["digests", "seal"])
@pytest.mark.parametrize(
    "value",
    [-1, {"scales": ["a"]}, {"scales": {"8_8_8": 1}}, {"info": 1}, {"changing": 1}],
)
def test_digests_that_are_none_are_a_fault(member, value):
    document = json.loads(made().to_json())
    document["processing"][0]["method"][member] = value
    if member == "seal" and "scales" in str(value):
        return  # a member that it does not know
    assert Provenance.from_json(json.dumps(document).encode()).fault


@pytest.mark.parametrize("document", [b"", b"[]", b'{"processing": [1]}', b'{"processing": 1}'])
def test_what_is_no_provenance_is_refused(document):
    with pytest.raises(FormatError):
        Provenance.from_json(document)


def test_json_is_digested_by_what_it_says():
    assert file_digest(b"[1, 2.0]") == file_digest(b"[ 1.0,2 ]\n")
    assert file_digest(b'{"a": 1, "b": 2}') == file_digest(b'{"b": 2, "a": 1}')
    assert file_digest(b"[1, 2]") != file_digest(b"[2, 1]")
    assert file_digest(b"[1, 2") != file_digest(b"[1, 2]")
    assert file_digest(b'{"@type": "a", "b": 2}', "mesh/info") == file_digest(b'{"@type": "a"}')
    assert file_digest(b'{"1": "#ff0000"}', "names/colors.json") != file_digest(b"{}")


def test_members_that_mean_their_absence_are_left_out_of_the_seal():
    scale = {"key": "8_8_8", "resolution": [8.0, 8, 8], "size": [1, 2, 3]}
    full = scale | {"voxel_offset": [0, 0, 0], "hidden": False, "of_another_tool": 1}
    assert sealed_members({"scales": [full], "x": 1}) == sealed_members({"scales": [scale]})


def test_meshes_are_digested_by_segment_in_any_order():
    one, other, swapped = EntriesDigest(), EntriesDigest(), EntriesDigest()
    one.add(1, b"a", [b"b"])
    one.add(2, b"c", [b"d"])
    other.add(2, b"c", [b"", b"d"])
    other.add(1, b"a", [b"b"])
    swapped.add(2, b"a", [b"b"])
    swapped.add(1, b"c", [b"d"])
    assert str(one) == str(other) != str(swapped)
