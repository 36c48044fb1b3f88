import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_geometric.data import Batch, HeteroData

from mmgraph.errors import SchemaError
from mmgraph.schema import EdgeSpec, NodeSpec, Schema, TargetSpec, view

OF = ("scan", "of", "patient")
NEAR = ("patient", "near", "patient")


@pytest.fixture
def schema(graph):
    return Schema.infer(graph)


def mask(*values):
    return torch.tensor(values, dtype=torch.bool)


def snapshot(graph):
    """Every value of a graph, copied."""
    return {
        (kind, key): value.clone() if torch.is_tensor(value) else value
        for store, kind in [(store, store._key) for store in graph.stores]
        for key, value in store.items()
    }


def equal(one, other):
    """Whether two graphs are the same, bit by bit (and NaN by NaN)."""
    a, b = snapshot(one), snapshot(other)
    if list(a) != list(b):
        return False
    return all(
        torch.equal(x.nan_to_num(7.7), b[key].nan_to_num(7.7)) and x.dtype == b[key].dtype
        if torch.is_tensor(x)
        else x == b[key]
        for key, x in a.items()
    )


def slow_rows(graph, schema, keep, hide):
    """The rows of each type that may be seen, node by node."""
    dead = {node: {row for row in range(len(m)) if not m[row]} for node, m in keep.items()}
    rows = {node: range(graph[node].num_nodes) for node in schema.nodes}
    dead = {node: set(rows[node]) if node in hide else dead.get(node, set()) for node in schema.nodes}
    changed = True
    while changed:
        changed = False
        for source, relation, target in schema.edges:
            if relation == "of":
                for a, b in graph[source, relation, target].edge_index.T.tolist():
                    if b in dead[target] and a not in dead[source]:
                        dead[source].add(a)
                        changed = True
    return {node: [row for row in rows[node] if row not in dead[node]] for node in rows}


def slow_edges(graph, edge_type, rows):
    """The edges between visible rows, in their order, renumbered, and which columns they were."""
    source, target = rows[edge_type[0]], rows[edge_type[2]]
    pairs, columns = [], []
    for column, (a, b) in enumerate(graph[edge_type].edge_index.T.tolist()):
        if a in source and b in target:
            pairs.append([source.index(a), target.index(b)])
            columns.append(column)
    return pairs, columns


@settings(max_examples=150)
@given(data=st.data())
def test_a_view_equals_a_slow_loop(ragged, data):
    graph = data.draw(ragged)
    schema = Schema.infer(graph)
    flags = {
        node: st.lists(st.booleans(), min_size=n, max_size=n) for node in schema.nodes for n in [graph[node].num_nodes]
    }
    kept = data.draw(st.lists(st.sampled_from(list(schema.nodes)), unique=True), label="kept")
    keep = {node: mask(*data.draw(flags[node], label=f"keep {node}")) for node in kept}
    hide = data.draw(st.sets(st.sampled_from(list(schema.nodes)), max_size=2), label="hide")
    drop = data.draw(st.sets(st.sampled_from(list(schema.edges)), max_size=2), label="drop")
    before = snapshot(graph)
    seen = view(graph, schema, keep=keep, hide=hide, drop_edges=drop)

    rows = slow_rows(graph, schema, keep, hide)
    for node in schema.nodes:
        assert seen[node].n_id.tolist() == rows[node]
        assert torch.equal(seen[node].x, graph[node].x[rows[node]])
        assert "y" not in seen[node]
    assert torch.equal(seen["patient"].train_mask, graph["patient"].train_mask[rows["patient"]])
    for edge_type in schema.edges:
        pairs, columns = ([], []) if edge_type in drop else slow_edges(graph, edge_type, rows)
        assert seen[edge_type].edge_index.T.tolist() == pairs
        assert seen[edge_type].edge_index.dtype == torch.long
        for key in ("edge_weight", "edge_attr"):
            if key in graph[edge_type]:
                assert torch.equal(seen[edge_type][key], graph[edge_type][key][columns])
    schema.check(seen)
    assert list(snapshot(graph)) == list(before)
    assert all(torch.equal(value, before[key]) for key, value in snapshot(graph).items())
    assert equal(view(seen, schema), view(view(seen, schema), schema))


