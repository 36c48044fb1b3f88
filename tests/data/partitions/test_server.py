"""Servers answer what is asked and survive what is not; who loses one is told so soon, and can go on."""

import contextlib
import json
import socket
import struct
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from mmgraph.data import NeighbourLoader, NeighbourSampler, NodeSeeds
from mmgraph.data.partitions import Book, GraphParts, PartLostError, PartServer
from mmgraph.data.partitions.wire import MAGIC, VERSION, Message, WireError, receive, send
from mmgraph.errors import ArtifactError, ConfigError

SERVE = """
import sys
from mmgraph.data.partitions import PartServer
server = PartServer(sys.argv[1], int(sys.argv[2]), port=int(sys.argv[3]))
print(server.address, flush=True)
server.serve()
"""


@contextlib.contextmanager
def process(folder, part, port=0):
    """A server in another process, which is ended whatever happens."""
    command = [sys.executable, "-c", SERVE, str(folder), str(part), str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
        try:
            yield running, running.stdout.readline().strip()
        finally:
            running.kill()


def loader(graph):
    sampler = NeighbourSampler(graph, [4, 3])
    return NeighbourLoader(sampler, NodeSeeds("text"), batch_size=4, shuffle=True, prefetch=1)


def test_a_server_that_is_killed_is_missed_soon_and_one_started_anew_is_found(same, graph, folder):
    must = list(loader(graph))
    with process(folder, 1) as (running, address):
        parts = GraphParts(folder, addresses={1: address}, wait_s=0.3)
        batches = loader(parts)
        begun = iter(batches)
        got = [next(begun), next(begun)]
        state = batches.state_dict()
        running.kill()
        running.wait()
        started = time.monotonic()
        with pytest.raises(PartLostError, match=f"Part 1 at {address} must answer.*within 0.3 s, but.*state_dict"):
            for _ in begun:
                pass
        assert time.monotonic() - started < 10
    with PartServer(folder, 1, port=int(address.rpartition(":")[2])):  # at the same address
        later = loader(parts)
        later.load_state_dict(state)
        got += list(later)
    assert len(got) == len(must)
    for one, other in zip(got, must, strict=True):
        same(one, other)


def test_a_server_that_is_away_for_a_moment_is_waited_for(graph, folder):
    server = PartServer(folder, 1)
    port = int(server.address.rpartition(":")[2])
    with server:
        parts = GraphParts(folder, addresses={1: server.address}, wait_s=20.0)
    back = []

    def come_back():
        time.sleep(0.4)
        back.append(PartServer(folder, 1, port=port).__enter__())

    thread = threading.Thread(target=come_back)
    thread.start()
    try:
        found = parts.node_rows("word", "x", range(40))
        assert (found == graph["word"].x).all()
    finally:
        thread.join()
        for one in back:
            one.close()


def test_a_server_that_says_nothing_is_given_up(folder):
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        address = "{}:{}".format(*deaf.getsockname())
        started = time.monotonic()
        with pytest.raises(PartLostError, match=f"Part 0 at {address} must answer within 0.2 s.*timed out"):
            GraphParts(folder, addresses={0: address}, reply_s=0.2)
        assert time.monotonic() - started < 5


def test_many_threads_ask_at_once(same, graph, folder, served):
    sampler = NeighbourSampler(GraphParts(folder, addresses=served), [4, 3])
    whole = NeighbourSampler(graph, [4, 3])
    found = {}

    def sample(seed):
        found[seed] = [sampler.gather(sampler.sample({"text": range(25)}, seed=seed)) for _ in range(5)]

    threads = [threading.Thread(target=sample, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for seed in range(6):
        must = whole.gather(whole.sample({"text": range(25)}, seed=seed))
        for batch in found[seed]:
            same(batch, must)


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ({3: "127.0.0.1:80"}, r"addresses must be of parts in \[0, 3\), got 3"),
        ({0: "127.0.0.1"}, r"addresses\[0\] must be 'host:port', got '127.0.0.1'"),
        ({0: ":80"}, r"must be 'host:port', got ':80'"),
        ({0: "here:http"}, r"must be 'host:port', got 'here:http'"),
    ],
)
def test_addresses_are_checked(folder, address, message):
    with pytest.raises(ConfigError, match=message):
        GraphParts(folder, addresses=address)


def test_both_ends_must_have_the_same_graph_and_the_right_part(folder, timed, served):
    with pytest.raises(ArtifactError, match="Part 2 at .* refuses: Both ends must have the same book of parts"):
        GraphParts(timed, addresses={2: served[2]})
    with pytest.raises(ConfigError, match="Part 1 at .* must serve that part, it serves part 2; mend addresses"):
        GraphParts(folder, addresses={1: served[2]})


def test_a_port_that_is_taken_is_named(folder, served):
    port = int(served[0].rpartition(":")[2])
    with pytest.raises(ConfigError, match=f"Part 1 must have a free port, 127.0.0.1:{port} is none"):
        PartServer(folder, 1, port=port)


@contextlib.contextmanager
def link(address):
    host, _, port = address.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=10) as one:
        yield one


