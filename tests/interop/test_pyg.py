"""Our samples in PyG's own hands: its layers, transforms, loaders and explainers; and its other forms, both ways."""

from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch_geometric import transforms
from torch_geometric.data import Batch, Data, HeteroData, TemporalData
from torch_geometric.explain import DummyExplainer, Explainer, GNNExplainer
from torch_geometric.loader import DataLoader, TemporalDataLoader
from torch_geometric.nn import GATConv, GCNConv, HeteroConv, HGTConv, RGCNConv, SAGEConv, to_hetero

from mmgraph.data import NeighbourLoader, NeighbourSampler, NodeSeeds
from mmgraph.errors import DataError, SchemaError
from mmgraph.interop import from_homogeneous, from_temporal, to_homogeneous, to_temporal
from mmgraph.schema import EdgeSpec, NodeSpec, Schema, TargetSpec
from mmgraph.testing import fake_graph
from mmgraph.testing.expect import difference

NEAR = ("subject", "near", "subject")


@pytest.fixture
def sample():
    """A sample whose anchors carry something too, and edges back to every type."""
    graph, _ = fake_graph()
    graph["subject"].x = torch.ones(40, 2)
    for node in ("scan", "text"):
        graph["subject", "has", node].edge_index = graph[node, "of", "subject"].edge_index.flip(0)
    return graph, Schema.infer(graph, anchor="subject")


class Convolved(torch.nn.Module):
    def __init__(self, edges):
        super().__init__()
        self.first, self.second = (HeteroConv({edge: SAGEConv((-1, -1), 2) for edge in edges}) for _ in range(2))

    def forward(self, x_dict, edge_index_dict):
        return self.second(self.first(x_dict, edge_index_dict), edge_index_dict)["subject"]


def test_heterogeneous_convolutions(sample):
    graph, _ = sample
    made = Convolved(graph.edge_types)(graph.x_dict, graph.edge_index_dict)
    assert made.shape == (40, 2)
    widths = {node: graph[node].x.shape[1] for node in graph.node_types}
    assert HGTConv(widths, 8, graph.metadata(), heads=2)(graph.x_dict, graph.edge_index_dict)["scan"].shape == (61, 8)


def test_a_model_of_one_type_becomes_one_of_many(sample):
    graph, _ = sample

    class One(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = SAGEConv((-1, -1), 8), GATConv((-1, -1), 2, add_self_loops=False)

        def forward(self, x, edge_index):
            return self.second(self.first(x, edge_index).relu(), edge_index)

    model = to_hetero(One(), graph.metadata())
    assert model(graph.x_dict, graph.edge_index_dict)["subject"].shape == (40, 2)


@pytest.mark.parametrize("algorithm", [DummyExplainer(), GNNExplainer(epochs=3)], ids=["dummy", "gnn"])
def test_explainers(sample, algorithm):
    graph, _ = sample
    model = Convolved(graph.edge_types)
    model(graph.x_dict, graph.edge_index_dict)
    settings = {"mode": "multiclass_classification", "task_level": "node", "return_type": "raw"}
    explainer = Explainer(
        model,
        algorithm,
        explanation_type="model",
        node_mask_type="attributes",
        edge_mask_type="object",
        model_config=settings,
    )
    if isinstance(algorithm, GNNExplainer) and not algorithm.supports():
        pytest.skip("this version of GNNExplainer takes no heterogeneous graphs")
    found = explainer(graph.x_dict, graph.edge_index_dict, index=3)
    assert found["scan"].node_mask.shape == graph["scan"].x.shape
    assert found[NEAR].edge_mask.shape == (graph[NEAR].num_edges,)


def test_batches_keep_a_modality_that_a_sample_lacks():
    def one(scans):
        graph = HeteroData()
        graph["subject"].x = torch.ones(1, 1)
        graph["scan"].x = torch.ones(scans, 3)
        graph["scan", "of", "subject"].edge_index = torch.stack([torch.arange(scans), torch.zeros(scans).long()])
        return graph

    graphs = [one(0), one(2), one(1)]
    batch = Batch.from_data_list(graphs)
    assert batch["scan"].batch.tolist() == [1, 1, 2]
    assert [difference(a, b) for a, b in zip(graphs, batch.to_data_list(), strict=True)] == [None] * 3
    assert [len(one) for one in DataLoader(graphs, batch_size=2)] == [2, 1]


def test_transforms(sample):
    graph, schema = fake_graph()
    both = transforms.ToUndirected()(graph)
    back = both["subject", "rev_of", "scan"].edge_index
    assert torch.equal(back, graph["scan", "of", "subject"].edge_index.flip(0))
    schema.check(fake_graph()[0])
    wider = transforms.Constant(value=3.0, node_types="subject")(sample[0])
    assert wider["subject"].x[0].tolist() == [1.0, 1.0, 3.0]


def test_our_batches_in_their_models(sample):
    graph, _ = sample
    model = Convolved(graph.edge_types)
    whole = model(graph.x_dict, graph.edge_index_dict)
    sampler = NeighbourSampler(graph, fan_out=[-1, -1], compiled=False)
    seen = []
    for batch in NeighbourLoader(sampler, NodeSeeds("subject", torch.arange(40)), batch_size=16, prefetch=0):
        out = model(batch.x_dict, batch.edge_index_dict)[: batch["subject"].batch_size]
        assert torch.allclose(out, whole[batch["subject"].n_id[: len(out)]], atol=1e-5)
        seen.append(len(out))
    assert seen == [16, 16, 8]


# ---- one type ----


@st.composite
def alike(draw):
    """Types whose tensors are alike, answers on one of them."""
    graph, nodes, edges = HeteroData(), {}, {}
    generator = torch.Generator().manual_seed(draw(st.integers(0, 99)))
    names = draw(st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, unique=True))
    channels, keyed = draw(st.none() | st.integers(0, 2)), draw(st.booleans())
    for name in names:
        count = draw(st.integers(0, 3))
        graph[name].num_nodes = count
        if channels is not None:
            del graph[name].num_nodes
            graph[name].x = torch.randn(count, channels, generator=generator)
        if keyed:
            graph[name].year = torch.randint(0, 9, (count,), generator=generator)
        nodes[name] = NodeSpec(channels=channels, attributes=("year",) if keyed else ())
    weighted, timed = draw(st.booleans()), draw(st.booleans())
    for number in range(draw(st.integers(0, 3))):
        edge = (draw(st.sampled_from(names)), f"r{number}", draw(st.sampled_from(names)))
        sizes = [graph[end].num_nodes for end in (edge[0], edge[2])]
        count = draw(st.integers(0, 3)) if min(sizes) else 0
        graph[edge].edge_index = torch.stack(
            [torch.randint(0, max(1, n), (count,), generator=generator) for n in sizes]
        )
        if weighted:
            graph[edge].edge_weight = torch.rand(count, generator=generator)
        if timed:
            graph[edge].time = torch.randint(0, 9, (count,), generator=generator)
        edges[edge] = EdgeSpec(weighted=weighted, multiple=True)
    targets = {}
    if draw(st.booleans()):
        rows = graph[names[-1]].num_nodes
        graph[names[-1]].y = torch.rand(rows, generator=generator)
        graph[names[-1]].test_mask = torch.randint(0, 2, (rows,), generator=generator).bool()
        targets["size"] = TargetSpec(node=names[-1], kind="regression")
    return graph, Schema(nodes=nodes, edges=edges, targets=targets, anchor=names[-1])


