import pytest
import torch

from mmgraph.encoders import Joined, Raw, Table
from mmgraph.errors import ConfigError
from mmgraph.testing import fake_graph


def test_gives_what_each_gives():
    graph, _ = fake_graph()
    scan, text = Table({"scan": 3}, 4), Table({"text": 5}, 6)
    joined = Joined(scan, text)
    found = joined(graph)
    assert found.keys() == {"scan", "text"}
    assert torch.equal(found["scan"], scan(graph)["scan"])
    assert torch.equal(found["text"], text(graph)["text"])
    assert len(joined.state_dict()) == len(scan.state_dict()) + len(text.state_dict())


def test_none_and_two_for_a_type_are_refused():
    graph, _ = fake_graph()
    with pytest.raises(ConfigError, match="at least 1 encoder, got none"):
        Joined()
    with pytest.raises(ConfigError, match="got two for 'text'"):
        Joined(Raw(["scan", "text"]), Raw(["text"]))(graph)
