import pytest
import torch
from torch_geometric.data import HeteroData

from mmgraph.errors import SchemaError
from mmgraph.schema import EdgeSpec, NodeSpec, Schema, TargetSpec

OF = ("scan", "of", "patient")
NEAR = ("patient", "near", "patient")


@pytest.fixture
def schema(graph):
    return Schema.infer(graph)


def with_spec(schema, **specs):
    """The schema with other node or edge specs."""
    fields = {"nodes": schema.nodes, "edges": schema.edges, "targets": schema.targets}
    return Schema(**{name: {**old, **specs.get(name, {})} for name, old in fields.items()}, anchor=schema.anchor)


def test_a_graph_that_keeps_to_its_schema_passes(graph, schema):
    schema.check(graph)


def test_zero_rows_everywhere_pass():
    graph = HeteroData()
    graph["patient"].x = torch.empty(0, 0)
    graph["patient"].y = torch.empty(0, dtype=torch.long)
    graph["scan"].x = torch.empty(0, 2)
    graph[OF].edge_index = torch.empty(2, 0, dtype=torch.long)
    graph[NEAR].edge_index = torch.empty(2, 0, dtype=torch.long)
    graph[NEAR].edge_weight = torch.empty(0)
    Schema(
        nodes={"patient": NodeSpec(channels=0), "scan": NodeSpec(channels=2)},
        edges={OF: EdgeSpec(), NEAR: EdgeSpec(weighted=True)},
        targets={"label": TargetSpec(node="patient", kind="binary", classes=("no", "yes"))},
    ).check(graph)


def test_an_absent_node_type_is_refused_and_the_message_writes_zero_rows(graph, schema):
    del graph["scan"]
    with pytest.raises(SchemaError, match=r"\['scan'\].*graph\['scan'\]\.x = torch\.empty\(0, 2\)"):
        schema.check(graph)
    assert graph.node_types == ["patient"]  # looking did not make it


def test_an_absent_edge_type_is_refused_and_the_message_writes_zero_columns(graph, schema):
    del graph[OF]
    with pytest.raises(SchemaError, match=r"\('scan', 'of', 'patient'\).*torch\.empty\(2, 0, dtype=torch\.long\)"):
        schema.check(graph)


def test_undeclared_types_are_refused(graph, schema):
    graph["scan", "near", "scan"].edge_index = torch.empty(2, 0, dtype=torch.long)
    with pytest.raises(SchemaError, match=r"\('scan', 'near', 'scan'\).*does not declare"):
        schema.check(graph)
    graph["gene"].x = torch.ones(1, 1)
    with pytest.raises(SchemaError, match=r"\['gene'\].*del graph\['gene'\]"):
        schema.check(graph)


def test_a_type_without_rows_or_tensors_is_refused():
    schema = Schema(nodes={"word": NodeSpec()}, edges={("word", "next", "word"): EdgeSpec()})
    graph = HeteroData()
    graph["word"].train_mask = torch.tensor([True])
    graph["word", "next", "word"].edge_index = torch.tensor([[0], [7]])
    with pytest.raises(SchemaError, match=r"'word'.*graph\['word'\]\.num_nodes"):
        schema.check(graph)
    graph["word"].num_nodes = 1
    with pytest.raises(SchemaError, match="target rows below 1 .*got 7"):
        schema.check(graph)
    graph["word"].num_nodes = 8
    with pytest.raises(SchemaError, match=r"train_mask.*\[8\] of bool, got \[1\]"):
        schema.check(graph)


@pytest.mark.parametrize(
    ("x", "value"),
    [
        (torch.ones(3, 5), r"x \[rows, 2\], got \[3, 5\]"),
        (torch.ones(3), r"x \[rows, 2\], got \[3\]"),
        (torch.ones(3, 2, 2), r"got \[3, 2, 2\]"),
        (torch.empty(0, 3), r"got \[0, 3\]"),
        (torch.ones(3, 2, dtype=torch.long), r"floating point x, got torch.int64; convert with .float\(\)"),
        (torch.tensor([[0.0, 1], [2, 3], [4, torch.nan]]), "finite x, got nan in row 2, column 1"),
        (torch.tensor([[0.0, 1], [-torch.inf, 3], [4, 5]]), "finite x, got -inf in row 1, column 0"),
    ],
)
def test_wrong_features_are_refused(graph, schema, x, value):
    graph["scan"].x = x
    with pytest.raises(SchemaError, match=f"'scan'.*{value}"):
        schema.check(graph)


