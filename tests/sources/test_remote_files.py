"""Tables, streamlines and SWC at URLs, and folders for layers in buckets."""

from __future__ import annotations

import json

import nibabel.streamlines
import numpy as np
import pytest
from serving import served

import ngcore
from ngcore.errors import InputNotFoundError
from ngcore.storage import LocalStore


def test_layers_are_made_of_files_at_urls(tmp_path):
    folder = tmp_path / "site"
    folder.mkdir()
    (folder / "cells.csv").write_text("x,y,z\n1,2,3\n4,5,6\n")
    (folder / "7.swc").write_text("1 0 0 0 0 1 -1\n2 0 1 0 0 1 1\n")
    lines = [np.arange(12, dtype=np.float32).reshape(4, 3)]
    tractogram = nibabel.streamlines.Tractogram(lines, affine_to_rasmm=np.eye(4))
    nibabel.streamlines.save(tractogram, folder / "left.tck")
    with served(folder) as origin:
        ngcore.annotations(f"{origin}/cells.csv", tmp_path / "cells", fsync=False)
        ngcore.annotations(f"{origin}/cells.csv", tmp_path / "cells", fsync=False, resume=True)
        ngcore.skeletons([f"{origin}/7.swc"], tmp_path / "neurons", fsync=False)
        ngcore.tracts(f"{origin}/left.tck", tmp_path / "tracts", fsync=False)
        with pytest.raises(InputNotFoundError, match=r"none\.csv: no such file"):
            ngcore.annotations(f"{origin}/none.csv", tmp_path / "none")
    ngcore.annotations(folder / "cells.csv", tmp_path / "local", fsync=False)
    for name in LocalStore(tmp_path / "local").list():
        same = (tmp_path / "local" / name).read_bytes() == (tmp_path / "cells" / name).read_bytes()
        assert same or name == "provenance"
    sources = json.loads((tmp_path / "cells" / "provenance").read_text())["sources"]
    assert sources == [f"{origin}/cells.csv"]
    assert not (tmp_path / "none").exists()
    names = json.loads((tmp_path / "tracts/bundles/segment_properties/info").read_text())
    assert names["inline"]["properties"][0]["values"] == ["left"]
