"""Writing: what is refused, what is kept when it is cut short, and that memory does not grow with the data."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from torch_geometric.data import HeteroData

from mmgraph.data import Collection, CollectionWriter
from mmgraph.errors import ArtifactError, DataError, SchemaError
from mmgraph.schema import EdgeSpec, NodeSpec, Schema

SCHEMA = Schema(
    nodes={"a": NodeSpec(channels=3), "b": NodeSpec()},
    edges={("a", "of", "b"): EdgeSpec()},
)


def small(rows=2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    graph = HeteroData()
    graph["a"].x = torch.rand(rows, 3, generator=generator)
    graph["b"].num_nodes = 2
    graph["a", "of", "b"].edge_index = torch.stack([torch.arange(rows), torch.arange(rows) % 2])
    return graph


def with_(change):
    graph = small()
    change(graph)
    return graph


SERVER = """
import json, os, sys, traceback
import pyarrow, torch_geometric.data, mmgraph.data  # once, for all that are forked off
for line in sys.stdin:
    code, arguments, output = json.loads(line)
    if code is None:
        print(os.waitpid(arguments, 0)[0], flush=True)
        continue
    process = os.fork()
    if process == 0:
        handle = os.open(output, os.O_WRONLY | os.O_CREAT)
        os.dup2(handle, 1)
        os.dup2(handle, 2)
        try:
            exec(code, {"argv": arguments, "__name__": "forked"})
        except BaseException:
            traceback.print_exc()
        sys.stdout.flush()
        os._exit(0)
    print(process, flush=True)