@settings(max_examples=50)
@given(data=st.data())
def test_what_is_hidden_has_no_influence(ragged, data):
    graph = data.draw(ragged)
    schema = Schema.infer(graph)
    patients = graph["patient"].num_nodes
    keep = {"patient": mask(*data.draw(st.lists(st.booleans(), min_size=patients, max_size=patients)))}
    known = mask(*data.draw(st.lists(st.booleans(), min_size=patients, max_size=patients)))
    arguments = {"keep": keep, "hide": ["note"], "labels": {"label": known}}
    seen = view(graph, schema, **arguments)
    other = graph.clone()
    for node in schema.nodes:
        hidden = torch.ones(graph[node].num_nodes, dtype=torch.bool)
        hidden[seen[node].n_id] = False
        other[node].x[hidden] = torch.randn_like(other[node].x[hidden])
    other["patient"].y[~known] = (other["patient"].y[~known] + 2) % 4 - 1
    other["note"].y += 1
    other["scan", "near", "note"].edge_weight += 1
    assert equal(seen, view(other, schema, **arguments))


def test_batches_of_views_keep_their_places(graph, schema):
    views = [view(graph, schema), view(graph, schema, hide=["scan"]), view(graph, schema)]
    batch = Batch.from_data_list(views)
    assert batch["scan"].batch.tolist() == [0, 0, 0, 2, 2, 2]
    assert batch["patient"].batch.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert batch[OF].edge_index.tolist() == [[0, 1, 2, 3, 4, 5], [0, 1, 1, 6, 7, 7]]
    empty_first = Batch.from_data_list(views[1:])
    assert empty_first["scan"].batch.tolist() == [1, 1, 1]
    assert equal(batch.get_example(1), views[1])


def test_labels_are_absent_unless_asked_for(graph, schema):
    assert "y" not in view(graph, schema)["patient"]
    seen = view(graph, schema, labels={"label": mask(1, 0, 1)})
    assert seen["patient"].y.tolist() == [1, -1, 1]
    kept = view(graph, schema, labels={"label": mask(1, 0, 0)}, keep={"patient": mask(0, 1, 1)})
    assert kept["patient"].y.tolist() == [-1, -1]
    assert graph["patient"].y.tolist() == [1, 0, 1]


def test_hidden_values_of_a_regression_are_nan(graph):
    graph["patient"].y = torch.tensor([0.5, 1.5, 2.5])
    seen = view(graph, Schema.infer(graph), labels={"label": mask(0, 1, 0)})
    assert seen["patient"].y.isnan().tolist() == [True, False, True]
    assert seen["patient"].y[1] == 1.5


def test_only_what_is_declared_is_seen(graph, schema):
    graph["patient"].diagnosis_code = torch.tensor([1, 0, 1])
    graph["scan"].time = torch.arange(3)
    graph[NEAR].from_label = torch.ones(4)
    graph["biopsy"].x = torch.tensor([[1.0]])
    graph["biopsy", "of", "patient"].edge_index = torch.tensor([[0], [0]])
    graph.answer = torch.ones(1)
    narrow = Schema(
        nodes={"patient": NodeSpec(), "scan": NodeSpec(channels=2, attributes=("time",))},
        edges={OF: EdgeSpec(), NEAR: EdgeSpec()},
    )
    for seen in (view(graph, narrow), view(graph, narrow, keep={"patient": mask(1, 1, 0)})):
        assert seen.node_types == ["patient", "scan"]
        assert seen.edge_types == [OF, NEAR]
        assert set(seen["patient"].keys()) == {"n_id"}
        assert set(seen["scan"].keys()) == {"x", "time", "n_id"}
        assert set(seen[NEAR].keys()) == {"edge_index"}
        assert "answer" not in seen
    assert "answer" in graph
    assert "time" not in view(graph.clone(), schema.model_copy())["scan"]


def test_modality_nodes_go_with_the_anchor_they_are_of(graph, schema):
    seen = view(graph, schema, keep={"patient": mask(1, 0, 1)})
    assert seen["scan"].n_id.tolist() == [0]
    assert seen[OF].edge_index.tolist() == [[0], [0]]
    assert seen[NEAR].edge_index.tolist() == [[], []]


def test_a_node_of_two_anchors_goes_with_either(graph, schema):
    graph[OF].edge_index = torch.tensor([[0, 0, 1], [0, 1, 2]])  # scan 2 is of nobody
    seen = view(graph, schema, keep={"patient": mask(1, 0, 0)})
    assert seen["scan"].n_id.tolist() == [2]


