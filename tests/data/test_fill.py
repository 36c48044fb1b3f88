"""Missing modalities, filled in: each way by its closed form, marked as made up, and nothing made of what is hidden."""

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_geometric.data import Batch, HeteroData

from mmgraph.data import drop_modalities, fill
from mmgraph.data.fill import HOWS, RESTART
from mmgraph.errors import ConfigError, DataError, SchemaError
from mmgraph.schema import EdgeSpec, NodeSpec, Schema
from mmgraph.tasks import NodeClassification
from mmgraph.testing import fake_graph

MADE = [how for how in HOWS if how != "leave"]


def population(anchors: int, edges, has: dict[int, list[list[float]]], *, weight=None, channels: int = 1):
    """Anchors joined by edges (source, target); ``has`` says whose rows of the modality are known."""
    graph = HeteroData()
    graph["patient"].x = torch.empty(anchors, 0)
    rows = [row for owner in has for row in has[owner]]
    graph["scan"].x = torch.tensor(rows, dtype=torch.float32).reshape(-1, channels)
    owner = [owner for owner in has for _ in has[owner]]
    graph["scan", "of", "patient"].edge_index = torch.tensor([list(range(len(owner))), owner], dtype=torch.long)
    graph["patient", "near", "patient"].edge_index = torch.tensor(edges, dtype=torch.long).reshape(-1, 2).T.contiguous()
    if weight is not None:
        graph["patient", "near", "patient"].edge_weight = torch.tensor(weight)
    return graph, Schema.infer(graph, anchor="patient")


def of_anchor(graph, name="scan", anchor="patient"):
    """What each anchor has of a modality, by a slow loop: mean, and whether it is made up."""
    found = {}
    for row, owner in graph[name, "of", anchor].edge_index.T.tolist():
        found.setdefault(owner, []).append((graph[name].x[row], bool(graph[name].filled[row])))
    return {owner: (torch.stack([x for x, _ in rows]).mean(dim=0), rows[0][1]) for owner, rows in found.items()}


def shares(anchors: int, edges, weight=None) -> np.ndarray:
    """Row i: how much each source counts among the edges into i."""
    matrix = np.zeros((anchors, anchors))
    for (source, target), value in zip(edges, weight or [1.0] * len(edges), strict=True):
        if source != target:
            matrix[target, source] += value
    return matrix / np.where(matrix.sum(axis=1) > 0, matrix.sum(axis=1), 1)[:, None]


