"""Processes of this machine: the same bits, whatever dies."""

import multiprocessing
import os
import signal

import pytest
import torch

from mmgraph.assembly import build_graph
from mmgraph.cluster import local
from mmgraph.cluster.local import Processes, _Worker
from mmgraph.cluster.parcel import Parcel
from mmgraph.encoders import FeatureCache
from mmgraph.encoders.frozen import carry_out
from mmgraph.encoders.registry import make_frozen
from mmgraph.errors import ArtifactError, ConfigError, DataError

WORDS = [f"word{number} and {number % 4}" for number in range(30)]
JOBS = [{3 * place + row: WORDS[3 * place + row] for row in range(3)} for place in range(10)]


@pytest.fixture(scope="module")
def encoder():
    """An encoder that is fitted."""
    return make_frozen("hashed_text", WORDS, channels=8)


@pytest.fixture(scope="module")
def sent(encoder):
    """The encoder as it is sent."""
    return Parcel.pack("title", "hashed_text", {"channels": 8}, encoder)


@pytest.fixture(scope="module")
def processes():
    """Two processes for all tests; those that die are replaced."""
    found = Processes(2)
    yield found
    found.close()
    assert multiprocessing.active_children() == []


def rows(outcomes):
    return [outcome.features.tolist() for outcome in outcomes]


def expected(encoder):
    return [encoder(list(job.values())).tolist() for job in JOBS]


def test_outcomes_come_in_the_order_of_the_jobs(processes, sent, encoder):
    assert rows(processes.encode(sent, encoder, iter(JOBS))) == expected(encoder)
    assert rows(processes.encode(sent, encoder, iter([]))) == []


def test_few_jobs_are_read_ahead(processes, sent, encoder):
    read = []
    outcomes = processes.encode(sent, encoder, (read.append(place) or job for place, job in enumerate(JOBS)))
    for place, _ in enumerate(outcomes):
        assert len(read) <= place + 4


def test_a_worker_has_one_encoder_after_the_other(processes, sent, encoder):
    other = make_frozen("hashed_text", WORDS, channels=5)
    theirs = Parcel.pack("plot", "hashed_text", {"channels": 5}, other)
    for packed, one in ((sent, encoder), (theirs, other), (sent, encoder)):
        assert rows(processes.encode(packed, one, iter(JOBS))) == expected(one)


def die_at(monkeypatch, places):
    """Kills the worker that is given a job at one of these places, each time that the place is in the list."""
    give, left = _Worker.give, list(places)

    def given(worker, packed, task):
        doomed = task.place in left
        if doomed:
            left.remove(task.place)
            os.kill(worker.process.pid, signal.SIGSTOP)
        give(worker, packed, task)
        if doomed:
            os.kill(worker.process.pid, signal.SIGKILL)

    monkeypatch.setattr(_Worker, "give", given)
    return left


def test_what_a_dead_worker_had_to_do_is_done_again(processes, sent, encoder, monkeypatch):
    left = die_at(monkeypatch, [1, 1, 4, 9])
    assert rows(processes.encode(sent, encoder, iter(JOBS))) == expected(encoder)
    assert left == []


def test_a_job_that_kills_three_workers_is_given_up(processes, sent, encoder, monkeypatch):
    die_at(monkeypatch, [2, 2, 2])
    with pytest.raises(
        ConfigError, match=r"encode payloads 6 to 8 of 'title', but 3 have died of it \(the last by signal 9\)"
    ):
        list(processes.encode(sent, encoder, iter(JOBS)))
    monkeypatch.undo()
    assert rows(processes.encode(sent, encoder, iter(JOBS))) == expected(encoder)


def test_what_is_left_when_nobody_wants_more_is_ended(processes, sent, encoder):
    outcomes = processes.encode(sent, encoder, iter(JOBS))
    next(outcomes)
    outcomes.close()
    assert all(worker.task is None for worker in processes._workers)
    assert rows(processes.encode(sent, encoder, iter(JOBS))) == expected(encoder)


def test_an_error_of_a_worker_is_raised_here(processes, sent, encoder):
    broken = Parcel(sent.node, {**sent.files, "encoder.json": b"{}"}, 1, sent.versions)
    with pytest.raises(ConfigError, match="driver and mmgraph .* on worker .*; install the same on both"):
        list(processes.encode(Parcel("title", sent.files, 1, {**sent.versions, "mmgraph": "9"}), encoder, iter(JOBS)))
    with pytest.raises(ArtifactError, match=r"encoder.json' .*"):
        list(processes.encode(broken, encoder, iter(JOBS)))
    with pytest.raises(RuntimeError, match=r"(?s)Encoding payloads 0 to 0 of 'title' failed in a worker:.*Traceback"):
        list(processes.encode(sent, encoder, iter([{0: 5}])))


def test_a_script_without_a_guard_is_told(monkeypatch):
    task = local._Task(0, {0: "a"}, deaths=2)

    class Gone:
        def recv(self):
            raise EOFError

    class Ended:
        pipe = Gone()

        def end(self):
            return 1

    ended = Ended()
    ended.task = task
    processes = Processes(1)
    processes._workers.append(ended)
    with pytest.raises(ConfigError, match=r"with exit code 1; a script must build below `if __name__"):
        processes._hear(ended, Parcel("a", {}), local.deque(), {})


def test_a_graph_has_the_same_bytes_whoever_encodes_it(build, small_chunks):
    alone = build("alone")
    assert [(one.row, one.column) for one in alone[1]] == [(9, "photo"), (5, "photo"), (7, "curve"), (11, "price")]
    assert build("two", workers=2) == alone
    assert build("named", workers=2, shared=True) == alone


def test_a_killed_build_goes_on(build, shop, small_chunks, tmp_path):
    class Killed(FeatureCache):
        puts = 0

        def put(self, identity, features):
            self.puts += 1
            if self.puts == 9:
                raise KeyboardInterrupt
            super().put(identity, features)

    with pytest.raises(KeyboardInterrupt):
        build_graph(shop, cache=Killed(tmp_path / "again cache"), workers=2)
    assert build("again", workers=2) == build("alone")


def test_it_is_refused_before_anything_is_read(shop):
    encoder = make_frozen("hashed_text", WORDS, channels=8)
    with pytest.raises(
        ConfigError, match=r"make encoders from their declaration, got objects for \['title'\]; declare"
    ):
        build_graph(shop, encoders={"title": encoder}, workers=2)
    options = {"name": "length", "revision": "1", "modality": "text", "channels": 1, "function": len}
    with pytest.raises(ConfigError, match="encoder of 'title' can't be sent to other processes: Option 'function'"):
        Parcel.pack("title", "function", options, make_frozen("function", **options))


def test_a_parcel_gives_the_same_numbers_of_threads(sent, encoder):
    assert sent.threads == torch.get_num_threads()
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as threads:
        assert torch.equal(carry_out(sent.open(), JOBS[0], threads).features, encoder(list(JOBS[0].values())))


def test_a_bad_payload_is_told_from_a_bad_encoder(processes, encoder):
    pictures = make_frozen("gradients")
    packed = Parcel.pack("photo", "gradients", {}, pictures)
    (outcome,) = processes.encode(packed, pictures, iter([{4: b"no picture", 7: b""}]))
    assert sorted(outcome.rejected) == [4, 7]
    assert outcome.features.shape == (0, 580)
    with pytest.raises(DataError, match="no picture|bytes"):
        pictures([b"no picture"])
