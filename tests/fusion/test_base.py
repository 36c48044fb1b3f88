import pytest
import torch

from mmgraph.errors import ConfigError, SchemaError
from mmgraph.fusion import (
    MLP,
    Attention,
    Bilinear,
    Concat,
    Experts,
    Fusion,
    Gated,
    Late,
    LowRank,
    Product,
    Sum,
    Tensor,
)
from mmgraph.fusion.base import check_widths, perceptron

LEARNED = [MLP, Attention, Bilinear, Concat, Experts, Gated, Late, LowRank, Tensor]


@pytest.mark.parametrize("cls", LEARNED)
@pytest.mark.parametrize("wrong", [{}, {"text": 0}, {"text": 3, "image": -1}])
def test_widths_must_be_at_least_one(cls, wrong):
    with pytest.raises(ConfigError, match=rf"at least 1 part, each at least 1 wide, got {wrong}"):
        cls(wrong, 4)


@pytest.mark.parametrize("cls", LEARNED)
def test_parts_must_be_those_it_was_made_for(cls):
    fusion, mask = cls({"text": 3, "image": 2}, 4), torch.ones(5, dtype=torch.bool)
    for parts, got in (
        ({"text": torch.ones(5, 3)}, r"got {'text': 3}"),
        ({"text": torch.ones(5, 3), "image": torch.ones(5, 1)}, r"got {'image': 1, 'text': 3}"),
        ({"text": torch.ones(5, 3), "image": torch.ones(5, 2), "audio": torch.ones(5, 2)}, "'audio': 2"),
    ):
        with pytest.raises(SchemaError, match=got) as caught:
            fusion(parts, dict.fromkeys(parts, mask))
        assert "present all False" in str(caught.value)


def test_widths_are_in_the_order_of_their_names():
    assert list(check_widths({"b": 1, "a": 2})) == ["a", "b"]


@pytest.mark.parametrize("cls", LEARNED)
def test_the_order_of_the_widths_does_not_matter(cls, parts, widths):
    torch.manual_seed(0)
    one = cls(widths, 4).double()
    other = cls(dict(reversed(widths.items())), 4).double()
    other.load_state_dict(one.state_dict())
    assert torch.equal(one(*parts), other(*parts))


def test_a_fusion_is_abstract():
    with pytest.raises(TypeError, match="abstract"):
        Fusion()


@pytest.mark.parametrize("cls", [Sum, Product])
def test_no_parts_are_refused(cls):
    with pytest.raises(SchemaError, match=r"need parts of one width, got \{\}"):
        cls()({}, {})


@pytest.mark.parametrize("cls", LEARNED)
@pytest.mark.parametrize("anchors", [0, 1])
def test_few_anchors_train(cls, anchors, widths):
    fusion, mask = cls(widths, 4), torch.ones(anchors, dtype=torch.bool)
    parts = {name: torch.zeros(anchors, width) for name, width in widths.items()}
    out = fusion(parts, dict.fromkeys(widths, mask))
    out.sum().backward()
    assert out.shape == (anchors, 4)
    assert out.isfinite().all()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in fusion.parameters())


def test_a_perceptron_is_layers_with_relu_and_dropout_between():
    kinds = [type(step).__name__ for step in perceptron(3, 2, hidden=[4, 5], dropout=0.1)]
    assert kinds == ["Linear", "ReLU", "Dropout", "Linear", "ReLU", "Dropout", "Linear"]
