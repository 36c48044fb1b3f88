"""Modalities taken from graphs and batches: what goes, what stays, and how often."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_geometric.data import Batch, HeteroData

from mmgraph.data import Collection, CollectionWriter, ModalityDropout, drop_modalities
from mmgraph.errors import ConfigError, DataError, SchemaError
from mmgraph.schema import EdgeSpec, NodeSpec, Schema
from mmgraph.testing import fake_graph

SCHEMA = Schema(
    nodes={
        "patient": NodeSpec(channels=2),
        "scan": NodeSpec(channels=3, attributes=("time",)),
        "note": NodeSpec(),
        "patch": NodeSpec(channels=1),
        "mark": NodeSpec(channels=0),
    },
    edges={
        ("scan", "of", "patient"): EdgeSpec(weighted=True, multiple=True),
        ("note", "of", "patient"): EdgeSpec(multiple=True),
        ("patch", "of", "scan"): EdgeSpec(multiple=True),
        ("mark", "of", "patch"): EdgeSpec(multiple=True),
        ("mark", "of", "note"): EdgeSpec(multiple=True),
        ("scan", "near", "note"): EdgeSpec(channels=2, multiple=True),
        ("patient", "near_scan", "patient"): EdgeSpec(weighted=True, multiple=True),
        ("patient", "knows", "patient"): EdgeSpec(multiple=True),
    },
    anchor="patient",
)
WIDTHS = {"patient": 2, "scan": 3, "note": 4, "patch": 1, "mark": 0}


@st.composite
def graphs(draw):
    """A graph of any number of rows and edges, also none; nodes may be of several others, or of none."""
    graph = HeteroData()
    seed = torch.Generator().manual_seed(draw(st.integers(0, 2**32)))
    for node, width in WIDTHS.items():
        rows = draw(st.integers(0, 4), label=node)
        if node == "note":
            graph[node].num_nodes = rows
            graph[node].length = torch.arange(rows)
        else:
            graph[node].x = torch.randn(rows, width, generator=seed)
    graph["scan"].time = torch.rand(graph["scan"].num_nodes, generator=seed)
    graph["patient"].about = torch.rand(1, generator=seed)  # of the graph, whatever the number of its rows
    for edge_type, spec in SCHEMA.edges.items():
        ends = [graph[node].num_nodes for node in edge_type[::2]]
        count = draw(st.integers(0, 5)) if all(ends) else 0
        graph[edge_type].edge_index = torch.stack(
            [torch.randint(max(rows, 1), (count,), generator=seed) for rows in ends]
        )
        if spec.weighted:
            graph[edge_type].edge_weight = torch.rand(count, generator=seed)
        if spec.channels is not None:
            graph[edge_type].edge_attr = torch.randn(count, spec.channels, generator=seed)
    return graph


def lost_of(graph, seed):
    rows = graph["patient"].num_nodes
    return {name: torch.rand(rows, generator=seed) < 0.5 for name in ("scan", "note")}


def slowly(graph, lost):
    """The same by sets and loops: tensors row by row, edges by the names of their ends."""
    dead = set()
    for _ in range(5):
        for edge_type in SCHEMA.edges:
            node, relation, _ = edge_type
            if relation != "of":
                continue
            for row in range(graph[node].num_nodes):
                owners = [
                    (kind[2], owner)
                    for kind in SCHEMA.edges
                    if kind[:2] == (node, "of")
                    for source, owner in graph[kind].edge_index.T.tolist()
                    if source == row
                ]
                away = [(t, o) in dead or (t == "patient" and node in lost and bool(lost[node][o])) for t, o in owners]
                if owners and all(away):
                    dead.add((node, row))
    left = HeteroData()
    rows = {node: [r for r in range(graph[node].num_nodes) if (node, r) not in dead] for node in graph.node_types}
    for node in graph.node_types:
        for key, value in graph[node].items():
            if key == "num_nodes":
                left[node][key] = len(rows[node])
            else:
                left[node][key] = value if key == "about" else value[rows[node]]
    for kind in graph.edge_types:
        keep = []
        for column, (a, b) in enumerate(graph[kind].edge_index.T.tolist()):
            cut = (kind[0], a) in dead or (kind[2], b) in dead
            if kind[1:] == ("of", "patient"):
                cut |= bool(lost[kind[0]][b])
            if kind[1] == "near_scan":
                cut |= bool(lost["scan"][a]) or bool(lost["scan"][b])
            if not cut:
                keep.append(column)
        for key, value in graph[kind].items():
            if key == "edge_index":
                pairs = [
                    [rows[kind[0]].index(a), rows[kind[2]].index(b)] for a, b in value.T[keep].reshape(-1, 2).tolist()
                ]
                left[kind][key] = torch.tensor(pairs, dtype=torch.long).reshape(-1, 2).T
            else:
                left[kind][key] = value[keep]
    return left


def assert_same(got, expected):
    """Types, keys, values and, of a batch, what ``to_data_list`` needs, bit for bit."""
    assert got.node_types == expected.node_types
    assert got.edge_types == expected.edge_types
    for ours, theirs in zip(got.stores, expected.stores, strict=True):
        assert set(ours.keys()) == set(theirs.keys())
        for key, value in theirs.items():
            if isinstance(value, torch.Tensor):
                assert ours[key].dtype == value.dtype, key
                assert torch.equal(ours[key], value), (ours._key, key)
            else:
                assert ours[key] == value
        assert ours.__dict__.get("_num_nodes") == theirs.__dict__.get("_num_nodes")
    for name in ("_slice_dict", "_inc_dict"):
        ours, theirs = (graph._global_store.__dict__.get(name, {}) for graph in (got, expected))
        assert set(ours) == set(theirs)
        for store, values in theirs.items():
            assert set(ours[store]) == set(values)
            assert all(torch.equal(ours[store][key], value) for key, value in values.items()), store


@settings(max_examples=150)
@given(graph=graphs(), seed=st.integers(0, 99))
def test_what_goes_is_what_a_slow_loop_says(graph, seed):
    SCHEMA.check(graph)
    lost = lost_of(graph, torch.Generator().manual_seed(seed))
    before = copy.deepcopy(graph)
    left = drop_modalities(graph, SCHEMA, lost)
    if graph["patient"].num_nodes == 1:  # there "about" looks like a row a patient
        assert torch.equal(left["patient"].about, graph["patient"].about)
    assert_same(left, slowly(graph, lost))
    assert_same(graph, before)
    SCHEMA.check(left)


@settings(max_examples=150)
@given(samples=st.lists(graphs(), min_size=1, max_size=4), seed=st.integers(0, 99))
def test_a_batch_loses_what_its_samples_lose(samples, seed):
    generator = torch.Generator().manual_seed(seed)
    lost = [lost_of(graph, generator) for graph in samples]
    together = {name: torch.cat([one[name] for one in lost]) for name in ("scan", "note")}
    whole, before = (Batch.from_data_list(samples) for _ in range(2))
    batch = drop_modalities(whole, SCHEMA, together)
    each = [drop_modalities(graph, SCHEMA, one) for graph, one in zip(samples, lost, strict=True)]
    assert_same(batch, Batch.from_data_list(each))
    assert batch.num_graphs == len(samples)
    for got, expected in zip(batch.to_data_list(), each, strict=True):
        assert_same(got, expected)
    assert_same(whole, before)


def test_a_batch_of_a_collection_loses_the_same(tmp_path):
    samples = [fake_graph(subjects, seed=subjects)[0] for subjects in (5, 9, 7)]
    schema = fake_graph(5)[1]
    with CollectionWriter(tmp_path / "c", schema) as writer:
        writer.extend(samples)
    collection = Collection(tmp_path / "c")
    dropout = ModalityDropout(schema, rate=0.5)
    ours = dropout(collection.batch([2, 0, 1]), torch.Generator().manual_seed(1))
    theirs = dropout(Batch.from_data_list([samples[i] for i in (2, 0, 1)]), torch.Generator().manual_seed(1))
    assert_same(ours, theirs)
    for graph in ours.to_data_list():
        schema.check(graph)


def test_a_type_that_only_counts_its_rows_loses_them():
    graph = HeteroData()
    graph["patient"].x = torch.empty(2, 0)
    graph["note"].num_nodes = 3
    graph["note", "of", "patient"].edge_index = torch.tensor([[0, 1, 2], [0, 0, 1]])
    schema = Schema.infer(graph)
    lost = {"note": torch.tensor([True, False])}
    assert drop_modalities(graph, schema, lost)["note"].num_nodes == 1
    batch = drop_modalities(Batch.from_data_list([graph, graph]), schema, {"note": torch.tensor([True, False] * 2)})
    assert batch["note"].num_nodes == 2
    assert batch["note"]._num_nodes == [1, 1]
    assert batch["note"].batch.tolist() == [0, 1]


def test_views_lose_rows_too():
    graph = HeteroData()
    graph["patient"].x = torch.empty(2, 0)
    graph["note"].n_id = torch.tensor([4, 5, 6])
    graph["note", "of", "patient"].edge_index = torch.tensor([[0, 1, 2], [0, 0, 1]])
    schema = Schema(
        nodes={"patient": NodeSpec(channels=0), "note": NodeSpec()},
        edges={("note", "of", "patient"): EdgeSpec()},
        anchor="patient",
    )
    batch = drop_modalities(Batch.from_data_list([graph, graph]), schema, {"note": torch.tensor([True, False] * 2)})
    assert [one["note"].n_id.tolist() for one in batch.to_data_list()] == [[6], [6]]


def test_what_is_of_the_graph_stays():
    def sample(rows):
        graph = star(rows, names=("a",))[0]
        graph["a"].about = torch.tensor([rows])
        graph["a", "of", "z"].about = torch.tensor([rows])
        return graph

    batch = Batch.from_data_list([sample(2), sample(0)])  # two rows in all, as many as graphs
    left = drop_modalities(batch, star(2, names=("a",))[1], {"a": torch.tensor([True, False])})
    assert [one["a"].about.tolist() for one in left.to_data_list()] == [[2], [0]]
    assert [one["a", "of", "z"].about.tolist() for one in left.to_data_list()] == [[2], [0]]
    assert left["a"].x.tolist() == [[1.0]]


def test_anchors_stay_whatever_they_hang_on():
    graph = HeteroData()
    graph["comment"].x = torch.arange(3.0)[:, None]
    graph["comment", "of", "comment"].edge_index = torch.tensor([[1, 2], [0, 1]])
    left = drop_modalities(graph, Schema.infer(graph), {"comment": torch.tensor([True, False, False])})
    assert left["comment"].x is graph["comment"].x
    assert left["comment", "of", "comment"].edge_index.tolist() == [[2], [1]]


def test_types_that_lose_nothing_are_the_same_tensors():
    graph, schema = fake_graph()
    none = torch.zeros(40, dtype=torch.bool)
    left = drop_modalities(graph, schema, {"scan": none, "text": ~none})
    assert left["text"].x.shape == (0, 5)
    assert left["text", "next", "text"].edge_index.shape == (2, 0)
    for store in ("scan", "subject", ("scan", "next", "scan"), ("subject", "near", "subject")):
        for key, value in graph[store].items():
            assert left[store][key] is value
    assert drop_modalities(graph, schema, {})["scan"].x is graph["scan"].x


def test_a_shared_node_goes_with_the_last_who_has_it():
    graph = HeteroData()
    graph["product"].x = torch.empty(3, 0)
    graph["picture"].x = torch.tensor([[1.0], [2.0]])
    graph["picture", "of", "product"].edge_index = torch.tensor([[0, 0, 1], [0, 1, 2]])
    schema = Schema.infer(graph)
    some = drop_modalities(graph, schema, {"picture": torch.tensor([True, False, False])})
    assert some["picture"].x.tolist() == [[1.0], [2.0]]
    assert some["picture", "of", "product"].edge_index.tolist() == [[0, 1], [1, 2]]
    both = drop_modalities(graph, schema, {"picture": torch.tensor([True, True, False])})
    assert both["picture"].x.tolist() == [[2.0]]
    assert both["picture", "of", "product"].edge_index.tolist() == [[0], [2]]


def star(rows, names=("a", "b", "c")):
    """Anchors that all have one node of each modality."""
    graph = HeteroData()
    graph["z"].x = torch.empty(rows, 0)
    for name in names:
        graph[name].x = torch.arange(rows, dtype=torch.float32)[:, None]
        graph[name, "of", "z"].edge_index = torch.arange(rows).repeat(2, 1)
    return graph, Schema.infer(graph)


def has(graph, name):
    mask = torch.zeros(graph["z"].num_nodes, dtype=torch.bool)
    mask[graph[name, "of", "z"].edge_index[1]] = True
    return mask


def near(share, expected, rows):
    return abs(float(share) - expected) < 5 * (expected * (1 - expected) / rows) ** 0.5 + 1e-9


@pytest.mark.parametrize("rate", [0.3, {"a": 0.3, "c": 0.6}, {"a": 0.0, "b": 1.0}])
def test_rates_hold_and_are_independent(rate):
    rows = 20_000
    graph, schema = star(rows)
    left = ModalityDropout(schema, rate=rate, keep_one=False)(graph, torch.Generator().manual_seed(0))
    rates = {name: rate.get(name, 0.0) if isinstance(rate, dict) else rate for name in "abc"}
    absent = {name: ~has(left, name) for name in "abc"}
    for name in "abc":
        assert near(absent[name].float().mean(), rates[name], rows)
        assert len(left[name].x) == int((~absent[name]).sum())
    for one, other in ("ab", "bc", "ac"):
        assert near((absent[one] & absent[other]).float().mean(), rates[one] * rates[other], rows)


@pytest.mark.parametrize("rate", [0.3, 0.8, 1.0])
def test_one_is_kept_and_each_as_often(rate):
    rows = 20_000
    graph, schema = star(rows)
    left = ModalityDropout(schema, rate=rate)(graph, torch.Generator().manual_seed(0))
    kept = torch.stack([has(left, name) for name in "abc"])
    assert kept.any(dim=0).all()
    for absent in ~kept:
        assert near(absent.float().mean(), rate - rate**3 / 3, rows)  # as the documentation says


def test_each_is_kept_as_often_also_at_different_rates():
    rows = 20_000
    graph, schema = star(rows)
    rates = {"a": 0.9, "b": 0.5, "c": 0.7}
    left = ModalityDropout(schema, rate=rates)(graph, torch.Generator().manual_seed(0))
    for name, rate in rates.items():
        assert near((~has(left, name)).float().mean(), rate - 0.9 * 0.5 * 0.7 / 3, rows)


def test_who_has_one_keeps_it_and_who_has_none_has_none():
    graph, schema = star(6, names=("a", "b"))
    graph = drop_modalities(graph, schema, {"a": torch.tensor([1, 1, 0, 0, 1, 0]).bool()})
    graph = drop_modalities(graph, schema, {"b": torch.tensor([0, 1, 0, 0, 1, 0]).bool()})
    for seed in range(20):
        left = ModalityDropout(schema, rate=1.0)(graph, torch.Generator().manual_seed(seed))
        counts = has(left, "a").long() + has(left, "b").long()
        assert counts.tolist() == [1, 0, 1, 1, 0, 1]
        assert has(left, "b")[0]
    left = ModalityDropout(schema, rate={"b": 1.0})(graph, torch.Generator())
    assert has(left, "b").tolist() == [True, False, False, False, False, False]  # the one who has no other


def test_shares_of_patterns_hold():
    rows = 20_000
    graph, schema = star(rows)
    shares = {("a",): 0.2, ("b", "a"): 0.1, (): 0.05, ("c", "b", "a"): 0.25}
    left = ModalityDropout(schema, patterns=shares, keep_one=False)(graph, torch.Generator().manual_seed(0))
    absent = torch.stack([~has(left, name) for name in "abc"], dim=1)
    for pattern, share in shares.items():
        exactly = (absent == torch.tensor([name in pattern for name in "abc"])).all(dim=1)
        assert near(exactly.float().mean(), share + (0.4 if pattern == () else 0), rows)
    full = ModalityDropout(schema, patterns={("a",): 1.0})(graph, torch.Generator())
    assert len(full["a"].x) == 0
    assert full["b"].x is graph["b"].x


def test_the_generator_alone_decides():
    graph, schema = star(50)
    dropout = ModalityDropout(schema, rate=0.5)
    first, second = (dropout.draw(graph, torch.Generator().manual_seed(7)) for _ in range(2))
    other = dropout.draw(graph, torch.Generator().manual_seed(8))
    assert all(torch.equal(first[name], second[name]) for name in "abc")
    assert any(not torch.equal(first[name], other[name]) for name in "abc")
    less = ModalityDropout(schema, rate={"a": 0.1, "b": 0.5, "c": 0.5}, keep_one=False)
    more = ModalityDropout(schema, rate=0.5, keep_one=False)
    one, two = (d.draw(graph, torch.Generator().manual_seed(7)) for d in (less, more))
    assert torch.equal(one["b"], two["b"])  # the rate of one does not move another


S = star(2)[1]
LONELY = Schema(nodes={"z": NodeSpec()})
ANCHORED = Schema(nodes={"z": NodeSpec()}, anchor="z")


@pytest.mark.parametrize(
    ("make", "value"),
    [
        (lambda: ModalityDropout(S, rate={"audio": 0.1}), r"\['a', 'b', 'c'\], got 'audio'"),
        (lambda: ModalityDropout(S, rate={"a": 1.5}), r"rate of 'a' must be between 0 and 1, got 1.5"),
        (lambda: ModalityDropout(S, rate=-0.1), r"got -0.1"),
        (lambda: ModalityDropout(S, rate=float("nan")), r"got nan"),
        (lambda: ModalityDropout(S, rate=True), r"got True"),
        (lambda: ModalityDropout(S), r"Exactly one of rate and patterns must be given, got None, None"),
        (lambda: ModalityDropout(S, rate=0.5, patterns={("a",): 0.5}), r"got 0.5, \{"),
        (lambda: ModalityDropout(S, patterns={"a": 0.5}), r"tuple of modalities.*got 'a'"),
        (lambda: ModalityDropout(S, patterns={("a", "a"): 0.5}), r"got \('a', 'a'\)"),
        (lambda: ModalityDropout(S, patterns={("z",): 0.5}), r"got 'z'"),
        (lambda: ModalityDropout(S, patterns={("a",): -1}), r"share of \('a',\) must be between 0 and 1, got -1"),
        (lambda: ModalityDropout(S, patterns={("a",): 0.7, ("b",): 0.5}), r"sum to at most 1, got 1.2"),
        (lambda: ModalityDropout(S, patterns={("a", "b"): 0.1, ("b", "a"): 0.1}), r"once, got \('a', 'b'\) and"),
        (lambda: ModalityDropout(S, patterns={("a", "b", "c"): 0.1}), r"keep_one=False"),
        (lambda: ModalityDropout(LONELY, rate=0.5), "got anchor=None"),
        (lambda: ModalityDropout(ANCHORED, rate=0.5), "hang on 'z'"),
        (lambda: drop_modalities(star(2)[0], LONELY, {}), "got anchor=None"),
        (lambda: drop_modalities(star(2)[0], S, {"audio": torch.zeros(2).bool()}), "got 'audio'"),
    ],
)
def test_what_can_not_be_is_refused_by_value(make, value):
    with pytest.raises(ConfigError, match=value):
        make()


def test_graphs_that_can_not_lose_are_refused_by_value():
    graph, schema = star(2)
    mask = torch.tensor([True, False])
    for wrong, value in [
        (torch.zeros(3).bool(), r"lost\['a'\] must be a mask \[2\].*got \[3\]"),
        (mask.long(), "int64"),
    ]:
        with pytest.raises(DataError, match=value):
            drop_modalities(graph, schema, {"a": wrong})
    named = copy.copy(graph)
    named["a"].title = ["one", "two"]
    with pytest.raises(DataError, match="'a' must hold tensors to lose rows, got a list 'title'"):
        drop_modalities(named, schema, {"a": mask})
    asked = copy.copy(graph)
    asked["a", "of", "z"].edge_label_index = torch.zeros(2, 1).long()
    with pytest.raises(DataError, match="'edge_label_index' besides edge_index"):
        drop_modalities(asked, schema, {"a": mask})
    del graph["a"]
    with pytest.raises(SchemaError, match="no node type \\['a'\\]"):
        drop_modalities(graph, schema, {"b": mask})
