from dataclasses import dataclass

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from mmgraph import blueprint as room
from mmgraph import decoders, fusion, layers
from mmgraph.blueprint import Recorded, blueprint, names, rebuild, register
from mmgraph.errors import ArtifactError, ConfigError
from mmgraph.schema import NodeSpec

MADE = {  # one of each class of torch.nn, with arguments other than the usual ones
    nn.LeakyReLU: (0.3,),
    nn.ELU: (0.7,),
    nn.CELU: (0.7, True),
    nn.GELU: ("tanh",),
    nn.Softplus: (2.0, 10.0),
    nn.Softmax: (1,),
    nn.LogSoftmax: (-1,),
    nn.PReLU: (3, 0.1),
    nn.Linear: (2, 3, False),
    nn.Bilinear: (2, 3, 4, False),
    nn.Embedding: (5, 2, 0, 1.5),
    nn.LayerNorm: ((2, 3), 1e-3, True, False),
    nn.GroupNorm: (2, 4, 1e-3),
    nn.BatchNorm1d: (3, 1e-3, None),
    nn.BatchNorm2d: (3, 1e-3, 0.2, False, False),
    nn.InstanceNorm1d: (3, 1e-3, 0.2, True, True),
    nn.InstanceNorm2d: (3,),
    nn.Conv1d: (2, 4, 3, 2, 1, 2, 2, False, "circular"),
    nn.Conv2d: (2, 4, (3, 1), 2, "valid"),
    nn.ConvTranspose1d: (2, 4, 3, 2, 1, 1),
    nn.ConvTranspose2d: (2, 4, 3, 2, 1, 1, 2, False),
    nn.MaxPool1d: (3, 2, 1),
    nn.MaxPool2d: (3, None, 1, 2, False, True),
    nn.AvgPool1d: (3, 2, 1, True, False),
    nn.AvgPool2d: (3, 2, 1, True, False, 4),
    nn.AdaptiveAvgPool1d: (3,),
    nn.AdaptiveAvgPool2d: ((3, None),),
    nn.AdaptiveMaxPool1d: (3,),
    nn.AdaptiveMaxPool2d: (3, True),
    nn.Flatten: (2, 3),
    nn.Unflatten: (1, (2, 3)),
    nn.Upsample: (None, 2.0, "bilinear", True),
    nn.GRU: (2, 3, 2, False, True, 0.1, True),
    nn.LSTM: (2, 3),
    nn.MultiheadAttention: (4, 2, 0.1, False, True, True, 3, 5, True),
    **dict.fromkeys((nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.AlphaDropout), (0.3, True)),
    **dict.fromkeys((nn.ReLU, nn.ReLU6, nn.SELU, nn.SiLU, nn.Mish, nn.Hardswish), (True,)),
    **dict.fromkeys((nn.Identity, nn.Tanh, nn.Sigmoid, nn.Softsign, nn.LogSigmoid), ()),
}


def cube(x):
    return x**3


@pytest.mark.parametrize("kind", names.TORCH, ids=lambda kind: kind.__name__)
def test_modules_of_torch_are_made_again(kind):
    module = kind(*MADE[kind])
    made = rebuild(blueprint(module))
    assert repr(made) == repr(module)
    assert room.first_difference(made, module) is None


def test_containers_keep_their_names_and_order():
    inner = nn.Sequential()
    inner.add_module("b", nn.ReLU())
    inner.add_module("a", nn.ModuleList([nn.Tanh(), nn.Identity()]))
    module = nn.ModuleDict({"z": inner, "y": nn.Sequential(nn.Linear(1, 2))})
    assert repr(rebuild(blueprint(module))) == repr(module)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (fusion.Gated, "mmgraph.fusion.Gated"),
        (layers.Gated, "mmgraph.layers.Gated"),
        (decoders.Decoding, "mmgraph.decoders.Decoding"),
        (NodeSpec, "mmgraph.schema.NodeSpec"),
        (nn.Linear, "torch.nn.Linear"),
    ],
)
def test_classes_are_named_by_their_rooms(kind, name):
    assert names.class_name(kind, "it") == name
    assert names.find_class(name) is kind


@pytest.mark.parametrize("function", [torch.relu, torch.tanh, F.relu, F.elu, F.gelu])
def test_functions_are_named(function):
    assert names.find_function(names.function_name(function, "it")) is function


@pytest.mark.parametrize(
    "name",
    [
        "os.system",
        "builtins.eval",
        "torch.nn.Module",
        "torch.load",
        "torch.nn.Transformer",
        "mmgraph.files.os",
        "mmgraph.files.write_bytes",
        "mmgraph.run.Run",
        "mmgraph.fusion.Nonsense",
        "mmgraph.nonsense.Gated",
        "mmgraph.__main__.main",
        "mmgraph.layers.gcn.nn.Linear",
        "mmgraph.decoders.train_language_model",
        "nothing",
    ],
)
def test_other_classes_are_refused(name):
    with pytest.raises(ArtifactError, match=f"may name classes of mmgraph, .* got '{name}'; if it is yours, import it"):
        names.find_class(name)


@pytest.mark.parametrize("name", ["os.system", "torch.load", "torch.nn.Linear", ""])
def test_other_functions_are_refused(name):
    with pytest.raises(ArtifactError, match=f"may name functions of mmgraph, .* got '{name}'"):
        names.find_function(name)


def test_a_class_of_the_users_is_named_once_it_is_registered():
    class Mine(fusion.Fusion):
        def __init__(self, factor):
            super().__init__()
            self.factor = factor

        def forward(self, parts, present):
            return self.factor * sum(parts.values())

    with pytest.raises(ConfigError, match=r"Mine must be of a class of mmgraph, .*register\(.*Mine\)"):
        blueprint(Mine(2.0))
    assert register(Mine, name="acme.Mine") is Mine
    assert rebuild(blueprint(Mine(2.0))).factor == 2.0
    assert blueprint(Mine(2.0))["class"] == "acme.Mine"


def test_plain_modules_dataclasses_and_functions_can_be_registered():
    @register
    @dataclass(frozen=True)
    class Settings:
        width: int
        of: tuple = ()

    @register
    class Head(nn.Module):
        def __init__(self, settings, activation=cube):
            super().__init__()
            self.settings, self.activation = settings, activation

    register(cube)
    made = rebuild(blueprint(Head(Settings(3, ("a",)))))
    assert made.settings == Settings(3, ("a",))
    assert made.activation is cube


def test_names_are_given_once():
    class Other(Recorded):
        pass

    register(cube, name="acme.taken")
    with pytest.raises(ConfigError, match="'acme.taken' must name one class, it names .*cube.* already"):
        register(Other, name="acme.taken")
    with pytest.raises(ConfigError, match="must not begin as those of mmgraph and torch, got 'torch.nn.Linear'"):
        register(Other, name="torch.nn.Linear")


def test_a_class_may_be_defined_anew():
    for factor in (1, 2):

        @register
        class Again(Recorded):
            value = factor

    assert rebuild(blueprint(Again())).value == 2


def test_modules_of_torch_that_are_not_on_the_list_are_told():
    layer = nn.TransformerEncoderLayer(4, 2, batch_first=True)
    with pytest.raises(ConfigError, match="got torch.nn.modules.transformer.TransformerEncoderLayer; put it into"):
        blueprint(nn.Sequential(layer))