"""


class Forks:
    """Runs Python in processes of their own, which may be limited or killed."""

    def __init__(self, folder):
        env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-c", SERVER]
        self.server = subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.folder = folder
        self.outputs = {}

    def ask(self, *question):
        self.server.stdin.write(json.dumps(question) + "\n")
        self.server.stdin.flush()
        return int(self.server.stdout.readline())

    def start(self, code, *arguments):
        output = self.folder / str(len(self.outputs))
        output.touch()
        process = self.ask(textwrap.dedent(code), [str(one) for one in arguments], str(output))
        self.outputs[process] = output
        return process

    def wait(self, process):
        self.ask(None, process, "")
        return self.outputs[process].read_text()

    def run(self, code, *arguments):
        return self.wait(self.start(code, *arguments))


@pytest.fixture(scope="module")
def forks(tmp_path_factory):
    forks = Forks(tmp_path_factory.mktemp("outputs"))
    yield forks
    forks.server.communicate()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda g: setattr(g["a"], "name", "ann"), r"'name' of 'a' must be a plain tensor, got str"),
        (
            lambda g: setattr(g["a"], "age", 3),
            r"'age' of 'a' must be a plain tensor, got int.*torch.tensor\(\[value\]\)",
        ),
        (lambda g: setattr(g, "names", ["ann"]), r"'names' of None must be a plain tensor, got list"),
        (lambda g: setattr(g["a"], "w", torch.nn.Parameter(torch.ones(2))), r"'w' of 'a' must be a plain .* Parameter"),
        (lambda g: setattr(g["a"], "w", torch.ones(2, requires_grad=True)), r"requires_grad=True.*detach"),
        (lambda g: setattr(g["a"], "w", torch.eye(2).to_sparse()), r"'w' of 'a' must be dense.*torch.sparse_coo"),
        (lambda g: setattr(g["a"], "w", torch.ones(2, device="meta")), r"on the CPU.*got meta"),
        (lambda g: g["a"].update({"batch_effect": torch.ones(2)}), r"'batch_effect' of 'a' must have another name"),
        (lambda g: g["a"].update({"ptr": torch.ones(2)}), r"'ptr' of 'a' must have another name"),
        (lambda g: g["a", "of", "b"].update({"num_nodes": 1}), r"'num_nodes' of .* must have another name"),
        (lambda g: setattr(g["a", "of", "b"], "reindex", torch.ones(2)), r"'reindex' .* \[2, n\] of integers.*\[2\]"),
        (lambda g: setattr(g["a", "of", "b"], "edge_index", torch.ones(2, 2)), r"\[2, n\] of integers.*float32"),
        (lambda g: setattr(g["c"], "y", torch.ones(2)), r"'c' must say how many nodes.*\['y'\].*num_nodes"),
        (lambda g: g["c"], r"'c' must say how many nodes it has, got the attributes \[\]"),
        (lambda g: setattr(g["b"], "num_nodes", -1), r"num_nodes of 'b' must be a number of nodes, got -1"),
        (lambda g: setattr(g["b"], "num_nodes", torch.tensor(2)), r"num_nodes of 'b' must be .* got tensor\(2\)"),
        (
            lambda g: setattr(g["a", "to", "a"], "edge_attr", torch.ones(2)),
            r"\('a', 'to', 'a'\) must have an edge_index",
        ),
        (
            lambda g: setattr(g["a", "to", "z"], "edge_index", torch.ones(2, 0).long()),
            r"joins 'z', which must be a node",
        ),
        (
            lambda g: g["a", "of", "b"].edge_index.fill_(2),
            r"source rows below 2 \(the nodes of 'a'\), got 2 in column 0",
        ),
        (lambda g: g["a", "of", "b"].edge_index[1].fill_(-1), r"target rows below 2 \(the nodes of 'b'\), got -1"),
    ],
)
def test_what_can_not_be_kept_is_refused_by_value(tmp_path, change, message):
    with CollectionWriter(tmp_path / "c") as writer:
        with pytest.raises(DataError, match=message):
            writer.add(with_(change))
        assert len(writer) == 0
        writer.add(small())
    assert len(Collection(tmp_path / "c")) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda g: g.__delitem__("b"), r"same types; this one lacks \['b'\] and adds \[\].*0 rows"),
        (lambda g: setattr(g["c"], "x", torch.ones(1)), r"lacks \[\] and adds \['c'\]"),
        (lambda g: setattr(g, "y", torch.ones(1)), r"lacks \[\] and adds \['None'\]"),
        (lambda g: setattr(g["a"], "y", torch.ones(1)), r"'a' had \['x'\] in the first, got \['x', 'y'\]"),
        (lambda g: setattr(g["a"], "x", g["a"].x.double()), r"'x' of 'a' was float32 \[3\] .* got torch.float64"),
        (
            lambda g: setattr(g["a"], "x", torch.ones(2, 4)),
            r"'x' of 'a' was float32 \[3\] .* got torch.float32 \[2, 4\]",
        ),
        (lambda g: setattr(g["a"], "x", torch.ones(2)), r"'x' of 'a' was float32 \[3\] .* \[2\]"),
        (
            lambda g: setattr(g["a", "of", "b"], "edge_index", torch.ones(3, 2).long()),
            r"must be \[2, n\].*got \[3, 2\]",
        ),
        (lambda g: g["a", "of", "b"].edge_index.fill_(2), r"source rows below 2"),
    ],
)
def test_graphs_that_differ_from_the_first_are_refused(tmp_path, change, message):
    with CollectionWriter(tmp_path / "c") as writer:
        writer.add(small(seed=1))
        with pytest.raises(DataError, match=message):
            writer.add(with_(change))
        writer.add(small(seed=2))
    collection = Collection(tmp_path / "c")
    collection.verify()
    assert [graph["a"].x.equal(small(seed=seed)["a"].x) for seed, graph in enumerate(collection, 1)] == [True, True]


def test_the_schema_is_held(tmp_path):
    with CollectionWriter(tmp_path / "c", SCHEMA) as writer:
        with pytest.raises(SchemaError, match=r"got \[2, 4\]"):
            writer.add(with_(lambda g: setattr(g["a"], "x", torch.ones(2, 4))))
        writer.add(small())
    assert Collection(tmp_path / "c").schema == SCHEMA
    with CollectionWriter(tmp_path / "c", append=True) as writer:
        assert writer.schema == SCHEMA
        with pytest.raises(SchemaError, match=r"got \[2, 4\]"):
            writer.add(with_(lambda g: setattr(g["a"], "x", torch.ones(2, 4))))
    other = Schema(nodes={"a": NodeSpec(channels=3), "b": NodeSpec(unit="mm")}, edges={("a", "of", "b"): EdgeSpec()})
    with pytest.raises(ArtifactError, match="has another schema"):
        CollectionWriter(tmp_path / "c", other, append=True)
    with CollectionWriter(tmp_path / "d") as writer:
        writer.add(small())
    with pytest.raises(ArtifactError, match="has no schema"):
        CollectionWriter(tmp_path / "d", SCHEMA, append=True)
    assert Collection(tmp_path / "d").schema is None


@pytest.mark.parametrize(
    ("payloads", "message"),
    [
        ({"id": 3}, r"'id' must be strings, bytes or None, got int"),
        ({("a", "text"): ["one"]}, r"\('a', 'text'\) must have one value a node, 2, got 1 values"),
        ({("a", "text"): "xy"}, r"one value a node, 2, got str"),
        ({("a", "text"): None}, r"one value a node, 2, got NoneType"),
        ({("a", "text"): ["x", b"y"]}, r"all strings or all bytes, got string and binary"),
        ({("z", "text"): []}, r"on a node type of the graph, got 'z'"),
    ],
)
def test_payloads_that_do_not_fit_are_refused(tmp_path, payloads, message):
    with CollectionWriter(tmp_path / "c") as writer:
        with pytest.raises(DataError, match=message):
            writer.add(small(), payloads=payloads)
        writer.add(small(), payloads={"id": "p1"})
        for wrong, why in [({}, r"same payloads, \['id'\], got \[\]"), ({"id": b"p2"}, "got string and binary")]:
            with pytest.raises(DataError, match=why):
                writer.add(small(), payloads=wrong)
        writer.add(small(), payloads={"id": None})
    assert Collection(tmp_path / "c").payload(None, "id").to_pylist() == ["p1", None]


def test_splits_are_names(tmp_path):
    with CollectionWriter(tmp_path / "c") as writer:
        for wrong in ("", 3):
            with pytest.raises(DataError, match=f"must be a name or None, got {wrong!r}"):
                writer.add(small(), split=wrong)


def test_an_exception_commits_nothing_and_leaving_well_commits(tmp_path):
    def stopped(*, append):
        with CollectionWriter(tmp_path / "c", append=append) as writer:
            if append:
                writer.extend([small(seed=2)] * 9)
                writer.commit()
            writer.extend([small(seed=3)] * 9)
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        stopped(append=False)
    with pytest.raises(ArtifactError, match=r"collection\.json' must exist"):
        Collection(tmp_path / "c")
    with CollectionWriter(tmp_path / "c") as writer:
        writer.add(small(seed=1))
    with pytest.raises(RuntimeError, match="stop"):
        stopped(append=True)
    collection = Collection(tmp_path / "c")
    collection.verify()
    assert (len(collection), collection.columns.head.commit) == (10, 2)
    with CollectionWriter(tmp_path / "c", append=True):
        pass  # nothing new, no commit
    assert Collection(tmp_path / "c").columns.head.commit == 2


def test_a_collection_is_not_written_over_by_mistake(tmp_path):
    with CollectionWriter(tmp_path / "c") as writer:
        writer.add(small())
    with pytest.raises(ArtifactError, match=r"holds a collection already; give append=True"):
        CollectionWriter(tmp_path / "c")
    assert len(Collection(tmp_path / "c")) == 1


def test_readers_keep_their_version(tmp_path):
    with CollectionWriter(tmp_path / "c") as writer:
        writer.add(small(seed=1), payloads={"id": "p1"}, split="train")
    old = Collection(tmp_path / "c")
    with CollectionWriter(tmp_path / "c", append=True) as writer:
        writer.add(small(seed=2), payloads={"id": "p2"}, split="test")
        writer.commit()
        writer.add(small(seed=3), payloads={"id": "p3"}, split="train")
    new = Collection(tmp_path / "c")
    for one, count in ((old, 1), (new, 3)):
        one.verify()
        assert len(one) == count
        assert one.payload(None, "id").to_pylist() == ["p1", "p2", "p3"][:count]
    assert {name: numbers.tolist() for name, numbers in old.splits.items()} == {"train": [0]}
    assert {name: numbers.tolist() for name, numbers in new.splits.items()} == {"train": [0, 2], "test": [1]}


def test_one_writer_at_a_time(tmp_path, forks):
    with CollectionWriter(tmp_path / "c") as writer:
        with pytest.raises(ArtifactError, match=r"one writer at a time, and another is at work"):
            CollectionWriter(tmp_path / "c", append=True)
        code = """
            from mmgraph.data import CollectionWriter
            from mmgraph.errors import ArtifactError
            try:
                CollectionWriter(argv[0], append=True)
            except ArtifactError as error:
                print(error)
        """
        assert "another is at work" in forks.run(code, tmp_path / "c")
        writer.add(small())
    assert len(Collection(tmp_path / "c")) == 1
    CollectionWriter(tmp_path / "c", append=True).close()


ENDLESS = """
    import torch
    from torch_geometric.data import HeteroData
    from mmgraph.data import CollectionWriter
    writer = CollectionWriter(argv[0], append=True)
    number = len(writer)
    print("ready", flush=True)
    while True:
        graph = HeteroData()
        graph["a"].x = torch.full((number % 5, 3), float(number))
        graph["b"].num_nodes = 2
        graph["a", "of", "b"].edge_index = torch.zeros(2, number % 5, dtype=torch.long)
        writer.add(graph, payloads={"id": str(number)}, split=("train", "test")[number % 2])
        number += 1
        if number % 7 == 0:
            writer.commit()