def test_a_hidden_type_stays_with_zero_rows(graph, schema):
    seen = view(graph, schema, hide=["scan"])
    assert seen["scan"].x.shape == (0, 2)
    assert seen[OF].edge_index.shape == (2, 0)
    assert seen["patient"].num_nodes == 3
    assert torch.equal(seen[NEAR].edge_weight, graph[NEAR].edge_weight)


def test_dropped_edges_leave_their_type_and_the_nodes(graph, schema):
    seen = view(graph, schema, drop_edges=[NEAR])
    assert seen[NEAR].edge_index.shape == (2, 0)
    assert seen[NEAR].edge_weight.shape == (0,)
    assert seen["scan"].num_nodes == 3
    assert graph[NEAR].edge_index.shape == (2, 4)


def test_a_type_without_tensors_counts_its_rows():
    graph = HeteroData()
    graph["word"].num_nodes = 3
    graph["word", "next", "word"].edge_index = torch.tensor([[0, 1], [1, 2]])
    schema = Schema.infer(graph)
    seen = view(graph, schema, keep={"word": mask(0, 1, 1)})
    assert seen["word"].num_nodes == 2
    assert seen["word"].n_id.tolist() == [1, 2]
    assert graph["word"].num_nodes == 3
    assert Batch.from_data_list([seen, seen])["word"].batch.tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize(
    ("arguments", "value"),
    [
        ({"keep": {"gene": mask(1)}}, r"keep .*\['patient', 'scan'\], got 'gene'"),
        ({"hide": ["gene"]}, "hide .*got 'gene'"),
        ({"drop_edges": [("a", "of", "b")]}, r"drop_edges .*got \('a', 'of', 'b'\)"),
        ({"labels": {"age": mask(1, 1, 1)}}, r"labels .*\['label'\], got 'age'"),
        ({"keep": {"patient": mask(1, 1)}}, r"keep\['patient'\] must be a mask \[3\] of bool, got \[2\] of torch.bool"),
        ({"keep": {"patient": torch.ones(3)}}, r"keep\['patient'\].*got \[3\] of torch.float32"),
        ({"keep": {"patient": torch.tensor([0, 1, 2])}}, "got .*torch.int64"),
        ({"labels": {"label": mask(1)}}, r"labels\['label'\] must be a mask \[3\] of bool, got \[1\]"),
    ],
)
def test_wrong_names_and_masks_are_refused(graph, schema, arguments, value):
    with pytest.raises(SchemaError, match=value):
        view(graph, schema, **arguments)


def test_an_absent_type_is_refused_and_not_made(graph, schema):
    del graph["scan"]
    with pytest.raises(SchemaError, match=r"no node type \['scan'\]"):
        view(graph, schema)
    assert graph.node_types == ["patient"]


def test_labels_that_the_graph_does_not_have_are_refused(graph, schema):
    del graph["patient"].y
    with pytest.raises(SchemaError, match=r"labels.*'label'.*'y' on 'patient'"):
        view(graph, schema, labels={"label": mask(1, 1, 1)})


def test_targets_are_seen_one_by_one(graph):
    graph["patient"].age = torch.tensor([50.0, 60.0, 70.0])
    nodes = {"patient": NodeSpec(channels=0), "scan": NodeSpec(channels=2)}
    targets = {
        "label": TargetSpec(node="patient", kind="binary", classes=("no", "yes")),
        "age": TargetSpec(node="patient", attribute="age", kind="regression"),
    }
    schema = Schema(nodes=nodes, edges={OF: EdgeSpec(), NEAR: EdgeSpec(weighted=True)}, targets=targets)
    seen = view(graph, schema, labels={"age": mask(1, 1, 1)})
    assert "y" not in seen["patient"]
    assert seen["patient"].age.tolist() == [50, 60, 70]


def test_hide_closes_over_what_hangs_on_the_hidden():
    graph = HeteroData()
    graph["patient"].x = torch.ones(2, 1)
    graph["scan"].x = torch.ones(2, 1)
    graph["patch"].x = torch.ones(3, 1)
    graph["scan", "of", "patient"].edge_index = torch.tensor([[0, 1], [0, 1]])
    graph["patch", "of", "scan"].edge_index = torch.tensor([[0, 1, 2], [0, 0, 1]])
    seen = view(graph, Schema.infer(graph, anchor="patient"), hide=["scan"])
    assert [seen[node].num_nodes for node in ("patient", "scan", "patch")] == [2, 0, 0]
