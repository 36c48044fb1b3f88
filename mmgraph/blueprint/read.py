"""A blueprint → the module."""

from __future__ import annotations

import inspect
import math
from collections import OrderedDict
from typing import Any

import torch
from pydantic import BaseModel
from torch import nn

from mmgraph.blueprint.names import CONTAINERS, TORCH, find_class, find_function
from mmgraph.errors import ArtifactError

_NUMBERS = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


def rebuild(tree: Any) -> Any:
    """Carries a blueprint out; the weights are drawn anew, and no random number is taken from the caller's sequence.

    Args:
        tree: What :func:`blueprint` has written.

    Raises:
        ArtifactError: The tree is not one, or it names what may not be named.

    Example:
        >>> rebuild({"class": "torch.nn.Linear", "arguments": {"in_features": 2, "out_features": 3}})
        Linear(in_features=2, out_features=3, bias=True)
        >>> rebuild({"class": "os.system", "arguments": {}})
        Traceback (most recent call last):
        ...
        mmgraph.errors.ArtifactError: A blueprint may name classes of mmgraph, of a list of torch.nn and registered
        ones, got 'os.system'; if it is yours, import it and register it first: mmgraph.pretrained.register(system)
    """
    with torch.random.fork_rng(devices=[]):
        try:
            return _Reader().value(tree)
        except RecursionError:
            raise ArtifactError("A blueprint must not be nested this deep; the file is not one of ours") from None


class _Reader:
    """JSON to values; knows the modules that are referred to."""

    def __init__(self) -> None:
        self.seen: dict[int, Any] = {}

    def value(self, node: Any) -> Any:
        if isinstance(node, list):
            return [self.value(one) for one in node]
        if not isinstance(node, dict):
            return node
        if "class" in node:
            return self.made(node)
        if len(node) != 1:
            raise ArtifactError(f"A node of a blueprint must say one thing, got {sorted(node)}")
        (kind, given), *_ = node.items()
        try:
            return self.plain(kind, given)
        except ArtifactError:
            raise
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ArtifactError(f"A blueprint must give a {kind} in its own form, got {given!r} ({error})") from None

    def plain(self, kind: str, given: Any) -> Any:
        match kind:
            case "tuple" | "set" | "frozenset":
                return {"tuple": tuple, "set": set, "frozenset": frozenset}[kind](self.value(one) for one in given)
            case "dict":
                pairs = given.items() if isinstance(given, dict) else given
                return {self.value(key): self.value(one) for key, one in pairs}
            case "number":
                return _NUMBERS[given]
            case "dtype":
                if not isinstance(dtype := getattr(torch, given), torch.dtype):
                    raise TypeError("no dtype of torch")
                return dtype
            case "function":
                return find_function(given)
            case "same_as":
                return self.seen[given]
        raise ArtifactError(f"A node of a blueprint must be of a known kind, got {kind!r}")

    def made(self, node: dict[str, Any]) -> Any:
        name, given = node["class"], node.get("arguments")
        if not isinstance(name, str) or not isinstance(given, dict) or set(node) - {"class", "arguments", "id"}:
            raise ArtifactError(f"A blueprint must give each class with its arguments, got {name!r} with {given!r}")
        kind = find_class(name)
        arguments = given if issubclass(kind, BaseModel) else {key: self.value(one) for key, one in given.items()}
        try:
            made = _call(kind, arguments)
        except Exception as error:  # a constructor may raise what it likes
            raise ArtifactError(
                f"{name} can't be made as the blueprint says: {error}; it may be of another version of mmgraph"
            ) from None
        if "id" in node:
            self.seen[node["id"]] = made
        return made


def _call(kind: type, arguments: dict[str, Any]) -> Any:
    if kind in CONTAINERS:
        (modules,) = arguments.values()
        return nn.ModuleList(modules.values()) if kind is nn.ModuleList else kind(OrderedDict(modules))
    parameters = {} if kind in TORCH else dict(inspect.signature(kind).parameters)
    spread = any(one.kind is one.VAR_POSITIONAL for one in parameters.values())
    args: list[Any] = []
    kwargs = dict(arguments)
    for name in [name for name in parameters if name in kwargs]:
        one = parameters[name]
        if one.kind is one.VAR_KEYWORD:
            kwargs.update(kwargs.pop(name))
        elif one.kind is one.VAR_POSITIONAL:
            args.extend(kwargs.pop(name))
        elif one.kind is one.POSITIONAL_ONLY or (spread and one.kind is not one.KEYWORD_ONLY):
            args.append(kwargs.pop(name))
    return kind(*args, **kwargs)
