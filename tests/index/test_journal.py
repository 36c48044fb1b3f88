import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from mmgraph.errors import ArtifactError
from mmgraph.index import Store, journal
from mmgraph.index.snapshot import Items, without


def found(hits):
    return [hit.id for hit in hits]


def rows(names, channels=2):
    """A vector for each name, always the same."""
    return [np.random.default_rng(sum(name.encode())).integers(-2, 3, channels).astype("f4") for name in names]


@pytest.fixture
def store(tmp_path):
    store = Store.create(tmp_path / "store", channels=2)
    store.add([[1, 0], [0, 1], [1, 1]], ["cat", "dog", "hen"], metadata={"legs": [4, 4, 2]})
    return store


def test_every_damaged_file_is_found(store):
    store.delete(["dog"])
    whole = {
        path: path.read_bytes() for path in sorted(store.folder.rglob("*")) if path.is_file() and path.name != ".lock"
    }
    assert len(whole) == 5
    for path, data in whole.items():
        places = range(0, len(data), max(1, len(data) // 25))
        for bad in [data[:n] + bytes([data[n] ^ 0xFF]) + data[n + 1 :] for n in places] + [
            data[: max(0, n - 1)] for n in places
        ]:
            path.write_bytes(bad)
            with pytest.raises(ArtifactError, match=str(store.folder)):
                Store(store.folder)
        path.unlink()
        with pytest.raises(ArtifactError, match=str(store.folder)):
            Store(store.folder)
        path.write_bytes(data)
    assert found(Store(store.folder).search([1, 0])) == ["cat", "hen"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": "mmgraph.index"}, "the format 'mmgraph.store', got 'mmgraph.index'"),
        ({"version": 2}, "format version 1 or older, got 2"),
        ({"holds": {}}, "ValueError: its sha256 is another one"),
        ({"holds": {}, "sha256": journal._digest({})}, "KeyError: 'channels'"),
    ],
)
def test_a_manifest_that_is_none(store, changes, message):
    path = store.folder / "store.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    with pytest.raises(ArtifactError, match=message):
        Store(store.folder)


def test_a_segment_of_another_store(store, tmp_path):
    other = Store.create(tmp_path / "other", channels=2)
    other.add([[7, 0]], ["cat"])
    shutil.rmtree(store.folder / "segments" / "000000001")
    shutil.copytree(other.folder / "segments" / "000000001", store.folder / "segments" / "000000001")
    with pytest.raises(ArtifactError, match="must be the one that the store names"):
        Store(store.folder)


@pytest.mark.parametrize("writes", [1, 2])
def test_a_store_made_anew_in_its_place(store, writes):
    reader = Store(store.folder)
    shutil.rmtree(store.folder)
    other = Store.create(store.folder, channels=2)
    other.add([[7, 0]], ["cow"])
    if writes > 1:
        other.delete(["cow"])
    assert reader.refresh()
    assert found(reader.search([1, 0])) == found(other.search([1, 0])) == ["cow"][: 2 - writes]
    other.add([[7, 1]], ["ant"])
    reader.refresh()
    assert reader.search([1, 0]) == other.search([1, 0])


def test_a_store_can_be_moved(store, tmp_path):
    shutil.move(store.folder, tmp_path / "elsewhere")
    assert found(Store(tmp_path / "elsewhere").search([1, 0], 1)) == ["cat"]


def test_a_reader_starts_over_where_files_are_gone(store, monkeypatch):
    """A writer compacts twice between a reader's look at the manifest and at the segments."""
    reader, read = journal.Journal(store.folder), journal.Journal._segment
    calls = []

    def late(self, name, digest):
        if not calls:
            store.add([[3, 1]], ["cow"])
            store.delete(["cat"])
            store.compact()
            store.delete(["dog"])
        calls.append(name)
        return read(self, name, digest)

    monkeypatch.setattr(journal.Journal, "_segment", late)
    manifest, segments = reader.read()
    assert manifest.generation == store.snapshot.generation
    assert [id for one in segments for id in one.index.ids if one.find(id) is not None] == ["hen", "cow"]
    assert len(set(calls)) > 1


def test_readers_beside_a_writer_see_whole_writes(tmp_path):
    """Every write adds two items and deletes two: a reader that sees another number has seen half a write."""
    store = Store.create(tmp_path / "store", channels=2, exact_below=8)
    store.add(rows(["0a", "0b"]), ["0a", "0b"])
    seen, wrong, done = set(), [], threading.Event()

    def read():
        reader = Store(tmp_path / "store")
        while not done.is_set():
            reader.refresh()
            ids = found(reader.search([1, 0]))
            seen.add(tuple(sorted(ids)))
            if len({id[:-1] for id in ids}) != 1 or len(ids) != 2:
                wrong.append(ids)

    readers = [threading.Thread(target=read) for _ in range(2)]
    for one in readers:
        one.start()
    for number in range(1, 40):
        with store._writing():
            names = [f"{number}a", f"{number}b"]
            old = [store.snapshot.locate(id) for id in store.snapshot.ids]
            new = Items(np.array(rows(names)), names, {})
            store._commit(without(store.snapshot.segments, old), new, ())
        if number % 5 == 0:
            store.compact()
    done.set()
    for one in readers:
        one.join()
    assert wrong == []
    assert len(seen) > 1


WRITERS = """
import os, sys
sys.path.insert(0, sys.argv[2])
from test_journal import written
from mmgraph.index import Store
for _ in sys.stdin:
    writer = os.fork()
    if writer == 0:
        store = Store(sys.argv[1])
        while True:
            written(store, store.snapshot.generation)
    print(writer, flush=True)
    os.waitpid(writer, 0)
"""


def written(store, step):
    """The write that makes generation ``step + 1``, or none; all chance is the step's."""
    chance = random.Random(step)
    held = list(store.snapshot.ids)
    if step % 7 == 6 and len(store.snapshot.segments) > 1:
        store.compact()
    elif held and chance.random() < 0.4:
        store.delete(chance.sample(held, chance.randint(1, min(3, len(held)))))
    else:
        names = [f"{step}-{n}" for n in range(chance.randint(1, 4))] + chance.sample(held, min(1, len(held)))
        store.update(rows(names), names, metadata={"step": [step] * len(names)})


@pytest.mark.skipif(os.name == "nt", reason="kills as POSIX does")
def test_a_killed_writer_leaves_a_whole_store(tmp_path):
    """A writer is killed 12 times at chance moments; each time the store is as after a whole number of its writes."""
    kwargs = {"channels": 2, "exact_below": 16, "large": "exact"}
    Store.create(tmp_path / "store", **kwargs)
    model = Store.create(tmp_path / "model", **kwargs)
    chance = random.Random(0)
    command = [sys.executable, "-c", WRITERS, str(tmp_path / "store"), str(Path(__file__).parent)]
    writers = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    for _ in range(12):
        writers.stdin.write(b"next\n")
        writers.stdin.flush()
        writer = int(writers.stdout.readline())
        time.sleep(chance.uniform(0.0, 0.3))
        os.kill(writer, signal.SIGKILL)
        store = Store(tmp_path / "store")
        while model.snapshot.generation < store.snapshot.generation:
            written(model, model.snapshot.generation)
        assert store.snapshot.ids == model.snapshot.ids
        assert store.snapshot.search_batch([[1, 0], [1, 2]], 50) == model.snapshot.search_batch([[1, 0], [1, 2]], 50)
    writers.communicate()
    assert store.snapshot.generation > 20
    store.add([[1, 1]], ["last"])
    names = {path.name for path in (tmp_path / "store" / "segments").iterdir()}
    assert len(names) <= 2 * len(store.snapshot.segments) + 5  # no rubbish is left
