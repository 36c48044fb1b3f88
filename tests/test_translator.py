"""The translator: nothing of the target is read, nodes stand side by side, and a fit learns."""

import pytest
import torch
from torch import nn
from torch_geometric.data import HeteroData

from mmgraph import FitConfig, Translator, evaluate, fit
from mmgraph.decoders import Dense, Regression, Translation
from mmgraph.encoders import Raw, Table
from mmgraph.errors import ConfigError, DataError
from mmgraph.layers import Mean, Stack
from mmgraph.objectives import Translate
from mmgraph.schema import EdgeSpec, NodeSpec, Schema
from mmgraph.tasks import Generation
from mmgraph.testing import fake_graph


class Errors(Generation):
    """Squared error, and the loss."""

    metrics = ("error", "log_loss")

    def evaluate(self, predictions, graph, part="test", *, metrics=None):
        asked = self.metrics if metrics is None else metrics
        payload, row = self.references(graph, part)
        found = {}
        if "error" in asked:
            found["error"] = float((self._payloads(predictions)[row] - payload).square().mean())
        if "log_loss" in asked and isinstance(predictions, Translation):
            found["log_loss"] = self._losses(predictions, graph, part)
        return found


def translator(schema, channels=8, **options):
    encoder = Table({"scan": 3, "text": 5}, channels)
    decoder = Regression(Dense(channels, (5,)))
    return Translator(schema=schema, target="text", encoder=encoder, decoder=decoder, **options)


def tied(rows=90, seed=0):
    """Scans that say what the text is, and sound that says nothing."""
    generator = torch.Generator().manual_seed(seed)
    graph = HeteroData()
    graph["subject"].x = torch.empty(rows, 0)
    for number, part in enumerate(("train", "val", "test")):
        graph["subject"][f"{part}_mask"] = torch.arange(rows) % 3 == number
    x = torch.randn(rows, 3, generator=generator)
    graph["scan"].x, graph["text"].x = x, x @ torch.randn(3, 5, generator=generator)
    for node in ("scan", "text"):
        graph[node, "of", "subject"].edge_index = torch.arange(rows).expand(2, -1)
    nodes = {"subject": NodeSpec(channels=0), "scan": NodeSpec(channels=3), "text": NodeSpec(channels=5)}
    edges = {(node, "of", "subject"): EdgeSpec() for node in ("scan", "text")}
    return graph, Schema(nodes=nodes, edges=edges, anchor="subject")


def test_nothing_of_the_target_is_read():
    graph, schema = fake_graph()
    made = translator(schema, between=Mean(8, 8, relations=[("subject", "near", "subject")])).eval()
    before = made.sources(graph)
    graph["text"].x = torch.randn_like(graph["text"].x)
    after = made.sources(graph)
    assert torch.equal(before.states, after.states)
    assert torch.equal(before.present, after.present)
    hidden = made.hidden(graph)
    assert hidden["text"].num_nodes == 0
    assert hidden["text", "of", "subject"].edge_index.shape == (2, 0)


def test_nodes_stand_side_by_side():
    graph, schema = fake_graph()
    made = translator(schema).eval()
    sources, states = made.sources(graph), made.encoder(graph)["scan"]
    node, owner = graph["scan", "of", "subject"].edge_index
    for row in range(graph["subject"].num_nodes):
        mine = states[node[owner == row]] + made.kind.weight[list(made.paths).index("scan")]
        assert torch.allclose(sources.states[row, : len(mine)], mine, atol=1e-6)
        assert sources.present[row].tolist() == [place < len(mine) for place in range(sources.present.shape[1])]
        assert not bool(sources.states[row, len(mine) :].any())
    assert torch.allclose(made.embed(graph), sources.mean())


def test_depths_are_the_states_after_each_round():
    graph, schema = fake_graph()
    near = ("scan", "next", "scan")
    made = translator(schema, within=Stack(Mean(8, 8, relations=[near]), Mean(8, 8, relations=[near]))).eval()
    sources = made.sources(graph)
    assert len(sources.depths) == 2
    assert torch.equal(sources.depths[-1], sources.states)
    assert not torch.equal(sources.depths[0], sources.states)
    one = translator(schema, within=Stack(Mean(8, 8, relations=[near]))).eval()
    assert one.sources(graph).depths == ()


def test_neighbours_are_one_more_node():
    graph, schema = fake_graph()
    made = translator(schema, between=Mean(8, 8, relations=[("subject", "near", "subject")])).eval()
    alone = translator(schema).eval()
    assert made.sources(graph).states.shape[1] == alone.sources(graph).states.shape[1] + 1


