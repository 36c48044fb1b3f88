"""What is asked: the part of the graph, the score, and what it becomes where something is missing."""

import pytest
import torch
from torch import nn
from torch_geometric.data import HeteroData

from mmgraph import encoders, fusion
from mmgraph.errors import ConfigError, DataError
from mmgraph.explain import ask
from mmgraph.explain.question import read
from mmgraph.explain.scene import Scene, reach
from mmgraph.model import Model
from mmgraph.schema import EdgeSpec, NodeSpec, Schema
from mmgraph.typing import EdgeSet

NEAR = ("subject", "near", "subject")
KINDS = ["none", "mean", "gcn", "gated", "smooth", "attention"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rounds", [1, 2])
def test_the_score_of_the_part_is_that_of_the_whole_graph(kind, rounds, data, make_model, log_odds):
    graph, schema = data
    model = make_model(schema, kind, rounds=rounds).eval()
    with torch.no_grad():
        outputs = model(graph)
    for question in ask(model, graph, range(20), output="ill"):
        assert question.score == pytest.approx(log_odds(outputs[question.anchor], 1), abs=2e-4)
        assert question.n_id["subject"][question.place] == question.anchor


def test_the_part_is_small_where_the_model_looks_no_further(data, make_model):
    graph, schema = data
    (question,) = ask(make_model(schema, "none"), graph, 4)
    assert question.n_id["subject"].tolist() == [4]
    for name in ("scan", "text"):
        row, owner = graph[name, "of", "subject"].edge_index
        assert set(question.n_id[name].tolist()) <= set(row[owner == 4].tolist())
    (question,) = ask(make_model(schema, "mean"), graph, 4)
    source, target = graph[NEAR].edge_index
    assert set(question.n_id["subject"].tolist()) == {4, *source[target == 4].tolist()}


@pytest.mark.parametrize("kind", KINDS)
def test_a_graph_that_lacks_something_is_scored_as_one_that_was_built_without_it(
    kind, data, make_model, without, log_odds
):
    graph, schema = data
    model = make_model(schema, kind).eval()
    (question,) = ask(model, graph, 6, output=1)
    generator = torch.Generator().manual_seed(0)
    nodes = {name: torch.rand(5, count, generator=generator) < 0.7 for name, count in question.counts.items()}
    edges = {NEAR: torch.rand(5, question.edges[NEAR].index.shape[1], generator=generator) < 0.6}
    nodes["subject"][:, question.place] = True
    found = question.values(nodes, edges, copies=5)
    part = graph.subgraph({name: question.n_id[name] for name in graph.node_types})
    for copy in range(5):
        gone = {name: (~mask[copy]).nonzero().flatten().tolist() for name, mask in nodes.items()}
        lost = {NEAR: (~edges[NEAR][copy]).nonzero().flatten().tolist()}
        left, place = without(part, schema, gone, lost)
        with torch.no_grad():
            answer = model(left)[place["subject"][question.place]]
        assert float(found[copy]) == pytest.approx(log_odds(answer, 1), abs=1e-5)


def test_replaced_features_keep_the_edges(data, make_model):
    graph, schema = data
    model = make_model(schema).eval()
    (question,) = ask(model, graph, 6, output=1)
    mask = torch.zeros(1, question.counts["scan"], dtype=torch.bool)
    features = {**question.features, "scan": torch.zeros_like(question.features["scan"])}
    sets = question.edges
    with torch.no_grad():
        outputs = question.scene.call(features, question.counts, sets)
    expected = read(outputs[question.place], 1, "log_odds")
    assert float(question.values({"scan": mask}, {}, copies=1, baseline="zeros")) == pytest.approx(
        float(expected), abs=1e-6
    )


def test_many_copies_are_worked_on_in_chunks(data, make_model, monkeypatch):
    graph, schema = data
    (question,) = ask(make_model(schema), graph, 6)
    edges = {NEAR: torch.rand(9, question.edges[NEAR].index.shape[1]) < 0.5}
    whole = question.values({}, edges, copies=9)
    monkeypatch.setattr("mmgraph.explain.question.ROWS", 2 * sum(question.counts.values()))
    assert torch.allclose(question.values({}, edges, copies=9), whole, atol=1e-6)


def test_a_mean_is_that_of_the_training_nodes(data, make_model):
    graph, schema = data
    model = make_model(schema).eval()
    (question,) = ask(model, graph, 6)
    row, owner = graph["scan", "of", "subject"].edge_index
    rows = [r for r, o in zip(row.tolist(), owner.tolist(), strict=True) if graph["subject"].train_mask[o]]
    with torch.no_grad():
        expected = model.encoder(graph)["scan"][rows].mean(dim=0)
    assert torch.allclose(question.reference("mean")["scan"], expected, atol=1e-6)
    assert question.reference("zeros")["scan"].tolist() == [0.0] * 6


def test_a_mean_is_of_a_sample_where_there_are_many(data, make_model, monkeypatch):
    graph, schema = data
    monkeypatch.setattr("mmgraph.explain.scene.SAMPLE", 2)
    model = make_model(schema).eval()
    (question,) = ask(model, graph, 6)
    row, owner = graph["scan", "of", "subject"].edge_index
    rows = row[graph["subject"].train_mask[owner]]
    with torch.no_grad():
        expected = model.encoder(graph)["scan"][[int(rows[0]), int(rows[-1])]].mean(dim=0)
    assert torch.allclose(question.reference("mean")["scan"], expected, atol=1e-6)


def test_modules_keep_their_modes(data, make_model):
    graph, schema = data
    model = make_model(schema).train()
    model.head.eval()
    ask(model, graph, 3)
    assert model.training
    assert model.encoder.training
    assert not model.head.training


class Plain(nn.Module):
    """A model without an encoder: the mean of the papers that cite, beside the paper itself."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 3)

    def forward(self, graph):
        x, (source, target) = graph["paper"].x, graph["paper", "cites", "paper"].edge_index
        return self.linear(torch.cat([x, torch.zeros_like(x).index_add(0, target, x[source])], dim=1))


def papers():
    graph = HeteroData()
    graph["paper"].x = torch.arange(8.0).reshape(4, 2) / 4
    graph["paper", "cites", "paper"].edge_index = torch.tensor([[0, 1, 2], [1, 2, 3]])
    return graph, Schema(
        nodes={"paper": NodeSpec(channels=2)}, edges={("paper", "cites", "paper"): EdgeSpec()}, anchor="paper"
    )


def test_any_module_can_be_asked():
    torch.manual_seed(0)
    graph, schema = papers()
    model = Plain().requires_grad_(False)
    (question,) = ask(model, graph, 3, schema=schema, output=2, score="logit")
    assert question.score == pytest.approx(float(model(graph)[3, 2]), abs=1e-6)
    assert question.n_id["paper"].tolist() == [2, 3]


def test_payloads_that_are_no_numbers_in_columns_are_explained_as_the_encoder_gives_them():
    torch.manual_seed(0)
    graph = HeteroData()
    graph["digit"].num_nodes = 3
    graph["digit"].train_mask = torch.tensor([True, True, False])
    graph["image"].num_nodes = 3
    graph["image"].pixels = torch.randint(0, 256, (3, 1, 28, 28), dtype=torch.uint8)
    graph["image", "of", "digit"].edge_index = torch.arange(3).expand(2, -1)
    schema = Schema(
        nodes={"digit": NodeSpec(), "image": NodeSpec(modality="image", attributes=("pixels",))},
        edges={("image", "of", "digit"): EdgeSpec()},
        anchor="digit",
    )
    encoder = encoders.ImageConv({"image": 1}, 4)
    model = Model(schema=schema, encoder=encoder, fusion=fusion.Sum(), head=nn.Linear(4, 2)).eval()
    (question,) = ask(model, graph, 2)
    with torch.no_grad():
        assert torch.allclose(question.features["image"], encoder(graph)["image"][2:], atol=1e-5)


def test_scores():
    outputs = torch.tensor([[1.0, 2.0, 4.0]])
    assert float(read(outputs, 2, "log_odds")) == pytest.approx(4 - torch.tensor([1.0, 2.0]).logsumexp(0).item())
    p = outputs.softmax(dim=1)[0, 2]
    assert float(read(outputs, 2, "log_odds")) == pytest.approx(float(torch.log(p / (1 - p))), abs=1e-6)
    assert float(read(outputs[:, :1], 0, "log_odds")) == 1.0


def test_the_largest_output_is_asked_about_if_none_is_named(data, make_model):
    graph, schema = data
    model = make_model(schema).eval()
    with torch.no_grad():
        expected = model(graph).argmax(dim=1).tolist()
    assert [question.output for question in ask(model, graph, range(20))] == expected


def test_an_anchor_may_be_asked_about_twice(data, make_model):
    graph, schema = data
    first, second = ask(make_model(schema), graph, [5, 5], output=0)
    assert first.score == second.score


def test_what_reaches_is_found_against_the_direction_of_edges():
    edges = {
        ("a", "to", "b"): EdgeSet(torch.tensor([[0, 1], [0, 1]])),
        ("b", "to", "b"): EdgeSet(torch.tensor([[1], [0]])),
    }
    start = {"a": torch.zeros(3, dtype=torch.bool), "b": torch.tensor([True, False])}
    assert [masks["a"].tolist() for masks in reach(start, edges)] == [
        [False, False, False],
        [True, False, False],
        [True, True, False],
    ]
    assert start["b"].tolist() == [True, False]


def test_errors_name_the_value(data, make_model):
    graph, schema = data
    model = make_model(schema)
    with pytest.raises(ConfigError, match="takes a schema with an anchor, got none; pass schema="):
        ask(nn.Linear(2, 2), graph, 0)
    with pytest.raises(ConfigError, match="score must be 'log_odds' or 'logit', got 'chance'"):
        ask(model, graph, 0, score="chance")
    with pytest.raises(DataError, match="must be rows 0 to 19 of 'subject', got 20"):
        ask(model, graph, [3, 20])
    with pytest.raises(ConfigError, match=r"'diagnosis': \('healthy', 'ill'\)}, got 'dead'"):
        ask(model, graph, 0, output="dead")
    with pytest.raises(ConfigError, match="must be a column 0 to 1 of the model's outputs, got 2"):
        ask(model, graph, 0, output=2)


class Peeking(Model):
    """A model that reads more than its encoder and edges."""

    def forward(self, graph):
        return super().forward(graph) + (graph["scan"].x.sum() if "x" in graph["scan"] else 0) * torch.tensor([1, 0])


def test_a_model_that_reads_past_its_encoder_is_refused(data, make_model):
    graph, schema = data
    model = make_model(schema)
    model.__class__ = Peeking
    with pytest.raises(ConfigError, match="must rest on what its encoder gives and on the edges alone"):
        ask(model, graph, 0)


def test_a_model_of_other_shape_is_refused(data, make_model):
    graph, schema = data
    model = make_model(schema)
    model.head = nn.Sequential(model.head, nn.Flatten(0))
    with pytest.raises(ConfigError, match=r"must give \[anchors, outputs\]"):
        Scene(model, graph, schema, [0])
