"""Modules that remember the arguments of their constructor."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, is_dataclass
from typing import Any

import torch
from pydantic import BaseModel
from torch import nn

from mmgraph.errors import ConfigError

MADE = "_mmgraph_made"
"""The attribute under which a module remembers."""


@dataclass
class Made:
    """How a module was made."""

    by: type  # whose constructor
    arguments: dict[str, Any]
    stored: dict[str, nn.Module | None] = field(default_factory=dict)  # argument → the submodule of its name, if any


class Recorded(nn.Module):
    """A module that remembers with which arguments it was made; all classes below it do.

    Containers among the arguments are remembered as they were then. Where an argument became the submodule of its name,
    and another stands there now, the other is remembered: a head that was replaced is written down as it is.

    Example:
        >>> class Scale(Recorded):
        ...     def __init__(self, factor: float) -> None:
        ...         super().__init__()
        ...         self.factor = factor
        >>> arguments_of(Scale(2.0), "Scale")
        {'factor': 2.0}
    """

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        record(cls)

    def _described(self) -> dict[str, Any]:
        """Arguments in place of those that were given, where these say where something is rather than what it is."""
        return {}


def record(cls: type) -> None:
    """Makes a class's own constructor remember its arguments, where it is the one that is called from outside."""
    made = vars(cls).get("__init__")
    if made is None:
        return
    signature = inspect.signature(made)

    @functools.wraps(made)
    def __init__(self: nn.Module, *args: Any, **kwargs: Any) -> None:  # noqa: N807
        if MADE in self.__dict__:  # it is called by the constructor of a subclass
            made(self, *args, **kwargs)
            return
        args = tuple(_settled(value) for value in args)
        kwargs = {name: _settled(value) for name, value in kwargs.items()}
        try:
            bound = signature.bind(self, *args, **kwargs)
        except TypeError:
            made(self, *args, **kwargs)  # it says best what is wrong
            raise
        bound.apply_defaults()
        _, *names = bound.arguments
        kept = Made(cls, {name: _copied(bound.arguments[name]) for name in names})
        self.__dict__[MADE] = kept
        made(self, *args, **kwargs)
        kept.stored = {name: self._modules.get(name) for name in names}

    cls.__init__ = __init__  # type: ignore[misc]


def arguments_of(module: nn.Module, where: str) -> dict[str, Any]:
    """With what a module, of another class than those of torch.nn, would be made as it is now.

    Raises:
        ConfigError: It has not remembered.
    """
    kind = type(module)
    by = next(one for one in kind.__mro__ if "__init__" in vars(one))
    made: Made | None = module.__dict__.get(MADE)
    if made is None and by is nn.Module:
        return {}
    if made is None or made.by is not by:
        raise ConfigError(
            f"{where} must remember its arguments, this {kind.__name__} does not; register its class before the module "
            "is made, and write its constructor out (that of a dataclass is not seen)"
        )
    now = {name: module._modules.get(name) for name in made.stored}
    changed = {name: one for name, one in now.items() if one is not made.stored[name] and one is not None}
    described = module._described() if isinstance(module, Recorded) else {}
    return {**made.arguments, **changed, **described}


def _settled(value: Any) -> Any:
    """What can be read twice."""
    return tuple(value) if isinstance(value, Iterator) else value


def _copied(value: Any) -> Any:
    """The same containers anew: what is done to the caller's later is not remembered."""
    if isinstance(value, Mapping):
        return {key: _copied(one) for key, one in value.items()}
    whole = str | bytes | nn.Module | torch.Tensor | BaseModel
    if isinstance(value, whole) or not isinstance(value, Collection) or hasattr(value, "_fields"):
        return value
    if is_dataclass(value):
        return value
    if isinstance(value, set | frozenset):
        return type(value)(value)
    copied = [_copied(one) for one in value]
    return copied if isinstance(value, list) else tuple(copied)
