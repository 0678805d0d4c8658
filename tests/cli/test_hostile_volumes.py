"""A hostile volume through every command: an answer in time, and nothing outside is touched."""

import shutil
import signal
import sys
import time
import urllib.error
import urllib.request

import numpy as np
import pytest
from hostile_volumes import COMMANDS, VARIANTS, contents, write_inputs
from sealed_volume import make_whole
from serving import served
from thorough import IS_THOROUGH

from ngcore import NgcoreError
from ngcore.cli import run

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")

SECONDS = 60
"""For a busy machine; on a quiet one the slowest takes 4."""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    for name, sharding in (("files", False), ("shards", True)):
        make_whole(folder / name, sharding=sharding)
    write_inputs(folder / "inputs")
    return folder


class _TooSlowError(BaseException):
    pass


@pytest.fixture
def in_time():
    def stop(*_):
        raise _TooSlowError

    before = signal.signal(signal.SIGALRM, stop)
    yield signal.alarm
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def some_cases():
    """Return all cases, or some of them and those that were wrong once."""
    kinds = ("files", "shards")
    every = [(v, c, kind) for v in VARIANTS for c in COMMANDS for kind in kinds]
    if IS_THOROUGH:
        return every
    once = [
        ("link KEY", "repair C V --overwrite", "files"),
        ("link KEY", "convert I/labels_dseg.nii V --overwrite", "files"),
        ("link KEY", "compress-segmentation-chunks C V", "shards"),
        ("link mesh", "repair C V --overwrite", "shards"),
        ("link segment_properties", "labels V I/names.csv", "files"),
        ("link .ngcore", "labels V I/names.csv", "files"),
        ("size", "labels V I/names.csv", "files"),
        ("size", "validate V", "files"),
        ("size", "convert-chunks V O --copy-info", "files"),
        ("small chunks", "validate V", "files"),
        ("size", "convert V O", "files"),
        ("small chunks", "convert V O", "files"),
        ("shards", "convert V O", "shards"),
        ("spans much", "convert V O", "files"),
        ("spans much", "labels V I/names.csv", "files"),
        ("spans much", "mesh V", "files"),
        ("key 'info'", "compress-segmentation-chunks C V", "shards"),
    ]
    rng = np.random.default_rng(0)
    return once + [every[n] for n in rng.choice(len(every), 16, replace=False)]


def put(folder, made, kind, variant):
    """Put the hostile volume and what lies outside of it into a folder."""
    outside, volume = folder / "outside", folder / "p/volume"
    shutil.copytree(made / kind, outside / "volume")
    (outside / "secret.txt").write_text("SECRET")
    shutil.copytree(made / kind, volume)
    VARIANTS[variant](volume, outside)
    (folder / "p/outside").symlink_to(outside)  # what `../outside` of the volume is
    return outside


def arguments(command, folder, made, kind):
    places = {"V": folder / "p/volume", "P": folder / "p", "C": made / kind}
    places |= {"O": folder / "o", "I": made / "inputs"}
    found = []
    for word in command.split():
        first, _, rest = word.partition("/")
        stem, dot, ending = first.partition(".")
        place = places.get(stem)
        found.append(word if place is None else f"{place}{dot}{ending}{'/' if rest else ''}{rest}")
    return found


def test_hostile_volumes_get_an_answer_and_touch_nothing_outside(made, tmp_path, capfd, in_time):
    wrong = []
    cases = some_cases()
    for variant, command, kind in cases:
        folder = tmp_path / "case"
        shutil.rmtree(folder, ignore_errors=True)
        outside = put(folder, made, kind, variant)
        before = contents(outside)
        start = time.monotonic()
        in_time(SECONDS)
        try:
            status = run(arguments(command, folder, made, kind))
        except _TooSlowError:
            status = None
        in_time(0)
        problems = complaints(status, *capfd.readouterr())
        if contents(outside) != before:
            problems.append("changed what lies outside")
        if problems:
            wrong.append((variant, command, kind, time.monotonic() - start, problems))
    print(f"{len(cases) - len(wrong)} of {len(cases)} answered")
    assert not wrong, wrong


