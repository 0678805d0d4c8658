"""Legacy mesh fragments, manifests and names."""

import json
import random

import numpy as np
import pytest
import thorough

from ngcore.errors import FormatError, InputError
from ngcore.precomputed.mesh import Mesh, affine_mm_to_nm, checked_affine
from ngcore.precomputed.mesh_legacy import (
    check_fragment_name,
    decode_fragment,
    decode_manifest,
    encode_fragment,
    encode_manifest,
    encode_mesh_info,
    manifest_name,
    mesh_info_type,
)

TETRAHEDRON = Mesh(
    np.array([[0, 0, 0], [1000, 0, 0], [0, 1000, 0], [0, 0, 1000.5]]),
    np.array([[0, 2, 1], [0, 1, 3], [0, 3, 2], [1, 2, 3]]),
)


def signed_volume(mesh):
    a, b, c = (mesh.vertices_nm[mesh.triangles[:, i]] for i in range(3))
    return np.einsum("ij,ij->", a, np.cross(b, c)) / 6


def test_fragment_is_count_then_float32_positions_then_uint32_triangles():
    data = encode_fragment(TETRAHEDRON)
    assert data[:4] == b"\x04\0\0\0"
    assert np.frombuffer(data, "<f4", 12, 4).reshape(4, 3).tolist() == (
        TETRAHEDRON.vertices_nm.tolist()
    )
    assert np.frombuffer(data, "<u4", offset=52).tolist() == TETRAHEDRON.triangles.ravel().tolist()


def test_fragment_comes_back_as_it_was():
    back = decode_fragment(encode_fragment(TETRAHEDRON))
    np.testing.assert_array_equal(back.vertices_nm, TETRAHEDRON.vertices_nm)
    np.testing.assert_array_equal(back.triangles, TETRAHEDRON.triangles)


def test_fragment_index_equal_to_the_number_of_vertices_is_refused():
    """neuroglancer-scripts accepts an index equal to the number of vertices."""
    data = bytearray(encode_fragment(TETRAHEDRON))
    data[-4:] = (4).to_bytes(4, "little")
    with pytest.raises(
        FormatError, match="triangle 3 refers to vertex 4, but there are 4 vertices"
    ):
        decode_fragment(bytes(data))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "has 0 bytes; it needs at least 4"),
        (b"\x01\0\0", "has 3 bytes"),
        (b"\x01\0\0\0" + bytes(11), "its 1 vertices end at byte 16"),
        (b"\xff\xff\xff\xff" + bytes(12), "its 4294967295 vertices end at byte 51539607544"),
        (b"\x01\0\0\0" + bytes(12 + 5), "ends inside a triangle: 5 bytes follow"),
        (b"\x01\0\0\0" + b"\0\0\xc0\x7f" + bytes(8), "vertex 0 is not finite"),
    ],
)
def test_malformed_fragment_says_what_is_wrong(data, message):
    with pytest.raises(FormatError, match=f"fragment 'x'.*{message}"):
        decode_fragment(data, "x")


