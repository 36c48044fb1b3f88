"""What a blueprint may name: classes and functions of mmgraph, of a list of torch.nn, and registered ones."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from dataclasses import is_dataclass
from typing import Any, TypeVar

import torch
from pydantic import BaseModel
from torch import nn
from torch.nn import functional as F

from mmgraph.blueprint.recorded import Recorded, record
from mmgraph.errors import ArtifactError, ConfigError

Named = TypeVar("Named", bound=Callable[..., Any])

_OURS = re.compile(r"mmgraph(\.[a-z][a-z0-9_]*){1,2}")
_RECORDS = ("mmgraph.decoders", "mmgraph.schema")  # rooms whose plain records may be arguments
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    **{f"torch.{name}": getattr(torch, name) for name in ("relu", "tanh", "sigmoid", "selu", "celu", "sin", "square")},
    **{
        f"torch.nn.functional.{name}": getattr(F, name)
        for name in ("relu", "elu", "gelu", "silu", "leaky_relu", "softplus", "mish", "hardtanh")
    },
}
CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)
_CONV = "in_channels out_channels kernel_size stride padding dilation groups bias padding_mode"
_NORM = "num_features eps momentum affine track_running_stats"
TORCH: dict[type, tuple[str, ...]] = {
    kind: tuple(names.split())
    for kinds, names in {
        (nn.Identity, nn.Tanh, nn.Sigmoid, nn.Softsign, nn.LogSigmoid): "",
        (nn.ReLU, nn.ReLU6, nn.SELU, nn.SiLU, nn.Mish, nn.Hardswish): "inplace",
        (nn.LeakyReLU,): "negative_slope inplace",
        (nn.ELU, nn.CELU): "alpha inplace",
        (nn.GELU,): "approximate",
        (nn.Softplus,): "beta threshold",
        (nn.Softmax, nn.LogSoftmax): "dim",
        (nn.PReLU,): "num_parameters init",
        (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.AlphaDropout): "p inplace",
        (nn.Linear,): "in_features out_features bias",
        (nn.Bilinear,): "in1_features in2_features out_features bias",
        (nn.Embedding,): "num_embeddings embedding_dim padding_idx max_norm norm_type scale_grad_by_freq sparse",
        (nn.LayerNorm,): "normalized_shape eps elementwise_affine bias",
        (nn.GroupNorm,): "num_groups num_channels eps affine",
        (nn.BatchNorm1d, nn.BatchNorm2d, nn.InstanceNorm1d, nn.InstanceNorm2d): _NORM,
        (nn.Conv1d, nn.Conv2d): _CONV,
        (nn.ConvTranspose1d, nn.ConvTranspose2d): f"{_CONV} output_padding",
        (nn.MaxPool1d, nn.MaxPool2d): "kernel_size stride padding dilation return_indices ceil_mode",
        (nn.AvgPool1d,): "kernel_size stride padding ceil_mode count_include_pad",
        (nn.AvgPool2d,): "kernel_size stride padding ceil_mode count_include_pad divisor_override",
        (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d): "output_size",
        (nn.AdaptiveMaxPool1d, nn.AdaptiveMaxPool2d): "output_size return_indices",
        (nn.Flatten,): "start_dim end_dim",
        (nn.Unflatten,): "dim unflattened_size",
        (nn.Upsample,): "size scale_factor mode align_corners recompute_scale_factor",
        (nn.GRU, nn.LSTM): "input_size hidden_size num_layers bias batch_first dropout bidirectional",
        (nn.MultiheadAttention,): "embed_dim num_heads dropout bias add_bias_kv add_zero_attn kdim vdim batch_first",
    }.items()
    for kind in kinds
}
"""Classes of torch.nn → the arguments of their constructors, which are their attributes too."""
_TORCH_BY_NAME: dict[str, type] = {f"torch.nn.{kind.__name__}": kind for kind in (*TORCH, *CONTAINERS)}
_REGISTERED: dict[str, Any] = {}


def register(one: Named, *, name: str | None = None) -> Named:
    """Says that a class or a function of your own may be named in a blueprint, when one is written and when it is read.

    A module's class is registered before the module is made, as from then on it remembers its arguments.

    Args:
        one: A class of modules, a dataclass, or a function (an activation).
        name: How files name it; by default module and name.

    Raises:
        ConfigError: The name is another's, or begins as those of mmgraph and torch.

    Example:
        >>> from mmgraph.blueprint import blueprint, rebuild
        >>> class Cube(nn.Module):
        ...     def forward(self, x):
        ...         return x**3
        >>> _ = register(Cube, name="acme.Cube")
        >>> rebuild(blueprint(nn.Sequential(nn.Linear(2, 1), Cube())))
        Sequential(
          (0): Linear(in_features=2, out_features=1, bias=True)
          (1): Cube()
        )
    """
    name = name or f"{one.__module__}.{one.__qualname__}"
    if name.partition(".")[0] in ("mmgraph", "torch"):
        raise ConfigError(f"The name of a class of your own must not begin as those of mmgraph and torch, got {name!r}")
    found = _REGISTERED.get(name, one)
    if (found.__module__, found.__qualname__) != (one.__module__, one.__qualname__):
        raise ConfigError(f"{name!r} must name one class, it names {found!r} already; give another name=")
    _REGISTERED[name] = one
    if isinstance(one, type) and issubclass(one, nn.Module) and not issubclass(one, Recorded):
        record(one)
    return one


def is_known(kind: type) -> bool:
    """Whether modules of a class are made by blueprints alone, so that two of them can be compared by attributes."""
    return issubclass(kind, Recorded) or kind in TORCH or kind in CONTAINERS or kind in _REGISTERED.values()


def class_name(kind: type, where: str) -> str:
    """How a blueprint names a class: by its room, where it is public.

    Raises:
        ConfigError: It may not name it.

    Example:
        >>> class_name(nn.Linear, "head")
        'torch.nn.Linear'
    """
    for registered, one in _REGISTERED.items():
        if one is kind:
            return registered
    home, name = kind.__module__, kind.__qualname__
    if kind in TORCH or kind in CONTAINERS:
        return f"torch.nn.{name}"
    if home.startswith("mmgraph.") and "." not in name and _may_be_named(kind):
        room = ".".join(home.split(".")[:2])
        return f"{room}.{name}" if vars(importlib.import_module(room)).get(name) is kind else f"{home}.{name}"
    if home.startswith(("mmgraph.", "torch.")):
        advice = "put it into a class of your own, and register that: mmgraph.pretrained.register"
    else:
        advice = f"register it before it is used: mmgraph.pretrained.register({name})"
    raise ConfigError(
        f"{where} must be of a class of mmgraph, of the list of torch.nn or registered, got {home}.{name}; {advice}"
    )


def function_name(value: Any, where: str) -> str:
    """How a blueprint names a function.

    Raises:
        ConfigError: It may not name it, or it is no function at all.
    """
    for name, one in (*_FUNCTIONS.items(), *_REGISTERED.items()):
        if one is value:
            return name
    what = getattr(value, "__qualname__", None) or f"a {type(value).__name__}"
    raise ConfigError(
        f"{where} must be something that JSON can say, a module, a dtype, a record or one of the functions "
        f"{', '.join(_FUNCTIONS)}, got {what}; a function of your own can be registered: mmgraph.pretrained.register"
    )


def find_class(name: str) -> type:
    """The class that a blueprint names; none is looked for outside mmgraph.

    Raises:
        ArtifactError: A blueprint may not name it, or there is none.
    """
    found = _REGISTERED.get(name) or _TORCH_BY_NAME.get(name)
    home, _, last = name.rpartition(".")
    if found is None and _OURS.fullmatch(home):
        try:
            found = vars(importlib.import_module(home)).get(last)
        except ModuleNotFoundError:
            found = None
        if not (isinstance(found, type) and found.__module__.startswith("mmgraph.") and _may_be_named(found)):
            found = None
    if not isinstance(found, type):
        raise _refused("classes", name)
    return found


def find_function(name: str) -> Callable[..., Any]:
    """The function that a blueprint names.

    Raises:
        ArtifactError: A blueprint may not name it.
    """
    found = _FUNCTIONS.get(name) or _REGISTERED.get(name)
    if found is None or isinstance(found, type):
        raise _refused("functions", name)
    return found


def _refused(what: str, name: str) -> ArtifactError:
    return ArtifactError(
        f"A blueprint may name {what} of mmgraph, of a list of torch.nn and registered ones, got {name!r}; if it is "
        f"yours, import it and register it first: mmgraph.pretrained.register({name.rpartition('.')[2]})"
    )


def _may_be_named(kind: type) -> bool:
    """Whether a class of mmgraph may stand in a blueprint: modules, and the plain records that they take."""
    if issubclass(kind, Recorded):
        return True
    plain = issubclass(kind, BaseModel) or is_dataclass(kind) or hasattr(kind, "_fields")
    return plain and kind.__module__.startswith(_RECORDS)