def complaints(status, out, err):
    problems = []
    if status not in (0, 1, 2):
        problems.append(f"status {status}: {err[-300:]}")
    if status == 2 and sum("ngcore: error: " in line for line in err.splitlines()) != 1:
        problems.append(f"not one line: {err[-300:]}")
    if "Traceback" in err or "unexpected" in err or "SECRET" in out + err:
        problems.append(err[-300:])
    if not all(line.isprintable() for line in (out + err).replace("\t", " ").split("\n")):
        problems.append("moves the cursor")
    return problems


def test_no_volume_of_a_gallery_shows_what_lies_outside(made, tmp_path):
    outside = put(tmp_path, made, "files", "link segment_properties")
    names = outside / "volume/segment_properties/info"
    names.write_text(names.read_text().replace("one0", "SECRET"))
    assert run(["gallery", str(tmp_path / "p"), "--quiet"]) in (0, 1, 2)
    for path in (tmp_path / "p").rglob("*"):
        assert path.is_dir() or b"SECRET" not in path.read_bytes()


def test_view_of_hostile_volumes_answers_and_shows_nothing_outside(made, tmp_path, caplog):
    pytest.importorskip("uvicorn", reason="the extra view is not installed")
    from ngcore.server.verbs import view

    def stop(url):
        seen.append(url)
        raise KeyboardInterrupt

    for variant in VARIANTS if IS_THOROUGH else ["link segment_properties", "names", "transform"]:
        folder, seen = tmp_path / "case", []
        shutil.rmtree(folder, ignore_errors=True)
        outside = put(folder, made, "files", variant)
        before = contents(outside)
        try:
            view(folder / "p/volume", browser=False, ready=stop)
        except NgcoreError as error:
            seen.append(str(error))
        assert len(seen) == 1, variant
        assert "SECRET" not in seen[0] + caplog.text, variant
        assert contents(outside) == before, variant


def test_pages_of_hostile_volumes_answer_and_show_nothing_outside(made, tmp_path):
    pytest.importorskip("uvicorn", reason="the extra view is not installed")
    from ngcore.server.client import PAGE_PATH

    outside, places = tmp_path / "outside", {}
    shutil.copytree(made / "files", outside / "volume")
    (outside / "secret.txt").write_text("SECRET")
    (outside / "volume/segment_properties/info").write_text("SECRET")
    (tmp_path / "p").mkdir()
    (tmp_path / "p/outside").symlink_to(outside)
    chosen = VARIANTS if IS_THOROUGH else ["link KEY", "link segment_properties", "spans much"]
    for number, variant in enumerate(chosen):
        volume = tmp_path / "p" / f"v{number}"
        shutil.copytree(made / "files", volume)
        VARIANTS[variant](volume, outside)
        places[variant] = volume.name
    wrong = []
    with served(tmp_path / "p") as origin:
        for variant, name in places.items():
            pages = [f"/{name}/info", f"/{name}/segment_properties/info"]
            pages += [f"{PAGE_PATH}{page}?volume={name}" for page in ("picture", "open")]
            for page in [*pages, "/"]:
                status, body = fetch(origin + page)
                if status not in (200, 307, 403, 404, 422, 500) or b"SECRET" in body:
                    wrong.append((variant, page, status, body[:200]))
                if b"Traceback" in body:
                    wrong.append((variant, page, body[:200]))
    assert not wrong


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_):
        return None


def fetch(url):
    """Return the status and the body of an answer; redirects are not followed."""
    try:
        opener = urllib.request.build_opener(_NoRedirect)
        with opener.open(url, timeout=SECONDS) as answer:
            return answer.status, answer.read(1 << 24)
    except urllib.error.HTTPError as error:
        return error.code, error.read(1 << 20)
