import os
import sys

import pytest

from ngcore.server.locate import FileTree


def write(folder, name, data=b"x"):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def found(folder, url):
    located = FileTree({"": folder}).find(url)
    return located and (located.path.relative_to(folder).as_posix(), located.is_gzipped)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "dest").mkdir()
    return tmp_path.resolve() / "dest"


@pytest.mark.parametrize(
    ("stored", "is_gzipped"),
    [
        ("8_8_8/0-64_0-64_0-64", False),
        ("8_8_8/0-64_0-64_0-64.gz", True),
        ("8_8_8/0-64/0-64/0-64", False),
        ("8_8_8/0-64/0-64/0-64.gz", True),
    ],
)
def test_chunk_is_found_in_every_layout(folder, stored, is_gzipped):
    write(folder, stored)
    assert found(folder, "/8_8_8/0-64_0-64_0-64") == (stored, is_gzipped)


def test_chunk_at_negative_offset_is_found_nested(folder):
    write(folder, "k/-5-59/-64-0/-128--64")
    assert found(folder, "/k/-5-59_-64-0_-128--64") == ("k/-5-59/-64-0/-128--64", False)


@pytest.mark.skipif(sys.platform == "win32", reason="no colons in file names")
def test_manifest_is_found_with_its_suffix(folder):
    write(folder, "mesh/12:0")
    assert found(folder, "/mesh/12:0") == ("mesh/12:0", False)


def test_manifest_is_found_without_its_suffix(folder):
    write(folder, "mesh/12")
    write(folder, "mesh/13.gz")
    assert found(folder, "/mesh/12:0") == ("mesh/12", False)
    assert found(folder, "/mesh/13:0") == ("mesh/13.gz", True)
    assert found(folder, "/mesh/12:1") is None


def test_shard_is_never_sought_as_gz(folder):
    write(folder, "k/0.shard.gz")
    assert found(folder, "/k/0.shard") is None
    write(folder, "k/0.shard")
    assert found(folder, "/k/0.shard") == ("k/0.shard", False)


def test_gz_file_under_its_own_name_is_a_plain_file(folder):
    write(folder, "info.gz")
    assert found(folder, "/info.gz") == ("info.gz", False)
    assert found(folder, "/info") == ("info.gz", True)


def test_json_has_its_media_type(folder):
    tree = FileTree({"": folder})
    for name in ("info", "mesh/info", "transform.json", "provenance", "mesh/7:0"):
        write(folder, name.removesuffix(":0"))
        assert tree.find(f"/{name}").media_type == "application/json"
    write(folder, "k/0-1_0-1_0-1")
    assert tree.find("/k/0-1_0-1_0-1").media_type == "application/octet-stream"


def test_volumes_are_found_under_their_names_alone(folder):
    write(folder, "info")
    tree = FileTree({"brain": folder})
    assert tree.find("/brain/info").path == folder / "info"
    for url in ("/info", "/brain", "/brain/", "/other/info", "/dest/info", "/", ""):
        assert tree.find(url) is None


OUTSIDE = [
    "/../secret",
    "/k/../../secret",
    "/./info",
    "//info",
    "//secret",
    "/k//0",
    "/k/",
    "/",
    "",
    "/..\\secret",
    "/k\\..\\..\\secret",
    "\\secret",
    "/C:/secret",
    "/C:secret",
    "/info\0",
    "/\0",
    "/info\n",
    "/.hidden",
    "/.git/config",
    "/k/.hidden",
    "/k",
    "/" + "a" * 5000,
    "/" + "a/" * 5000 + "a",
    "/%2e%2e/secret",
]


@pytest.mark.parametrize("url", OUTSIDE)
def test_nothing_outside_the_folder_is_found(folder, url):
    for name in ("../secret", "info", "k/0", ".hidden", ".git/config", "k/.hidden"):
        write(folder, name)
    assert found(folder, url) is None
    secret = (folder.parent / "secret").as_posix()
    assert found(folder, secret) is None
    assert found(folder, f"/{secret}") is None


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege there")
def test_links_are_followed_inside_the_folder_only(folder):
    write(folder, "../secret")
    write(folder, "k/chunk")
    write(folder, ".hidden/chunk")
    (folder / "inside").symlink_to("k/chunk")
    (folder / "scale").symlink_to("k", target_is_directory=True)
    (folder / "outside").symlink_to("../secret")
    (folder / "parent").symlink_to("..", target_is_directory=True)
    (folder / "shown").symlink_to(".hidden", target_is_directory=True)
    (folder / "loop").symlink_to("loop")
    assert found(folder, "/inside") == ("k/chunk", False)
    assert found(folder, "/scale/chunk") == ("k/chunk", False)
    for url in ("/outside", "/parent/secret", "/shown/chunk", "/loop"):
        assert found(folder, url) is None


def test_folder_that_is_a_link_is_served(folder, tmp_path):
    write(folder, "info")
    link = tmp_path / "link"
    try:
        link.symlink_to(folder, target_is_directory=True)
    except OSError:
        pytest.skip("links need a privilege here")
    assert FileTree({"": link}).find("/info").path == folder / "info"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes")
def test_pipe_is_not_opened(folder):
    os.mkfifo(folder / "pipe")
    assert found(folder, "/pipe") is None
