import json

import numpy as np
import pytest

from ngcore.errors import FormatError
from ngcore.precomputed.transform import parse_transform


def test_matrix_is_read_exactly():
    matrix = np.eye(4)
    matrix[:3] += np.random.default_rng(0).normal(size=(3, 4))
    assert np.array_equal(parse_transform(json.dumps(matrix.tolist()), "it"), matrix)


@pytest.mark.parametrize(
    ("document", "reason"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        (b"\xff", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ('{"a": 1}', "four rows of four"),
        ('[["x"]]', "four rows of four"),
        ("[[1, 2], [3]]", "four rows of four"),
        ("[[1,0,0,0],[0,1,0,0],[0,0,NaN,0],[0,0,0,1]]", "finite"),
        ("[[1,0,0,0],[0,1,0,0],[0,0,true,0],[0,0,0,1]]", "finite"),
        (f"[[1,0,0,0],[0,1,0,0],[0,0,1{'0' * 400},0],[0,0,0,1]]", "finite"),
        ("[[1,0,0,0],[0,1,0,0],[0,0,1,0],[0,0,0,2]]", "last row"),
        ("[[1,0,0,0],[0,1,0,0],[0,0,0,0],[0,0,0,1]]", "singular"),
    ],
)
def test_what_is_no_affine_matrix_is_refused_with_the_reason(document, reason):
    with pytest.raises(
        FormatError, match=f"a/transform.json is not a 4x4 affine matrix.*{reason}"
    ):
        parse_transform(document, "a/transform.json")
