import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch_geometric.data import HeteroData

from mmgraph.data import load_graph, save_graph
from mmgraph.errors import ArtifactError

DTYPES = st.sampled_from(
    [torch.bool, torch.uint8, torch.int32, torch.int64, torch.float16, torch.float32, torch.float64]
)
NAMES = st.sampled_from(["subject", "scan", "Ärztin", "a.b", "a b", "near_x/y"])
KEYS = st.sampled_from(["x", "y", "train_mask", "edge_weight", "n_id"])


@st.composite
def tensors(draw):
    shape = draw(st.lists(st.integers(0, 3), min_size=1, max_size=3))
    values = torch.randint(0, 2, shape).to(draw(DTYPES))
    return values.transpose(0, -1) if draw(st.booleans()) else values


@st.composite
def graphs(draw):
    graph = HeteroData()
    names = draw(st.lists(NAMES, unique=True, min_size=1))
    for name in names:
        graph[name].update(draw(st.dictionaries(KEYS, tensors(), min_size=1)))
        if draw(st.booleans()):
            graph[name].num_nodes = draw(st.integers(0, 9))
    end = st.sampled_from(names)
    for edge_type in draw(st.lists(st.tuples(end, NAMES, end), unique=True, max_size=3)):
        graph[edge_type].edge_index = torch.randint(0, 5, (2, draw(st.integers(0, 4))))
        graph[edge_type].update(draw(st.dictionaries(KEYS, tensors())))
    return graph


def same(one, other):
    def key(value):
        return (value.dtype, value.shape, value.tolist()) if torch.is_tensor(value) else value

    stores = [{store._key: {k: key(v) for k, v in store.items()} for store in g.stores} for g in (one, other)]
    return stores[0] == stores[1]


@settings(max_examples=100)
@given(graph=graphs())
def test_round_trip_is_equal(tmp_path_factory, graph):
    path = tmp_path_factory.mktemp("graph") / "graph.safetensors"
    save_graph(graph, path)
    assert same(graph, load_graph(path))


def test_tensors_that_share_memory_are_written(tmp_path):
    graph = HeteroData()
    nobody = torch.zeros(3, dtype=torch.bool)
    graph["a"].train_mask, graph["a"].val_mask = nobody, nobody
    graph["a"].x = torch.arange(6.0).reshape(3, 2)
    graph["b"].x = graph["a"].x[1:]
    save_graph(graph, tmp_path / "g")
    assert same(graph, load_graph(tmp_path / "g"))


def test_numbers_that_are_not_finite_and_negative_zero_keep_their_bits(tmp_path):
    graph = HeteroData()
    graph["a"].x = torch.tensor([[torch.nan, torch.inf, -torch.inf, -0.0, 1e-45]])
    save_graph(graph, tmp_path / "g")
    assert torch.equal(load_graph(tmp_path / "g")["a"].x.view(torch.int32), graph["a"].x.view(torch.int32))


def test_what_can_not_be_written_is_refused_by_value(tmp_path):
    def refused(value, **stores):
        graph = HeteroData()
        graph["a"].x = torch.ones(1, 1)
        for (node, key), content in stores["content"].items():
            (graph[node] if node else graph)[key] = content
        with pytest.raises(ArtifactError, match=value):
            save_graph(graph, tmp_path / "g")
        assert not (tmp_path / "g").exists()

    refused("'name' of type str on 'a'", content={("a", "name"): "ann"})
    refused(r"without '\|' .*'x' of type Tensor on 'a\|b'", content={("a|b", "x"): torch.ones(1)})
    refused(r"without '\|' .*'k\|v' of type Tensor on 'a'", content={("a", "k|v"): torch.ones(1)})
    refused(r"'answer' .*graph", content={(None, "answer"): torch.ones(1)})
    graph = HeteroData()
    graph["a", "x|y", "a"].edge_index = torch.empty(2, 0, dtype=torch.long)
    with pytest.raises(ArtifactError, match=r"\('a', 'x\|y', 'a'\)"):
        save_graph(graph, tmp_path / "g")


@pytest.mark.parametrize(
    "damage", [lambda b: b[: len(b) // 2], lambda b: b"", lambda b: b"\xff" * 20 + b, lambda b: b[:-1]]
)
def test_a_damaged_file_is_named(tmp_path, damage):
    graph = HeteroData()
    graph["a"].x = torch.ones(30, 30)
    save_graph(graph, tmp_path / "graph.bin")
    (tmp_path / "graph.bin").write_bytes(damage((tmp_path / "graph.bin").read_bytes()))
    with pytest.raises(ArtifactError, match=r"graph\.bin.*damaged"):
        load_graph(tmp_path / "graph.bin")


@pytest.mark.parametrize("name", ["w", "node|x", "edge|a|x", "node|a|b|x", "leaf|a|x", "edge|a|of|b|c|x"])
def test_a_file_of_something_else_is_named(tmp_path, name):
    save_file({name: torch.ones(1)}, tmp_path / "model.safetensors")
    with pytest.raises(ArtifactError, match=r"model\.safetensors.*" + name.replace("|", r"\|")):
        load_graph(tmp_path / "model.safetensors")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ArtifactError, match=r"nowhere.*does not"):
        load_graph(tmp_path / "nowhere")
