import pytest
import torch
from torch import nn
from torch_geometric.data import HeteroData

from mmgraph import Model
from mmgraph.encoders import Encoder, Raw, Table
from mmgraph.errors import ConfigError
from mmgraph.fusion import Concat, Gated, Sum
from mmgraph.layers import GCN, Mean, Smooth
from mmgraph.schema import NodeSpec, Schema, view
from mmgraph.testing import fake_graph
from mmgraph.typing import EdgeSet

WIDTHS = {"scan": 3, "text": 5}
NEAR = [("subject", "near", "subject")]
NEXT = [("scan", "next", "scan"), ("text", "next", "text")]


def make(schema, **parts):
    defaults = {
        "encoder": Table(WIDTHS, 4),
        "within": Mean(4, 4, relations=NEXT),
        "fusion": Gated(dict.fromkeys(WIDTHS, 4), 6),
        "between": GCN(6, 6, relations=NEAR),
        "head": nn.Linear(6, 2),
    }
    torch.manual_seed(0)
    model = Model(schema=schema, **(defaults | parts)).double()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.5)
    return model.eval()


@pytest.fixture
def case():
    graph, schema = fake_graph(12, seed=2)
    for node in graph.node_types:
        graph[node].x = graph[node].x.double()
    return graph, schema


def test_equals_its_steps_one_by_one(case):
    graph, schema = case
    model = make(schema)
    edges = {edge: EdgeSet(graph[edge].edge_index, graph[edge].get("edge_weight")) for edge in graph.edge_types}
    features = model.within(model.encoder(graph), edges)
    parts, present = {}, {}
    for name in WIDTHS:
        rows, owner = graph[name, "of", "subject"].edge_index
        parts[name] = torch.zeros(12, 4, dtype=torch.float64)
        present[name] = torch.zeros(12, dtype=torch.bool)
        for anchor in range(12):
            own = rows[owner == anchor]
            if len(own):
                parts[name][anchor], present[name][anchor] = features[name][own].mean(dim=0), True
    given, there = model.parts(graph)
    for name in WIDTHS:
        torch.testing.assert_close(given[name], parts[name], rtol=1e-12, atol=1e-12)
        assert torch.equal(there[name], present[name])
    states = model.between({"subject": model.fusion(parts, present)}, edges)["subject"]
    torch.testing.assert_close(model.embed(graph), states, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(model(graph), model.head(states), rtol=1e-12, atol=1e-12)


def test_answers_spread_once_it_is_asked_and_not_while_it_is_trained(case):
    graph, schema = case
    near = ("subject", "near", "subject")
    model = make(schema, after=Smooth(relations=[near], rounds=1, alpha=0.25))
    assert torch.equal(model.train()(graph), model.answer(graph))
    said, found = model.eval().answer(graph).softmax(dim=1), model(graph)
    (source, target), weight = graph[near].edge_index, graph[near].edge_weight.double()
    for row in range(len(said)):
        others, share = source[target == row], weight[target == row]
        mean = (share[:, None] * said[others]).sum(dim=0) / share.sum()
        expected = 0.75 * said[row] + 0.25 * mean if len(others) else said[row]
        torch.testing.assert_close(found[row].exp(), expected)
    torch.testing.assert_close(found.exp().sum(dim=1), torch.ones_like(found[:, 0]))


def test_certain_answers_spread_without_infinities(case):
    graph, schema = case
    model = make(schema, after=Smooth(relations=[("subject", "near", "subject")])).eval()
    with torch.no_grad():
        for weight in model.head.parameters():
            weight.mul_(1e4)
    assert model(graph).isfinite().all()


def test_what_is_no_probability_does_not_spread(case):
    graph, schema = case
    model = make(schema, after=Smooth(relations=[("subject", "near", "subject")]), head=nn.Linear(6, 1)).eval()
    for training in (False, True):  # before anything is trained for nothing
        with pytest.raises(ConfigError, match="probabilities of classes, at least 2, got a head of 1 output; leave it"):
            model.train(training)(graph)


def test_an_anchor_with_a_payload_is_a_part_of_its_own_name(case):
    graph, schema = case
    graph["subject"].x = torch.randn(12, 2, dtype=torch.float64)
    schema = schema.model_copy(update={"nodes": {**schema.nodes, "subject": NodeSpec(channels=2)}})
    widths = {**WIDTHS, "subject": 2}
    model = make(schema, encoder=Table(widths, 4), fusion=Concat(dict.fromkeys(widths, 4), 6))
    parts, present = model.parts(graph)
    assert parts.keys() == widths.keys()
    assert present["subject"].all()
    torch.testing.assert_close(parts["subject"], model.encoder(graph)["subject"])
    other = graph.clone()
    other["subject"].x[0] += 1  # subject 0 has no modality node
    assert not torch.equal(model(other)[0], model(graph)[0])


def test_an_anchor_alone_needs_no_fusion(case):
    graph, schema = case
    graph["subject"].x = torch.randn(12, 4, dtype=torch.float64)
    model = make(schema, encoder=Raw(["subject"]), within=None, between=None, fusion=None, head=nn.Identity())
    assert torch.equal(model(graph), graph["subject"].x)


def test_modalities_without_a_fusion_are_refused(case):
    graph, schema = case
    with pytest.raises(ConfigError, match=r"needs a fusion to join \['scan', 'text'\] at 'subject', got none"):
        make(schema, fusion=None)(graph)


def test_a_schema_without_an_anchor_is_refused(case):
    with pytest.raises(ConfigError, match="needs a schema with an anchor, got none"):
        make(case[1].model_copy(update={"anchor": None}))


@pytest.mark.parametrize("gone", [["scan"], ["text"], ["scan", "text"]])
def test_a_missing_modality_is_no_nodes(case, gone):
    graph, schema = case
    model = make(schema)
    fewer = view(graph, schema, hide=gone)
    out = model(fewer)
    assert out.shape == (12, 2)
    assert out.isfinite().all()
    parts, present = model.parts(fewer)
    for name in gone:
        assert not present[name].any()
        assert (parts[name] == 0).all()


def test_a_modality_that_the_encoder_does_not_read_is_no_part(case):
    graph, schema = case
    model = make(schema, encoder=Table({"text": 5}, 4), within=None, fusion=Sum(), between=None, head=nn.Identity())
    assert model.parts(graph)[0].keys() == {"text"}


def test_subjects_in_another_order_get_the_same_answers(case):
    graph, schema = case
    model, order = make(schema), torch.randperm(12)
    place = order.argsort()
    moved = graph.clone()
    for key in ("x", "y", "train_mask", "val_mask", "test_mask"):
        moved["subject"][key] = graph["subject"][key][order]
    for name in WIDTHS:
        index = graph[name, "of", "subject"].edge_index
        moved[name, "of", "subject"].edge_index = torch.stack([index[0], place[index[1]]])
    near = graph["subject", "near", "subject"].edge_index
    moved["subject", "near", "subject"].edge_index = place[near]
    torch.testing.assert_close(model(moved), model(graph)[order], rtol=1e-12, atol=1e-12)


def test_one_node_an_anchor_in_order_or_not_is_the_same(case):
    _, schema = case
    graph, _ = fake_graph(12, seed=2)
    for name, width in WIDTHS.items():
        graph[name].x = torch.randn(12, width, dtype=torch.float64)
        graph[name, "of", "subject"].edge_index = torch.arange(12).expand(2, -1)
        graph[name, "next", name].edge_index = torch.empty(2, 0, dtype=torch.long)
    model, turned = make(schema), graph.clone()
    for name in WIDTHS:
        turned[name].x = graph[name].x.flip(0)
        turned[name, "of", "subject"].edge_index = torch.stack([torch.arange(12), torch.arange(12).flip(0)])
    torch.testing.assert_close(model(turned), model(graph), rtol=1e-12, atol=1e-12)


def test_labels_are_not_read(case):
    graph, schema = case
    model, without = make(schema), graph.clone()
    for key in ("y", "train_mask", "val_mask", "test_mask"):
        del without["subject"][key]
    assert torch.equal(model(graph), model(without))
    assert torch.equal(model(view(graph, schema)), model(graph))


def slow_subgraphs(states, index, hops):
    """The mean state of all from whom an anchor is reached in at most so many steps."""
    out = []
    for centre in range(len(states)):
        members = {centre}
        for _ in range(hops):
            members |= {source for source, target in index.T.tolist() if target in members}
        out.append(states[sorted(members)].mean(dim=0))
    return torch.stack(out)


@pytest.mark.parametrize("hops", [0, 1, 2, 5])
def test_subgraphs_equal_a_slow_loop(case, hops):
    graph, schema = case
    model, index = make(schema), graph["subject", "near", "subject"].edge_index
    expected = slow_subgraphs(model.embed(graph), index, hops)
    torch.testing.assert_close(model.embed_subgraphs(graph, hops=hops), expected, rtol=1e-12, atol=1e-12)


def test_subgraphs_reach_along_all_relations_of_the_anchor():
    from mmgraph import Population, PopulationConfig
    from mmgraph.testing import fake_records

    built = Population.fit(fake_records(25), None, PopulationConfig(k=2))
    graph, schema = built.graph, built.schema
    for name in WIDTHS:
        graph[name].x = graph[name].x.double()
    relations = schema.relations("subject")
    assert len(relations) == 2
    model = make(schema, within=None, between=Smooth(relations=relations))
    index = torch.cat([graph[relation].edge_index for relation in relations], dim=1)
    expected = slow_subgraphs(model.embed(graph), index, 2)
    torch.testing.assert_close(model.embed_subgraphs(graph, hops=2), expected, rtol=1e-12, atol=1e-12)


def test_subgraphs_without_relations_are_the_anchors(case):
    graph, schema = case
    edges = {edge: spec for edge, spec in schema.edges.items() if edge[1] != "near"}
    alone = schema.model_copy(update={"edges": edges})
    model = make(alone, between=None)
    assert torch.equal(model.embed_subgraphs(graph, hops=3), model.embed(graph))


def test_every_parameter_gets_a_gradient(case):
    graph, schema = case
    model = make(schema)
    model(graph).square().sum().backward()
    assert all((parameter.grad != 0).any() for parameter in model.parameters())


class Counts(Encoder):
    def __init__(self):
        super().__init__()
        self.calls = 0

    def forward(self, graph):
        self.calls += 1
        return {name: graph[name].x[:, :3] for name in WIDTHS}


def test_payloads_are_encoded_once(case):
    graph, schema = case
    encoder = Counts()
    make(schema, encoder=encoder, within=None, fusion=Sum(), between=None, head=nn.Identity())(graph)
    assert encoder.calls == 1


def test_a_part_comes_over_its_owner_and_absent_ones_do_not_count():
    """Questions 0 to 3 ask about pictures; picture 1 has no image, and question 3 asks about nothing."""
    graph, schema = questions()
    model = Model(schema=schema, encoder=Raw(["text", "image"]), fusion=Sum(), head=nn.Identity())
    parts, present = model.parts(graph)
    assert list(parts) == ["text", "image"]
    assert parts["image"].tolist() == [[15.0], [15.0], [0.0], [0.0]]  # images 10 and 20 are of picture 0
    assert present["image"].tolist() == [True, True, False, False]
    assert model(graph).tolist() == [[16.0], [17.0], [3.0], [4.0]]
    graph["image"].x = graph["image"].x.requires_grad_()
    model(graph).sum().backward()
    assert graph["image"].x.grad.tolist() == [[1.0], [1.0]]  # two questions, half each


def questions():
    graph = HeteroData()
    graph["question"].x = torch.empty(4, 0)
    graph["picture"].x = torch.empty(3, 0)
    graph["text"].x = torch.arange(1.0, 5.0)[:, None]
    graph["image"].x = torch.tensor([[10.0], [20.0]])
    graph["text", "of", "question"].edge_index = torch.arange(4).expand(2, -1)
    graph["image", "of", "picture"].edge_index = torch.tensor([[0, 1], [0, 0]])
    # question 0 asks about pictures 0 and 1, question 1 about 0, question 2 about 1
    graph["picture", "asked_by", "question"].edge_index = torch.tensor([[0, 1, 0, 1], [0, 0, 1, 2]])
    return graph, Schema.infer(graph, anchor="question")
