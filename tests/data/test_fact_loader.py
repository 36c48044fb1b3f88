"""Questions in batches, beside what is around them."""

import pytest
import torch

from mmgraph.data import FactLoader
from mmgraph.errors import ConfigError, DataError
from mmgraph.layers import Mean
from mmgraph.linker import Linker
from mmgraph.objectives import Links
from mmgraph.schema import EdgeSpec, NodeSpec, view
from mmgraph.schema.facts import Numbering
from mmgraph.scorers import DistMult
from mmgraph.testing import fake_graph, fake_knowledge


@pytest.fixture
def known():
    graph, schema = fake_knowledge(60, facts=240)
    return view(graph, schema, labels={"answer": graph["query"].train_mask}), schema


def relations_of(schema):
    return [edge for edge in schema.edges if edge[1] != "of"]


def test_every_question_is_read_once_with_all_its_answers(known):
    graph, schema = known
    store, found = graph["query"], []
    for batch in FactLoader(graph, schema, fan_out=[3], candidates=5, batch_size=7, shuffle=True):
        query, n_id = batch["query"], batch["entity"].n_id
        assert len({*zip(query.source.tolist(), query.relation.tolist(), strict=True)}) <= 7
        found += zip(n_id[query.source].tolist(), query.relation.tolist(), n_id[query.answer].tolist(), strict=True)
    rows = store.answer >= 0
    expected = zip(store.source[rows].tolist(), store.relation[rows].tolist(), store.answer[rows].tolist(), strict=True)
    assert sorted(found) == sorted(expected)


def test_ranks_share_the_questions(known):
    graph, schema = known
    options = {"fan_out": [3], "candidates": 5, "shuffle": True, "world": 2}
    parts = [list(FactLoader(graph, schema, batch_size=4, rank=rank, **options)) for rank in (0, 1)]
    assert len(parts[0]) == len(parts[1])
    found = [
        fact
        for part in parts
        for batch in part
        for fact in zip(
            *(batch["entity"].n_id[batch["query"][end]].tolist() for end in ("source", "answer")), strict=True
        )
    ]
    rows = graph["query"].answer >= 0
    expected = zip(graph["query"].source[rows].tolist(), graph["query"].answer[rows].tolist(), strict=True)
    assert sorted(found) == sorted(expected)


def test_no_fact_that_is_asked_for_is_an_edge(known):
    graph, schema = known
    numbering = Numbering(schema)
    for batch in FactLoader(graph, schema, fan_out=[-1], candidates=5, batch_size=9):
        query = batch["query"]
        edges = {
            (int(s), numbering.number(relation[1]), int(t))
            for relation in relations_of(schema)
            for s, t in batch[relation].edge_index.T
        }
        half = len(numbering.relations)
        for s, r, a in zip(query.source.tolist(), query.relation.tolist(), query.answer.tolist(), strict=True):
            assert (s, r, a) not in edges
            assert (a, (r + half) % (2 * half), s) not in edges


def test_with_all_neighbours_and_entities_the_loss_is_that_of_the_whole_graph(known):
    graph, schema = known
    torch.manual_seed(0)
    between = Mean(4, 4, relations=relations_of(schema))
    linker = Linker(schema=schema, scorer=DistMult(4), between=between).double().eval()
    batch = next(iter(FactLoader(graph, schema, fan_out=[-1], candidates=4000, batch_size=1)))
    assert len(batch["query"].candidates) == 60
    whole, query, n_id = graph.clone(), batch["query"], batch["entity"].n_id
    store = whole["query"]
    asked = (store.source == n_id[query.source[0]]) & (store.relation == query.relation[0])
    store.answer = torch.where(asked, store.answer, -1)
    numbering = Numbering(schema)
    for relation in relations_of(schema):
        index, number = whole[relation].edge_index, numbering.number(relation[1])
        gone = torch.zeros(index.shape[1], dtype=torch.bool)
        for s, r, a in zip(n_id[query.source], query.relation, n_id[query.answer], strict=True):
            if r == number:
                gone |= (index[0] == s) & (index[1] == a)
            if (r + 3) % 6 == number:
                gone |= (index[0] == a) & (index[1] == s)
        whole[relation].edge_index = index[:, ~gone]
    torch.testing.assert_close(Links()(linker, batch)["total"], Links()(linker, whole)["total"])


