"""Whether two modules are made alike, whatever their weights."""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType
from typing import Any

import torch
from torch import Tensor, nn

from mmgraph.blueprint.names import is_known
from mmgraph.blueprint.recorded import MADE

_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
_ASIDE = {MADE, "training", "_parameters", "_buffers", "_modules", "_flat_weights", "_flat_weight_refs", *_HOOKS}


def first_difference(one: nn.Module, other: nn.Module) -> str | None:
    """What is the first thing in which two modules differ, weights and mode aside; ``None`` if there is none.

    Classes, names, shapes and dtypes of parameters and buffers, tensors that no state dict holds, and all plain
    attributes are compared, in every submodule.

    Example:
        >>> first_difference(nn.Sequential(nn.Dropout(0.1)), nn.Sequential(nn.Dropout(0.2)))
        'p of 0 is 0.1 and 0.2'
        >>> first_difference(nn.Linear(2, 3), nn.Linear(2, 3))
    """
    mine, theirs = (dict(module.named_modules(remove_duplicate=False)) for module in (one, other))
    for name in dict.fromkeys([*mine, *theirs]):
        where = name or "itself"
        if name not in mine or name not in theirs:
            return f"{where} is in one of them alone"
        if type(mine[name]) is not type(theirs[name]):
            return f"{where} is a {type(mine[name]).__name__} and a {type(theirs[name]).__name__}"
        if (found := _in_tensors(mine[name], theirs[name], where)) is not None:
            return found
        if is_known(type(mine[name])) and (found := _in_attributes(mine[name], theirs[name], where)) is not None:
            return found
    return None


def _in_tensors(one: nn.Module, other: nn.Module, where: str) -> str | None:
    for kind in ("_parameters", "_buffers"):
        mine, theirs = getattr(one, kind), getattr(other, kind)
        for name in dict.fromkeys([*mine, *theirs]):
            pair = mine.get(name), theirs.get(name)
            if (name in mine) != (name in theirs) or len({_form(tensor) for tensor in pair}) != 1:
                return f"{name} of {where} is {_form(pair[0])} and {_form(pair[1])}"
            unsaved = name in one._non_persistent_buffers_set or name in other._non_persistent_buffers_set
            if kind == "_buffers" and unsaved and not _same(*pair):
                return f"{name} of {where}, which is in no state dict, has other values"
    return None


def _in_attributes(one: nn.Module, other: nn.Module, where: str) -> str | None:
    for kind in _HOOKS:
        if len(vars(one)[kind]) != len(vars(other)[kind]):
            return f"{where} has {len(vars(one)[kind])} and {len(vars(other)[kind])} hooks"
    mine, theirs = ({name: value for name, value in vars(m).items() if name not in _ASIDE} for m in (one, other))
    for name in dict.fromkeys([*mine, *theirs]):
        if name not in mine or name not in theirs:
            return f"{name} of {where} is in one of them alone"
        if not _same(mine[name], theirs[name]):
            return f"{name} of {where} is {_told(mine[name])} and {_told(theirs[name])}"
    return None


def _form(tensor: Tensor | None) -> str:
    return "none" if tensor is None else f"{list(tensor.shape)} of {str(tensor.dtype).removeprefix('torch.')}"


def _told(value: Any) -> str:
    text = getattr(value, "__qualname__", None) or repr(value)
    return text if len(text) <= 100 else f"{text[:97]}..."


def _same(one: Any, other: Any) -> bool:
    """Whether two attributes say the same."""
    if one is other or (isinstance(one, float) and one != one and other != other):
        return True
    if isinstance(one, int | float) and isinstance(other, int | float):
        return one == other
    if type(one) is not type(other):
        return isinstance(one, str) and one == other
    for kind, same in _KINDS:
        if isinstance(one, kind):
            return same(one, other)
    if any("__eq__" in vars(kind) for kind in type(one).__mro__[:-1]):
        return bool(one == other)
    return hasattr(one, "__dict__") and _same(vars(one), vars(other))


def _same_tensors(one: Tensor, other: Tensor) -> bool:
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    return isinstance(one, nn.Parameter) or torch.allclose(one.detach(), other.detach(), rtol=0, atol=0, equal_nan=True)


def _same_functions(one: FunctionType, other: FunctionType) -> bool:
    """Made by one line of code, around the same values."""
    cells = [[cell.cell_contents for cell in function.__closure__ or ()] for function in (one, other)]
    return one.__code__ is other.__code__ and one.__defaults__ == other.__defaults__ and _same(*cells)


_KINDS: tuple[tuple[type, Callable[[Any, Any], bool]], ...] = (
    (nn.Module, lambda one, other: first_difference(one, other) is None),
    (Tensor, _same_tensors),
    (dict, lambda one, other: list(one) == list(other) and all(_same(one[key], other[key]) for key in one)),
    (list, lambda one, other: len(one) == len(other) and all(map(_same, one, other))),
    (tuple, lambda one, other: len(one) == len(other) and all(map(_same, one, other))),
    (FunctionType, _same_functions),
)