def test_features_must_be_there(graph, schema):
    del graph["scan"].x
    graph["scan"].num_nodes = 3
    with pytest.raises(SchemaError, match=r"'scan' must have x \[rows, 2\], got none"):
        schema.check(graph)


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_values_that_are_not_finite_pass_where_declared(graph, schema, value):
    graph["scan"].x = torch.full((3, 2), value)
    with pytest.raises(SchemaError, match=f"{value}.*allow_nan=True"):
        schema.check(graph)
    with_spec(schema, nodes={"scan": NodeSpec(channels=2, allow_nan=True)}).check(graph)


def test_declared_attributes_must_be_there_row_by_row(graph, schema):
    schema = with_spec(schema, nodes={"scan": NodeSpec(channels=2, attributes=("time",))})
    with pytest.raises(SchemaError, match=r"'scan' must have time \[3, …\], .*got none"):
        schema.check(graph)
    graph["scan"].time = torch.zeros(1, 3)
    with pytest.raises(SchemaError, match=r"time .*got \[1, 3\]"):
        schema.check(graph)
    graph["scan"].time = torch.zeros(3, 1)
    schema.check(graph)


@pytest.mark.parametrize("mask", [torch.zeros(2, dtype=torch.bool), torch.zeros(3)])
def test_masks_must_be_bool_row_by_row(graph, schema, mask):
    graph["patient"].val_mask = mask
    with pytest.raises(SchemaError, match=rf"val_mask must be a mask \[3\] of bool, got \[{len(mask)}\]"):
        schema.check(graph)


@pytest.mark.parametrize(
    ("index", "value"),
    [
        ([[0, 1, 3], [0, 1, 1]], "source rows below 3 .*'scan'.*got 3 in column 2"),
        ([[0, -1, 2], [0, 1, 1]], "source rows below 3 .*got -1 in column 1"),
        ([[0, 1, 2], [5, 1, 1]], "target rows below 3 .*'patient'.*got 5 in column 0"),
        ([[0, 1, 2], [0, 1, -2]], "target rows .*got -2 in column 2"),
        ([[0, 2, 0], [1, 1, 1]], "join a pair once, got 0 → 1 more than once.*multiple=True"),
        ([0, 1, 2], r"edge_index \[2, edges\], got \[3\]"),
        ([[0], [1], [2]], r"edge_index \[2, edges\], got \[3, 1\]"),
        ([[0.0], [1.0]], "integer edge_index, got torch.float32"),
        ([[True], [False]], "integer edge_index, got torch.bool"),
    ],
)
def test_wrong_indices_are_refused(graph, schema, index, value):
    graph[OF].edge_index = torch.tensor(index)
    with pytest.raises(SchemaError, match=value):
        schema.check(graph)


def test_an_edge_into_a_type_without_rows_is_dangling(graph, schema):
    graph["scan"].x = torch.empty(0, 2)
    with pytest.raises(SchemaError, match="source rows below 0 .*got 0 in column 0"):
        schema.check(graph)


def test_an_index_must_be_there(graph, schema):
    del graph[NEAR].edge_index
    with pytest.raises(SchemaError, match=r"edge_index \[2, edges\], got none"):
        schema.check(graph)


def test_small_integers_index_as_well_as_large_ones(graph, schema):
    graph[OF].edge_index = graph[OF].edge_index.int()
    schema.check(graph)


def test_multiple_edges_pass_where_declared(graph, schema):
    graph[OF].edge_index = torch.tensor([[0, 0], [1, 1]])
    with_spec(schema, edges={OF: EdgeSpec(multiple=True)}).check(graph)


