"""Links as anchors: what the aligner of entities reads, from two knowledge graphs."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch_geometric.data import HeteroData

import mmgraph as mg
from mmgraph.builders import Mark, pair
from mmgraph.errors import ConfigError, DataError
from mmgraph.objectives import Contrast
from mmgraph.schema import EdgeSpec, Identity, NodeSpec, Schema

NAMES = st.sampled_from("abcde")
FACTS = st.lists(st.tuples(NAMES, st.sampled_from("rst"), NAMES), min_size=1, max_size=12).filter(
    lambda rows: len({name for head, _, tail in rows for name in (head, tail)}) > 1
)


def triples(*rows):
    return mg.Triples(*([*column] for column in zip(*rows, strict=True)))


def told(names, owners, x, **spec):
    """Entities, and texts that hang on some."""
    graph = HeteroData()
    graph["entity"].num_nodes = len(names)
    graph["text"].x = torch.tensor(x)
    graph["text", "of", "entity"].edge_index = torch.stack([torch.arange(len(owners)), torch.tensor(owners)])
    nodes = {"entity": NodeSpec(), "text": NodeSpec(modality="text", channels=len(x[0]), **spec)}
    return graph, Schema(nodes=nodes, edges={("text", "of", "entity"): EdgeSpec()}, anchor="entity"), names


@pytest.fixture
def first():
    return mg.KnowledgeGraph.fit({"train": triples(("a", "r", "b"), ("b", "s", "c")), "test": triples(("c", "r", "a"))})


@pytest.fixture
def second():
    return mg.KnowledgeGraph.fit(triples(("A", "t", "B"), ("C", "t", "B"), ("D", "t", "A")))


LINKS = {"train": [("b", "B")], "test": [("a", "A")]}


def test_links_are_anchors_and_facts_say_their_relation(first, second):
    graph, schema = pair(first, second, {**LINKS, "val": [("c", "D")]}, names=("left", "right"))
    assert (schema.anchor, schema.modalities) == ("link", ("left", "right"))
    assert graph["left", "of", "link"].edge_index.tolist() == [[1, 2, 0], [0, 1, 2]]
    assert graph["right", "of", "link"].edge_index.tolist() == [[1, 3, 0], [0, 1, 2]]
    masks = {part: graph["link"][f"{part}_mask"].tolist() for part in ("train", "val", "test")}
    assert masks == {"train": [True, False, False], "val": [False, True, False], "test": [False, False, True]}
    assert graph["left", "fact", "left"].edge_index.tolist() == [[0, 1], [1, 2]]  # not those that are held back
    assert graph["left", "fact", "left"].edge_attr.tolist() == [[0], [1]]
    assert graph["right", "fact", "right"].edge_attr.tolist() == [[0], [0], [0]]


@given(FACTS, FACTS)
def test_facts_are_those_of_training_with_what_follows(one, other):
    marks = {one[0][1]: Mark(symmetric=True)}
    sides = mg.KnowledgeGraph.fit(triples(*one), marks=marks), mg.KnowledgeGraph.fit(triples(*other))
    graph, schema = pair(*sides, [])
    schema.check(graph)
    for name, side in zip(("first", "second"), sides, strict=True):
        index, number = graph[name, "fact", name].edge_index, graph[name, "fact", name].edge_attr[:, 0].long()
        found = torch.stack([index[0], number, index[1]], dim=1).tolist()
        assert found == sorted(side.facts["train"].tolist())
        assert graph[name].num_nodes == len(side.entities)


def test_entities_of_several_types_are_numbered_through():
    types = {"a": "person", "b": "place"}
    one = mg.KnowledgeGraph.fit(triples(("a", "in", "b"), ("c", "in", "b")), types=types, types_as="nodes")
    graph, _ = pair(one, one, [("b", "b")])
    assert one.entities == ("c", "a", "b")
    assert graph["first", "fact", "first"].edge_index.tolist() == [[0, 1], [2, 2]]
    assert graph["first", "of", "link"].edge_index.tolist() == [[2], [0]]


def test_all_other_entities_may_be_candidates(first, second):
    graph, schema = pair(first, second, LINKS, candidates="all")
    assert graph["link"].num_nodes == 5  # two links, then c, then C and D
    assert graph["first", "of", "link"].edge_index.tolist() == [[1, 0, 2], [0, 1, 2]]
    assert graph["second", "of", "link"].edge_index.tolist() == [[1, 0, 2, 3], [0, 1, 3, 4]]
    assert graph["link"].train_mask.tolist() == [True, False, False, False, False]
    assert graph["link"].val_mask.tolist() == [False, False, True, True, True]
    assert graph["link"].test_mask.tolist() == [False, True, True, True, True]
    vectors = torch.full((4, 2, 2), float("nan"))  # of a = A, c, C and D
    vectors[[0, 1], 0] = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    vectors[[0, 2, 3], 1] = torch.tensor([[1.0, 1.0], [2.0, 1.0], [0.0, 1.0]])
    scores = mg.Retrieval(schema).evaluate(vectors, graph, "test")
    assert scores["mrr first>second"] == 1 / 2  # C is nearer
    assert scores["mrr second>first"] == 1 / 1.5  # both are as near


def test_payloads_tell_entities():
    one = mg.KnowledgeGraph.fit(
        triples(("a", "r", "b"), ("b", "r", "c")), payloads=told(["a", "b"], [0, 0, 1], [[3.0, 0], [1, 4], [0, 2]])
    )
    other = mg.KnowledgeGraph.fit(triples(("x", "r", "y")), payloads=told(["x", "y"], [1], [[0.0, 5]]))
    graph, schema = pair(one, other, [("a", "x")], payload="text")
    torch.testing.assert_close(graph["first"].x, torch.tensor([[0.5**0.5, 0.5**0.5], [0, 1], [0, 0]]))
    assert graph["second"].x.tolist() == [[0, 0], [0, 1]]
    assert schema.nodes["first"] == NodeSpec(modality="text", channels=2)
    encoder = Identity(name="other", revision="1")
    odd = mg.KnowledgeGraph.fit(triples(("x", "r", "y")), payloads=told(["x", "y"], [1], [[0.0, 5]], encoder=encoder))
    with pytest.raises(DataError, match=r"'text' of both graphs must .* encoders=\{'text': other.encoder\('text'\)\}"):
        pair(one, odd, [], payload="text")


@pytest.mark.parametrize(
    ("error", "message", "options"),
    [
        (ConfigError, r"different names, got \('x', 'x'\)", {"names": ("x", "x")}),
        (ConfigError, "name of their own, got 'first'", {"anchor": "first"}),
        (ConfigError, "'linked' or 'all', got 'some'", {"candidates": "some"}),
        (ConfigError, r"with features in both graphs, \[\] here, got 'text'", {"payload": "text"}),
        (DataError, "got 'zoe', which the first has not", {"links": [("zoe", "A")]}),
        (
            DataError,
            r"got 'a' of the first graph 2 times, in \['train', 'test'\]",
            {"links": {**LINKS, "train": [("a", "B")]}},
        ),
    ],
)
def test_what_is_refused(first, second, error, message, options):
    with pytest.raises(error, match=message):
        pair(first, second, **{"links": LINKS, **options})


@pytest.mark.parametrize("candidates", ["linked", "all"])
@pytest.mark.parametrize("offsets", ["balance", "csls", None])
def test_two_graphs_are_aligned(candidates, offsets):
    """The same facts in other words; some entities of each graph are not in the other."""
    chance = torch.Generator().manual_seed(0)
    rows = torch.stack([torch.randint(0, limit, (400,), generator=chance) for limit in (60, 5, 60)], dim=1).tolist()
    turn = torch.randperm(60, generator=chance).tolist()
    one = mg.KnowledgeGraph.fit(triples(*((f"e{h}", f"r{r}", f"e{t}") for h, r, t in rows)))
    other = mg.KnowledgeGraph.fit(triples(*((f"x{turn[h]}", f"s{r}", f"x{turn[t]}") for h, r, t in rows)))
    every = [(f"e{number}", f"x{turn[number]}") for number in range(54)]
    links = {"train": every[:20], "val": every[20:26], "test": every[26:]}
    graph, schema = pair(one, other, links, names=("left", "right"), candidates=candidates)
    model = mg.EntityAligner(
        schema=schema,
        entities={"left": len(one.entities), "right": len(other.entities)},
        relations={"left": len(one.relations), "right": len(other.relations)},
        channels=64,
        bound=256,
        joins=(2,),
        offsets=offsets,
    )
    config = mg.FitConfig(epochs=3, learning_rate=0.1, weight_decay=0.0, patience=None, monitor="mrr")
    fitted = mg.fit(model, Contrast(schema), mg.Retrieval(schema), graph, config)
    scores = fitted.evaluate("test")
    assert min(scores["recall@1 left>right"], scores["recall@1 right>left"]) > 0.8
