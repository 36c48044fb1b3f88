import logging
import warnings

import pytest
import torch
from torch import nn
from torch_geometric.data import HeteroData

from mmgraph import encoders, fusion, layers, questions
from mmgraph.aligner import Aligner
from mmgraph.encoders import Encoder
from mmgraph.errors import ConfigError, DataError, MissingPackageError
from mmgraph.export import export_onnx, export_program, graph_tensors
from mmgraph.model import Model, classifier
from mmgraph.schema import EdgeSpec, NodeSpec, Schema
from mmgraph.testing import fake_graph

WIDTHS, SHARED = {"scan": 3, "text": 5}, {"scan": 4, "text": 4}
NEAR = [("subject", "near", "subject")]


@pytest.fixture(scope="module")
def graph():
    return fake_graph()[0]


@pytest.fixture(scope="module")
def schema():
    return fake_graph()[1]


@pytest.fixture(scope="module")
def bigger():
    return fake_graph(70, seed=1)[0]


def model(schema, between=None, parts=None, encoder=None):
    torch.manual_seed(0)
    return Model(
        schema=schema,
        encoder=encoder or encoders.Table(WIDTHS, 4),
        fusion=parts or fusion.Concat(SHARED, 4),
        between=between,
        head=nn.Linear(4, 2),
    )


def aligner(schema):
    torch.manual_seed(0)
    spaces = {"joint": {name: nn.Linear(4, 3) for name in WIDTHS}}
    between = layers.Mean(3, 3, relations=NEAR)
    return Aligner(schema=schema, encoder=encoders.Table(WIDTHS, 4), spaces=spaces, between=between)


LAYERS = {
    "Mean": lambda: layers.Mean(4, 4, relations=NEAR),
    "GCN": lambda: layers.GCN(4, 4, relations=NEAR),
    "RGCN": lambda: layers.RGCN(4, 4, relations=NEAR, bases=2),
    "HAN": lambda: layers.HAN(4, 4, relations=NEAR, heads=2),
    "HGT": lambda: layers.HGT(4, 4, relations=NEAR, heads=2),
    "Gated": lambda: layers.Gated(4, relations=NEAR, rounds=2),
    "Attention": lambda: layers.Attention(4, relations=NEAR, heads=2),
    "MemoryAttention": lambda: layers.MemoryAttention(4, relations=NEAR, memories=2, heads=2),
    "Smooth": lambda: layers.Smooth(relations=NEAR),
    "Signed": lambda: questions.Signed(4, relations=NEAR, rounds=2),
}
FUSIONS = {
    "Sum": lambda: fusion.Sum(mean=True),
    "Product": fusion.Product,
    "Gated": lambda: fusion.Gated(SHARED, 4),
    "Tensor": lambda: fusion.Tensor(SHARED, 4),
    "LowRank": lambda: fusion.LowRank(SHARED, 4),
    "Bilinear": lambda: fusion.Bilinear(SHARED, 4, normalise=True),
    "MLP": lambda: fusion.MLP(SHARED, 4),
    "Attention": lambda: fusion.Attention(SHARED, 4),
    "Experts": lambda: fusion.Experts(SHARED, 4),
    "Late": lambda: fusion.Late(SHARED, 4, weights="learned"),
    "Hybrid": lambda: fusion.Hybrid(fusion.Concat(SHARED, 4), fusion.Late(SHARED, 4)),
}
ENCODERS = {
    "Joined": lambda: encoders.Joined(
        encoders.Table({"scan": 3}, 4), encoders.Table({"text": 5}, 4, hidden=[4], norm=True)
    ),
    "LearnedToken": lambda: encoders.LearnedToken(encoders.Table(WIDTHS, 4), SHARED),
    "Chunked": lambda: encoders.Chunked(encoders.Table(WIDTHS, 4), rows=50),
}


def runs(program, graph, schema):
    return program.module()(graph_tensors(graph, schema))


def some_weigh_nothing(graph):
    """The same graph with edges that do not count, among them all that lead to one node."""
    graph = graph.clone()
    store = graph["subject", "near", "subject"]
    store.edge_weight = store.edge_weight.clone()
    store.edge_weight[::2] = 0
    store.edge_weight[store.edge_index[1] == store.edge_index[1, 0]] = 0
    return graph


@pytest.mark.parametrize("name", LAYERS)
def test_layers_are_exported(name, graph, schema, bigger):
    made = model(schema, between=LAYERS[name]()).eval()
    program = export_program(made, graph)
    with torch.no_grad():
        for one in (graph, bigger, some_weigh_nothing(bigger)):
            assert torch.allclose(runs(program, one, schema), made(one), atol=1e-5)


