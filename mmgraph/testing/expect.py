"""What every check is made of: expectations, comparisons to the bit, and the tensors that learn."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData


def expect(holds: bool, message: str) -> None:
    """Raises an ``AssertionError`` with the message unless a promise holds (``python -O`` does not silence it).

    Example:
        >>> expect(1 + 1 == 3, "1 + 1 must be 3, got 2")
        Traceback (most recent call last):
        ...
        AssertionError: 1 + 1 must be 3, got 2
    """
    if not holds:
        raise AssertionError(message)


def name_of(one: object) -> str:
    """The name of an object's class, for messages.

    Example:
        >>> name_of(nn.Identity())
        'Identity'
    """
    return type(one).__name__


def same(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors are equal in shape, type and every value; NaN equals NaN.

    Example:
        >>> same(torch.tensor([1.0, float("nan")]), torch.tensor([1.0, float("nan")]))
        True
    """
    return a.shape == b.shape and a.dtype == b.dtype and bool(((a == b) | (a.isnan() & b.isnan())).all())


def close(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors are equal but for the order of summation.

    Example:
        >>> close(torch.tensor([1.0]), torch.tensor([1.0 + 1e-6]))
        True
    """
    return a.shape == b.shape and torch.allclose(a, b, rtol=1e-4, atol=1e-5)


def difference(a: HeteroData, b: HeteroData) -> str | None:
    """Where two graphs differ, or ``None``.

    Example:
        >>> from torch_geometric.data import HeteroData
        >>> a, b = HeteroData(), HeteroData()
        >>> a["paper"].x, b["paper"].x = torch.ones(2, 1), torch.zeros(2, 1)
        >>> difference(a, b)
        "'x' of 'paper'"
    """
    if a.metadata() != b.metadata():
        return f"types, {a.metadata()} and {b.metadata()}"
    for kind in (*a.node_types, *a.edge_types):
        for key in sorted({*a[kind].keys(), *b[kind].keys()}):
            one, other = a[kind].get(key), b[kind].get(key)
            tensors = isinstance(one, Tensor) and isinstance(other, Tensor)
            if not (same(one, other) if tensors else one == other):
                return f"{key!r} of {kind!r}"
    return None


@contextmanager
def untouched(graph: HeteroData, who: object) -> Iterator[None]:
    """Expects that a graph is the same afterwards, to the bit.

    Example:
        >>> from torch_geometric.data import HeteroData
        >>> graph = HeteroData()
        >>> graph["paper"].x = torch.zeros(2, 1)
        >>> with untouched(graph, nn.Identity()):
        ...     graph["paper"].x += 1
        Traceback (most recent call last):
        ...
        AssertionError: Identity must leave the graph as it is, got another 'x' of 'paper'
    """
    before = copy.deepcopy(graph)
    yield
    changed = difference(before, graph)
    expect(changed is None, f"{name_of(who)} must leave the graph as it is, got another {changed}")


def check_registered(module: nn.Module, outputs: Tensor) -> None:
    """Expects that every tensor that outputs learn is in ``parameters()``, and every parameter in ``state_dict()``.

    Three public toolkits keep the factors of low-rank fusion in a plain list: they are never trained nor saved.

    Example:
        >>> class Listed(nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.factors = [nn.Parameter(torch.ones(2, 3))]
        >>> module = Listed()
        >>> check_registered(module, module.factors[0].sum())
        Traceback (most recent call last):
        ...
        AssertionError: Listed learns a tensor [2, 3] that is not in parameters(); keep it in a ParameterList ...
    """
    known = {id(parameter) for parameter in module.parameters()}
    for leaf in _leaves(outputs):
        expect(
            id(leaf) in known,
            f"{name_of(module)} learns a tensor {list(leaf.shape)} that is not in parameters(); "
            "keep it in a ParameterList or ModuleList, not in a plain list",
        )
    saved = module.state_dict()
    for name, _ in module.named_parameters():
        expect(name in saved, f"{name_of(module)} must have {name!r} in state_dict(), got {sorted(saved)}")


def _leaves(outputs: Tensor) -> list[Tensor]:
    """The tensors at the ends of the graph of gradients."""
    found, seen, rest = [], set(), [outputs.grad_fn]
    while rest:
        node = rest.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if (leaf := getattr(node, "variable", None)) is not None:
            found.append(leaf)
        rest += [before for before, _ in node.next_functions]
    return found
