"""The linker: vectors of entities, from what they carry and what joins them."""

import pytest
import torch
from torch import nn
from torch_geometric.data import HeteroData

from mmgraph.builders import KnowledgeGraph, align
from mmgraph.data import FactLoader, Triples
from mmgraph.encoders import Raw
from mmgraph.errors import ConfigError, DataError
from mmgraph.fusion import Concat
from mmgraph.layers import Mean, Stack
from mmgraph.linker import LEARNED, RELATION, Linker
from mmgraph.schema import EdgeSpec, NodeSpec, Schema, view
from mmgraph.schema.facts import Numbering
from mmgraph.scorers import ComplEx, DistMult, RotatE
from mmgraph.tasks import LinkPrediction
from mmgraph.testing import fake_graph, fake_knowledge

KNOWS = ("entity", "knows", "entity")


@pytest.fixture
def known():
    return fake_knowledge()


def with_payload(schema, **options):
    fusion = Concat({"text": 5, LEARNED: 4}, 4)
    return Linker(schema=schema, scorer=DistMult(4), encoder=Raw(["text"]), fusion=fusion, **options)


def test_scores_are_those_of_the_scorer_on_the_learned_vectors(known):
    graph, schema = known
    linker = Linker(schema=schema, scorer=ComplEx(8)).eval()
    scores, store = linker(graph), graph["query"]
    assert scores.shape == (len(store.source), 12)
    for row in (0, 7, len(store.source) - 1):
        source, relation = linker.entities[store.source[row]], linker.relations[store.relation[row]]
        expected = linker.scorer(source, relation, linker.entities)
        torch.testing.assert_close(scores[row : row + 1][0], expected.detach())
    assert not scores[0:1].requires_grad
    states = linker.states(graph)
    each = linker.each(states, store.source, store.relation, store.answer)
    torch.testing.assert_close(scores[:].gather(1, store.answer[:, None])[:, 0], each.detach())
    some = linker.against(states, store.source[:3], store.relation[:3], torch.tensor([4, 2]))
    torch.testing.assert_close(some.detach(), scores[0:3][:, [4, 2]])
    torch.testing.assert_close(linker.answers(graph, store.source, store.relation).detach(), scores[:])


def test_payloads_and_own_vectors_are_fused(known):
    graph, schema = known
    linker = with_payload(schema).eval()
    states = linker.states(graph)
    vectors = linker.embed(graph)
    assert torch.equal(vectors, states.entities)
    named = {end for store in graph.edge_stores if store._key[1] != "of" for end in store.edge_index.flatten().tolist()}
    text = torch.zeros(12, 5)
    text[graph["text", "of", "entity"].edge_index[1]] = graph["text"].x
    own = torch.stack([linker.entities[row] if row in named else torch.zeros(4) for row in range(12)])
    there = torch.zeros(12, dtype=torch.bool)
    there[graph["text", "of", "entity"].edge_index[1]] = True
    present = {"text": there, LEARNED: torch.tensor([row in named for row in range(12)])}
    torch.testing.assert_close(vectors, linker.fusion({"text": text, LEARNED: own}, present))
    assert 11 not in named


def test_an_entity_that_no_fact_names_rests_on_its_payload(known):
    graph, schema = known
    linker = with_payload(schema).eval()
    before = linker.embed(graph)
    with torch.no_grad():
        linker.entities[11] += 1
        linker.entities[0] += 1
    after = linker.embed(graph)
    changed = (before != after).any(dim=1).nonzero().flatten().tolist()
    assert changed == [0]


@pytest.fixture(scope="module")
def towns():
    """Persons and towns that both have texts; of the persons, one has none."""
    names = {"ann": "person", "bob": "person", "cid": "person", "oslo": "town", "rome": "town"}
    carries = HeteroData()
    carries["thing"].num_nodes = 5
    carries["bio"].x = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    carries["bio", "of", "thing"].edge_index = torch.tensor([[0, 1, 2, 3], [0, 1, 3, 4]])
    schema = Schema.infer(carries, anchor="thing")
    facts = Triples(["ann", "bob", "cid"], ["lives_in", "lives_in", "knows"], ["oslo", "rome", "ann"])
    return KnowledgeGraph.fit(facts, types=names, types_as="nodes", payloads=(carries, schema, list(names)))


def with_texts(known, name="bio", *, schema=None, **options):
    counts = {node: known.graph[node].num_nodes for node in Numbering(known.schema).entities}
    widths = {name: 3} | ({} if options.get("learned") is False else {LEARNED: 4})
    options = {"encoder": Raw([name]), "fusion": Concat(widths, 4), "num_entities": counts} | options
    return Linker(schema=schema or known.schema, scorer=DistMult(4), **options).eval()


