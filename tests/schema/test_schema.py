import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch_geometric.data import HeteroData

from mmgraph.errors import SchemaError
from mmgraph.schema import EdgeSpec, Modality, NodeSpec, Schema, TargetSpec

NAMES = st.sampled_from(["patient", "scan", "note", "Ärztin", "a.b", "x|y"])
text = st.text(max_size=5)


@st.composite
def schemas(draw):
    width = st.none() | st.integers(0, 5)
    nodes = {}
    for name in draw(st.lists(NAMES, unique=True, min_size=1)):
        channels = draw(width)
        names = draw(st.just(()) | st.just(tuple(f"c{i}" for i in range(channels)))) if channels else ()
        nodes[name] = NodeSpec(
            modality=draw(st.none() | st.sampled_from(Modality)),
            channels=channels,
            names=names,
            unit=draw(text),
            allow_nan=draw(st.booleans()),
            attributes=draw(st.lists(text.map("a {}".format), max_size=2)),
        )
    end = st.sampled_from(sorted(nodes))
    edge = st.builds(EdgeSpec, weighted=st.booleans(), channels=width, multiple=st.booleans(), unit=text)
    target = st.builds(TargetSpec, node=end, kind=st.just("regression"), attribute=st.just("target value")) | st.builds(
        TargetSpec, node=end, kind=st.just("multiclass"), classes=st.lists(text, min_size=2, max_size=4)
    )
    anchor = draw(st.none() | end)
    regimes = ["transductive"] if anchor is None else ["transductive", "cohort_hidden", "single_query"]
    return Schema(
        nodes=nodes,
        edges=draw(st.dictionaries(st.tuples(end, text, end), edge, max_size=4)),
        targets=draw(st.dictionaries(text, target, max_size=2)),
        anchor=anchor,
        regime=draw(st.sampled_from(regimes)),
    )


@settings(max_examples=100)
@given(schema=schemas())
def test_json_round_trip_is_equal(schema):
    again = Schema.from_json(schema.to_json())
    assert again == schema
    assert again.fingerprint == schema.fingerprint
    assert list(again.nodes) == list(schema.nodes)
    assert list(again.edges) == list(schema.edges)


@settings(max_examples=100)
@given(data=st.data())
def test_a_graph_keeps_to_the_schema_read_off_it(ragged, data):
    graph = data.draw(ragged)
    schema = Schema.infer(graph)
    schema.check(graph)
    assert schema.anchor is None  # patches are of scans, scans of patients
    for node, spec in schema.nodes.items():
        assert spec.channels == graph[node].x.shape[1]
    assert schema.edges["scan", "near", "note"] == EdgeSpec(weighted=True, channels=2)
    assert schema.targets["note.label"].kind == "regression"


def test_infer_reads_anchor_modalities_and_targets(graph):
    schema = Schema.infer(graph, modalities={"scan": "image"}, target="diagnosis")
    assert schema.anchor == "patient"
    assert schema.modalities == ("scan",)
    assert schema.nodes["scan"] == NodeSpec(modality=Modality.IMAGE, channels=2)
    assert schema.targets == {"diagnosis": TargetSpec(node="patient", kind="binary", classes=("0", "1"))}
    assert schema.relations("patient") == (("patient", "near", "patient"),)
    assert schema.relations("scan") == ()


def test_infer_finds_multiple_edges(graph):
    graph["patient", "near", "patient"].edge_index = torch.tensor([[0, 0, 2, 1], [1, 1, 1, 2]])
    schema = Schema.infer(graph)
    assert schema.edges["patient", "near", "patient"].multiple
    schema.check(graph)


@pytest.mark.parametrize(
    ("values", "kind", "classes"),
    [
        ([], "binary", 2),
        ([-1, -1], "binary", 2),
        ([0, 0], "binary", 2),
        ([0, 3], "multiclass", 4),
    ],
)
def test_infer_counts_the_classes(values, kind, classes):
    graph = HeteroData()
    graph["a"].x = torch.ones(len(values), 1)
    graph["a"].y = torch.tensor(values, dtype=torch.long)
    target = Schema.infer(graph).targets["label"]
    assert (target.kind, len(target.classes)) == (kind, classes)


def test_infer_refuses_features_that_are_no_matrix(graph):
    graph["scan"].x = torch.ones(3)
    with pytest.raises(SchemaError, match=r"'scan'.* x \[rows, channels\], got \[3\]"):
        Schema.infer(graph)
    graph["scan"].x = torch.ones(3, 1)
    graph["scan", "of", "patient"].edge_attr = torch.ones(3)
    with pytest.raises(SchemaError, match=r"'scan', 'of', 'patient'.* edge_attr \[rows, channels\], got \[3\]"):
        Schema.infer(graph)


