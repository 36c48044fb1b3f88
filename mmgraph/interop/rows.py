"""Rows and columns: what can be a column of a table, and columns as text and back."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from mmgraph.errors import ConfigError, DataError

if TYPE_CHECKING:
    import pyarrow as pa
    from torch_geometric.data import HeteroData


def check_rows(key: str, value: Any, rows: int, name: Any) -> Tensor:
    """Checks that something on a type is a tensor with a row for each node or edge, and gives it.

    Raises:
        DataError: It is not, and would be lost.

    Example:
        >>> import torch
        >>> check_rows("age", torch.zeros(2), 3, "patient")
        Traceback (most recent call last):
        ...
        mmgraph.errors.DataError: 'age' of 'patient' must be a tensor with a row for each of 3, got [2]; remove it
    """
    if not isinstance(value, Tensor) or value.dim() == 0 or len(value) != rows:
        got = f"{list(value.shape)}" if isinstance(value, Tensor) else f"a {type(value).__name__}"
        raise DataError(f"{key!r} of {name!r} must be a tensor with a row for each of {rows}, got {got}; remove it")
    return value


def check_new(folder: Path) -> None:
    """Checks that nothing is lost where a folder is written.

    Raises:
        ConfigError: There is something.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"{str(folder)!r} must be a new folder, got something else; choose another")


def check_nothing_loose(graph: HeteroData, where: str) -> None:
    """Checks that a graph holds nothing but what is on its node and edge types.

    Raises:
        DataError: There is more, and it would be lost.
    """
    if loose := [key for key in graph.stores[0] if key != "num_nodes"]:
        raise DataError(f"{where} keeps what is on node and edge types, got {loose[0]!r} on the graph; remove it")


def encoded(schema: pa.Schema) -> str:
    """What the columns of a table are, as text."""
    return base64.b64encode(schema.serialize().to_pybytes()).decode()


def decoded(text: str) -> pa.Schema:
    """What :func:`encoded` made text of."""
    import pyarrow as pa

    return pa.ipc.read_schema(pa.py_buffer(base64.b64decode(text)))


def array(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    """Plain values as a column; Arrow makes half precision of single alone.

    Example:
        >>> import pyarrow as pa
        >>> array([[0.5], [1.0]], pa.list_(pa.float16(), 1)).type
        FixedSizeListType(fixed_size_list<item: halffloat>[1])
    """
    import pyarrow as pa

    def widened(one: pa.DataType) -> pa.DataType:
        if pa.types.is_fixed_size_list(one):
            return pa.list_(widened(one.value_type), one.list_size)
        return pa.float32() if pa.types.is_float16(one) else one

    return pa.array(values, widened(kind)).cast(kind)