@given(alike())
def test_graphs_of_one_type_come_back(same, made):
    graph, schema = made
    found = to_homogeneous(graph, schema)
    assert found.num_nodes == graph.num_nodes
    same(graph, from_homogeneous(found, schema))


def small():
    graph = HeteroData()
    graph["a"].x, graph["b"].x = torch.ones(2, 3), torch.zeros(3, 3)
    graph["a"].y = torch.tensor([1, -1])
    graph["b", "to", "a"].edge_index = torch.tensor([[2, 0], [1, 0]])
    return graph, Schema.infer(graph, anchor="a")


def test_one_type_is_what_pyg_makes_of_it():
    graph, schema = small()
    found, theirs = to_homogeneous(graph, schema), graph.to_homogeneous()
    for key in ("edge_index", "node_type", "edge_type", "x"):
        assert torch.equal(found[key], theirs[key]), key
    assert found.y.tolist() == [1, -1, -1, -1, -1]
    assert RGCNConv(3, 4, num_relations=1)(found.x, found.edge_index, found.edge_type).shape == (5, 4)
    assert GCNConv(3, 4)(found.x, found.edge_index).shape == (5, 4)


def test_what_was_taken_out_stays_out():
    graph, schema = small()
    part = to_homogeneous(graph, schema).subgraph(torch.tensor([1, 2, 4]))
    back = from_homogeneous(part, schema)
    assert (back["a"].num_nodes, back["b"].num_nodes) == (1, 2)
    assert back["b", "to", "a"].edge_index.tolist() == [[1], [0]]
    assert back["a"].y.tolist() == [-1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda g: setattr(g, "note", 1), "got 'note' on the graph"),
        (lambda g: setattr(g["a"], "year", torch.ones(2)), "'year' must be on all node types, got none on 'b'"),
        (lambda g: setattr(g["b", "to", "a"], "edge_x", torch.ones(2)), "edges must not be called 'edge_x'"),
        (lambda g: setattr(g["a"], "edges", torch.ones(2)), "nodes must not be called 'edges'"),
        (lambda g: setattr(g["b"], "test_mask", torch.ones(3).bool()), r"'test_mask' must be on \['a'\], .* see 'a'"),
        (lambda g: setattr(g["a"], "more", [1, 2]), "'more' of 'a' must be a tensor with a row for each of 2"),
    ],
)
def test_what_would_be_lost_is_refused(change, message):
    graph, schema = small()
    change(graph)
    with pytest.raises(DataError, match=message):
        to_homogeneous(graph, schema)


