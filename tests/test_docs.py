"""Every command and every Python example of README and docs, run as it is written, page by page.

The commands of a page run in order, in one folder that is empty but for what the page takes for
granted: what it reads and does not write first. Such inputs are small, and made by their names.
"""

from __future__ import annotations

import importlib
import json
import re
import shlex
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

import nibabel
import nibabel.streamlines
import numpy as np
import pytest
import thorough
import trimesh
from bucket_servers import VARIABLES, s3_server
from PIL import Image
from serving import running

import ngcore
from ngcore.cli import run

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md")), DOCS / "notebook.ipynb"]
MADE = ("commands/", "python/", "findings/", "architecture.md", "contributing.md", "changelog.md")
"""Pages that the site's build makes from the program itself."""
SERVING = ("serve", "view")
WRITES_ITS_SECOND = (
    *("convert", "export", "preview", "repair", "mesh-to-vtk", "volume-to-raw-chunks"),
    *("generate-scales-info", "convert-chunks-to-jpeg", "compress-segmentation-chunks"),
    *("annotations", "skeletons", "pack"),
)
"""Commands whose second argument is what they write; others write into their input, if at all."""
SHAPE = (96, 40, 84)
LUT = "0 Unknown 0 0 0 0\n17 Left-Hippocampus 220 216 20 0\n53 Right-Hippocampus 220 216 20 0\n"

Example = tuple[str, str]


def name_of(page: Path) -> str:
    """Return a page's path in the project, without its ending."""
    return page.relative_to(ROOT).with_suffix("").as_posix()