@pytest.mark.parametrize(
    ("fields", "value"),
    [
        ({"edges": {("a", "of", "c"): EdgeSpec()}}, r"\('a', 'of', 'c'\) joins 'c', which must be one of \['a', 'b'\]"),
        ({"edges": {("c", "of", "a"): EdgeSpec()}}, "joins 'c'"),
        ({"targets": {"t": TargetSpec(node="c", kind="regression")}}, r"target 't' is on 'c'.*\['a', 'b'\]"),
        ({"anchor": "c"}, r"anchor 'c' must be one of \['a', 'b'\]"),
        ({"regime": "clairvoyant"}, "regime"),
        ({"regime": "cohort_hidden"}, "'cohort_hidden' .*needs an anchor, got None"),
        ({"targets": {"t": TargetSpec(node="a", attribute="x", kind="regression")}}, "'t' is 'x' of 'a'"),
        ({"targets": {"t": TargetSpec(node="b", attribute="extra", kind="regression")}}, "'t' is 'extra' of 'b'"),
    ],
)
def test_parts_that_contradict_each_other_are_refused(fields, value):
    with pytest.raises(SchemaError, match=value):
        Schema(nodes={"a": NodeSpec(channels=1), "b": NodeSpec(attributes=("extra",))}, **fields)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("{", "must be JSON, but"),
        ("[1]", "must be a JSON object, got list"),
        ("null", "got NoneType"),
        ("{}", "nodes: Field required"),
        ('{"nodes": {}, "colour": 1}', "colour"),
        ('{"nodes": {"a": {"channels": "wide"}}}', "nodes.a: .*channels"),
        ('{"self": 1}', "self"),
        ('{"nodes": {}, "edges": [{}]}', r"edges: .*\{\}"),
        ('{"nodes": {}, "edges": [7]}', "edges: .*7"),
        ('{"nodes": {}, "edges": [{"type": 7}]}', "edges: .*7"),
        ('{"nodes": {}, "edges": [{"type": [["a"], "of", "b"]}]}', "edges: .*'a'"),
        ('{"nodes": {"a": {}}, "edges": [{"type": ["a", "of"]}]}', "edges"),
        (
            '{"nodes": {"a": {}}, "edges": [{"type": ["a", "r", "a"]}, {"type": ["a", "r", "a"]}]}',
            "edges: each must have its own type.*'r'",
        ),
    ],
)
def test_bad_json_is_refused(text, value):
    with pytest.raises(SchemaError, match=value):
        Schema.from_json(text)


def test_a_target_is_found_by_name(graph):
    schema = Schema.infer(graph, target="diagnosis")
    assert schema.target("diagnosis").node == "patient"
    with pytest.raises(SchemaError, match=r"\['diagnosis'\], got 'age'"):
        schema.target("age")


def test_the_fingerprint_tells_schemas_apart(graph):
    schema = Schema.infer(graph)
    other = schema.model_copy(update={"regime": "single_query"})
    assert schema.fingerprint != other.fingerprint
    assert json.loads(other.to_json())["regime"] == "single_query"


def test_describe_shows_every_type_and_count(graph):
    schema = Schema.infer(graph, modalities={"scan": "image"})
    assert schema.describe(graph).splitlines() == [
        "node patient (anchor): no payload [0], 3 rows",
        "node scan: image [2], 3 rows",
        "edge scan -of-> patient: plain, 3 edges",
        "edge patient -near-> patient: weighted, 4 edges",
        "target label: binary of 2 classes on patient",
    ]
    assert "rows" not in schema.describe()
    unit = Schema(nodes={"a": NodeSpec(channels=1, unit="mm")}, targets={"t": TargetSpec(node="a", kind="regression")})
    assert unit.describe() == "node a: no payload [1] mm\ntarget t: regression on a"


def linked(*edges):
    nodes = dict.fromkeys(["question", "picture", "text", "image"], NodeSpec())
    return Schema(nodes=nodes, edges=dict.fromkeys(edges, EdgeSpec()), anchor="question")


def test_paths_lead_to_the_anchor_by_of_or_over_one_owner():
    text, image = ("text", "of", "question"), ("image", "of", "picture")
    asked, shown = ("picture", "asked_by", "question"), ("picture", "shown_with", "question")
    back = ("question", "asks_about", "picture")
    assert linked(text, image).paths == {"text": (text,)}
    assert linked(text, image, back).paths == {"text": (text,)}  # it leads away
    assert linked(image, asked, text, back).paths == {"text": (text,), "image": (image, asked)}
    assert linked(text, image, asked, shown).paths == {"text": (text,)}  # which is meant?
    own = ("image", "of", "question")
    assert linked(image, asked, own).paths == {"image": (own,)}
    assert linked(text, image, ("picture", "of", "question")).paths == {
        "picture": (("picture", "of", "question"),),
        "text": (text,),
        "image": (image, ("picture", "of", "question")),
    }
    assert linked(text, image, asked).modalities == ("text",)
    assert Schema(nodes={"a": NodeSpec()}).paths == {}
