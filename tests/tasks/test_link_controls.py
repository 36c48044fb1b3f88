from collections import Counter

import pytest
import torch

from mmgraph.errors import ConfigError
from mmgraph.functional import ranking
from mmgraph.functional.ranking import Scores
from mmgraph.schema import EdgeSpec, NodeSpec
from mmgraph.tasks import LinkPrediction, NodeClassification, baseline, control_graph
from mmgraph.testing.expect import difference

OF = ("image", "of", "entity")


def carried(graph, edge=OF):
    """Entity → the rows that it carries."""
    found = {}
    for row, owner in graph[edge].edge_index.T.tolist():
        found.setdefault(owner, []).append(graph[edge[0]].x[row].tolist())
    return found


def test_the_controls_of_a_knowledge_graph(make_drawn_knowledge):
    _, schema = make_drawn_knowledge(payloads=[("text", range(30)), ("image", range(5))])
    changes = ("shuffled", "zeroed", "without")
    each = [f"{change}:{name}" for name in ("text", "image") for change in changes]
    assert LinkPrediction(schema).controls == ("no_graph", *each, "frequency")
    assert LinkPrediction(make_drawn_knowledge(payloads=())[1]).controls == ("no_graph", "frequency")


@pytest.mark.parametrize("seed", range(5))
def test_payloads_are_dealt_to_others_who_had_one(make_drawn_knowledge, seed):
    graph, schema = make_drawn_knowledge(payloads=[("image", [3, 3, 5, 7, 7, 7, 11]), ("text", range(30))])
    before, after = carried(graph), carried(control_graph("shuffled:image", graph, schema, seed=seed))
    assert set(before) == set(after)
    assert all(before[owner] != after[owner] for owner in before)  # nobody keeps its own
    assert sorted(map(str, before.values())) == sorted(map(str, after.values()))  # what one carried, one carries


def test_shuffling_changes_nothing_else_and_is_as_its_seed(make_drawn_knowledge):
    graph, schema = make_drawn_knowledge(payloads=[("image", range(10)), ("text", range(30))])
    copied = graph.clone()
    one, same, other = (control_graph("shuffled:image", graph, schema, seed=seed) for seed in (1, 1, 2))
    assert difference(graph, copied) is None
    assert difference(one, same) is None
    assert difference(one, other) == f"'edge_index' of {OF}"
    one[OF].edge_index = graph[OF].edge_index
    assert difference(graph, one) is None
    schema.check(one)


def test_every_deal_is_about_as_frequent(make_drawn_knowledge):
    graph, schema = make_drawn_knowledge(payloads=[("image", [0, 1, 2])])
    dealt = [control_graph("shuffled:image", graph, schema, seed=seed) for seed in range(200)]
    deals = Counter(tuple(one[OF].edge_index[1].tolist()) for one in dealt)
    assert set(deals) == {(1, 2, 0), (2, 0, 1)}
    assert min(deals.values()) > 60


@pytest.mark.parametrize("owners", [[], [4]])
def test_where_there_is_nobody_else_a_payload_stays(make_drawn_knowledge, owners):
    graph, schema = make_drawn_knowledge(payloads=[("image", [0])])
    graph["image"].x = graph["image"].x[: len(owners)]
    graph[OF].edge_index = torch.tensor([list(range(len(owners))), owners], dtype=torch.long)
    assert torch.equal(control_graph("shuffled:image", graph, schema)[OF].edge_index, graph[OF].edge_index)


def test_payloads_of_several_types_are_dealt_within_each(make_drawn_knowledge):
    graph, schema = make_drawn_knowledge(payloads=[("image", [0, 1, 2])])
    graph["town"].num_nodes = 4
    graph["image"].x = torch.arange(14.0).view(7, 2)
    graph["image", "of", "town"].edge_index = torch.tensor([[3, 4, 5, 6], [0, 1, 2, 3]])
    graph["entity", "in", "town"].edge_index = torch.tensor([[0], [1]])
    edges = {**schema.edges, ("image", "of", "town"): EdgeSpec(), ("entity", "in", "town"): EdgeSpec()}
    schema = schema.model_copy(update={"edges": edges, "nodes": {**schema.nodes, "town": NodeSpec()}})
    changed = control_graph("shuffled:image", graph, schema)
    for edge in (OF, ("image", "of", "town")):
        before, after = carried(graph, edge), carried(changed, edge)
        assert sorted(map(str, before.values())) == sorted(map(str, after.values()))
        assert all(before[owner] != after[owner] for owner in before)


