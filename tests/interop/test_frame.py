"""Rows for PyTorch Frame and back."""

import importlib
import warnings

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch_geometric.data import HeteroData

from mmgraph.errors import DataError, MissingPackageError, SchemaError
from mmgraph.interop import from_tensor_frame, to_tensor_frame
from mmgraph.schema import NodeSpec, Schema, TargetSpec

torch_frame = pytest.importorskip("torch_frame")


@st.composite
def rows(draw):
    """A node type with any of what a frame can hold."""
    graph, count = HeteroData(), draw(st.integers(0, 4))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 99)))
    names = tuple(draw(st.lists(st.sampled_from(["age", "größe", "x y"]), unique=True)))
    channels = len(names) or draw(st.none() | st.integers(1, 3))
    graph["row"].num_nodes = count
    if channels:
        del graph["row"].num_nodes
        graph["row"].x = torch.randn(count, channels, generator=generator)
        if count and names:
            graph["row"].x[0, 0] = float("nan")
    others = draw(st.lists(st.sampled_from(["kind", "when", "face"]), unique=True, min_size=0 if channels else 1))
    for key in others:
        value = torch.randint(-1, 9, (count,) if key == "kind" else (count, 7), generator=generator)
        graph["row"][key] = value.float()[:, :2] if key == "face" else value
    targets = {}
    if draw(st.booleans()):
        graph["row"].y = torch.randint(-1, 2, (count,), generator=generator)
        targets["label"] = TargetSpec(node="row", kind="binary", classes=("0", "1"))
    elif draw(st.booleans()):
        graph["row"].y = torch.rand(count, generator=generator)
        targets["label"] = TargetSpec(node="row", kind="regression")
    nan = bool(names and count)
    nodes = {"row": NodeSpec(channels=channels, names=names, allow_nan=nan, attributes=tuple(others))}
    return graph, Schema(nodes=nodes, targets=targets, anchor="row")


@given(rows())
def test_any_rows_come_back(same, made):
    graph, schema = made
    frame = to_tensor_frame(graph, schema, "row")
    back, known = from_tensor_frame(frame)
    assert {key: one.nan_to_num(-7).tolist() for key, one in back["row"].items() if key != "num_nodes"} == {
        key: one.nan_to_num(-7).tolist() for key, one in graph["row"].items() if key != "num_nodes"
    }
    assert {key: one.dtype for key, one in back["row"].items() if key != "num_nodes"} == {
        key: one.dtype for key, one in graph["row"].items() if key != "num_nodes"
    }
    assert back["row"].num_nodes == graph["row"].num_nodes
    assert set(known.nodes["row"].attributes) == set(schema.nodes["row"].attributes)
    assert (known.nodes["row"].names, known.targets) == (schema.nodes["row"].names, schema.targets)


def patients():
    graph = HeteroData()
    graph["patient"].x = torch.tensor([[50.0, 1.7], [60.0, 1.8]])
    graph["patient"].site, graph["patient"].face = torch.tensor([1, -1]), torch.ones(2, 4)
    graph["patient"].y, graph["patient"].train_mask = torch.tensor([2, 0]), torch.tensor([True, False])
    spec = NodeSpec(channels=2, names=("age", "height"), attributes=("site", "face"))
    target = TargetSpec(node="patient", kind="multiclass", classes=("a", "b", "c"))
    return graph, Schema(nodes={"patient": spec}, targets={"ill": target}, anchor="patient")


def test_columns_are_what_the_schema_says():
    frame = to_tensor_frame(*patients(), "patient")
    assert frame.col_names_dict == {
        torch_frame.numerical: ["age", "height"],
        torch_frame.categorical: ["site"],
        torch_frame.embedding: ["face"],
    }
    assert frame.get_col_feat("height").flatten().tolist() == pytest.approx([1.7, 1.8])
    assert frame.y.tolist() == [2, 0]
    assert len(frame[torch.tensor([True, False])]) == 1


def test_frame_s_own_datasets_become_graphs():
    import pandas as pd

    table = pd.DataFrame({"age": [1.0, 2.0, 3.0], "site": ["n", "s", "n"], "ill": [0, 1, 0]})
    kinds = {"age": torch_frame.numerical, "site": torch_frame.categorical, "ill": torch_frame.categorical}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        data = torch_frame.data.Dataset(table, kinds, target_col="ill").materialize()
    graph, schema = from_tensor_frame(data.tensor_frame, node="patient", target="ill", classes=("no", "yes"))
    assert graph["patient"].x[:, 0].tolist() == [1.0, 2.0, 3.0]
    assert graph["patient"].site.tolist() == [0, 1, 0]
    assert schema.targets["ill"].classes == ("no", "yes")
    again = to_tensor_frame(graph, schema, "patient")
    assert again.col_names_dict == data.tensor_frame.col_names_dict