def examples(page: Path) -> list[Example]:
    """Return the commands and Python examples of a page in order, each with its language."""
    found: list[Example] = []
    if page.suffix == ".ipynb":
        cells = json.loads(page.read_text("utf-8"))["cells"]
        sources = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
        return [("python", text) for text in sources if "IPython" not in text]
    fences = re.findall(r"^```(\w*)\n(.*?)^```", page.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    for language, text in fences:
        if language == "python":
            found.append(("python", text))
        elif language in ("sh", "console"):
            lines = text.replace("\\\n", " ").splitlines()
            found += [("sh", line.removeprefix("$ ")) for line in lines]
    return [(kind, text) for kind, text in found if needs_no_network(text, kind)]


def needs_no_network(text: str, kind: str) -> bool:
    """Whether an example can run here: no scheduler or cluster of somebody's, no internet."""
    return is_command(text) if kind == "sh" else "://" not in text and "Cluster" not in text


def is_command(line: str) -> bool:
    """Whether a line is one of ours, or writes a file for one; and needs no internet."""
    if line.startswith("echo "):
        return True
    words = shlex.split(line, comments=True) if line.startswith("ngcore ") else []
    has_url = any("://" in word for word in words)
    # These write what they would publish, and fetch nothing (without --check).
    is_local = words[1:2] in (["link"], ["gallery"]) and "--check" not in words
    return len(words) > 1 and (is_local or not has_url)


def values() -> np.ndarray:
    """Return boxes of three labels; single voxels would be mostly surface."""
    boxes = np.random.default_rng(0).integers(0, 3, [side // 4 for side in SHAPE])
    return np.kron(boxes, np.ones((4, 4, 4))).astype(np.uint8) * 17


def affine() -> np.ndarray:
    return np.diag([0.5, 0.5, 0.5, 1.0])


def make(path: Path) -> None:  # noqa: C901 (a case for each ending)
    """Write a small input that is what its name says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    name = path.name
    if name.endswith((".nii", ".nii.gz")):
        volumes = np.stack([values()] * 4, axis=3) if "bold" in name else values()
        image = nibabel.Nifti1Image(volumes, affine())
        image.header.set_qform(affine(), code=1)
        nibabel.save(image, path)
    elif name.endswith(".mgz"):
        nibabel.save(nibabel.MGHImage(values().astype(np.int32), affine()), path)
    elif name.endswith(".npy"):
        np.save(path, values())
    elif name.endswith(".gii"):
        box = trimesh.creation.box()
        pieces = (("POINTSET", box.vertices, np.float32), ("TRIANGLE", box.faces, np.int32))
        arrays = [
            nibabel.gifti.GiftiDataArray(array.astype(dtype), f"NIFTI_INTENT_{intent}")
            for intent, array, dtype in pieces
        ]
        nibabel.save(nibabel.gifti.GiftiImage(darrays=arrays), path)
    elif name.endswith(".stl"):
        trimesh.creation.box().export(path)
    elif name.endswith(".txt"):
        path.write_text(LUT)
    elif name.endswith(".tck"):
        lines = np.random.default_rng(0).normal(size=(4, 20, 3)).cumsum(axis=1)
        tractogram = nibabel.streamlines.Tractogram(
            list(lines.astype(np.float32)), affine_to_rasmm=np.eye(4)
        )
        nibabel.streamlines.save(tractogram, path)
    elif name.endswith(".swc"):
        path.write_text("1 1 0 0 0 2 -1\n2 3 5 0 0 1 1\n")
    elif name.endswith(".ome.zarr"):
        make_ome_zarr(path)
    elif name.endswith(".h5"):
        h5py = pytest.importorskip("h5py")
        with h5py.File(path, "w") as file:
            file["volumes/raw"] = values().transpose(2, 1, 0)
    elif name == "dicom":
        pydicom_data = pytest.importorskip("pydicom.data")
        path.mkdir()
        (path / "IM0001").write_bytes(
            Path(pydicom_data.get_testdata_file("MR_small.dcm")).read_bytes()
        )
    elif name == "cells.csv":
        path.write_text("x,y,z,size,kind,segment\n1,2,3,0.5,a,17\n4,5,6,1.5,b,17;9\n")
    elif name.endswith(".csv"):
        path.write_text("3,pial_left\n")
    elif name.startswith("slices"):
        path.mkdir()
        for number in range(12):
            Image.fromarray(values()[:, :, number].T.copy()).save(path / f"slice{number}.png")
    elif name == "out":
        make(path / "brain")
    else:
        kind = "segmentation" if "seg" in name else "image"
        source = path.parent / "source.nii"
        make(source)
        ngcore.convert(source, path, type=kind, chunk_size=(32, 32, 32), fsync=False)
        source.unlink()


def make_ome_zarr(path: Path) -> None:
    """Write an image with a group of labels, as ome-zarr writes it."""
    zarr = pytest.importorskip("zarr")
    image = zarr.create_group(path, zarr_format=2)
    labels = image.create_group("labels").create_group("nuclei")
    axes = [{"name": letter, "type": "space", "unit": "micrometer"} for letter in "zyx"]
    steps = [{"type": "scale", "scale": [0.5, 0.5, 0.5]}]
    for group in (image, labels):
        group["0"] = values().transpose(2, 1, 0)
        datasets = [{"path": "0", "coordinateTransformations": steps}]
        group.attrs["multiscales"] = [{"version": "0.4", "axes": axes, "datasets": datasets}]
    labels.attrs["image-label"] = {"colors": [{"label-value": 17, "rgba": [255, 0, 0, 255]}]}


def arguments_of(words: list[str]) -> Iterator[str]:
    """Yield what may be a file among the words after a command's name."""
    for before, word in zip(["", *words], words, strict=False):
        is_value = before.startswith("--") and re.fullmatch(r"[\d.,-]+|[A-Z]{3}|\w+", word)
        if before == "--surface":
            word = word.partition("=")[2]
        elif before in ("--label", "--state", "--keep"):
            continue
        if not word.startswith(("-", "/")) and "://" not in word and not is_value:
            yield word
            yield from re.findall(r":labels=([^:]+)", word)


def inputs(commands: list[list[str]]) -> list[str]:
    """Return what commands read that none of them has written before."""
    written: set[str] = set()
    needed: list[str] = []
    for program, command, *rest in commands:
        if program == "echo":
            written.add(rest[-1])
            continue
        is_plan = "--shape" in rest
        files = [word for word in arguments_of(rest) if word not in ("nginx", "apache", "caddy")]
        outputs = files[1:2] if command in WRITES_ITS_SECOND else []
        if command == "tracts":
            outputs = [file for file in files if "." not in file]
        if command == "preview":
            outputs = files[-1:]
        files = [re.sub(r":(/|[a-z]+=).*", "", word) for word in files]
        for name in () if is_plan else files:
            if Path(name).is_absolute():  # a folder of the reader's server
                continue
            top = name.partition("/")[0]
            name = top if "*" in name else name
            if name not in outputs and top not in written and name not in needed:
                needed.append(name)
        written |= {output.partition("/")[0] for output in outputs}
    return needed


@pytest.mark.parametrize("page", [page for page in PAGES if examples(page)], ids=name_of)
def test_examples_run_as_they_are_written(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BROWSER", "true")
    steps = examples(page)
    commands = [shlex.split(text, comments=True) for kind, text in steps if kind == "sh"]
    read_by_python = re.findall(r'"([\w.-]+)"', "".join(x for kind, x in steps if kind != "sh"))
    for name in inputs(commands):
        make(Path(name))
    for name in read_by_python:
        if name.endswith((".nii.gz", ".txt")) and not Path(name).exists():
            make(Path(name))
    names: dict[str, object] = {}
    for kind, text in steps:
        if kind == "python":
            exec(compile(text, str(page), "exec"), names)  # the documentation's own examples
            continue
        program, command, *rest = shlex.split(text, comments=True)
        if program == "echo":
            Path(rest[-1]).write_text(command + "\n")
        elif command not in SERVING:
            assert run([command, *rest]) == 0, text
        elif page.stem == "view" or thorough.IS_THOROUGH:
            pytest.importorskip("uvicorn", reason="the extra view is not installed")
            # A free port, whatever the page says: another program may have that one.
            with running(command, *rest, "--port", 0) as (_, line):
                assert "http://127.0.0.1:" in line, text


def test_commands_in_manifests_are_commands_of_dask_and_ngcore() -> None:
    yaml = pytest.importorskip("yaml")
    pytest.importorskip("distributed.cli", reason="the extra dask is not installed")
    text = (DOCS / "cluster.md").read_text("utf-8")
    fences = re.findall(r"^```yaml\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    documents = [found for text in fences for found in yaml.safe_load_all(text)]
    services = {found["metadata"]["name"] for found in documents if found["kind"] == "Service"}
    programs = {}
    for pod in (found["spec"]["template"] for found in documents if found["kind"] != "Service"):
        for container in pod["spec"]["containers"]:
            program, command, *rest = container["args"]
            programs[container["name"]] = (program, command)
            hosts = re.findall(r"tcp://(\w+):8786", " ".join(rest))
            assert set(hosts) <= services
            if program == "dask":
                module = importlib.import_module(f"distributed.cli.dask_{command}")
                module.main.make_context(command, rest)
            else:
                options = [word for word in rest if not word.startswith("s3://")]
                shape = ["--dry-run", "--shape", "99,99,99", "--resolution", "8,8,8"]
                assert run([command, *shape, "--data-type", "uint8", *options]) == 0
    assert programs == {
        "scheduler": ("dask", "scheduler"),
        "worker": ("dask", "worker"),
        "convert": ("ngcore", "convert"),
    }


def lines_with_buckets() -> list[str]:
    """Return the commands of all pages that read or write a bucket of S3, but on a cluster."""
    fences = [
        fence
        for page in PAGES
        if page.suffix == ".md"
        for fence in re.findall(r"^```sh\n(.*?)^```", page.read_text("utf-8"), re.DOTALL | re.M)
    ]
    lines = [line for fence in fences for line in fence.replace("\\\n", " ").splitlines()]
    return [x for x in lines if x.startswith("ngcore ") and " s3://" in x and "--dask" not in x]


def test_examples_with_buckets_run_against_a_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)
    make(Path("sub-01_T1w.nii.gz"))
    Path("sub-01_dseg.tsv").write_text("index\tname\n17\tLeft-Hippocampus\n")
    with s3_server() as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL", url)
        urllib.request.urlopen(urllib.request.Request(f"{url}/bucket", method="PUT"))
        ngcore.convert(
            values(), "s3://bucket/sub-01_dseg", type="segmentation", resolution=(8, 8, 8)
        )
        lines = lines_with_buckets()
        assert len(lines) >= 5
        for line in lines:
            assert run(shlex.split(line, comments=True)[1:]) == 0, line


def test_every_page_is_in_the_navigation_of_the_site() -> None:
    places = ("mkdocs.yml", "scripts/site_pages.py")
    text = "".join((ROOT / place).read_text("utf-8") for place in places)
    for page in DOCS.rglob("*.md"):
        assert page.relative_to(DOCS).as_posix() in text, page.name


def test_links_lead_to_files_that_are_there() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text("utf-8")):
            is_made = target.removeprefix("../").startswith(MADE)  # checked by `make docs`
            assert "://" in target or is_made or (page.parent / target).exists(), (page, target)