def test_widths_and_edges_must_agree():
    graph, _ = small()
    graph["b"].x = torch.zeros(3, 4)
    with pytest.raises(
        DataError, match=r"'x' must be alike on all node types, got \[3\] of .* 'a' and \[4\] of .* 'b'"
    ):
        to_homogeneous(graph, Schema.infer(graph, anchor="a"))
    graph, _ = small()
    graph["a", "by", "b"].edge_index, graph["a", "by", "b"].edge_weight = torch.tensor([[0], [0]]), torch.ones(1)
    with pytest.raises(DataError, match=r"'edge_weight' must be on all edge types, got none on \('b', 'to', 'a'\)"):
        to_homogeneous(graph, Schema.infer(graph, anchor="a"))


def test_types_must_be_said():
    graph, schema = small()
    found = to_homogeneous(graph, schema)
    bare = Data(x=found.x, edge_index=found.edge_index)
    with pytest.raises(DataError, match="node_type must be a type of the schema, 0 to 1, of each of 5, got none"):
        from_homogeneous(bare, schema)
    found.edge_type = found.edge_type + 1
    with pytest.raises(DataError, match="edge_type must be a type of the schema, 0 to 0, of each of 2, got 1 to 1"):
        from_homogeneous(found, schema)
    found.edge_type = found.edge_type - 1
    found.edge_index = found.edge_index.flip(0)
    with pytest.raises(DataError, match=r"Edges of \('b', 'to', 'a'\) must join 'b' to 'a', got one with another end"):
        from_homogeneous(found, schema)


# ---- events ----


@given(st.lists(st.integers(-5, 5), max_size=6), st.booleans(), st.booleans())
def test_events_come_back(same, times, across, messages):
    graph, edge = HeteroData(), ("user", "buys", "item") if across else ("user", "writes", "user")
    graph["user"].x, graph["item"].x = torch.ones(3, 1), torch.ones(2, 1)
    count = len(times)
    graph[edge].edge_index = torch.stack([torch.arange(count) % 3, torch.arange(count) % 2])
    graph[edge].time, graph[edge].price = torch.tensor(times, dtype=torch.long), torch.arange(count) / 2
    if messages:
        graph[edge].edge_attr = torch.arange(2.0 * count).view(count, 2)
    schema = Schema(
        nodes=dict.fromkeys(["user", "item"], NodeSpec(channels=1)),
        edges={edge: EdgeSpec(multiple=True, channels=2 if messages else None)},
    )
    events = to_temporal(graph, schema, edge)
    assert events.t.tolist() == sorted(times)
    assert events.dst.min() >= 3 if across and count else True
    assert ("msg" in events) is messages
    same(graph, from_temporal(events, graph, schema, edge))


def test_pyg_loads_events(sample):
    graph, schema = sample
    generator = torch.Generator().manual_seed(0)
    graph[NEAR].time = torch.randint(0, 99, (graph[NEAR].num_edges,), generator=generator)
    graph[NEAR].face = torch.randn(graph[NEAR].num_edges, 4)
    events = to_temporal(graph, schema, NEAR, message="face")
    batches = list(TemporalDataLoader(events, batch_size=50))
    assert sum(len(one.src) for one in batches) == graph[NEAR].num_edges
    assert all(int(a.t.max()) <= int(b.t.min()) for a, b in pairwise(batches))
    assert batches[0].msg.shape == (50, 4)
    train, *_ = events.train_val_test_split(val_ratio=0.2, test_ratio=0.2)
    part = from_temporal(train, graph, schema, NEAR, message="face")
    assert part[NEAR].num_edges == len(train.src)
    assert graph[NEAR].num_edges == len(events.src)
    assert int(part[NEAR].time.max()) == int(train.t.max())


def test_other_events_are_refused(sample):
    graph, schema = sample
    with pytest.raises(DataError, match=r"edge must be one of .*, got \('a', 'b', 'c'\)"):
        to_temporal(graph, schema, ("a", "b", "c"))
    with pytest.raises(DataError, match=r"time must be a tensor of .* one of \['edge_weight'\], got 'time'"):
        to_temporal(graph, schema, NEAR)
    with pytest.raises(DataError, match=r"message must be a tensor of .*, got 'face'"):
        to_temporal(graph, schema, NEAR, time="edge_weight", message="face")
    graph[NEAR].pairs = torch.ones(graph[NEAR].num_edges, 2)
    with pytest.raises(DataError, match=r"Times must be one an edge, \[117\], got \[117, 2\]"):
        to_temporal(graph, schema, NEAR, time="pairs")
    graph[NEAR].src = graph[NEAR].edge_weight
    with pytest.raises(DataError, match="must not be called 'src'"):
        to_temporal(graph, schema, NEAR, time="edge_weight")
    with pytest.raises(DataError, match=r"edge must be one of .*, got \('a', 'b', 'c'\)"):
        from_temporal(TemporalData(), graph, schema, ("a", "b", "c"))
    far = TemporalData(src=torch.tensor([99]), dst=torch.tensor([0]), t=torch.tensor([1]))
    with pytest.raises(SchemaError, match="source rows below 40"):
        from_temporal(far, *unweighted(), NEAR)


def unweighted():
    graph, schema = fake_graph()
    return graph, schema.model_copy(update={"edges": {**schema.edges, NEAR: EdgeSpec()}})
