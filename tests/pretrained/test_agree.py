import pytest
from torch import nn

from mmgraph.errors import ConfigError, SchemaError
from mmgraph.model import classifier
from mmgraph.pretrained import check_schema, schema_difference
from mmgraph.pretrained.agree import schema_of
from mmgraph.schema import EdgeSpec, NodeSpec, Schema, TargetSpec
from mmgraph.testing import fake_graph

BASE = {
    "nodes": {"a": NodeSpec(channels=2, names=("x", "y")), "b": NodeSpec()},
    "edges": {("a", "of", "b"): EdgeSpec()},
}
ILL = {"ill": TargetSpec(node="b", kind="binary", classes=("no", "yes"))}


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({}, None),
        ({"nodes": {**BASE["nodes"], "a": NodeSpec(channels=2, names=("x", "z"))}}, "nodes.a.names[1] is 'y' and 'z'"),
        ({"nodes": {**BASE["nodes"], "a": NodeSpec(channels=2)}}, "the length of nodes.a.names is 2 and 0"),
        ({"nodes": {**BASE["nodes"], "c": NodeSpec()}}, "nodes.c is missing and there"),
        ({"edges": {}}, "edges.('a', 'of', 'b') is there and missing"),
        ({"edges": {("a", "of", "b"): EdgeSpec(weighted=True)}}, "edges.('a', 'of', 'b').weighted is False and True"),
        ({"targets": ILL}, "targets.ill is missing and there"),
        ({"anchor": "b"}, "anchor is None and 'b'"),
        ({"nodes": dict(reversed(BASE["nodes"].items()))}, "the order of nodes is ['a', 'b'] and ['b', 'a']"),
    ],
)
def test_the_first_difference_is_named(changes, told):
    assert schema_difference(Schema(**BASE), Schema(**{**BASE, **changes})) == told


def test_data_of_another_schema_are_refused():
    _, schema = fake_graph()
    check_schema(classifier(schema), schema)
    with pytest.raises(SchemaError, match=r"but anchor is 'subject' and None \(the model's, the data's\)"):
        check_schema(classifier(schema), schema.model_copy(update={"anchor": None}))


def test_what_has_no_schema_is_told():
    with pytest.raises(ConfigError, match="got a Linear without; make one around it"):
        schema_of(nn.Linear(1, 1))
