import pytest

from mmgraph.errors import SchemaError
from mmgraph.schema import EdgeSpec, Modality, NodeSpec, TargetSpec


def test_a_modality_may_be_given_by_name():
    assert NodeSpec(modality="image").modality is Modality.IMAGE


@pytest.mark.parametrize(
    ("make", "value"),
    [
        (lambda: NodeSpec(channels=-1), "greater than or equal to 0"),
        (lambda: NodeSpec(channels=2, names=("age",)), r"\(2\), got 1"),
        (lambda: NodeSpec(names=("age",)), r"\(None\), got 1"),
        (lambda: NodeSpec(modality="smell"), "image"),
        (lambda: NodeSpec(width=3), "width: Extra inputs"),
        (lambda: NodeSpec(self=3), "self: Extra inputs"),
        (lambda: EdgeSpec(channels=-2), "greater than or equal to 0"),
        (lambda: TargetSpec(node="a", kind="binary", classes=("no",)), r"2 classes, got \('no',\)"),
        (lambda: TargetSpec(node="a", kind="binary", classes=("a", "b", "c")), r"2 classes, got \('a', 'b', 'c'\)"),
        (lambda: TargetSpec(node="a", kind="multiclass", classes=("no",)), r"at least 2 classes, got \('no',\)"),
        (lambda: TargetSpec(node="a", kind="regression", classes=("no",)), r"no classes, got \('no',\)"),
        (lambda: TargetSpec(node="a", kind="ranking"), "kind"),
        (lambda: TargetSpec(kind="regression"), "node: Field required"),
    ],
)
def test_a_wrong_field_is_refused_by_value(make, value):
    with pytest.raises(SchemaError, match=value):
        make()


def test_all_problems_are_named_at_once():
    with pytest.raises(SchemaError, match=r"channels: .*; .*unit: "):
        NodeSpec(channels=-1, unit=3)


def test_specs_are_frozen():
    with pytest.raises(ValueError, match="frozen"):
        NodeSpec(channels=1).channels = 2
