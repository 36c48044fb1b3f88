"""Databases as graphs: keys are edges, columns are payloads, and nothing is seen before its time."""

import sqlite3
import warnings
from contextlib import closing

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch

from mmgraph.assembly import Built, DatabaseSource, build_graph, database_source
from mmgraph.assembly.database import column_kind
from mmgraph.data import NeighbourLoader, NeighbourSampler, NodeSeeds
from mmgraph.encoders import Encoder, FeatureCache, Table
from mmgraph.errors import ConfigError, DataError
from mmgraph.fusion import Concat
from mmgraph.interop import Database, DatabaseTable, TaskTable, to_relbench, write_relbench
from mmgraph.layers import Mean, Stack
from mmgraph.model import Model

BEGIN = np.datetime64("2024-01-01", "us")
DAY = 86_400_000_000
KINDS = ("users", "posts", "votes", "tags")


def day(number):
    return None if number is None else pd.Timestamp(BEGIN + np.timedelta64(int(number), "D"))


def forum(seed=0, *, users=8, posts=30, votes=60):
    """Users write posts on later and later days; users vote; tags always were. Keys are words, rows are shuffled."""
    rng = np.random.default_rng(seed)
    joined, author = np.sort(rng.integers(0, 20, users)), rng.integers(0, users, posts)
    at = joined[author] + rng.integers(0, 60, posts)
    voter, post = rng.integers(0, users, votes), rng.integers(0, posts, votes)
    when = at[post] + rng.integers(0, 30, votes)
    parent = [None if rng.random() < 0.5 else f"p{rng.integers(posts)}" for _ in range(posts)]
    tables = {
        "users": DatabaseTable(
            {
                "id": [f"u{one}" for one in range(users)],
                "joined": [day(one) for one in joined],
                "age": [None if one == 2 else 20.0 + one for one in range(users)],
            },
            key="id",
            time="joined",
        ),
        "posts": DatabaseTable(
            {
                "id": [f"p{one}" for one in range(posts)],
                "author": [f"u{one}" for one in author],
                "parent": parent,
                "tag": [f"t{one % 3}" for one in range(posts)],
                "at": [day(one) for one in at],
                "text": [None if one % 7 == 0 else f"post number {one} says a thing" for one in range(posts)],
                "score": [float(one % 5) for one in range(posts)],
            },
            key="id",
            foreign={"author": "users", "parent": "posts", "tag": "tags"},
            time="at",
        ),
        "votes": DatabaseTable(
            {"user": [f"u{one}" for one in voter], "post": [f"p{one}" for one in post], "at": [day(x) for x in when]},
            foreign={"user": "users", "post": "posts"},
            time="at",
        ),
        "tags": DatabaseTable({"id": ["t0", "t1", "t2"], "label": ["red", "green", "blue"]}, key="id"),
    }
    return Database(tables, day(30).to_pydatetime(), day(45).to_pydatetime())