def test_any_bytes_are_a_fragment_or_a_format_error():
    rng = random.Random(7)
    seed = encode_fragment(TETRAHEDRON)
    for _ in range(thorough.amount(2_000, 200_000)):
        data = bytearray(seed)
        for _ in range(rng.randint(1, 4)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        data = bytes(data[: rng.choice([len(data), rng.randrange(len(data))])])
        try:
            mesh = decode_fragment(data)
        except FormatError:
            continue
        assert mesh.triangles.size == 0 or mesh.triangles.max() < len(mesh.vertices_nm)
        assert encode_fragment(mesh) == data


def test_coordinates_beyond_float32_are_refused():
    far = Mesh(np.array([[0, 0, 0], [1e39, 0, 0], [0, 1, 0]]), np.array([[0, 1, 2]]))
    with pytest.raises(InputError, match="vertex 1 is too far away"):
        encode_fragment(far)


@pytest.mark.parametrize(
    ("vertices", "triangles", "message"),
    [
        (np.zeros((3, 2)), [[0, 1, 2]], r"vertices must be real numbers of shape \(n, 3\)"),
        (np.zeros((3, 3), complex), [[0, 1, 2]], "vertices must be real"),
        (np.zeros((3, 3)), [[0, 1, 2, 0]], r"triangles must be whole numbers of shape \(m, 3\)"),
        (np.zeros((3, 3)), [[0.0, 1, 2]], "triangles must be whole numbers"),
        (np.zeros((3, 3)), [[0, 1, 2], [0, -1, 2]], "triangle 1 refers to vertex -1"),
        (np.zeros((3, 3)), [[0, 1, 3]], "triangle 0 refers to vertex 3, but there are 3"),
        (np.zeros((3, 3)), [[0, 1, 2**40]], "refers to vertex 1099511627776"),
        ([[0, 0, 0], [0, np.inf, 0], [0, 0, 0]], [[0, 1, 2]], "vertex 1 is not finite"),
    ],
)
def test_bad_mesh_is_refused_by_name(vertices, triangles, message):
    with pytest.raises(InputError, match=message):
        Mesh(vertices, np.array(triangles))


def test_mesh_can_not_be_changed():
    with pytest.raises(ValueError, match="read-only"):
        TETRAHEDRON.vertices_nm[0] = 1


def test_transform_with_negative_determinant_flips_the_triangles():
    mirrored = TETRAHEDRON.transformed(np.diag([-1.0, 1, 1, 1]))
    assert mirrored.triangles.tolist() == TETRAHEDRON.triangles[:, ::-1].tolist()
    assert signed_volume(TETRAHEDRON) > 0
    assert signed_volume(mirrored) == pytest.approx(signed_volume(TETRAHEDRON))


@pytest.mark.parametrize("scale", [1e-9, 1.0, 1e9])
def test_transform_without_mirroring_keeps_the_triangles(scale):
    linear = scale * np.array([[0, 0, 1.0], [1, 0, 0], [0, 1, 0]])
    turned = TETRAHEDRON.transformed(np.vstack([np.c_[linear, [1, 2, 3]], [0, 0, 0, 1]]))
    assert turned.triangles.tolist() == TETRAHEDRON.triangles.tolist()
    assert signed_volume(turned) == pytest.approx(scale**3 * signed_volume(TETRAHEDRON), rel=1e-3)


def test_translation_in_millimetres_becomes_nanometres():
    affine = affine_mm_to_nm([2, 0, 0, 1, 0, 1, 0, -2.5, 0, 0, 1, 0])
    np.testing.assert_array_equal(affine[0], [2, 0, 0, 1e6])
    np.testing.assert_array_equal(affine[1], [0, 1, 0, -2.5e6])


@pytest.mark.parametrize(
    ("affine", "message"),
    [
        (np.zeros(16), "last row"),
        (np.diag([1.0, 1, 0, 1]), "singular"),
        (np.zeros((3, 4)), "singular"),
        ([[1, 0, 0, 0], [0, 1, 0, 0], [1, 1, 1e-14, 0]], "singular"),
        (np.full((4, 4), np.nan), "finite"),
        (np.ones(13), "12 or 16 numbers"),
        ([[1, 2], [3]], "12 or 16 numbers"),
        ("abc", "12 or 16 numbers"),
    ],
)
def test_transform_that_is_no_affine_is_refused(affine, message):
    with pytest.raises(InputError, match=message):
        checked_affine(affine)


def test_transform_that_moves_a_vertex_beyond_all_numbers_is_refused():
    with pytest.raises(InputError, match="not finite"):
        TETRAHEDRON.transformed(np.diag([1e308, 1e308, 1e308, 1]))
    with pytest.raises(InputError, match="finite numbers only"):
        TETRAHEDRON.transformed(affine_mm_to_nm([1, 0, 0, 1e308, 0, 1, 0, 0, 0, 0, 1, 0]))


def test_manifest_lists_fragments():
    data = encode_manifest(["lh", "rh é"])
    assert json.loads(data) == {"fragments": ["lh", "rh é"]}
    assert decode_manifest(data) == ("lh", "rh é")


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"{}", b'{"fragments": "a"}', b'{"fragments": [1]}', b"\xff", b"[" * 9999]
)
def test_malformed_manifest_is_refused_by_name(data):
    with pytest.raises(FormatError, match="5:0"):
        decode_manifest(data, "5:0")


def test_mesh_info_announces_legacy_meshes():
    assert json.loads(encode_mesh_info()) == {"@type": "neuroglancer_legacy_mesh"}
    assert mesh_info_type(encode_mesh_info()) == "neuroglancer_legacy_mesh"
    assert mesh_info_type(b"{}") == "neuroglancer_legacy_mesh"
    with pytest.raises(FormatError, match="@type"):
        mesh_info_type(b'{"@type": 5}')


def test_manifest_is_named_by_its_label():
    assert manifest_name(2**64 - 1) == "18446744073709551615:0"
    assert manifest_name(7, colon_suffix=False) == "7"
    for label in (-1, 2**64):
        with pytest.raises(InputError, match="outside of 0 to"):
            manifest_name(label)


@pytest.mark.parametrize(
    "name", ["", ".", "..", "a/b", "a\\b", "info", "12:0", "x.gz", ".hidden", "a\nb"]
)
def test_unusable_fragment_name_is_refused(name):
    with pytest.raises(InputError, match="can't name a mesh fragment"):
        check_fragment_name(name)


@pytest.mark.parametrize("name", ["12", "lh.pial", "12:0:0-64_0-64", "é x"])
def test_usual_fragment_name_is_taken(name):
    check_fragment_name(name)