def changed(linker, graph, name="bio"):
    """Which entities' vectors move when all payloads of a type do."""
    before, other = linker.states(graph).entities, graph.clone()
    other[name].x = other[name].x + 1
    return (before != linker.states(other).entities).any(dim=1).tolist()


def test_payloads_of_every_type_of_entities_are_read(towns):
    assert towns.entities == ("ann", "bob", "cid", "oslo", "rome")
    linker = with_texts(towns)
    assert changed(linker, towns.graph) == [True, True, False, True, True]
    text = torch.zeros(5, 3)
    text[[0, 1, 3, 4]] = towns.graph["bio"].x
    present = {"bio": text.any(dim=1), LEARNED: torch.ones(5, dtype=torch.bool)}
    expected = linker.fusion({"bio": text, LEARNED: linker.entities}, present)
    torch.testing.assert_close(linker.states(towns.graph).entities, expected)
    task = LinkPrediction(towns.schema)
    assert task.payloads == ("bio",)
    assert task._carrying(towns.graph, "bio").tolist() == changed(linker, towns.graph)
    for control, moved in (("shuffled:bio", 4), ("zeroed:bio", 4), ("without:bio", 4)):
        other = linker.states(task.control(control, towns.graph)).entities
        assert (other != linker.states(towns.graph).entities).any(dim=1).sum() == moved


def test_payloads_of_both_graphs_that_are_aligned_are_read():
    facts = Triples(["a"], ["likes"], ["b"])
    sides = []
    for node in ("text", "bio"):
        carries = HeteroData()
        carries["thing"].num_nodes = 2
        carries[node].x = torch.ones(2, 3)
        carries[node, "of", "thing"].edge_index = torch.tensor([[0, 1], [0, 1]])
        payloads = (carries, Schema.infer(carries, anchor="thing"), ["a", "b"])
        sides.append(KnowledgeGraph.fit(facts, payloads=payloads))
    one = align(sides[0], sides[0], [("a", "a")])
    assert changed(with_texts(one, "text"), one.graph, "text") == [True] * 4
    two = align(*sides, [("a", "a")])
    fused = Concat({"bio": 3, "text": 3, LEARNED: 4}, 4)
    linker = with_texts(two, encoder=Raw(["text", "bio"]), fusion=fused)
    assert changed(linker, two.graph, "text") == [True, True, False, False]
    assert changed(linker, two.graph, "bio") == [False, False, True, True]


def test_payloads_of_payloads_are_read_and_no_fact_is_followed_to_them(towns):
    graph, nodes, edges = towns.graph.clone(), dict(towns.schema.nodes), dict(towns.schema.edges)
    graph["sight"].x = torch.ones(2, 3)
    graph["part"].x = torch.ones(3, 3)
    graph["sight", "of", "town"].edge_index = torch.tensor([[0, 1], [0, 1]])
    graph["part", "of", "sight"].edge_index = torch.tensor([[0, 1, 2], [1, 1, 1]])
    nodes |= dict.fromkeys(["sight", "part"], NodeSpec(channels=3))
    edges |= dict.fromkeys([("sight", "of", "town"), ("part", "of", "sight")], EdgeSpec())
    schema = towns.schema.model_copy(update={"nodes": nodes, "edges": edges})
    counts = {"person": 3, "town": 2}
    fused = Concat({"part": 3, "sight": 3, LEARNED: 4}, 4)
    linker = with_texts(towns, encoder=Raw(["sight", "part"]), fusion=fused, num_entities=counts, schema=schema)
    assert changed(linker, graph, "sight") == [False, False, False, True, True]
    assert changed(linker, graph, "part") == [False, False, False, False, True]
    assert LinkPrediction(schema)._carrying(graph, "part").tolist() == [False, False, False, False, True]


def test_payloads_alone_are_enough_where_every_type_has_some(towns):
    linker = with_texts(towns, learned=False)
    assert linker.states(towns.graph).entities.shape == (5, 4)
    facts = Triples(["ann"], ["lives_in"], ["oslo"])
    carries = HeteroData()
    carries["thing"].num_nodes = 1
    carries["bio"].x = torch.ones(1, 3)
    carries["bio", "of", "thing"].edge_index = torch.tensor([[0], [0]])
    payloads = (carries, Schema.infer(carries, anchor="thing"), ["ann"])
    lone = KnowledgeGraph.fit(facts, types={"ann": "person"}, types_as="nodes", payloads=payloads)
    message = r"must carry what the encoder reads, \['bio'\], but \['thing'\] do not; give them a payload"
    with pytest.raises(ConfigError, match=message):
        with_texts(lone, learned=False).states(lone.graph)


