import pytest
import torch
from torch import nn

from mmgraph.decoders import Heads
from mmgraph.errors import ConfigError


def test_each_target_has_the_answer_of_its_own_module():
    one, other = nn.Linear(3, 2), nn.Linear(3, 5)
    heads, states = Heads({"a.b": one, "keys": other}), torch.randn(4, 3)
    answers = heads(states)
    assert list(answers) == ["a.b", "keys"]
    assert torch.equal(answers["a.b"], one(states))
    assert torch.equal(answers["keys"], other(states))
    assert heads["keys"] is other
    assert len(list(heads.parameters())) == len(heads.state_dict()) == 4


def test_none_is_refused():
    with pytest.raises(ConfigError, match="at least 1 target with its module, got none"):
        Heads({})