ROWS = np.zeros(1, np.int64)
WANTED = {"edge": 0, "key": 1, "fan_out": 2, "replace": False, "timed": False}


@pytest.mark.parametrize(
    ("fields", "arrays", "message"),
    [
        (
            {"ask": "hello", "version": VERSION + 1},
            [],
            f"must speak version {VERSION} of the protocol, got {VERSION + 1}",
        ),
        ({"ask": "hello", "version": VERSION, "book": "x"}, [], "must have the same book of parts"),
        ({"ask": "all"}, [], "of a kind that it knows, got"),
        ({"ask": "draw"}, [], "must be well formed, but KeyError"),
        ({"ask": "draw", "wanted": [WANTED]}, [], "0 arrays"),
        ({"ask": "draw", "wanted": [{**WANTED, "timed": True}]}, [ROWS, ROWS], "2 arrays"),
        ({"ask": "draw", "wanted": [WANTED]}, [ROWS - 1, ROWS], "rows of int64"),
        ({"ask": "draw", "wanted": [WANTED]}, [ROWS + 99, ROWS], "rows of int64"),
        ({"ask": "draw", "wanted": [WANTED]}, [ROWS.astype(float), ROWS], "rows of float64"),
        ({"ask": "draw", "wanted": [WANTED]}, [ROWS, ROWS[:0]], "0 places for 1 rows"),
        ({"ask": "draw", "wanted": [{**WANTED, "fan_out": -2}]}, [ROWS, ROWS], "fan_out -2"),
        ({"ask": "draw", "wanted": [{**WANTED, "fan_out": 1 << 40, "replace": True}]}, [ROWS, ROWS], "draws for 1"),
        ({"ask": "draw", "wanted": [{**WANTED, "edge": 77}]}, [ROWS, ROWS], "IndexError"),
        ({"ask": "draw", "wanted": [{**WANTED, "key": -1}]}, [ROWS, ROWS], "OverflowError"),
        ({"ask": "take", "columns": [["node0.row.secret"]]}, [ROWS], "KeyError"),
        ({"ask": "take", "columns": [["node0.row.x"]]}, [ROWS + 999], "rows of int64"),
        ({"ask": "take", "columns": [["node0.row.x"]]}, [], "zip"),
        ({"ask": "edges", "edge": 0, "start": 3, "stop": 2}, [], "positions 3 to 2"),
        ({"ask": "edges", "edge": 0, "start": 0, "stop": 9999}, [], "positions 0 to 9999"),
    ],
)
def test_what_can_not_be_answered_is_refused_and_the_next_question_answered(folder, served, fields, arrays, message):
    with link(served[2]) as one:
        send(one, Message(fields, arrays))
        assert message in receive(one).fields["error"]
        send(one, Message({"ask": "hello", "version": VERSION, "book": Book(folder).digest}, []))
        assert receive(one).fields == {"part": 2}


def head(fields):
    data = json.dumps(fields).encode()
    return struct.pack("<4sI", MAGIC, len(data)) + data


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "must begin with"),
        (struct.pack("<4sI", MAGIC, 1 << 30), "must begin with"),
        (struct.pack("<4sI", MAGIC, 2) + b"no", "must say what its arrays are"),
        (head({}), "must say what its arrays are"),
        (head([1]), "must say what its arrays are"),
        (head({"arrays": [["|O", [1]]]}), "dtype '|O'"),
        (head({"arrays": [["<U9", [1]]]}), "dtype '<U9'"),
        (head({"arrays": [["<i8", [-1]]]}), "size -1"),
        (head({"arrays": [["<i8", [True]]]}), "size True"),
        (head({"arrays": [["<i8", [1 << 40]]]}), "must have at most"),
    ],
)
def test_what_is_no_message_ends_the_connection_and_nothing_else(folder, served, data, message):
    with link(served[0]) as one:
        one.sendall(data)
        assert message in receive(one).fields["error"]
        assert receive(one) is None
    assert len(GraphParts(folder, addresses=served).node_rows("word", "x", [0, 1])) == 2


def test_a_message_that_breaks_off_is_an_error():
    one, other = socket.socketpair()
    with one, other:
        send(one, Message({"ask": "x"}, [np.arange(3)]))
        assert receive(other).arrays[0].tolist() == [0, 1, 2]
        one.sendall(head({"arrays": [["<i8", [3]]]}) + b"12345")
        one.close()
        with pytest.raises(ConnectionResetError, match="in the middle of a message"):
            receive(other)


def test_messages_keep_dtypes_and_shapes():
    arrays = [
        np.arange(6).reshape(2, 3)[:, ::2],
        np.zeros((0, 4), np.float16),
        np.array([True, False]),
        np.array(1 + 2j, np.complex64).reshape(1),
    ]
    one, other = socket.socketpair()
    with one, other:
        send(one, Message({"a": 1}, arrays))
        found = receive(other)
    assert found.fields == {"a": 1}
    for mine, its in zip(found.arrays, arrays, strict=True):
        assert mine.dtype == its.dtype
        assert np.array_equal(mine, its)
    assert issubclass(WireError, ConnectionError)