def test_without_messages_own_vectors_stay(known):
    graph, schema = known
    linker, task = with_payload(schema).eval(), LinkPrediction(schema)
    quiet = task.view(task.control("no_graph", graph), "val")
    torch.testing.assert_close(linker.embed(quiet), linker.embed(task.view(graph, "val")))


def test_training_forgets_own_vectors_and_evaluation_none(known):
    graph, schema = known
    linker = with_payload(schema, forget=1.0)
    with torch.no_grad():
        kept = linker.eval().embed(graph)
        linker.entities += 1
        assert not torch.equal(kept, linker.embed(graph))
        kept = linker.train().embed(graph)
        linker.entities += 1
        torch.testing.assert_close(kept, linker.embed(graph))


def test_messages_go_over_facts_and_no_answer_is_read(known):
    graph, schema = known
    relations = [edge for edge in schema.edges if edge[1] != "of"]
    between = Stack(Mean(4, 4, relations=relations))
    linker = Linker(schema=schema, scorer=DistMult(4), between=between).eval()
    seen = view(graph, schema, labels={"answer": graph["query"].train_mask})
    before = linker(seen)[:]
    moved = seen.clone()
    moved["query"].answer = torch.randint(12, moved["query"].answer.shape)
    torch.testing.assert_close(before, linker(moved)[:])
    moved[KNOWS].edge_index = moved[KNOWS].edge_index[:, :0]
    assert not torch.allclose(before, linker(moved)[:])


class Turned(nn.Module):
    """A layer that finds the relations' vectors and turns them round."""

    def forward(self, features, edges):
        assert edges
        return {**features, RELATION: -features[RELATION]}


def test_layers_may_change_the_relations(known):
    graph, schema = known
    linker = Linker(schema=schema, scorer=DistMult(4), between=Turned())
    torch.testing.assert_close(linker.states(graph).relations, -linker.relations)


def test_several_types_are_numbered_through():
    edges = [("person", "seen", "film"), ("film", "^seen", "person"), ("person", "knows", "person")]
    schema = Schema(
        nodes={
            "film": NodeSpec(),
            "person": NodeSpec(),
            "query": NodeSpec(attributes=("source", "relation")),
        },
        edges=dict.fromkeys(edges, EdgeSpec()),
        anchor="person",
    )
    graph, _ = fake_knowledge()
    graph = type(graph)()
    graph["film"].num_nodes, graph["person"].num_nodes = 2, 3
    for edge in edges:
        graph[edge].edge_index = torch.tensor([[0], [1]])
    linker = Linker(schema=schema, scorer=DistMult(4), num_entities={"film": 2, "person": 3})
    assert linker.entities.shape == (5, 4)
    assert linker.relations.shape == (4, 4)
    torch.testing.assert_close(linker.embed(graph), linker.entities[2:])
    deep = Linker(schema=schema, scorer=DistMult(4), num_entities={"film": 2, "person": 3}, between=Stack())
    torch.testing.assert_close(deep.states(graph).entities, deep.entities)
    with pytest.raises(ConfigError, match=r"num_entities must be given for \['film', 'person'\], got None"):
        Linker(schema=schema, scorer=DistMult(4))


def test_part_of_a_graph_has_the_vectors_of_its_own_entities(known):
    graph, schema = known
    linker = with_payload(schema).eval()
    keep = torch.arange(12) % 3 != 0
    part = view(graph, schema, keep={"entity": keep})
    states = linker.states(part).entities
    assert len(states) == int(keep.sum())
    bare = Linker(schema=schema, scorer=DistMult(4), between=Stack())
    torch.testing.assert_close(bare.states(part).entities, bare.entities[keep])
    del part["entity"].n_id
    with pytest.raises(DataError, match="must have the 12 'entity' of the model, got 8, not which"):
        bare.states(part)


def test_dropout_is_for_training_alone(known):
    graph, schema = known
    linker = Linker(schema=schema, scorer=RotatE(8), dropout=0.5)
    assert not torch.equal(linker(graph)[:], linker(graph)[:])
    linker.eval()
    assert torch.equal(linker(graph)[:], linker(graph)[:])


def test_subgraphs_are_means_of_their_entities(known):
    graph, schema = known
    linker = Linker(schema=schema, scorer=DistMult(4)).eval()
    near = {7}
    for store in graph.edge_stores:
        if store._key[1] != "of":
            near |= set(store.edge_index[0][store.edge_index[1] == 7].tolist())
    found = linker.embed_subgraphs(graph, hops=1)[7]
    torch.testing.assert_close(found, linker.entities[sorted(near)].mean(dim=0))
    torch.testing.assert_close(linker.embed_subgraphs(graph, hops=0), linker.entities)