@pytest.mark.parametrize("name", FUSIONS)
def test_fusions_are_exported(name, graph, schema, bigger):
    made = model(schema, parts=FUSIONS[name]()).eval()
    program = export_program(made, graph)
    with torch.no_grad():
        assert torch.allclose(runs(program, bigger, schema), made(bigger), atol=1e-5)


@pytest.mark.parametrize("name", ENCODERS)
def test_encoders_are_exported(name, graph, schema, bigger):
    made = model(schema, encoder=ENCODERS[name]()).eval()
    program = export_program(made, graph)
    with torch.no_grad():
        assert torch.allclose(runs(program, bigger, schema), made(bigger), atol=1e-5)


def onnx(path, graph, schema):
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    read = {one.name for one in session.get_inputs()}
    given = {name: tensor.numpy() for name, tensor in graph_tensors(graph, schema).items() if name in read}
    names = [one.name for one in session.get_outputs()]
    return dict(zip(names, map(torch.from_numpy, session.run(names, given)), strict=True))


def test_a_model_runs_in_onnxruntime(graph, schema, bigger, tmp_path):
    made = classifier(schema).eval()
    path = export_onnx(made, graph, tmp_path / "model.onnx")
    with torch.no_grad():
        for one in (graph, bigger):
            assert torch.allclose(onnx(path, one, schema)["answers"], made(one), atol=1e-4)


def test_attention_runs_in_onnxruntime(graph, schema, bigger, tmp_path):
    made = model(schema, between=LAYERS["Attention"]()).eval()
    path = export_onnx(made, graph, tmp_path / "model.onnx", other=bigger)
    with torch.no_grad():
        assert torch.allclose(onnx(path, bigger, schema)["answers"], made(bigger), atol=1e-4)


def test_an_aligner_runs_in_onnxruntime_view_by_view(graph, schema, bigger, tmp_path):
    made = aligner(schema).eval()
    path = export_onnx(made, graph, tmp_path / "model.onnx")
    found = onnx(path, bigger, schema)
    with torch.no_grad():
        wanted = made(bigger)
        assert found.keys() == {"answers/scan", "answers/text"}
        for name, vectors in wanted.items():
            assert torch.allclose(found[f"answers/{name}"], vectors, atol=1e-4, equal_nan=True)
        program = export_program(made, graph, call="embed")
        assert torch.allclose(runs(program, bigger, schema), made.embed(bigger), atol=1e-5)


def test_sizes_of_nothing_and_one_are_open_too(graph, schema):
    made = classifier(schema).eval()
    program = export_program(made, graph)
    small = HeteroData()
    small["subject"].num_nodes = 1
    small["scan"].x, small["text"].x = torch.ones(1, 3), torch.empty(0, 5)
    for edge in schema.edges:
        small[edge].edge_index = torch.empty(2, 0, dtype=torch.long)
        if schema.edges[edge].weighted:
            small[edge].edge_weight = torch.empty(0)
    small["scan", "of", "subject"].edge_index = torch.zeros(2, 1, dtype=torch.long)
    with torch.no_grad():
        assert torch.allclose(runs(program, small, schema), made(small), atol=1e-5)


def test_anchors_that_each_have_a_node_are_no_special_case(schema, bigger):
    graph, _ = fake_graph()
    rows = torch.arange(40)
    graph["scan"].x = torch.randn(40, 3)
    graph["scan", "of", "subject"].edge_index = torch.stack([rows, rows])
    graph["scan", "next", "scan"].edge_index = torch.stack([rows[:-1], rows[1:]])
    made = classifier(schema).eval()
    program = export_program(made, graph)
    with torch.no_grad():
        assert torch.allclose(runs(program, bigger, schema), made(bigger), atol=1e-5)


def test_the_mode_of_the_model_comes_back(graph, schema):
    made = classifier(schema)
    made.head.eval()
    export_program(made, graph)
    assert made.training
    assert made.encoder.training
    assert not made.head.training


def test_warnings_and_logs_are_as_before(graph, schema):
    before = logging.root.manager.disable
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        export_program(classifier(schema), graph)
    assert logging.root.manager.disable == before


class Adds(nn.Module):
    def __init__(self, ask):
        super().__init__()
        self.ask = ask

    def forward(self, x):
        return self.ask(x)


@pytest.mark.parametrize(
    ("ask", "told"),
    [
        (
            lambda x: x[torch.nonzero(x[:, 0] > 0)[:, 0]][: int(x.sum())],
            "Model can't be exported: .* stands in the way",
        ),
        (lambda x: torch.cat([x, x.new_ones(40 if len(x) == 40 else 70, 1)], dim=1), "specialized it to be a constant"),
    ],
)
def test_what_stands_in_the_way_is_told(ask, told, graph, schema):
    made = model(schema)
    made.head = Adds(ask)
    with pytest.raises(ConfigError, match=told):
        export_program(made, graph)


