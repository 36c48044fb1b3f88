"""Files of engines: a killed writer changes nothing, readers go on while others write, writers wait for each other."""

import multiprocessing
import os
import threading

import pytest

from mmgraph.engine import Engine
from mmgraph.engine import kept as kept_module
from mmgraph.engine.state import BESIDE, read_state, writing
from mmgraph.errors import ArtifactError


@pytest.fixture
def engine(films, tmp_path):
    return Engine.build(films, tmp_path / "films")


def ids(engine):
    return [hit.id for hit in engine.search({"plot": "a dog"}, k=99)]


@pytest.mark.parametrize("place", ["before the change is written", "before it counts"])
@pytest.mark.parametrize("what", ["add", "delete", "compact"])
def test_a_killed_writer_changes_nothing(engine, monkeypatch, place, what):
    engine.add({"first": {"plot": "a dog"}})
    before, state = ids(engine), read_state(engine.folder)

    def die(*arguments):
        raise KeyboardInterrupt  # as a kill: nothing after it is done

    write = {
        "add": lambda: engine.add({"second": {"plot": "a dog"}}),
        "delete": lambda: engine.delete(["first"]),
        "compact": engine.compact,
    }[what]
    with monkeypatch.context() as patched:
        if place == "before it counts":
            patched.setattr(kept_module, "write_state", die)
        else:
            patched.setattr("mmgraph.engine.changes.write_json", die)
            patched.setattr("mmgraph.assembly.built.write_json", die)
        with pytest.raises(KeyboardInterrupt):
            write()
    assert read_state(engine.folder) == state
    assert ids(Engine.open(engine.folder)) == before
    write()  # the same again, over what the killed one left
    named = {read_state(engine.folder).base, *read_state(engine.folder).changes}
    assert ids(Engine.open(engine.folder)) == ids(engine)
    engine.add({"last": {"plot": "a dog"}})
    left = {path.name for path in (engine.folder / BESIDE).iterdir() if path.is_dir()}
    assert left <= {read_state(engine.folder).base, *read_state(engine.folder).changes} | named


def test_readers_see_a_whole_graph_while_others_write(engine):
    stop, wrong = threading.Event(), []

    def read():
        reader = Engine.open(engine.folder)
        while not stop.is_set():
            reader.refresh()
            hits = reader.search({"plot": "a dog"}, k=99)
            found = {hit.id for hit in hits if hit.id.startswith("pair")}
            if {name[:-1] + "a" for name in found} | {name[:-1] + "b" for name in found} != found:
                wrong.append(found)
            if any(not hit.payload("plot") for hit in hits):
                wrong.append("payload")

    threads = [threading.Thread(target=read) for _ in range(2)]
    for thread in threads:
        thread.start()
    for number in range(3):
        engine.add({f"pair{number}{end}": {"plot": "a dog"} for end in "ab"})
        if number == 1:
            engine.compact()
    engine.delete(["pair0a", "pair0b"])
    stop.set()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert {name for name in ids(engine) if name.startswith("pair")} == {"pair1a", "pair1b", "pair2a", "pair2b"}


def test_writers_wait_for_each_other(engine):
    writers = [Engine.open(engine.folder) for _ in range(3)]
    threads = [
        threading.Thread(target=writer.add, args=({f"w{number}": {"plot": "a dog"}},))
        for number, writer in enumerate(writers)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    engine.refresh()
    assert {"w0", "w1", "w2"} <= set(engine.built.ids)
    message = "one writer at a time, and another has been at work"
    with writing(engine.folder), pytest.raises(ArtifactError, match=message), writing(engine.folder, wait_s=0.05):
        pass


def _die_in_the_middle(folder):
    engine = Engine.open(folder)
    kept_module.write_state = lambda *arguments: os._exit(9)
    engine.add({"lost": {"plot": "a dog"}})


def test_a_process_that_dies_leaves_the_lock_and_the_graph(engine):
    process = multiprocessing.get_context("fork").Process(target=_die_in_the_middle, args=(engine.folder,))
    process.start()
    process.join()
    assert process.exitcode == 9
    assert not engine.refresh()
    engine.add({"found": {"plot": "a dog"}})
    assert set(Engine.open(engine.folder).built.ids) - {"rain", "heist", "moon", "cat", "dog", "storm"} == {"found"}


def test_indexing_again_keeps_what_was_added(films, engine):
    engine.add({"new": {"plot": "a dog"}})
    again = Engine.build(films, engine.folder, kind="hnsw", text_weight=0.5)
    assert "new" in again.built.ids
    assert (again.state.kind, again.state.text_weight, again.state.changes) == ("hnsw", 0.5, ())
    assert engine.refresh()
    assert engine.state == again.state


def test_a_graph_that_is_built_anew_has_no_index(films, engine):
    engine.add({"new": {"plot": "a dog"}})
    films.write(engine.folder)
    assert "new" not in Engine.open(engine.folder).built.ids
    assert not engine.refresh()  # it goes on with what it has read
    assert "new" in ids(engine)


def test_a_damaged_change_is_said(engine):
    engine.add({"new": {"plot": "a dog"}})
    (change,) = (engine.folder / BESIDE).glob("change-*")
    (change / "change.json").write_text('{"updated": []}')
    with pytest.raises(ArtifactError, match="is damaged"):
        Engine.open(engine.folder)