def test_errors_name_the_value(known):
    _, schema = known
    with pytest.raises(ConfigError, match=r"shares, dropout below 1, got 1.0 and 0.0"):
        Linker(schema=schema, scorer=DistMult(4), dropout=1.0)
    with pytest.raises(ConfigError, match="an encoder and a fusion for payloads, or neither.*got encoder=Raw"):
        Linker(schema=schema, scorer=DistMult(4), encoder=Raw(["text"]))
    with pytest.raises(ConfigError, match="learned=False"):
        Linker(schema=schema, scorer=DistMult(4), learned=False)
    graph, _ = fake_graph()
    with pytest.raises(DataError, match=r"must have questions, nodes of type 'query', got types"):
        Linker(schema=schema, scorer=DistMult(4))(graph)


@pytest.mark.parametrize("odd", [-1, 12, 99])
def test_numbers_of_nothing_are_refused(known, odd):
    graph, schema = known
    linker = Linker(schema=schema, scorer=DistMult(4)).eval()
    states, zero, wrong = linker.states(graph), torch.tensor([0]), torch.tensor([0, odd])
    entities = f"must be numbers from 0 to 11, got {odd}; KnowledgeGraph.facts_of gives"
    relations = f"relations must be numbers from 0 to 5, got {odd}"
    with pytest.raises(DataError, match=f"sources {entities}"):
        linker.answers(graph, wrong, zero)
    with pytest.raises(DataError, match=relations):
        linker.answers(graph, zero, wrong)
    with pytest.raises(DataError, match=f"targets {entities}"):
        linker.each(states, zero, zero, wrong)
    with pytest.raises(DataError, match=f"candidates {entities}"):
        linker.against(states, zero, zero, wrong)
    with pytest.raises(DataError, match="sources must be whole numbers, got torch.bool"):
        linker.answers(graph, torch.ones(12, dtype=torch.bool), zero)
    assert linker.answers(graph, zero[:0], zero[:0]).shape == (0, 12)


@pytest.mark.parametrize("name", ["between", "within"])
def test_facts_that_a_batch_asks_for_are_no_messages_in_training(known, name):
    graph, schema = known
    relations = [edge for edge in schema.edges if edge[1] != "of"]
    torch.manual_seed(0)
    graph["entity"].x = torch.randn(12, 4)
    nodes = {**schema.nodes, "entity": NodeSpec(channels=4)}
    payloads = {"encoder": Raw(["entity"]), "fusion": Concat({"entity": 4, LEARNED: 4}, 4)}
    options = {name: Mean(4, 4, relations=relations), **(payloads if name == "within" else {})}
    schema = schema.model_copy(update={"nodes": nodes})
    linker = Linker(schema=schema, scorer=DistMult(4), hide_asked=True, **options)
    batch, less, numbering = graph.clone(), graph.clone(), linker.numbering
    rows = graph["query"].train_mask.nonzero()[::5, 0]
    asked = {
        tuple(row)
        for row in torch.stack([graph["query"][f][rows] for f in ("source", "relation", "answer")], 1).tolist()
    }
    asked |= {(answer, (relation + 3) % 6, source) for source, relation, answer in asked}
    batch["query"].answer = torch.full_like(batch["query"].answer, -1)
    batch["query"].answer[rows] = graph["query"].answer[rows]
    for edge in relations:
        pairs = graph[edge].edge_index.T.tolist()
        kept = [pair for pair in pairs if (pair[0], numbering.number(edge[1]), pair[1]) not in asked]
        less[edge].edge_index = torch.tensor(kept, dtype=torch.long).reshape(-1, 2).T
    assert sum(less[edge].num_edges for edge in relations) == sum(graph[edge].num_edges for edge in relations) - len(
        asked
    )
    linker.eval()
    assert torch.equal(linker.states(batch).entities, linker.states(graph).entities)
    expected, whole = linker.states(less).entities, linker.states(graph).entities
    linker.train()
    torch.testing.assert_close(linker.states(batch).entities, expected)
    assert not torch.allclose(expected, whole)
    with pytest.raises(DataError, match=r"hide_asked must leave some facts for messages, but all \d+ edges are asked"):
        linker.states(graph)


def test_a_linker_without_layers_reads_a_drawn_batch_by_its_numbers(known):
    graph, schema = known
    linker = Linker(schema=schema, scorer=DistMult(4))
    for batch in FactLoader(graph, schema, fan_out=[1], candidates=0, batch_size=1):
        assert torch.equal(linker.states(batch).entities, linker.entities[batch["entity"].n_id])