def test_the_operator_and_its_place_are_named(graph, schema):
    made = model(schema, between=layers.Readout(relations=NEAR))
    with pytest.raises(ConfigError, match=r"an operator at 'place = torch.arange\(int\(fan.sum.* in readout.py stands"):
        export_program(made, graph)


ASKED = []


class Remembers(Encoder):
    """One that adds how often it was asked: the program can't know."""

    def forward(self, graph):
        ASKED.append(1)
        return {name: graph[name].x[:, :3] + len(ASKED) for name in WIDTHS}


def test_a_program_with_other_numbers_is_refused(graph, schema):
    made = model(schema, encoder=Remembers(), parts=fusion.Concat({"scan": 3, "text": 3}, 4))
    with pytest.raises(
        ConfigError, match=r"must give the model's numbers, to 0.0001, .* got \[40, 2\] for \[40, 2\], .* apart"
    ):
        export_program(made, graph)


def test_a_graph_that_is_too_small_is_told(graph, schema):
    small = graph.clone()
    small["scan", "next", "scan"].edge_index = torch.zeros(2, 1, dtype=torch.long)
    with pytest.raises(DataError, match=r"at least 2 nodes and edges of each type .* got 1 of 'scan/next/scan'"):
        export_program(classifier(schema), small)


def test_a_tensor_that_is_missing_is_told(graph, schema):
    lacking = graph.clone()
    del lacking["scan"].x
    with pytest.raises(DataError, match="must have x of 'scan', as the schema says, got none"):
        graph_tensors(lacking, schema)


def test_what_is_no_model_is_told(graph, schema):
    with pytest.raises(ConfigError, match="must have the schema of its graphs to be exported, got a Linear without"):
        export_program(nn.Linear(1, 1), graph)
    with pytest.raises(ConfigError, match="call must be forward or embed, .* got 'nonsense'"):
        export_program(classifier(schema), graph, call="nonsense")


def test_answers_that_are_no_tensors_are_told(graph, schema):
    made = model(schema)
    made.head = Adds(lambda x: {"one": [x]})
    with pytest.raises(
        ConfigError, match="must answer with a tensor or with tensors by name to be exported, got a dict"
    ):
        export_program(made, graph)


def test_nodes_that_hang_on_hidden_ones_are_told(graph):
    nodes = {"subject": NodeSpec(), **dict.fromkeys(["text", "scan", "word"], NodeSpec(channels=2))}
    edges = [("text", "of", "subject"), ("text", "about", "subject"), ("scan", "of", "subject"), ("word", "of", "text")]
    schema = Schema(nodes=nodes, edges=dict.fromkeys(edges, EdgeSpec()), anchor="subject")
    given = HeteroData()
    given["subject"].num_nodes = 3
    for name in ("text", "scan", "word"):
        given[name].x = torch.ones(3, 2)
    for edge in edges:
        given[edge].edge_index = torch.arange(3).expand(2, -1)
    spaces = {"joint": {"text": nn.Linear(2, 2), "scan": nn.Linear(2, 2)}}
    made = Aligner(schema=schema, encoder=encoders.Raw(["text", "scan", "word"]), spaces=spaces)
    with pytest.raises(
        ConfigError, match=r"must hide whole types, got nodes by \('word', 'of', 'text'\) on hidden ones"
    ):
        export_program(made, given)


def test_tensors_are_named_by_type():
    nodes = {"a": NodeSpec(channels=2, attributes=("tokens",)), "b": NodeSpec()}
    edges = {("a", "of", "b"): EdgeSpec(weighted=True, channels=3)}
    graph = HeteroData()
    graph["a"].x, graph["a"].tokens, graph["a"].y = torch.ones(4, 2), torch.ones(4, 5), torch.ones(4)
    graph["b"].num_nodes = 2
    store = graph["a", "of", "b"]
    store.edge_index, store.edge_weight, store.edge_attr = torch.zeros(2, 4).long(), torch.ones(4), torch.ones(4, 3)
    found = {
        name: list(tensor.shape) for name, tensor in graph_tensors(graph, Schema(nodes=nodes, edges=edges)).items()
    }
    assert found == {
        "x/a": [4, 2],
        "tokens/a": [4, 5],
        "rows/b": [2],
        "edge_index/a/of/b": [2, 4],
        "edge_weight/a/of/b": [4],
        "edge_attr/a/of/b": [4, 3],
    }


@pytest.mark.parametrize("package", ["onnx", "onnxscript", "onnxruntime"])
def test_packages_that_are_missing_are_told(package, graph, schema, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, package, None)
    with pytest.raises(MissingPackageError, match=rf"'{package}'.*pip install 'mmgraph\[onnx\]'"):
        export_onnx(classifier(schema), graph, tmp_path / "model.onnx")
    assert not (tmp_path / "model.onnx").exists()