def test_every_duplicate_is_found():
    rng = torch.Generator().manual_seed(0)
    schema = Schema(nodes={n: NodeSpec(channels=0) for n in "ab"}, edges={("a", "r", "b"): EdgeSpec()})
    for _ in range(50):
        graph = HeteroData()
        graph["a"].x, graph["b"].x = torch.empty(4, 0), torch.empty(3, 0)
        index = torch.stack([torch.randint(4, (4,), generator=rng), torch.randint(3, (4,), generator=rng)])
        graph["a", "r", "b"].edge_index = index
        if len(set(zip(*index.tolist(), strict=True))) < 4:
            with pytest.raises(SchemaError, match="more than once"):
                schema.check(graph)
        else:
            schema.check(graph)


@pytest.mark.parametrize(
    ("weight", "value"),
    [
        (None, r"edge_weight \[4\], got none"),
        (torch.ones(3), r"edge_weight \[4\], got \[3\]"),
        (torch.ones(4, 1), r"edge_weight \[4\], got \[4, 1\]"),
        (torch.tensor([1.0, torch.inf, 1.0, 1.0]), "finite edge_weight, got inf in column 1"),
        (torch.tensor([1.0, 1.0, 1.0, torch.nan]), "finite edge_weight, got nan in column 3"),
    ],
)
def test_wrong_weights_are_refused(graph, schema, weight, value):
    del graph[NEAR].edge_weight
    if weight is not None:
        graph[NEAR].edge_weight = weight
    with pytest.raises(SchemaError, match=value):
        schema.check(graph)


def test_wrong_edge_attributes_are_refused(graph, schema):
    schema = with_spec(schema, edges={OF: EdgeSpec(channels=2)})
    with pytest.raises(SchemaError, match=r"edge_attr \[rows, 2\], got none"):
        schema.check(graph)
    graph[OF].edge_attr = torch.ones(3, 1)
    with pytest.raises(SchemaError, match=r"\('scan', 'of', 'patient'\).*edge_attr \[rows, 2\], got \[3, 1\]"):
        schema.check(graph)
    graph[OF].edge_attr = torch.ones(2, 2)
    with pytest.raises(SchemaError, match=r"edge_attr \[3, 2\], got \[2, 2\]"):
        schema.check(graph)
    graph[OF].edge_attr = torch.full((3, 2), torch.nan)
    with pytest.raises(SchemaError, match="finite edge_attr, got nan in row 0, column 0"):
        schema.check(graph)
    graph[OF].edge_attr = torch.ones(3, 2)
    schema.check(graph)


@pytest.mark.parametrize(
    ("y", "value"),
    [
        (torch.tensor([0, 2, 1]), r"between -1 \(unknown\) and 1, got 2 in row 1"),
        (torch.tensor([0, 1, -2]), r"between -1 \(unknown\) and 1, got -2 in row 2"),
        (torch.tensor([0.0, 1.0, 1.0]), r"class numbers .*got torch.float32; convert with .long\(\)"),
        (torch.tensor([True, False, True]), r"class numbers .*got torch.bool; convert with .long\(\)"),
        (torch.tensor([1, 0, 1], dtype=torch.uint8), "class numbers .*got torch.uint8"),
        (torch.tensor([0, 1]), r"one value a row, \[3\], got \[2\]"),
        (torch.tensor([[0], [1], [1]]), r"one value a row, \[3\], got \[3, 1\]"),
    ],
)
def test_wrong_class_numbers_are_refused(graph, schema, y, value):
    graph["patient"].y = y
    with pytest.raises(SchemaError, match=f"'label' on 'patient'.*{value}"):
        schema.check(graph)


def test_unknown_classes_and_absent_targets_pass(graph, schema):
    graph["patient"].y = torch.tensor([-1, -1, 1])
    schema.check(graph)
    del graph["patient"].y
    schema.check(graph)


def test_a_regression_takes_floats_alone(graph, schema):
    schema = with_spec(schema, targets={"label": TargetSpec(node="patient", kind="regression")})
    with pytest.raises(SchemaError, match=r"floating point, got torch.int64; convert with .float\(\)"):
        schema.check(graph)
    graph["patient"].y = torch.tensor([0.5, torch.nan, 1e9])
    schema.check(graph)