def test_zeroed_payloads_are_there_and_say_nothing(make_drawn_knowledge):
    graph, schema = make_drawn_knowledge(payloads=[("image", range(10)), ("text", range(30))])
    graph["image"].pixels = torch.full((10, 1, 2, 2), 7, dtype=torch.uint8)
    nodes = {**schema.nodes, "image": schema.nodes["image"].model_copy(update={"attributes": ("pixels",)})}
    schema = schema.model_copy(update={"nodes": nodes})
    changed = control_graph("zeroed:image", graph, schema)
    assert changed["image"].x.shape == (10, 2)
    assert not changed["image"].x.any()
    assert not changed["image"].pixels.any()
    assert changed["image"].pixels.dtype == torch.uint8
    assert graph["image"].x.any()
    assert graph["image"].pixels.any()
    for name in ("x", "pixels"):
        changed["image"][name] = graph["image"][name]
    assert difference(graph, changed) is None


def test_without_a_payload_and_without_a_graph_the_questions_stay(make_drawn_knowledge):
    graph, schema = make_drawn_knowledge()
    bare, lone = (control_graph(name, graph, schema) for name in ("without:image", "no_graph"))
    assert (bare["image"].num_nodes, bare[OF].edge_index.shape) == (0, (2, 0))
    for edge in schema.edges:
        if edge != OF:
            assert torch.equal(bare[edge].edge_index, graph[edge].edge_index)
            assert lone[edge].edge_index.shape == (2, 0)
    assert torch.equal(lone[OF].edge_index, graph[OF].edge_index)
    for changed in (bare, lone):
        for name in ("source", "relation", "answer", "test_mask"):
            assert torch.equal(changed["query"][name], graph["query"][name])


@pytest.mark.parametrize("name", ["shuffled:sound", "zeroed:entity", "dealt:image", "frequency"])
def test_a_control_that_is_not_there_is_refused(make_drawn_knowledge, name):
    expected = rf"one of \['no_graph', .*'without:image', 'shuffled:image', 'zeroed:image'\], got '{name}'"
    with pytest.raises(ConfigError, match=expected):
        control_graph(name, *make_drawn_knowledge())


def test_frequency_counts_answers_of_the_relation_then_all(make_knowledge):
    train = [(0, 0, 1), (2, 0, 1), (3, 0, 2), (3, 1, 2), (3, 1, 4)]
    graph, schema = make_knowledge({"train": train, "val": [(1, 0, 0)], "test": [(4, 0, 3)]}, entities=6, relations=2)
    task = LinkPrediction(schema)
    scores = baseline("frequency", [graph], task)
    assert isinstance(scores, Scores)
    assert scores.shape == (2, 6)
    tail, head = scores[:]
    # r0: 1 twice, 2 once; overall 2 and 3 have three, 1 two, 0 and 4 one, 5 none
    assert tail.argsort(descending=True, stable=True).tolist() == [1, 2, 3, 0, 4, 5]
    assert tail[0] == tail[4] > tail[5]
    # ^r0: 0, 2 and 3 once each
    assert head.argsort(descending=True, stable=True).tolist() == [2, 3, 0, 1, 4, 5]
    assert head[2] == head[3] > head[0]
    assert task.evaluate(scores, graph, metrics=["mean_rank"]) == {"mean_rank": (3 + 5) / 2}
    twice = baseline("frequency", [graph, graph], task)
    assert torch.equal(twice[:].argsort(stable=True), scores[:].argsort(stable=True))


def test_frequency_reads_training_alone_and_in_blocks(make_drawn_knowledge, monkeypatch):
    graph, schema = make_drawn_knowledge()
    task = LinkPrediction(schema)
    whole = baseline("frequency", [graph], task)[:]
    monkeypatch.setattr(ranking, "BLOCK_ELEMENTS", 90)
    assert task.evaluate(baseline("frequency", [graph], task), graph) == pytest.approx(task.evaluate(whole, graph))
    other = graph.clone()
    unseen = ~other["query"].train_mask
    other["query"].answer[unseen] = 0
    assert torch.equal(baseline("frequency", [other], task)[:], whole)
    assert task.evaluate(whole, graph)["adjusted_mean_rank_index"] > 0.2


def test_frequency_is_of_knowledge_graphs_alone(built):
    expected = r"one of \['flat_linear', 'late_linear', 'majority'\], got 'frequency'"
    with pytest.raises(ConfigError, match=expected):
        baseline("frequency", [built.graph], NodeClassification(built.schema))
