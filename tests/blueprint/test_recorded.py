import copy
import inspect

import pytest
import torch
from torch import nn

from mmgraph import encoders, fusion, layers, scorers
from mmgraph.blueprint import Recorded, blueprint, rebuild
from mmgraph.blueprint.recorded import arguments_of, record
from mmgraph.errors import ConfigError
from mmgraph.model import classifier
from mmgraph.testing import fake_graph

NEAR = ("a", "near", "a")


def arguments(module):
    return arguments_of(module, "it")


def test_defaults_are_written_out():
    assert arguments(fusion.LowRank({"a": 2}, 3)) == {"widths": {"a": 2}, "channels": 3, "rank": 4}


def test_the_outermost_constructor_is_remembered():
    made = scorers.TransE(6, norm=2)  # whose bases take other arguments
    assert arguments(made) == {"channels": 6, "norm": 2, "margin": 0.0, "normalise": False}


def test_a_class_without_a_constructor_has_no_arguments():
    assert arguments(fusion.Product()) == {}


def test_what_is_read_once_is_given_and_remembered():
    made = layers.Mean(2, 3, relations=(relation for relation in [NEAR]))
    assert made.relations == (NEAR,)
    assert arguments(made)["relations"] == (NEAR,)
    assert arguments(encoders.Raw(iter(["a"])))["nodes"] == ("a",)


def test_what_is_done_to_an_argument_later_is_not_remembered():
    widths, hidden = {"a": 2}, [4]
    made = fusion.MLP(widths, 3, hidden=hidden)
    widths["b"], hidden[:] = 9, [5, 6]
    assert arguments(made) == {"widths": {"a": 2}, "channels": 3, "hidden": [4], "dropout": 0.0}
    view = {"a": 2}
    made = encoders.Raw(view.keys())
    view["b"] = 3
    assert arguments(made)["nodes"] == ("a",)


def test_sets_nested_containers_and_records_are_remembered():
    class Any(Recorded):
        def __init__(self, value):
            super().__init__()

    given = {"a": [{1, 2}, (3, [4])]}
    kept = arguments(Any(given))["value"]
    given["a"][0].add(9)
    given["a"][1][1].append(9)
    assert kept == {"a": [{1, 2}, (3, [4])]}
    tensor = torch.ones(2)
    assert arguments(Any(tensor))["value"] is tensor


def test_signatures_and_errors_are_the_constructors_own():
    assert list(inspect.signature(layers.Mean).parameters)[:3] == ["in_channels", "out_channels", "relations"]
    assert "relations" in inspect.signature(layers.Mean.__init__).parameters
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'channels'"):
        fusion.Concat({"a": 2})
    with pytest.raises(TypeError, match="unexpected keyword argument 'nonsense'"):
        fusion.Concat({"a": 2}, 3, nonsense=1)


def test_a_copy_remembers_its_own_modules():
    _, schema = fake_graph()
    model = classifier(schema)
    twin = copy.deepcopy(model)
    assert blueprint(twin) == blueprint(model)
    assert arguments(twin)["encoder"] is twin.encoder is not model.encoder


def test_a_submodule_that_was_replaced_is_written_as_it_is():
    _, schema = fake_graph()
    model = classifier(schema)
    model.head = nn.Sequential(nn.Linear(16, 5), nn.Tanh())
    model.within = layers.Stack(layers.Mean(16, 16, relations=[("scan", "next", "scan")]))
    made = rebuild(blueprint(model))
    assert isinstance(made.head[1], nn.Tanh)
    assert isinstance(made.within.layers[0], layers.Mean)
    assert arguments(classifier(schema))["within"] is None  # what was not replaced stays as it was given


def test_a_class_that_was_recorded_too_late_is_told():
    class Late(nn.Module):
        def __init__(self, width):
            super().__init__()

    late = Late(3)
    record(Late)
    with pytest.raises(ConfigError, match="head must remember its arguments, this Late does not; register its class"):
        arguments_of(late, "head")
    assert arguments(Late(3)) == {"width": 3}


def test_a_constructor_that_is_not_seen_is_told():
    class Odd(fusion.Sum):
        pass

    Odd.__init__ = lambda self, twice: fusion.Sum.__init__(self, mean=twice)
    with pytest.raises(ConfigError, match="this Odd does not"):
        arguments(Odd(True))
