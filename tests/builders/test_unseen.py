"""Entities of which training sees no fact."""

import pytest
import torch

from mmgraph.builders import hold_out_entities
from mmgraph.errors import ConfigError, SchemaError
from mmgraph.schema.facts import Numbering
from mmgraph.testing import fake_graph, fake_knowledge


@pytest.fixture
def known():
    return fake_knowledge(40, facts=300)


def rows_of(graph, mask):
    store = graph["query"]
    return set(
        zip(store.source[mask].tolist(), store.relation[mask].tolist(), store.answer[mask].tolist(), strict=True)
    )


def test_parts_are_told_by_the_entities_that_a_fact_names(known):
    graph, schema = known
    val, test = torch.zeros(40).bool(), torch.zeros(40).bool()
    val[[3, 4]], test[[7, 8, 9]] = True, True
    split = hold_out_entities(graph, schema, val=val, test=test)
    store = split["query"]
    for row, (source, answer) in enumerate(zip(store.source.tolist(), store.answer.tolist(), strict=True)):
        named = {source, answer}
        part = "test" if named & {7, 8, 9} else "val" if named & {3, 4} else "train"
        assert [bool(store[f"{one}_mask"][row]) for one in ("train", "val", "test")] == [
            part == one for one in ("train", "val", "test")
        ]
    numbering = Numbering(schema)
    facts = {tuple(row) for row in numbering.facts(split).tolist()}
    inverse = {(t, r + 3, h) for h, r, t in facts}
    assert facts | inverse == rows_of(split, store.train_mask)
    backward = {
        (s, numbering.number(edge[1]), t)
        for edge in schema.edges
        if edge[1].startswith("^")
        for s, t in split[edge].edge_index.T.tolist()
    }
    assert backward == inverse
    assert torch.equal(split["text"].x, graph["text"].x)
    schema.check(split)


def test_shares_are_drawn_by_the_seed_and_the_graph_stays(known):
    graph, schema = known
    before = graph["query"].train_mask.clone()
    one, same, other = (hold_out_entities(graph, schema, val=0.1, test=0.2, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(one["query"].test_mask, same["query"].test_mask)
    assert not torch.equal(one["query"].test_mask, other["query"].test_mask)
    assert torch.equal(graph["query"].train_mask, before)


def test_errors_name_the_value(known):
    graph, schema = known
    with pytest.raises(ConfigError, match="leave some of 40 entities, got 0.5 and 0.5"):
        hold_out_entities(graph, schema, val=0.5, test=0.5)
    with pytest.raises(
        ConfigError, match=r"val must be a mask \[40\] of bool as the other is, or both shares, got 0.1"
    ):
        hold_out_entities(graph, schema, val=0.1, test=torch.zeros(40).bool())
    with pytest.raises(ConfigError, match=r"test must be a mask \[40\] of bool .*, got \[3\]"):
        hold_out_entities(graph, schema, val=torch.zeros(40).bool(), test=torch.zeros(3).bool())
    with pytest.raises(ConfigError, match="no entity in common, got 40"):
        hold_out_entities(graph, schema, val=torch.ones(40).bool(), test=torch.ones(40).bool())
    other, _ = fake_graph()
    with pytest.raises(SchemaError, match="nodes of type 'query', got types"):
        hold_out_entities(other, schema, val=0.1, test=0.1)
