"""A batch is what PyTorch Geometric makes of the same samples, bit for bit, whatever the samples are."""

import weakref

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_geometric.data import Batch, HeteroData

from mmgraph.data import Collection, CollectionWriter

DTYPES = st.sampled_from(
    [
        *(torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.uint16),
        *(torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.complex64, torch.float8_e5m2),
    ]
)
INDEX_DTYPES = st.sampled_from([torch.int64, torch.int64, torch.int32, torch.int16, torch.uint8])
NODES = ["text", "Scan v1.0", "näh/e"]
SHAPES = st.lists(st.integers(0, 3), max_size=2).map(tuple)
COUNTS = st.sampled_from([0, 0, 1, 1, 2, 3, 5])


def bits(tensor):
    """The bytes of a tensor, so that NaN equals NaN and 0 does not equal -0."""
    plain = tensor.clone(memory_format=torch.contiguous_format).flatten()
    return tensor.dtype, tuple(tensor.shape), bytes(plain.view(torch.uint8).numpy()) if plain.numel() else b""


def content(value):
    if isinstance(value, torch.Tensor):
        return bits(value)
    if isinstance(value, dict):
        return [(key, content(one)) for key, one in value.items()]
    if isinstance(value, (list, tuple)):
        return [content(one) for one in value]
    return type(value), value


def face(graph):
    """All that a graph holds, in order, private parts included."""
    return [
        (
            store._key,
            content(store._mapping),
            content({k: v for k, v in vars(store).items() if k not in ("_mapping", "_parent", "_cached_attr")}),
        )
        for store in graph.stores
    ]


def random(generator, shape, dtype):
    values = torch.randint(0, 256, (*shape, dtype.itemsize), generator=generator, dtype=torch.uint8)
    if dtype == torch.bool:
        return values[..., 0] > 127
    return values.view(dtype)[..., 0].clone() if values.numel() else torch.empty(shape, dtype=dtype)


@st.composite
def layouts(draw):
    """Types with their attributes: (kind, dtype, shape of a row)."""
    nodes = draw(st.lists(st.sampled_from(NODES), unique=True, min_size=1))
    names = {"x": "rows", "y": "free", "feat": "rows", "mask": "scalar", "one": "unit", "node_id": "rows"}
    layout = {None: {}, **{node: {} for node in nodes}}
    ends = st.sampled_from(nodes)
    for edge in draw(st.lists(st.tuples(ends, st.sampled_from(["of", "r.s"]), ends), unique=True, max_size=3)):
        layout[edge] = {"edge_index": ("edges", draw(INDEX_DTYPES), ())}
    for kind, attributes in layout.items():
        chosen = draw(st.permutations(sorted(names)))[: draw(st.integers(0, 4))]
        attributes.update({name: (names[name], draw(DTYPES), draw(SHAPES)) for name in chosen})
        if isinstance(kind, tuple) and draw(st.booleans()):
            attributes["edge_label_index"] = ("index", draw(INDEX_DTYPES), ())
        if isinstance(kind, str) and (not {"x", "feat", "node_id"} & attributes.keys() or draw(st.booleans())):
            attributes["num_nodes"] = ("count", None, ())
    return layout


@st.composite
def samples(draw):
    layout = draw(layouts())
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    graphs = []
    for _ in range(draw(st.integers(1, 5))):
        graph = HeteroData()
        counts = {kind: draw(COUNTS) for kind in layout}
        for kind, attributes in layout.items():
            store = graph.stores[0] if kind is None else graph[kind]
            if isinstance(kind, tuple) and 0 in (counts[kind[0]], counts[kind[2]]):
                counts[kind] = 0
            for name, (what, dtype, shape) in attributes.items():
                if what == "count":
                    store.num_nodes = counts[kind]
                elif what in ("edges", "index"):
                    number = counts[kind] if what == "edges" else draw(COUNTS)
                    tops = [max(counts[kind[end]], 1) for end in (0, 2)]
                    pairs = [torch.randint(0, top, (number,), generator=generator) for top in tops]
                    store[name] = torch.stack(pairs).to(dtype)
                elif what == "scalar":
                    store[name] = random(generator, (), dtype)
                else:
                    rows = {"rows": counts[kind], "free": draw(COUNTS), "unit": 1}[what]
                    store[name] = random(generator, (rows, *shape), dtype)
        graphs.append(graph)
    return graphs


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    counter = iter(range(10**6))
    folder = tmp_path_factory.mktemp("collections")
    return lambda: folder / str(next(counter))


def written(path, graphs, at=None):
    """A collection written in one commit, or in two."""
    with CollectionWriter(path) as writer:
        writer.extend(graphs[:at])
    if at is not None:
        with CollectionWriter(path, append=True) as writer:
            writer.extend(graphs[at:])
    return Collection(path)