def churn(seed=1):
    """Each user is asked about on three days; each answer is known."""
    rng, parts = np.random.default_rng(seed), {}
    for part, on in (("train", 25), ("val", 35), ("test", 50)):
        left = [True, False, *(rng.random(6) < 0.5).tolist()]
        parts[part] = {"user": [f"u{one}" for one in range(8)], "on": [day(on)] * 8, "left": left}
    return TaskTable(parts, "users", "user", "left", time="on", hidden=[("posts", "score")])


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return FeatureCache(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def source():
    return database_source(forum(), task=churn())


@pytest.fixture(scope="module")
def built(source, cache):
    return build_graph(source, cache=cache)


def test_columns_are_what_they_hold(source):
    assert source.config.modality_nodes == {
        "users_table": ("users", ("joined", "age")),
        "posts_table": ("posts", ("at",)),  # keys are edges, the score is hidden
        "posts_text": ("posts", ("text",)),
        "votes_table": ("votes", ("at",)),
        "tags_label": ("tags", ("label",)),
    }
    assert isinstance(source, DatabaseSource)
    assert source.times == {"users": "joined", "posts": "at", "votes": "at", "question": "on"}


def test_keys_are_edges_both_ways(built):
    graph, posts = built.graph, forum().tables["posts"].rows.to_pydict()
    for column, other in (("author", "users"), ("parent", "posts"), ("tag", "tags")):
        wanted = {(f"p{row}", one) for row, one in enumerate(posts[column]) if one is not None}
        keys, others = built.keys["posts"], built.keys[other]
        index = graph["posts", column, other].edge_index
        assert {(keys[a], others[b]) for a, b in index.T.tolist()} == wanted
        assert torch.equal(graph[other, f"^{column}", "posts"].edge_index, index.flip(0))


def test_relbench_makes_the_same_edges(cache):
    relbench = pytest.importorskip("relbench.modeling.graph")
    database = forum().for_relbench()
    source = database_source(database, anchor="posts")
    ours = build_graph(source, cache=cache).graph
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        theirs, _ = relbench.make_pkey_fkey_graph(to_relbench(database), {name: {} for name in database.tables})
    for name, one in database.tables.items():
        if one.time is not None:
            assert torch.equal(theirs[name].time * 1_000_000, ours[name].time)
        for column, other in one.foreign.items():
            for relation, edge in (("f2p_", (name, column, other)), ("rev_f2p_", (other, f"^{column}", name))):
                wanted = theirs[edge[0], f"{relation}{column}", edge[2]].edge_index
                assert sorted(ours[edge].edge_index.T.tolist()) == sorted(wanted.T.tolist())


def test_a_question_is_a_node_and_nothing_leads_back(built):
    graph = built.graph
    assert [edge for edge in graph.edge_types if "question" in (edge[0], edge[2])] == [("users", "asked", "question")]
    source, target = graph["users", "asked", "question"].edge_index
    assert source.tolist() == list(range(8)) * 3
    assert target.tolist() == list(range(24))
    store = graph["question"]
    assert [int(store[f"{part}_mask"].sum()) for part in ("train", "val", "test")] == [8, 8, 8]
    assert store.y.tolist() == [int(one) for one in churn().rows.column("left").to_pylist()]
    assert built.schema.anchor == "question"
    assert built.schema.paths["users_table"] == (("users_table", "of", "users"), ("users", "asked", "question"))


def test_an_edge_is_as_old_as_its_younger_end(built):
    graph = built.graph
    ages = {name: graph[name].get("time", torch.full((graph[name].num_nodes,), -(2**63))) for name in graph.node_types}
    for edge in graph.edge_types:
        source, target = graph[edge].edge_index
        wanted = [max(int(ages[edge[0]][a]), int(ages[edge[2]][b])) for a, b in zip(source, target, strict=True)]
        assert graph[edge].time.tolist() == wanted, edge
    assert "time" not in graph["tags"]
    assert "time" not in graph["tags_label"]
    assert (
        graph["posts_text"].time.tolist()
        == graph["posts"].time[graph["posts_text", "of", "posts"].edge_index[1]].tolist()
    )


def sampled(built, seeds, **options):
    graph = built.graph
    sampler = NeighbourSampler(graph, fan_out=[-1, -1, -1], compiled=False, **options)
    return next(iter(NeighbourLoader(sampler, seeds, batch_size=24, prefetch=0)))


def latest(batch):
    """How far each node that was reached is after its seed, in days, at most."""
    seed_time = batch["question"].time[:24]
    late = [
        (batch[node].time - seed_time[batch[node].batch]).max()
        for node in batch.node_types
        if "time" in batch[node] and batch[node].num_nodes
    ]
    return int(max(late)) / DAY


def test_a_sampler_shows_nothing_that_came_later(built):
    store = built.graph["question"]
    seeds = NodeSeeds("question", torch.arange(24), time=store.time)
    batch = sampled(built, seeds, time="time")
    assert latest(batch) <= 0
    assert batch["votes"].num_nodes > 10
    control = sampled(built, NodeSeeds("question", torch.arange(24)), disjoint=True)
    assert latest(control) > 0  # without times, the future is seen


def test_the_future_changes_nothing(built, source, cache):
    """All that is later than the questions of training is another, and their batch is the same to the bit."""
    store = built.graph["question"]
    rows = store.train_mask.nonzero()[:, 0]
    limit, other = int(store.time[rows].max()), build_graph(source, cache=cache)
    changed = 0
    for node in other.graph.node_types:
        if "time" in other.graph[node] and other.graph[node].get("x") is not None:
            late = other.graph[node].time > limit
            other.graph[node].x = other.graph[node].x.masked_fill(late[:, None], 1e9)
            changed += int(late.sum())
    assert changed > 20
    batches = [sampled(one, NodeSeeds("question", rows, time=store.time[rows]), time="time") for one in (built, other)]
    for node in batches[0].node_types:
        assert torch.equal(batches[0][node].n_id, batches[1][node].n_id)
        if "x" in batches[0][node]:
            assert torch.equal(batches[0][node].x, batches[1][node].x)


def test_a_row_whose_time_is_not_known_is_never_seen(cache):
    database = forum()
    posts = database.tables["posts"].rows
    times = posts.column("at").to_pylist()
    times[3] = None
    place = posts.column_names.index("at")
    rows = posts.set_column(place, "at", pa.array(times, pa.timestamp("us")))
    one = DatabaseTable(rows, key="id", foreign=database.tables["posts"].foreign, time="at")
    source = database_source(Database({**database.tables, "posts": one}), task=churn())
    built = build_graph(source, cache=cache)
    store = built.graph["question"]
    batch = sampled(built, NodeSeeds("question", torch.arange(24), time=store.time), time="time")
    assert 3 not in batch["posts"].n_id.tolist()
    assert built.graph["posts"].time[3] == 2**63 - 1


def test_rows_that_are_set_aside_have_no_time(cache):
    rows = {"id": [1, None, 2, 1], "at": [day(1), day(2), day(3), day(4)], "y": [0.5, 1.5, 2.5, 0.5]}
    source = database_source(Database({"t": DatabaseTable(rows, key="id", time="at")}), limits={"rejected": 0.5})
    graph = build_graph(source, cache=cache).graph
    assert ((graph["t"].time - int(BEGIN.astype(int))) / DAY).tolist() == [1, 3]
    rows = {"at": [2020, 2021], "y": [0.5, 1.5]}
    source = database_source(Database({"t": DatabaseTable(rows, time="at")}))
    assert build_graph(source, cache=cache).graph["t"].time.tolist() == [2020, 2021]


def test_times_of_several_kinds_are_refused(cache):
    tables = {
        "a": DatabaseTable({"id": [1, 2], "at": [2020, 2021], "y": [1, 2]}, key="id", time="at"),
        "b": DatabaseTable({"a": [1, 2], "on": ["2024-01-01", "2024-01-02"]}, foreign={"a": "a"}, time="on"),
    }
    source = database_source(Database(tables), anchor="a")
    with pytest.raises(DataError, match=r"all whole numbers, got \{'at': False, 'on': True\}"):
        build_graph(source, cache=cache)


def test_times_are_written(source, cache, tmp_path):
    timed = build_graph(source, cache=cache)
    timed.write(tmp_path / "forum")
    back = Built.open(tmp_path / "forum").graph
    for edge in timed.graph.edge_types:
        assert torch.equal(back[edge].time, timed.graph[edge].time)


class Rows(Encoder):
    """The payloads of rows; the rows themselves start at nothing."""

    def __init__(self, schema):
        super().__init__()
        self.payloads = Table({node: spec.channels for node, spec in schema.nodes.items() if spec.channels}, 4)
        self.rows = [node for node, spec in schema.nodes.items() if not spec.channels]

    def forward(self, graph):
        return self.payloads(graph) | {node: torch.zeros(graph[node].num_nodes, 4) for node in self.rows}


def test_a_model_answers_batches(built):
    """What a user is by their own row, and by the posts and votes that there were."""
    store, schema = built.graph["question"], built.schema
    model = Model(
        schema=schema,
        encoder=Rows(schema),
        within=Stack(Mean(4, 4, relations=list(schema.edges)), Mean(4, 4, relations=list(schema.edges))),
        fusion=Concat(dict.fromkeys(["question", *schema.paths], 4), 4),
        head=torch.nn.Linear(4, 2),
    )
    batch = sampled(built, NodeSeeds("question", torch.arange(24), time=store.time), time="time")
    assert model(batch).shape == (24, 2)


def test_a_column_may_be_the_target():
    source = database_source(forum(), anchor="posts", target="score")
    assert source.config.targets["score"].column == "score"
    assert source.config.modality_nodes["posts_table"] == ("posts", ("at",))
    assert source.config.split.column == "part"
    times = forum().tables["posts"].rows.column("at").to_pylist()
    wanted = ["train" if at <= day(30) else "val" if at <= day(45) else "test" for at in times]
    assert source.tables["posts"].column("part").to_pylist() == wanted


@pytest.mark.parametrize(
    ("table", "split"),
    [
        (DatabaseTable({"x": [1.0], "y": [1]}), {"by": "random"}),
        (DatabaseTable({"at": [day(1)], "y": [1]}, time="at"), {"by": "time", "column": "at"}),
    ],
)
def test_a_target_is_split_by_time_where_there_is_one(table, split):
    found = database_source(Database({"t": table}), target="y").config.split
    assert found.model_dump(exclude_unset=True) == split


def test_folders_files_and_objects_are_databases(tmp_path):
    import yaml

    folder = write_relbench(forum().for_relbench(), tmp_path / "forum")
    place = folder / "tasks" / "churn"
    place.mkdir(parents=True)
    facts = {"name": "churn", "kind": "external", "task_type": "binary_classification", "entity_table": "users"}
    facts |= {"entity_col": "user", "target_col": "left", "time_col": "on"}
    (place / "manifest.yaml").write_text(yaml.safe_dump(facts))
    import pyarrow.parquet as pq

    for part, rows in churn().parts.items():
        numbers = pa.array([int(one[1:]) for one in rows.column("user").to_pylist()])
        pq.write_table(rows.set_column(0, "user", numbers), place / f"{part}.parquet")
    read = database_source(folder, task="churn")
    assert [edge.types for edge in read.config.edges] == [
        edge.types for edge in database_source(forum(), task=churn()).config.edges
    ]
    with closing(sqlite3.connect(tmp_path / "a.db")) as database:
        database.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, at TEXT)")
    assert database_source(tmp_path / "a.db", times={"t": "at"}).times == {"t": "at"}
    loaded = pytest.importorskip("relbench.load").load_dataset(folder)
    given = database_source(loaded, task=loaded.load_task("churn"))
    assert given.config.targets["left"].kind == "binary"


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({}, ConfigError, r"anchor must be one of the tables \['users', .*\], got None"),
        ({"anchor": "user"}, ConfigError, "anchor must be one of the tables .* got 'user'"),
        ({"anchor": "posts", "task": churn()}, ConfigError, "so anchor and target must be None"),
        ({"task": churn(), "asked": "posts"}, ConfigError, "asked a new name: 'posts'"),
        ({"task": "churn"}, ConfigError, "named in a folder of RelBench; got 'churn' for a Database"),
        ({"anchor": "posts", "times": {"post": "at"}}, DataError, "times must be of tables, .*, got 'post'"),
        ({"anchor": "posts", "columns": {"posts": {"txt": "text"}}}, DataError, "among .*, got 'txt'"),
    ],
)
def test_other_words_are_refused(options, error, message):
    with pytest.raises(error, match=message):
        database_source(forum(), **options)


