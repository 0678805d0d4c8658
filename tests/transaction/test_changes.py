"""Changes of one volume at once lose nothing, and are durable in the order that readers need."""

import json
import multiprocessing
import threading

import pytest

from ngcore.errors import DestinationError, FormatError, InputNotFoundError
from ngcore.storage import LocalStore
from ngcore.storage.local import WORK_FOLDER
from ngcore.transaction import changes
from ngcore.transaction.changes import Transaction


def add_members(folder, name, count):
    for number in range(count):
        with Transaction(folder) as change:
            change.put(f"{name}/{number}", b"x")
            change.change_info(lambda info, number=number: {**info, f"{name}{number}": number})


def test_processes_and_threads_that_change_info_at_once_lose_no_change(tmp_path):
    (tmp_path / "info").write_text("{}")
    context = multiprocessing.get_context("fork")
    workers = [
        *(context.Process(target=add_members, args=(tmp_path, f"p{n}", 8)) for n in range(2)),
        *(threading.Thread(target=add_members, args=(tmp_path, f"t{n}", 8)) for n in range(2)),
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(json.loads((tmp_path / "info").read_text())) == 32
    assert not (tmp_path / WORK_FOLDER).exists()


def test_what_info_names_is_synced_before_info_is_written(tmp_path, monkeypatch):
    calls = []
    (tmp_path / "info").write_text("{}")

    def noting(name):
        real = getattr(LocalStore, name)

        def note(self, what, *rest):
            calls.append((name, *([what] if isinstance(what, str) else sorted(what))))
            return real(self, what, *rest)

        return note

    for name in ("put", "sync", "put_durably"):
        monkeypatch.setattr(LocalStore, name, noting(name))
    with Transaction(tmp_path) as change:
        change.put("names/info", b"{}")
        change.change_info(lambda info: {**info, "segment_properties": "names"})
        change.put("names/colours", b"")
        change.delete("names/info")
        change.delete("names/never")
    assert calls == [
        ("put_durably", "names/info"),
        ("sync", "names/"),
        ("put_durably", "info"),
        ("put_durably", "names/colours"),
        ("sync", "names/"),
        ("sync", "./"),
    ]


def test_info_that_stays_the_same_is_not_written(tmp_path):
    path = tmp_path / "info"
    path.write_text('{"type":   "image"}')
    before = path.stat().st_ino
    with Transaction(tmp_path) as change:
        assert change.change_info(lambda info: {**info, "type": "image"}) == {"type": "image"}
    assert path.stat().st_ino == before
    assert path.read_text() == '{"type":   "image"}'


def test_a_place_where_something_long_is_at_work_is_refused_at_once(tmp_path, monkeypatch):
    store = LocalStore(tmp_path)
    store.put("info", b"{}")
    lock = store.lock(f"{WORK_FOLDER}/lock")
    store.put(f"{WORK_FOLDER}/plan.json", b"{}")
    with pytest.raises(DestinationError, match="in use by another"), Transaction(tmp_path):
        pass
    store.delete(f"{WORK_FOLDER}/plan.json")
    monkeypatch.setattr(changes, "PATIENCE", 0.1)
    with pytest.raises(DestinationError, match="in use by another"), Transaction(tmp_path):
        pass
    lock.release()


@pytest.mark.parametrize(("document", "error"), [(None, InputNotFoundError), ("[", FormatError)])
def test_info_that_is_absent_or_damaged_is_an_error_that_names_it(tmp_path, document, error):
    if document is not None:
        (tmp_path / "info").write_text(document)
    with pytest.raises(error, match="info"), Transaction(tmp_path) as change:
        change.change_info(dict)
    assert not (tmp_path / WORK_FOLDER).exists()