@settings(max_examples=100)
@given(graphs=samples(), data=st.data())
def test_a_sample_is_what_went_in_and_a_batch_is_that_of_pyg(place, graphs, data):
    collection = written(place(), graphs, data.draw(st.sampled_from([None, len(graphs) // 2])))
    assert len(collection) == len(graphs)
    for graph, got in zip(graphs, collection, strict=True):
        assert sorted(map(str, face(graph))) == sorted(map(str, face(got)))

    numbers = data.draw(st.lists(st.integers(-len(graphs), len(graphs) - 1), min_size=1, max_size=7))
    if data.draw(st.booleans()):
        numbers = list(range(abs(numbers[0]) % len(graphs), len(graphs)))
    picked = [collection[number] for number in numbers]
    expected, got = Batch.from_data_list(picked), collection.batch(numbers)
    lonely = [store._key for store in picked[0].node_stores if list(store) == ["num_nodes"]]
    for key in lonely:  # PyTorch Geometric has no slices for these, and fails to take the batch apart
        assert expected._slice_dict.setdefault(key, {}) == expected._inc_dict.setdefault(key, {}) == {}
    order = [store._key for store in expected.stores if store._key is not None]
    for part in ("_slice_dict", "_inc_dict"):
        ours, theirs = getattr(got, part), getattr(expected, part)
        assert {str(k): content(v) for k, v in ours.items()} == {str(k): content(v) for k, v in theirs.items()}
        setattr(expected, part, ours)
    assert [store._key for store in got.stores if store._key is not None] == order
    assert face(got) == face(expected)
    assert type(got) is type(expected)
    assert got.num_graphs == expected.num_graphs == len(numbers)
    apart = zip(got.to_data_list(), expected.to_data_list(), strict=True)
    assert all(face(one) == face(other) for one, other in apart)
    assert face(got[len(numbers) - 1]) == face(expected.get_example(len(numbers) - 1))


def small(rows=2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    graph = HeteroData()
    graph["a"].x = torch.rand(rows, 3, generator=generator)
    graph["b"].num_nodes = rows + 1
    graph["a", "of", "b"].edge_index = torch.randint(0, rows, (2, 4), generator=generator)
    graph["a", "of", "b"].edge_attr = torch.rand(4, 2, generator=generator)
    graph.y = torch.tensor([seed])
    return graph


def test_a_batch_goes_on_working_as_one_of_pyg(tmp_path):
    """Nothing of how it was filled shows: it can be copied, moved, changed and asked."""
    graphs = [small(rows, rows) for rows in (1, 2, 3)]
    batch, twin = written(tmp_path / "c", graphs).batch([2, 0]), Batch.from_data_list([graphs[2], graphs[0]])
    assert repr(batch) == repr(twin)
    assert batch.num_nodes == twin.num_nodes == 10
    assert face(batch.clone()) == face(batch)
    assert batch["a"]._parent() is batch
    assert isinstance(batch["a"].__dict__["_parent"], weakref.ref)
    assert batch.to("cpu")["a"].x.shape == (4, 3)
    batch["a"].new = torch.ones(4)
    assert batch["a"].new.sum() == 4
    assert batch.validate()
    assert batch.x_dict.keys() == {"a"}
    assert [graph.y.item() for graph in batch.to_data_list()] == [3, 1]
    assert batch.to_homogeneous().num_edges == 8
    batch["a"].ptr.zero_()
    assert [graph["a"].num_nodes for graph in batch.to_data_list()] == [3, 1]


def test_changing_what_was_read_changes_nothing_else(tmp_path):
    collection = written(tmp_path / "c", [small(seed=seed) for seed in range(3)])
    before = face(collection.batch([0, 1, 2]))
    for graph in (collection[1], collection.batch([0, 1]), collection.batch([2, 0])):
        for store in graph.stores:
            for value in store.values():
                if isinstance(value, torch.Tensor):
                    value.zero_().sub_(1)
    assert face(collection.batch([0, 1, 2])) == before
    collection.verify()
    Collection(tmp_path / "c").verify()


def test_batches_with_more_nodes_than_32_bits_are_counted_right(tmp_path):
    """Nodes that have no features cost nothing on disk, so there may be very many."""
    graphs = []
    for rows in (2**31, 2**31 - 1, 5):
        graph = HeteroData()
        graph["a"].num_nodes = rows
        graph["a", "near", "a"].edge_index = torch.tensor([[0, rows - 1], [rows - 2, 1]])
        graphs.append(graph)
    collection = written(tmp_path / "c", graphs)
    assert face(collection[0]) == face(graphs[0])

    class Found(dict):
        def __missing__(self, name):
            return collection._collator.spans(name, np.array([0, 1, 2]))

    store = collection._layout.store(("a", "near", "a"))
    index, incs = collection._collator._joined(store.attributes[0], store, Found())
    assert incs.flatten().tolist() == [0, 0, 2**31, 2**31, 2**32 - 1, 2**32 - 1]
    expected = [graph["a", "near", "a"].edge_index + inc for graph, inc in zip(graphs, incs, strict=True)]
    assert index.equal(torch.cat(expected, dim=1))


def test_types_that_each_sample_has_one_node_of_share_their_offsets(tmp_path):
    graphs = []
    for number in range(5):
        graph = HeteroData()
        for name in ("a", "b", "c"):
            graph[name].x = torch.full((1 if name < "c" else number % 3, 2), number)
        graph["a", "of", "b"].edge_index = torch.zeros(2, 1, dtype=torch.int64)
        graph["c", "of", "b"].edge_index = torch.zeros(2, number % 3, dtype=torch.int64)
        graph["c", "of", "b"].edge_index[0] = torch.arange(number % 3)
        graphs.append(graph)
    with CollectionWriter(tmp_path / "c") as writer:
        for graph in graphs:
            writer.add(graph)
    collection = Collection(tmp_path / "c")
    same = collection._collator.same
    assert len(set(same.values()) - {""}) < len(same) - 1
    for rows in ([3, 0, 4], [1, 2, 3], [2], [4, 4]):
        batch, expected = collection.batch(rows), Batch.from_data_list([graphs[row] for row in rows])
        assert face(batch) == face(expected)
        batch["a"].batch += 7
        assert torch.equal(batch["b"].batch, expected["b"].batch)
        for tensor in (batch["a"].ptr, batch["a", "of", "b"].edge_index):
            tensor.zero_()
        assert face(collection.batch(rows)) == face(expected)  # what batches of one size share was not touched
