import pytest
import torch

from mmgraph.decoders import Dense
from mmgraph.errors import ConfigError
from mmgraph.model import classifier
from mmgraph.objectives import Reconstruct, Supervised, Weighted
from mmgraph.testing import fake_graph


def test_is_the_weighted_sum_of_its_parts():
    graph, schema = fake_graph()
    torch.manual_seed(0)
    model = classifier(schema, channels=4).eval()
    labels, payloads = Supervised(schema.target("diagnosis")), Reconstruct(schema, {"scan": Dense(4, (3,))})
    joint = Weighted({"labels": labels, "payloads": payloads}, {"payloads": 0.25}).eval()
    terms = joint(model, graph)
    one, other = labels(model, graph)["total"], payloads(model, graph)["total"]
    torch.testing.assert_close(terms["total"], one + 0.25 * other)
    assert terms["labels"] == one
    assert terms["payloads"] == other
    assert set(terms) == {"total", "labels", "payloads"}  # one part each, that needs no name of its own
    assert len(list(joint.parameters())) == 2


def test_parts_have_names_where_there_are_several():
    graph, schema = fake_graph()
    both = Reconstruct(schema, {"scan": Dense(4, (3,)), "text": Dense(4, (5,))})
    terms = Weighted({"payloads": both})(classifier(schema, channels=4), graph)
    assert set(terms) == {"total", "payloads", "payloads_error_scan", "payloads_error_text"}


def test_it_learns_from_labels_alone_if_all_its_parts_do():
    schema = fake_graph()[1]
    labels, payloads = Supervised(schema.target("diagnosis")), Reconstruct(schema, {"scan": Dense(4, (3,))})
    assert Weighted({"a": labels, "b": labels}).labelled
    assert not Weighted({"a": labels, "b": payloads}).labelled


@pytest.mark.parametrize(
    ("names", "weights", "message"),
    [
        ((), None, r"some of \[\], got {}"),
        (("a",), {"b": 1.0}, r"some of \['a'\], got {'b': 1.0}"),
        (("a",), {"a": -1.0}, r"got {'a': -1.0}"),
    ],
)
def test_what_is_out_of_range_is_refused(names, weights, message):
    labels = Supervised(fake_graph()[1].target("diagnosis"))
    with pytest.raises(ConfigError, match=message):
        Weighted(dict.fromkeys(names, labels), weights)
