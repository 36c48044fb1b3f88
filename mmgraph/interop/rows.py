"""Rows and columns of tables, as text and back."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa


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