def test_a_model_of_pytorch_frame_reads_it():
    from torch_frame.data.stats import StatType
    from torch_frame.nn import MLP, LinearEncoder

    graph, schema = patients()
    del graph["patient"].site, graph["patient"].face
    schema = Schema(nodes={"patient": NodeSpec(channels=2, names=("age", "height"))}, targets=schema.targets)
    frame = to_tensor_frame(graph, schema, "patient")
    stats = {name: {StatType.MEAN: 0.0, StatType.STD: 1.0} for name in ("age", "height")}
    model = MLP(4, 3, 1, stats, frame.col_names_dict, {torch_frame.numerical: LinearEncoder()})
    assert model(frame).shape == (2, 3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda g: setattr(g["patient"], "more", torch.ones(2)), r"must be floats \[rows, channels\] .* got \[2\] of"),
        (lambda g: setattr(g["patient"], "more", torch.ones(2, 3).long()), r"got \[2, 3\] of torch.int64; convert it"),
        (
            lambda g: setattr(g["patient"], "more", [1, 2]),
            "'more' of 'patient' must be a tensor with a row for each of 2",
        ),
        (
            lambda g: setattr(g["patient"], "age", torch.tensor([1, 2])),
            "names of their own, got 'age' twice on 'patient'",
        ),
    ],
)
def test_what_would_be_lost_is_refused(change, message):
    graph, schema = patients()
    change(graph)
    with pytest.raises(DataError, match=message):
        to_tensor_frame(graph, schema, "patient")


def test_what_is_not_there_is_refused():
    graph, schema = patients()
    with pytest.raises(DataError, match=r"node must be one of \['patient'\], got 'doctor'"):
        to_tensor_frame(graph, schema, "doctor")
    with pytest.raises(SchemaError, match=r"Target must be one of \['ill'\], got 'well'"):
        to_tensor_frame(graph, schema, "patient", target="well")
    more = TargetSpec(node="patient", attribute="z", kind="regression")
    two = Schema(nodes=schema.nodes, targets={**schema.targets, "z": more})
    with pytest.raises(DataError, match=r"target must name one of \['ill', 'z'\]"):
        to_tensor_frame(graph, two, "patient")
    graph["patient"].z = torch.tensor([0.5, 1.5])
    assert to_tensor_frame(graph, two, "patient", target="z").y.tolist() == [0.5, 1.5]
    graph["doctor"].x = torch.ones(1, 1)
    both = Schema(nodes={**schema.nodes, "doctor": NodeSpec(channels=1)}, targets=two.targets)
    with pytest.raises(DataError, match="Target 'ill' must be of 'doctor', got one of 'patient'"):
        to_tensor_frame(graph, both, "doctor", target="ill")


def test_other_frames_are_refused():
    with pytest.raises(DataError, match="takes a TensorFrame, got int"):
        from_tensor_frame(3)
    many = torch_frame.data.MultiNestedTensor.from_tensor_mat([[torch.tensor([1, 2])], [torch.tensor([1])]])
    frame = torch_frame.TensorFrame({torch_frame.multicategorical: many}, {torch_frame.multicategorical: ["tags"]})
    with pytest.raises(DataError, match="must be numerical, categorical, embedding, timestamp, got multicategorical"):
        from_tensor_frame(frame)
    for name, others in (("y", {}), ("x", {torch_frame.numerical: ["age"]})):
        feats = {torch_frame.categorical: torch.ones(2, 1).long()} | {kind: torch.ones(2, 1) for kind in others}
        frame = torch_frame.TensorFrame(feats, {torch_frame.categorical: [name], **others})
        with pytest.raises(DataError, match=f"must not be called '{name}', which a node type has for itself"):
            from_tensor_frame(frame)


def test_without_pytorch_frame_it_is_said_what_to_install(monkeypatch):
    def refused(name, *args):
        raise ModuleNotFoundError("none", name=name)

    monkeypatch.setattr(importlib, "import_module", refused)
    with pytest.raises(MissingPackageError, match=r"pip install 'mmgraph\[tabular\]'"):
        to_tensor_frame(*patients(), "patient")
