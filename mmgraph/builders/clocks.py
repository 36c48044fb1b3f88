"""When each node is: sequences and times, read off columns or off what a node hangs on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from mmgraph.errors import ConfigError, DataError
from mmgraph.functional.temporal import Clock
from mmgraph.schema import Schema

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData

Column: TypeAlias = str | Mapping[str, Any]
"""Name of an attribute of the nodes, or node type → one value a row."""


def clocks(
    graph: HeteroData, schema: Schema, nodes: Sequence[str], sequence: Column, time_s: Column
) -> dict[str, Clock]:
    """The sequence and time of all nodes of some types, the sequences numbered together.

    Raises:
        ConfigError: A type that the schema does not declare.
        DataError: No sequence or time, an unknown sequence, or a time that is not finite.
    """
    numbers = codes({node: column(graph, schema, node, sequence, "sequence") for node in nodes})
    return {node: Clock(numbers[node], seconds(node, column(graph, schema, node, time_s, "time_s"))) for node in nodes}


def column(graph: HeteroData, schema: Schema, node: str, given: Column, what: str) -> np.ndarray:
    """What a column says of each node of a type, ``[rows]``; if it says nothing, of the node that it is ``of``.

    Raises:
        ConfigError: A type that the schema does not declare.
        DataError: It says nothing there either, or a node is of none or several.
    """
    if node not in schema.nodes:
        raise ConfigError(f"A node type must be one of {sorted(schema.nodes)}, got {node!r}")
    own = _lookup(graph, node, given, what)
    if own is not None:
        return own
    for edge in schema.edges:
        if edge[0] == node and edge[1] == "of":
            above = _lookup(graph, edge[2], given, what)
            if above is not None:
                return above[_owner(graph, edge)]
    raise DataError(
        f"{node!r} must have {what} a row, got none in {given if isinstance(given, str) else sorted(given)!r}; "
        f"set graph[{node!r}].{what}, or give {what}={{{node!r}: values}}"
    )


def codes(ids: Mapping[str, np.ndarray], *, first: str | None = None) -> dict[str, Tensor]:
    """Names or numbers as numbers from 0, in sorted order over all columns.

    Args:
        ids: Node type → ``[rows]``.
        first: The column in whose order they are numbered instead; it must have all of them, each once.

    Raises:
        DataError: Text beside numbers, or a value that the first column has not, or twice.

    Example:
        >>> codes({"a": np.array(["y", "x"]), "b": np.array(["z", "x"])})
        {'a': tensor([1, 0]), 'b': tensor([2, 0])}
    """
    texts = {node: values.dtype.kind == "U" for node, values in ids.items() if len(values)}
    if len(set(texts.values())) > 1:
        raise DataError(
            f"Names must be all text or all numbers, got text in {[n for n, t in texts.items() if t]} alone"
        )
    joined = np.concatenate([values for values in ids.values() if len(values)] or [np.empty(0)])
    known, number = np.unique(joined, return_inverse=True)
    if first is not None:
        given = number[: len(ids[first])]  # the first column comes first
        twice = np.flatnonzero(np.bincount(given, minlength=len(known)) != 1)
        if len(twice):
            raise DataError(
                f"Sequences must be named once each, and all of them, got {known[twice[0]].item()!r} "
                f"{int((given == twice[0]).sum())} times"
            )
        place = np.empty(len(known), dtype=np.int64)
        place[given] = np.arange(len(given))
        number = place[number]
    parts = np.split(number.astype(np.int64), np.cumsum([len(values) for values in ids.values()])[:-1])
    return {node: torch.from_numpy(part) for node, part in zip(ids, parts, strict=True)}


def seconds(node: str, values: Any, rows: int | None = None) -> Tensor:
    """Times as float64, ``[rows]``.

    Raises:
        DataError: Not one a row, no number, or not finite.

    Example:
        >>> seconds("audio", [0, 0.5])
        tensor([0.0000, 0.5000], dtype=torch.float64)
    """
    found = one_a_row(node, "time_s", values, rows)
    if found.dtype.kind not in "iufb":
        raise DataError(f"time_s of {node!r} must be numbers, got {found[0].item()!r} in row 0")
    found = found.astype(np.float64)
    if len(wrong := np.flatnonzero(~np.isfinite(found))):
        raise DataError(
            f"time_s of {node!r} must be finite, got {found[wrong[0]]} in row {wrong[0]}; leave the row out, or fill it"
        )
    return torch.from_numpy(found)


def one_a_row(node: str, what: str, values: Any, rows: int | None = None) -> np.ndarray:
    """A column of text or numbers, ``[rows]``.

    Raises:
        DataError: Not one a row, or nothing in a row.

    Example:
        >>> one_a_row("audio", "sequence", ["a", "b"], 2)
        array(['a', 'b'], dtype='<U1')
    """
    found = values.cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)
    if found.dtype.kind == "O":
        unknown = [row for row, value in enumerate(found.tolist()) if value is None]
        if unknown:
            raise DataError(f"{what} of {node!r} must be known, got None in row {unknown[0]}; leave the row out")
        found = np.asarray(found.tolist())
    if found.ndim != 1 or (rows is not None and len(found) != rows):
        raise DataError(
            f"{what} of {node!r} must be one a row, [{'rows' if rows is None else rows}], got {list(found.shape)}"
        )
    if what != "time_s" and found.dtype.kind == "f" and len(wrong := np.flatnonzero(np.isnan(found))):
        raise DataError(f"{what} of {node!r} must be known, got nan in row {wrong[0]}; leave the row out")
    return found


def _lookup(graph: HeteroData, node: str, given: Column, what: str) -> np.ndarray | None:
    found = graph[node].get(given) if isinstance(given, str) else given.get(node)
    return None if found is None else one_a_row(node, what, found, int(graph[node].num_nodes))


def _owner(graph: HeteroData, edge: tuple[str, str, str]) -> np.ndarray:
    index = graph[edge].edge_index
    rows = int(graph[edge[0]].num_nodes)
    count = torch.bincount(index[0], minlength=rows)
    if odd := (count != 1).nonzero().flatten().tolist():
        raise DataError(
            f"Each {edge[0]!r} must be of 1 {edge[2]!r} to take its sequence and time, got {int(count[odd[0]])} "
            f"for row {odd[0]}"
        )
    owner = torch.empty_like(index[1])
    owner[index[0]] = index[1]
    return owner.cpu().numpy()
