"""What may not be read or written is one line with status 2, wherever it is met."""

import numpy as np
import pytest
from unprivileged import bound_by_permissions
from volume_files import save_nifti

import ngcore
from ngcore.cli import run


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with all that commands want, and with the same in a folder that none may enter."""
    folder = tmp_path_factory.mktemp("permissions")
    for place in (folder, folder / "locked"):
        labels = np.ones((4, 4, 4), np.uint32)
        options = {"type": "segmentation", "resolution": (1, 1, 1), "fsync": False}
        ngcore.convert(labels, place / "volume", **options)
        np.save(place / "a.npy", np.ones((4, 4, 4), np.uint8))
        save_nifti(place / "a.nii", np.ones((4, 4, 4), np.uint8))
        (place / "table.csv").write_text("label,name\n1,one\n")
    (folder / "locked").chmod(0)
    yield folder
    (folder / "locked").chmod(0o755)


@pytest.mark.parametrize(
    "command",
    [
        ["convert", "locked/a.npy", "out", "--resolution", "1,1,1"],
        ["convert", "locked/a.nii", "out"],
        ["convert", "locked/a.tif", "out"],
        ["convert", "locked/slices", "out"],
        ["convert", "locked/*.png", "out"],
        ["convert", "locked/volume", "out"],
        ["convert", "a.npy", "locked/out", "--resolution", "1,1,1"],
        ["convert", "a.npy", "locked/out", "--resolution", "1,1,1", "--dry-run"],
        ["convert", "a.npy", "out", "--resolution", "1,1,1", "--tmp", "locked"],
        ["info", "locked/volume"],
        ["info", "locked"],
        ["validate", "locked/volume"],
        ["validate", "locked"],
        ["repair", "locked/volume", "out"],
        ["repair", "volume", "locked/out"],
        ["export", "locked/volume", "out.nii"],
        ["export", "volume", "locked/out.nii"],
        ["preview", "locked/volume", "out.png"],
        ["preview", "volume", "locked/out.png"],
        ["labels", "locked/volume", "table.csv"],
        ["labels", "volume", "locked/table.csv"],
        ["serve", "locked/volume", "--port", "0"],
        ["serve", "locked", "--port", "0"],
        ["view", "locked/volume", "--no-browser"],
        ["link", "locked/volume", "--url", "https://example.org/a"],
        ["server-config", "nginx", "locked/volume"],
        ["volume-to-raw-chunks", "locked/a.npy", "volume"],
        ["volume-to-raw-chunks", "a.npy", "locked/volume"],
        ["volume-to-raw-chunks", "a.nii", "locked/out", "--generate-info"],
        ["slices-to-raw-chunks", "locked/slices", "volume"],
        ["generate-scales-info", "locked/info_fullres.json", "out"],
        ["scale-stats", "locked/volume"],
        ["compute-scales", "locked/volume"],
        ["convert-chunks-to-jpeg", "locked/volume", "volume"],
        ["compress-segmentation-chunks", "volume", "locked/volume"],
        ["mesh-to-precomputed", "locked/a.stl", "volume"],
        ["mesh-to-vtk", "locked/a.stl", "a.vtk"],
        ["link-mesh-fragments", "table.csv", "locked/volume"],
    ],
    ids=" ".join,
)
def test_what_lies_in_a_locked_folder_is_refused_in_one_line(folder, monkeypatch, capsys, command):
    monkeypatch.chdir(folder)
    before = sorted(folder.rglob("*"))
    with bound_by_permissions():
        status = run(command)
    out, err = capsys.readouterr()
    assert (status, out) == (2, "")
    assert len(err.splitlines()) == 1
    assert err.startswith("ngcore: error: ")
    assert "ermission" in err or "can't be" in err or "denied" in err
    assert "unexpected" not in err
    assert sorted(folder.rglob("*")) == before
