import json
import math
from typing import NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from mmgraph import decoders, layers
from mmgraph.blueprint import Recorded, blueprint, rebuild, register
from mmgraph.encoders import Labels, Positions, Table
from mmgraph.errors import ConfigError
from mmgraph.model import Model
from mmgraph.schema import TargetSpec
from mmgraph.testing import fake_graph


class Pair(NamedTuple):
    left: int
    right: str


class Keeps(Recorded):
    def __init__(self, value):
        super().__init__()
        self.value = value


register(Keeps, name="acme.Keeps")
register(Pair, name="acme.Pair")

PLAIN = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5)
KEYS = st.text(max_size=3) | st.integers() | st.tuples(st.text(max_size=3), st.integers())
VALUES = st.recursive(
    PLAIN | st.frozensets(st.integers() | st.text(max_size=2), max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.tuples(inner, inner) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)


def through(value):
    return rebuild(json.loads(json.dumps(blueprint(Keeps(value)), allow_nan=False))).value


@settings(max_examples=60)
@given(VALUES)
def test_values_come_back_as_they_were(value):
    found = through(value)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    "value",
    [
        {("scan", "of", "subject"): [1, (2, 3)], ("a", "b", "c"): {}},
        {"class": "os.system", "tuple": 3},
        {"same_as": 1},
        {1, 2},
        frozenset({("a", 1)}),
        torch.float16,
        math.inf,
        -math.inf,
        torch.relu,
        Pair(1, "x"),
        decoders.Decoding(method="beam", width=3),
        TargetSpec(node="a", kind="binary", classes=("no", "yes")),
    ],
)
def test_odd_values_come_back(value):
    assert through(value) == value


def test_not_a_number_comes_back():
    assert math.isnan(through(math.nan))


def test_numbers_of_numpy_become_plain():
    assert through(np.int64(3)) == 3
    assert through(np.float32(0.5)) == 0.5
    assert through(torch.Size([2, 3])) == (2, 3)
    assert through(range(3)) == (0, 1, 2)


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (torch.ones(2), "Keeps.value must be something that JSON can say, .* got a Tensor"),
        ([b"x"], r"Keeps.value\[0\] must be something that JSON can say, .* got a bytes"),
        ({"a": lambda x: x}, r"Keeps.value\['a'\] must be .* got .*<lambda>; a function of your own can be registered"),
        (nn.Sequential(nn.Softmin()), "must be of a class of mmgraph, .* got torch.nn.modules.activation.Softmin"),
    ],
)
def test_what_no_file_can_say_is_refused(value, told):
    with pytest.raises(ConfigError, match=told):
        blueprint(Keeps(value))


def test_a_module_that_stands_twice_is_made_once():
    shared = nn.Linear(2, 2)
    tree = blueprint(nn.Sequential(shared, nn.ReLU(), shared))
    assert tree["arguments"]["modules"]["dict"]["2"] == {"same_as": 0}
    made = rebuild(json.loads(json.dumps(tree)))
    assert made[0] is made[2]
    assert made[0] is not made[1]


def test_two_pairs_of_shared_modules_are_told_apart():
    one, other = nn.Linear(2, 2), nn.Linear(2, 2)
    made = rebuild(blueprint(nn.Sequential(one, other, other, one)))
    assert made[0] is made[3]
    assert made[1] is made[2]
    assert made[0] is not made[1]


def test_a_model_is_readable():
    _, schema = fake_graph()
    model = Model(
        schema=schema,
        encoder=Positions(Table({"scan": 3}, 4), ["scan"]),
        head=nn.Linear(4, 2),
        between=layers.Stack(layers.Mean(4, 4, relations=[("subject", "near", "subject")]), dropout=0.1),
    )
    tree = blueprint(model)
    assert tree["class"] == "mmgraph.model.Model"
    assert tree["arguments"]["schema"]["class"] == "mmgraph.schema.Schema"
    assert tree["arguments"]["between"]["arguments"]["dropout"] == 0.1
    (mean,) = tree["arguments"]["between"]["arguments"]["layers"]["tuple"]
    assert mean["arguments"]["relations"] == [{"tuple": ["subject", "near", "subject"]}]
    assert rebuild(tree).schema == schema
    assert rebuild(blueprint(Labels(schema.target("diagnosis")))).target == schema.target("diagnosis")