def test_sources_may_come_by_another_way():
    graph, schema = fake_graph()
    way = [("scan", "of", "subject"), ("subject", "near", "subject")]
    made = translator(schema, sources={"scans of those near": way}).eval()
    sources = made.sources(graph)
    near = graph["subject", "near", "subject"].edge_index
    counts = torch.bincount(graph["scan", "of", "subject"].edge_index[1], minlength=len(sources.states))
    wanted = torch.zeros_like(counts).index_add(0, near[1], counts[near[0]])
    assert sources.present.sum(dim=1).tolist() == wanted.tolist()


def test_a_fit_learns_and_its_controls_do_not(tmp_path):
    def build(run, fold):
        return tied(seed=run)

    def make_model(schema):
        encoder, decoder = Raw(["scan"]), Regression(Dense(3, (5,)))
        return Translator(schema=schema, target="text", encoder=encoder, decoder=decoder)

    results = evaluate(
        build,
        make_model,
        runs=1,
        config=FitConfig(epochs=150, learning_rate=0.05, weight_decay=0.0, batch_size=10, monitor="log_loss"),
        make_objective=lambda schema: Translate(schema, "text"),
        make_task=lambda schema: Errors(schema, "text", attribute="x"),
        metric="error",
        folder=tmp_path,
    )
    full = results.mean("full", "error")
    assert full < 0.02
    assert results.mean("no_source", "error") > 1
    assert results.mean("shuffled_sources", "error") > 1
    assert full < results.mean("nearest", "error") < results.mean("mean", "error")


def test_batches_say_what_the_whole_says():
    graph, schema = tied()
    task, objective = Errors(schema, "text", attribute="x"), Translate(schema, "text")
    torch.manual_seed(0)
    made = Translator(schema=schema, target="text", encoder=Raw(["scan"]), decoder=Regression(Dense(3, (5,))))
    config = FitConfig(epochs=1, batch_size=7, learning_rate=1e-9, monitor="log_loss")
    fitted = fit(made, objective, task, graph, config)
    whole = made.generate(graph)[graph["subject"].test_mask]
    assert torch.allclose(fitted.predict("test").payloads(), whole, atol=1e-6)
    row = torch.arange(len(whole))
    losses, counts = fitted.predict("test").losses(graph["text"].x[graph["subject"].test_mask], row)
    wanted = (whole - graph["text"].x[graph["subject"].test_mask]).square().sum(dim=1)
    assert torch.allclose(losses, wanted, atol=1e-5)
    assert counts.tolist() == [5] * len(whole)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": "diagnosis"}, r"a target that is of the anchor, one of \['scan', 'text'\], got 'diagnosis'"),
        ({"sources": {"a": [("a", "of", "b")]}}, r"must follow edge types of the schema, .* got \('a', 'of', 'b'\)"),
        ({"sources": {"a": [("scan", "next", "scan")]}}, "must lead to 'subject', one edge after the other"),
        ({"sources": {"a": []}}, "must lead to 'subject', one edge after the other"),
        ({"sources": {"a": [("text", "of", "subject")]}}, "must not be what is to be made, got nodes of 'text'"),
    ],
)
def test_what_can_not_be_is_refused(options, message):
    _, schema = fake_graph()
    decoder = Regression(Dense(8, (5,)))
    given = {"schema": schema, "target": "text", "encoder": Raw(["scan"]), "decoder": decoder, **options}
    with pytest.raises(ConfigError, match=message):
        Translator(**given)


def test_widths_and_payloads_are_checked():
    graph, schema = fake_graph()
    made = Translator(
        schema=schema, target="text", encoder=Raw(["scan"]), decoder=Regression(Dense(8, (5,), attribute="pixels"))
    )
    with pytest.raises(ConfigError, match="must be of its width, 8, got 3 for 'scan'"):
        made.sources(graph)
    with pytest.raises(DataError, match="Nodes of 'text' must have 'pixels' to be learned from"):
        made.losses(graph)
    bare = Translator(schema=schema, target="text", encoder=Raw(["text"]), decoder=Regression(Dense(5, (5,))))
    with pytest.raises(ConfigError, match=r"must reach 'subject', along one of \['scan'\], got features of \['text'\]"):
        bare.sources(graph)


def test_the_objective_wants_a_translator():
    graph, schema = fake_graph()
    with pytest.raises(
        ConfigError, match=r"target must be a modality of the anchor, one of \['scan', 'text'\], got 'a'"
    ):
        Translate(schema, "a")
    with pytest.raises(ConfigError, match=r"a model with losses\(graph\), a Translator, got Linear"):
        Translate(schema, "text")(nn.Linear(1, 1), graph)
