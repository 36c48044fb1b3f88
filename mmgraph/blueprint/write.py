"""A module → its blueprint."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import fields, is_dataclass
from numbers import Integral, Real
from typing import Any

import torch
from pydantic import BaseModel
from torch import nn

from mmgraph.blueprint.names import CONTAINERS, TORCH, class_name, function_name
from mmgraph.blueprint.recorded import arguments_of

_FLAGS = {"bias": ("bias", "in_proj_bias"), "add_bias_kv": ("bias_k",)}  # said by whether a tensor is there


def blueprint(module: nn.Module) -> dict[str, Any]:
    """Writes down how a module is made.

    Args:
        module: Of classes of mmgraph, of the list of torch.nn, or registered ones.

    Returns:
        ``{"class": name, "arguments": {...}}``, plain JSON. A module that stands twice is written once.

    Raises:
        ConfigError: A class or an argument that no file may name.

    Example:
        >>> blueprint(nn.Sequential(nn.Dropout(0.5), nn.Linear(2, 3)))["arguments"]["modules"]["dict"]["0"]
        {'class': 'torch.nn.Dropout', 'arguments': {'p': 0.5, 'inplace': False}}
    """
    return _Writer().module(module, type(module).__name__)


class _Writer:
    """Values to JSON; knows which modules it has written."""

    def __init__(self) -> None:
        self.seen: dict[int, dict[str, Any]] = {}
        self.count = 0

    def module(self, module: nn.Module, where: str) -> dict[str, Any]:
        if (first := self.seen.get(id(module))) is not None:
            if "id" not in first:
                first["id"], self.count = self.count, self.count + 1
            return {"same_as": first["id"]}
        node: dict[str, Any] = {"class": class_name(type(module), where)}
        self.seen[id(module)] = node
        arguments = _arguments(module, where)
        node["arguments"] = {name: self.value(value, f"{where}.{name}") for name, value in arguments.items()}
        return node

    def value(self, value: Any, where: str) -> Any:
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, str):
            return str(value)
        if isinstance(value, Integral):
            return int(value)
        if isinstance(value, Real):
            number = float(value)
            return number if math.isfinite(number) else {"number": str(number)}
        if isinstance(value, nn.Module):
            return self.module(value, where)
        if isinstance(value, torch.dtype):
            return {"dtype": str(value).removeprefix("torch.")}
        if isinstance(value, BaseModel):
            return {"class": class_name(type(value), where), "arguments": value.model_dump(mode="json")}
        if (parts := _fields(value)) is not None:
            written = {name: self.value(part, f"{where}.{name}") for name, part in parts.items()}
            return {"class": class_name(type(value), where), "arguments": written}
        if isinstance(value, Collection) and not isinstance(value, bytes | torch.Tensor):
            return self.container(value, where)
        return {"function": function_name(value, where)}

    def container(self, value: Collection[Any], where: str) -> Any:
        if isinstance(value, Mapping):
            pairs = [(self.value(key, where), self.value(one, f"{where}[{key!r}]")) for key, one in value.items()]
            plain = all(isinstance(key, str) for key, _ in pairs)
            return {"dict": dict(pairs) if plain else [list(pair) for pair in pairs]}
        written = [self.value(one, f"{where}[{place}]") for place, one in enumerate(value)]
        if isinstance(value, list):
            return written
        if isinstance(value, set | frozenset):
            return {type(value).__name__: sorted(written, key=repr)}
        return {"tuple": written}


def _arguments(module: nn.Module, where: str) -> dict[str, Any]:
    kind = type(module)
    if kind in CONTAINERS:
        return {"modules": dict(module._modules)}
    if kind in TORCH:
        return {name: _attribute(module, name) for name in TORCH[kind]}
    return arguments_of(module, where)


def _attribute(module: nn.Module, name: str) -> Any:
    if name in _FLAGS and not isinstance(module, nn.RNNBase):
        return any(getattr(module, tensor, None) is not None for tensor in _FLAGS[name])
    return getattr(module, name)


def _fields(value: Any) -> dict[str, Any] | None:
    """The fields of a dataclass or a named tuple."""
    if is_dataclass(value) and not isinstance(value, type):
        return {one.name: getattr(value, one.name) for one in fields(value) if one.init}
    return dict(value._asdict()) if hasattr(value, "_asdict") else None