def test_payloads_of_the_entities_come_with_them(known):
    graph, schema = known
    batch = next(iter(FactLoader(graph, schema, fan_out=[2], candidates=2, batch_size=2)))
    owner = graph["text", "of", "entity"].edge_index[1]
    here = batch["entity"].n_id.tolist()
    assert sorted(owner[batch["text"].n_id].tolist()) == sorted(set(owner.tolist()) & set(here))
    schema.check(batch)


def test_draws_are_those_of_the_seed(known):
    graph, schema = known

    def read(seed):
        loader = FactLoader(graph, schema, fan_out=[2], candidates=3, batch_size=4, shuffle=True, seed=seed)
        return [batch["entity"].n_id.tolist() for batch in loader]

    assert read(0) == read(0) != read(1)


def test_errors_name_the_value(known):
    graph, schema = known
    with pytest.raises(ConfigError, match="candidates must be at least 0, got -1"):
        FactLoader(graph, schema, fan_out=[1], candidates=-1, batch_size=1)
    with pytest.raises(DataError, match="nodes of type 'query', got types"):
        FactLoader(fake_graph()[0], schema, fan_out=[1], batch_size=1)
    graph["query"].answer = torch.full_like(graph["query"].answer, -1)
    with pytest.raises(DataError, match="at least 1 question with a known answer, got none"):
        FactLoader(graph, schema, fan_out=[1], batch_size=1)


def test_who_is_named_is_so_by_any_fact_of_training(known):
    graph, schema = known
    store = graph["query"]
    rows = store.answer >= 0
    names = set(torch.cat([store.source[rows], store.answer[rows]]).tolist())
    for batch in FactLoader(graph, schema, fan_out=[1], candidates=40, batch_size=5):
        n_id = batch["entity"].n_id.tolist()
        assert batch["entity"].named.tolist() == [row in names for row in n_id]


def test_payloads_of_payloads_and_what_joins_them_come_along(known):
    graph, schema = known
    graph["part"].x = torch.randn(90, 3)
    texts = graph["text"].num_nodes
    graph["part", "of", "text"].edge_index = torch.stack([torch.arange(90), torch.arange(90) % texts])
    graph["part", "next", "part"].edge_index = torch.stack([torch.arange(90 - texts), torch.arange(texts, 90)])
    edges = dict.fromkeys([("part", "of", "text"), ("part", "next", "part")], EdgeSpec())
    nodes = {**schema.nodes, "part": NodeSpec(channels=3)}
    schema = schema.model_copy(update={"nodes": nodes, "edges": {**schema.edges, **edges}})
    owner = graph["text", "of", "entity"].edge_index[1]
    for batch in FactLoader(graph, schema, fan_out=[1], candidates=2, batch_size=2):
        here = batch["entity"].n_id.tolist()
        expected = [part for part in range(90) if int(owner[part % texts]) in here]
        assert sorted(batch["part"].n_id.tolist()) == expected
        assert batch["part", "next", "part"].num_edges == sum(part >= texts for part in expected)


def test_a_rank_may_have_nothing_to_ask(known):
    graph, schema = known
    store = graph["query"]
    questions = (store.source * 6 + store.relation)[store.answer >= 0].unique()
    odd = questions[: len(questions) - (len(questions) + 1) % 2]
    store.answer = torch.where(torch.isin(store.source * 6 + store.relation, odd), store.answer, -1)
    options = {"fan_out": [2], "candidates": 3, "batch_size": len(odd) // 2, "world": 2, "idle": True}
    first, second = (list(FactLoader(graph, schema, rank=rank, **options)) for rank in (0, 1))
    assert len(first) == len(second) == 2
    assert first[-1]["query"].num_nodes > second[-1]["query"].num_nodes == 0
    linker = Linker(schema=schema, scorer=DistMult(4), between=Mean(4, 4, relations=relations_of(schema)))
    assert Links()(linker, second[-1])["total"].item() == 0.0