def test_a_task_must_not_use_the_names_of_its_columns():
    parts = {part: {"row": ["u1"], "y": [1.5]} for part in ("train", "val", "test")}
    with pytest.raises(DataError, match="must not have a column 'row'; rename it"):
        database_source(forum(), task=TaskTable(parts, "users", "row", "y"))


def test_each_question_must_have_a_time():
    parts = {part: {"user": ["u1"], "on": [None if part == "val" else day(3)], "y": [1.5]} for part in churn().parts}
    with pytest.raises(DataError, match="Each question must have a time in 'on', got none in row 1"):
        database_source(forum(), task=TaskTable(parts, "users", "user", "y", time="on"))


def test_a_database_without_times_has_none(cache):
    source = database_source(Database({"t": DatabaseTable({"id": [1, 2], "y": [0.5, 1.5]}, key="id")}))
    graph = build_graph(source, cache=cache).graph
    assert all("time" not in store for store in graph.stores)


def test_a_nanosecond_later_is_later(cache):
    """Of what is told apart by nanoseconds alone, nothing is taken for earlier than it was."""
    at = pa.array([5_000_000_500, 5_000_000_501], pa.timestamp("ns"))
    posts = DatabaseTable({"user": ["a", "a"], "at": at, "n": [1.5, 2.5]}, foreign={"user": "users"}, time="at")
    users = DatabaseTable({"id": ["a"]}, key="id")
    part = {"user": ["a"], "on": at[:1], "y": [1.5]}
    task = TaskTable(dict.fromkeys(churn().parts, part), "users", "user", "y", time="on")
    source = database_source(Database({"users": users, "posts": posts}), task=task)
    graph = build_graph(source, cache=cache).graph
    assert graph["question"].time.tolist() == [5_000_000] * 3
    assert graph["users", "asked", "question"].time.tolist() == [5_000_000] * 3
    assert graph["posts", "user", "users"].time.tolist() == [5_000_001] * 2