"""


def test_a_kill_at_any_moment_leaves_what_was_committed(tmp_path, forks):
    """Writers are killed in turn; each goes on from where the last commit was, whatever else is lying around."""
    count = 0
    for turn in range(6):
        process = forks.start(ENDLESS, tmp_path / "c")
        while "ready" not in (output := forks.outputs[process].read_text()):
            assert "Error" not in output, output
        time.sleep(0.03 * turn)
        os.kill(process, signal.SIGKILL)
        forks.wait(process)
        if not (tmp_path / "c/collection.json").exists():
            continue
        collection = Collection(tmp_path / "c")
        collection.verify()
        assert len(collection) >= count
        assert len(collection) % 7 == 0
        count = len(collection)
        numbers = range(count)
        assert [graph["a"].x.sum() for graph in collection] == [3 * (n % 5) * n for n in numbers]
        assert collection.payload(None, "id").to_pylist() == [str(n) for n in numbers]
        assert sorted(np.concatenate(list(collection.splits.values()))) == list(numbers)
    assert count > 0


def test_a_full_disk_leaves_what_was_committed(tmp_path, forks):
    """A limit on the size of a file makes the same error as a disk without room."""
    with CollectionWriter(tmp_path / "c") as writer:
        writer.extend([small(seed=seed) for seed in range(5)])
    code = """
        import resource, signal, torch
        from torch_geometric.data import HeteroData
        from mmgraph.data import CollectionWriter
        from mmgraph.errors import ArtifactError
        graph = HeteroData()
        graph["a"].x = torch.rand(20_000, 3)
        graph["b"].num_nodes = 2
        graph["a", "of", "b"].edge_index = torch.zeros(2, 2, dtype=torch.long)
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(argv[1]), int(argv[1])))
        for what in ("add", "commit"):
            try:
                with CollectionWriter(argv[0], append=True) as writer:
                    for _ in range(1 if what == "commit" else 9):
                        writer.add(graph)
            except ArtifactError as error:
                print(what, error)
                for again in (writer.commit, lambda: writer.add(graph)):
                    try:
                        again()
                    except ArtifactError as error:
                        print("again", error)
    """
    output = forks.run(code, tmp_path / "c", 200_000)
    assert "File too large; the version that was committed before (commit 1) is intact" in output
    again = [line for line in output.splitlines() if line.startswith("again")]
    assert len(again) == 4
    assert all("committed before" in line and "is intact" in line for line in again), output
    collection = Collection(tmp_path / "c")
    collection.verify()
    assert [graph["a"].x.equal(small(seed=n)["a"].x) for n, graph in enumerate(collection)] == [True] * 5
    with CollectionWriter(tmp_path / "c", append=True) as writer:
        writer.add(small(seed=5))
    assert Collection(tmp_path / "c")[5]["a"].x.equal(small(seed=5)["a"].x)


def test_a_place_that_can_not_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(ArtifactError, match=r"file/c' can't be written: .*nothing was committed before"):
        CollectionWriter(tmp_path / "file/c")
    with pytest.raises(ArtifactError, match=r"file' can't be written"):
        CollectionWriter(tmp_path / "file")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere; the case above stands in")
def test_a_read_only_folder_is_named(tmp_path):
    (tmp_path / "c").mkdir(mode=0o555)
    with pytest.raises(ArtifactError, match=r"c' can't be written: .*Permission denied"):
        CollectionWriter(tmp_path / "c")


def test_an_add_that_is_cut_short_is_never_committed(tmp_path, monkeypatch):
    def interrupt(name, array):
        if name.startswith("edge"):
            raise KeyboardInterrupt

    def cut_short():
        with CollectionWriter(tmp_path / "c") as writer:
            writer.add(small())
            monkeypatch.setattr(writer._columns, "append", interrupt)
            with contextlib.suppress(KeyboardInterrupt):
                writer.add(small())

    with pytest.raises(ArtifactError, match="adding sample 1 was cut short"):
        cut_short()
    assert not (tmp_path / "c/collection.json").exists()


@pytest.mark.parametrize("what", ["columns/node.a.x", "columns/offsets.node.a", "collection.json", "splits.json"])
def test_nothing_is_added_to_what_is_damaged(tmp_path, what):
    with CollectionWriter(tmp_path / "c") as writer:
        writer.add(small())
    path = tmp_path / "c" / what
    path.write_bytes(path.read_bytes()[:-3] + b"123")
    with pytest.raises(ArtifactError, match=path.name + r"'.* damaged|must hold JSON"):
        CollectionWriter(tmp_path / "c", append=True)
    path.unlink()
    with pytest.raises(ArtifactError, match=path.name):
        CollectionWriter(tmp_path / "c", append=True) if what != "collection.json" else Collection(tmp_path / "c")


@pytest.mark.parametrize("limit", ["RLIMIT_DATA", "RLIMIT_AS"])
def test_memory_stays_bounded_while_ten_times_as_much_is_written_and_read(tmp_path, limit, forks):
    """All that a process may allocate is limited; the data is ten times what it may allocate beyond its start.

    ``RLIMIT_DATA`` counts what is allocated, so files are mapped; ``RLIMIT_AS`` (``ulimit -v``) counts what is mapped
    as well, so they can't be, and are read piece by piece.
    """
    code = """
        import resource, torch
        from pathlib import Path
        from torch_geometric.data import Batch, HeteroData
        from mmgraph.data import Collection, CollectionWriter
        def graph(number):
            graph = HeteroData()
            graph["a"].x = torch.full((250, 256), float(number))  # a quarter of a megabyte
            graph["a", "near", "a"].edge_index = torch.full((2, 250), number % 250)
            return graph
        path, kind = Path(argv[0]), getattr(resource, argv[1])
        with CollectionWriter(path / "warm") as writer:
            writer.add(graph(0), payloads={"id": "0"})
        Collection(path / "warm").batch([0, 0])
        Batch.from_data_list([graph(0)])
        word = {"RLIMIT_DATA": "VmData", "RLIMIT_AS": "VmSize"}[argv[1]]
        used = int(next(line for line in open("/proc/self/status") if line.startswith(word)).split()[1]) << 10
        resource.setrlimit(kind, (used + (24 << 20), used + (24 << 20)))
        with CollectionWriter(path / "large") as writer:
            for number in range(1000):
                writer.add(graph(number), payloads={"id": str(number) * 1000}, split="train")
        collection = Collection(path / "large")
        for number in range(1000):
            assert collection[number]["a"].x[0, 0] == number
        for first in range(0, 1000, 4):
            for numbers in ([first + 2, first, first + 3, first + 1], range(first, first + 4)):
                batch = collection.batch(numbers)
                assert batch["a"].x[::250, 0].tolist() == list(numbers)
                expected = [number % 250 + 250 * place for place, number in enumerate(numbers)]
                assert batch["a", "near", "a"].edge_index[:, ::250].tolist() == [expected, expected]
        collection.verify()
        mapped = collection.column("a", "x").file.mapped
        try:
            torch.ones(64 << 18)
        except RuntimeError:
            print("limited", mapped, sum(file.stat().st_size for file in (path / "large").rglob("*")) >> 20)
    """
    output = forks.run(code, tmp_path, limit)
    assert output.startswith(f"limited {limit == 'RLIMIT_DATA'} 2"), output
    assert int(output.split()[2]) >= 240