def harmonic(matrix: np.ndarray, known: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The values at which each unknown one is the mean of its neighbours: a linear system."""
    some = ~known
    inner = np.eye(some.sum()) - matrix[np.ix_(some, some)]
    out = values.copy()
    out[some] = np.linalg.solve(inner, matrix[np.ix_(some, known)] @ values[known])
    return out


RING = [(i, (i + 1) % 8) for i in range(8)] + [((i + 1) % 8, i) for i in range(8)] + [(0, 4), (4, 0), (2, 5), (1, 1)]


@pytest.mark.parametrize("weighted", [False, True])
def test_neighbours_is_the_harmonic_extension_of_what_is_known(weighted: bool) -> None:
    weight = np.random.default_rng(0).uniform(0.2, 2.0, len(RING)).tolist() if weighted else None
    graph, schema = population(8, RING, {0: [[1.0]], 3: [[4.0], [8.0]], 6: [[-2.0]]}, weight=weight)
    known = np.isin(np.arange(8), [0, 3, 6])
    values = np.array([1.0, 0, 0, 6.0, 0, 0, -2.0, 0])
    expected = harmonic(shares(8, RING, weight), known, values)
    found = of_anchor(fill(graph, schema, "neighbours"))
    assert [float(found[i][0]) for i in range(8)] == pytest.approx(expected, abs=1e-4)
    assert [found[i][1] for i in range(8)] == (~known).tolist()


@pytest.mark.parametrize("weighted", [False, True])
def test_pagerank_is_its_closed_form_restricted_to_those_who_have_it(weighted: bool) -> None:
    weight = np.random.default_rng(0).uniform(0.2, 2.0, len(RING)).tolist() if weighted else None
    graph, schema = population(8, RING, {0: [[1.0]], 3: [[4.0], [8.0]], 6: [[-2.0]]}, weight=weight)
    rank = RESTART * np.linalg.inv(np.eye(8) - (1 - RESTART) * shares(8, RING, weight))
    assert rank.sum(axis=1) == pytest.approx(np.ones(8))
    some, values = [0, 3, 6], np.array([1.0, 6.0, -2.0])
    expected = rank[:, some] @ values / rank[:, some].sum(axis=1)
    found = of_anchor(fill(graph, schema, "pagerank"))
    for row in (1, 2, 4, 5, 7):
        assert float(found[row][0]) == pytest.approx(expected[row], abs=1e-5)
        assert found[row][1]
    assert float(found[3][0]) == 6.0  # what is known stays


def test_on_a_path_of_three_all_ways_by_hand() -> None:
    path = [(0, 1), (1, 0), (1, 2), (2, 1)]
    graph, schema = population(4, path, {0: [[1.0, 10.0]], 2: [[3.0, 20.0], [5.0, 40.0]]}, channels=2)  # 3 is alone
    expected = {
        "mean": ([3.0, 70 / 3], [3.0, 70 / 3]),  # over rows
        "neighbours": ([2.5, 20.0], [3.0, 70 / 3]),
        "pagerank": ([2.5, 20.0], [3.0, 70 / 3]),
        "token": ([0.0, 0.0], [0.0, 0.0]),
    }
    for how, (middle, lonely) in expected.items():
        full = fill(graph, schema, how)
        found = of_anchor(full)
        torch.testing.assert_close(found[1][0], torch.tensor(middle), rtol=0, atol=1e-5)
        torch.testing.assert_close(found[3][0], torch.tensor(lonely), rtol=0, atol=1e-5)
        assert full["scan"].filled.tolist() == [False, False, False, True, True]
        assert full["scan", "of", "patient"].edge_index.tolist() == [[0, 1, 2, 3, 4], [0, 2, 2, 1, 3]]
        schema.model_copy(
            update={"nodes": {**schema.nodes, "scan": NodeSpec(channels=2, attributes=("filled",))}}
        ).check(full)
    assert fill(graph, schema, "leave") is graph


def test_features_travel_along_long_chains_and_only_the_way_edges_point() -> None:
    chain = [(i, i + 1) for i in range(59)]
    graph, schema = population(61, chain, {0: [[7.0]], 59: [[1.0]]})
    found = of_anchor(fill(graph, schema, "neighbours"))
    assert [float(found[i][0]) for i in range(59)] == pytest.approx([7.0] * 59)
    assert float(found[60][0]) == 4.0  # nobody points at it: the mean
    back, schema = population(60, [(target, source) for source, target in chain], {0: [[7.0]]})
    assert float(of_anchor(fill(back, schema, "pagerank"))[5][0]) == 7.0  # the mean of the one that there is


def test_where_nobody_has_a_modality_it_is_zeros() -> None:
    graph, schema = population(3, [(0, 1)], {}, channels=2)
    for how in MADE:
        full = fill(graph, schema, how)
        assert full["scan"].x.tolist() == [[0.0, 0.0]] * 3
        assert full["scan"].filled.all()


def test_the_mean_is_over_training_rows_alone() -> None:
    graph, schema = population(4, [], {0: [[1.0]], 1: [[2.0]], 2: [[99.0]]})
    for part, rows in {"train": [0, 1], "val": [3], "test": [2]}.items():
        graph["patient"][f"{part}_mask"] = torch.isin(torch.arange(4), torch.tensor(rows))
    assert float(of_anchor(fill(graph, schema, "mean"))[3][0]) == 1.5


def test_made_up_rows_are_never_data_and_stay_if_filled_again() -> None:
    graph, schema = population(4, [(1, 2)], {0: [[1.0]], 3: [[3.0]]})
    once = fill(graph, schema, "token")
    again = fill(once, schema, "neighbours")
    assert torch.equal(once["scan"].x, again["scan"].x)
    assert torch.equal(once["scan"].filled, again["scan"].filled)
    some = copy.copy(once)  # two of whom one was made up; the other is taken away again
    lost = {"scan": torch.tensor([False, False, True, False])}
    some = drop_modalities(once, schema, lost)
    assert some["scan"].filled.tolist() == [False, False, True]
    full = of_anchor(fill(some, schema, "neighbours"))
    assert float(full[2][0]) == 2.0  # its one neighbour has only what was made up: the mean of the data


def test_relations_between_nodes_join_their_anchors() -> None:
    graph = HeteroData()
    graph["patient"].x = torch.empty(3, 0)
    graph["scan"].x = torch.tensor([[5.0], [100.0]])
    graph["scan", "of", "patient"].edge_index = torch.tensor([[0, 1], [0, 2]])
    graph["text"].x = torch.tensor([[0.0], [0.0], [0.0]])
    graph["text", "of", "patient"].edge_index = torch.tensor([[0, 1, 2], [0, 1, 2]])
    graph["text", "near", "text"].edge_index = torch.tensor([[0, 0], [1, 0]])
    graph["text", "near", "text"].edge_weight = torch.tensor([0.5, 0.5])
    schema = Schema.infer(graph, anchor="patient")
    for how in ("neighbours", "pagerank"):
        assert float(of_anchor(fill(graph, schema, how))[1][0]) == 5.0


def test_other_attributes_of_made_up_nodes_say_nothing() -> None:
    graph, schema = population(2, [], {0: [[1.0]]})
    graph["scan"].update(
        {
            "when": torch.tensor([3.5]),
            "site": torch.tensor([4]),
            "good": torch.tensor([True]),
            "n_id": torch.tensor([8]),
            "device": "a machine",
            "num_nodes": 1,
        }
    )
    graph["scan", "of", "patient"].edge_weight = torch.tensor([0.5])
    graph["scan", "of", "patient"].edge_attr = torch.tensor([[2.0]])
    full = fill(graph, schema, "mean")["scan"]
    assert full.when[0] == 3.5
    assert full.when[1].isnan()
    assert full.site.tolist() == [4, 0]
    assert full.good.tolist() == [True, False]
    assert full.n_id.tolist() == [8, -1]
    assert (full.device, full.num_nodes) == ("a machine", 2)
    of = fill(graph, schema, "mean")["scan", "of", "patient"]
    assert of.edge_weight.tolist() == [0.5, 1.0]
    assert of.edge_attr.tolist() == [[2.0], [0.0]]


def test_only_what_is_asked_for_is_filled_and_the_given_graph_is_left() -> None:
    graph, schema = fake_graph()
    before = graph.clone()
    full = fill(graph, schema, "mean", modalities=["scan"])
    assert "filled" not in full["text"]
    assert full["text"].x is graph["text"].x
    assert full["scan"].filled.any()
    for name in schema.nodes:
        assert list(graph[name].keys()) == list(before[name].keys())
        for key in before[name]:
            assert torch.equal(graph[name][key], before[name][key])
    for edge in schema.edges:
        assert torch.equal(graph[edge].edge_index, before[edge].edge_index)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16])
def test_features_keep_their_type(dtype) -> None:
    graph, schema = population(2, [], {0: [[1.0]]})
    graph["scan"].x = graph["scan"].x.to(dtype)
    assert fill(graph, schema, "mean")["scan"].x.dtype == dtype


@given(st.integers(0, 2**31 - 1), st.sampled_from(MADE), st.floats(0, 1))
@settings(max_examples=40)
def test_everybody_has_everything_and_data_stay_what_they_are(seed: int, how: str, rate: float) -> None:
    graph, schema = fake_graph(20, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    lost = {name: torch.rand(20, generator=generator) < rate for name in schema.modalities}
    graph = drop_modalities(graph, schema, lost)
    full = fill(graph, schema, how)
    for name in schema.modalities:
        rows = graph[name].num_nodes
        assert torch.equal(full[name].x[:rows], graph[name].x)
        assert full[name].filled.tolist() == [False] * rows + [True] * (full[name].num_nodes - rows)
        assert torch.equal(full[name, "of", "subject"].edge_index[1].unique(), torch.arange(20))
        assert full[name].x.isfinite().all()
        trained = graph["subject"].train_mask[graph[name, "of", "subject"].edge_index[1]].any()
        if trained and how in ("neighbours", "pagerank"):  # means lie among the data
            assert (full[name].x >= graph[name].x.min(dim=0).values - 1e-4).all()
            assert (full[name].x <= graph[name].x.max(dim=0).values + 1e-4).all()
    assert torch.equal(full["subject", "near", "subject"].edge_index, graph["subject", "near", "subject"].edge_index)


@pytest.mark.parametrize("how", MADE)
@pytest.mark.parametrize("regime", ["cohort_hidden", "single_query"])
def test_a_filled_training_view_holds_nothing_of_validation_or_test(how, regime) -> None:
    graph, schema = fake_graph(60, regime=regime)
    graph = drop_modalities(graph, schema, {"scan": torch.arange(60) % 3 == 0})
    task = NodeClassification(schema)
    other = graph.clone()
    for part in ("val", "test"):
        for name in schema.modalities:
            row, owner = graph[name, "of", "subject"].edge_index
            other[name].x[row[graph["subject"][f"{part}_mask"][owner]]] = 1e6
    first, second = (fill(task.view(one, "train"), schema, how) for one in (graph, other))
    assert first["scan"].filled.any()
    for name in schema.modalities:
        assert torch.equal(first[name].x, second[name].x)


@pytest.mark.parametrize("how", MADE)
@pytest.mark.parametrize("regime", ["cohort_hidden", "single_query"])
def test_on_the_whole_graph_hidden_parts_fill_nobody_but_themselves(how, regime) -> None:
    """Also where a relation leads from a hidden part into training, as no builder of ours lets it."""
    graph, schema = fake_graph(60, regime=regime)
    generator = torch.Generator().manual_seed(0)
    near = graph["subject", "near", "subject"]
    near.edge_index = torch.randint(0, 60, (2, 300), generator=generator).unique(dim=1)
    near.edge_weight = torch.ones(near.edge_index.shape[1])
    graph = drop_modalities(graph, schema, {name: torch.arange(60) % 4 == 0 for name in schema.modalities})
    store = graph["subject"]
    for part in ("val", "test"):
        other = graph.clone()
        for name in schema.modalities:
            row, owner = graph[name, "of", "subject"].edge_index
            other[name].x[row[store[f"{part}_mask"][owner]]] = 1e6
        alone = ~store[f"{part}_mask"] if regime == "cohort_hidden" else torch.ones(60, dtype=torch.bool)
        for name in schema.modalities:
            first, second = (of_anchor(fill(one, schema, how), name, "subject") for one in (graph, other))
            for row in alone.nonzero().flatten().tolist():
                if first[row][1]:
                    assert torch.equal(first[row][0], second[row][0])
            if regime == "cohort_hidden" and how == "neighbours":  # those who arrive together see each other
                moved = [row for row in first if first[row][1] and not torch.equal(first[row][0], second[row][0])]
                assert moved
                assert store[f"{part}_mask"][moved].all()


def test_relations_made_from_what_is_missing_are_not_there_to_fill_it() -> None:
    graph = HeteroData()
    graph["patient"].x = torch.empty(3, 0)
    graph["scan"].x = torch.tensor([[1.0], [2.0], [9.0]])
    graph["text"].x = torch.zeros(3, 1)
    for name in ("scan", "text"):
        graph[name, "of", "patient"].edge_index = torch.arange(3).expand(2, -1).clone()
    graph["patient", "near_scan", "patient"].edge_index = torch.tensor([[1, 0], [0, 1]])
    graph["patient", "near_text", "patient"].edge_index = torch.tensor([[2, 0], [0, 2]])
    schema = Schema.infer(graph, anchor="patient")
    left = drop_modalities(graph, schema, {"scan": torch.tensor([True, False, False])})
    assert float(of_anchor(fill(left, schema, "neighbours"))[0][0]) == 9.0  # the neighbour by text, not by scan


def test_errors_name_the_value() -> None:
    graph, schema = fake_graph()
    with pytest.raises(ConfigError, match=r"how must be one of \['leave', 'mean', .*got 'magic'"):
        fill(graph, schema, "magic")
    with pytest.raises(ConfigError, match=r"numeric x, \['scan', 'text'\], got 'sound'"):
        fill(graph, schema, "mean", modalities=["sound"])
    with pytest.raises(ConfigError, match="the schema must have one, got anchor=None"):
        fill(graph, schema.model_copy(update={"anchor": None}), "mean")
    with pytest.raises(DataError, match="must be one graph, got a batch of several; fill each before"):
        fill(Batch.from_data_list([graph, graph]), schema, "mean")
    with pytest.raises(SchemaError, match="sound"):
        fill(graph, schema.model_copy(update={"nodes": {**schema.nodes, "sound": NodeSpec(channels=2)}}), "mean")
    coded = graph.clone()
    coded["scan"].x = coded["scan"].x.long()
    assert "filled" not in fill(coded, schema, "mean")["scan"]
    assert EdgeSpec() == schema.edges["scan", "of", "subject"]