def test_columns_may_be_said():
    columns = {
        "posts": {"text": None, "tag": "category", "score": {"modality": "category"}, "at": "keep"},
        "tags": {"label": {"modality": "symbol", "node": "word"}},
    }
    found = database_source(forum(), anchor="posts", columns=columns, hidden=[("users", "age")]).config
    assert found.modality_nodes == {
        "users_table": ("users", ("joined",)),
        "posts_table": ("posts", ("tag", "score")),
        "votes_table": ("votes", ("at",)),
        "word": ("tags", ("label",)),
    }
    assert found.nodes["posts"].columns["at"].modality == "keep"


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([True, None], "category"),
        (pa.array(["a", "a"]).dictionary_encode(), "category"),
        ([1, 2], "numeric"),
        (pa.array([None, None], pa.int64()), None),
        ([day(1)], "datetime"),
        (["2024-02-29 10:00", None, " "], "datetime"),
        (["20240229", "20240301", "20240302"], "text"),  # a number, not a date
        ([None, " "], None),
        ([str(one % 100) for one in range(200)], "category"),
        ([str(one % 101) for one in range(202)], "text"),
        (["a", "b", "a"], "text"),
        ([["a"], ["a", "b"]], "symbol"),
        (pa.array([[1.0, 2.0]], pa.list_(pa.float32(), 2)), "series"),
        ([b"x"], None),
        ([{"a": 1}], None),
        ([[[1]]], None),
    ],
)
def test_kinds_of_columns(values, kind):
    array = values if isinstance(values, pa.Array) else pa.array(values)
    assert column_kind(pa.chunked_array([array])) == kind
