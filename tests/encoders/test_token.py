"""A learned vector where a modality was filled in, and the encoder it wraps everywhere else."""

import pytest
import torch

from mmgraph.data import drop_modalities, fill
from mmgraph.encoders import LearnedToken, Table
from mmgraph.errors import ConfigError
from mmgraph.keys import weight_key
from mmgraph.testing import check_encoder, fake_graph

WIDTHS = {"scan": 3, "text": 5}
SCAN = weight_key("scan")


def make() -> LearnedToken:
    torch.manual_seed(0)
    encoder = LearnedToken(Table(WIDTHS, 4), dict.fromkeys(WIDTHS, 4))
    for number, token in enumerate(encoder.token.values()):
        torch.nn.init.constant_(token, number + 1.0)
    return encoder


def declared(graph, schema):
    nodes = {
        name: spec.model_copy(update={"attributes": ("filled",)}) if name in WIDTHS else spec
        for name, spec in schema.nodes.items()
    }
    return graph, schema.model_copy(update={"nodes": nodes})


def test_it_keeps_the_contract_with_and_without_filled_nodes() -> None:
    graph, schema = fake_graph()
    check_encoder(make(), graph, schema)
    check_encoder(make(), *declared(fill(graph, schema, "token"), schema))


def test_filled_rows_are_the_token_and_all_others_the_encoder_s() -> None:
    graph, schema = fake_graph()
    full, encoder = fill(graph, schema, "token"), make()
    features, inner = encoder(full), encoder.encoder(full)
    for number, name in enumerate(WIDTHS):
        filled = full[name].filled
        assert filled.any()
        assert (features[name][filled] == number + 1.0).all()
        assert torch.equal(features[name][~filled], inner[name][~filled])


def test_the_payload_of_a_filled_row_has_no_influence_and_gets_no_gradient() -> None:
    graph, schema = fake_graph()
    full, encoder = fill(graph, schema, "token"), make()
    other = full.clone()
    other["scan"].x[full["scan"].filled] = 99.0
    assert torch.equal(encoder(full)["scan"], encoder(other)["scan"])
    full["scan"].x.requires_grad_()
    encoder(full)["scan"].sum().backward()
    assert (full["scan"].x.grad[full["scan"].filled] == 0).all()
    count = float(full["scan"].filled.sum())
    assert encoder.token[SCAN].grad.tolist() == [count] * 4


def test_tokens_start_at_zero_and_without_filled_rows_get_no_push() -> None:
    graph, _ = fake_graph()
    encoder = LearnedToken(Table(WIDTHS, 4), {"scan": 4})
    assert (encoder.token[SCAN] == 0).all()
    features = encoder(graph)
    assert torch.equal(features["text"], encoder.encoder(graph)["text"])
    features["scan"].sum().backward()
    assert (encoder.token[SCAN].grad == 0).all()


def test_a_type_of_which_nobody_has_any_is_all_tokens() -> None:
    graph, schema = fake_graph(12)
    nobody = drop_modalities(graph, schema, {"scan": torch.ones(12, dtype=torch.bool)})
    features = make()(fill(nobody, schema, "token"))
    assert features["scan"].tolist() == [[1.0] * 4] * 12
    assert make()(nobody)["scan"].shape == (0, 4)


@pytest.mark.parametrize("widths", [{}, {"scan": 0}])
def test_errors_name_the_value(widths: dict) -> None:
    with pytest.raises(ConfigError, match=rf"widths of at least 1, got {widths}".replace("{", r"\{")):
        LearnedToken(Table(WIDTHS, 4), widths)
