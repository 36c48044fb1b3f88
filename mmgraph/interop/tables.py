"""A graph as Arrow tables, one a type, and back: what every other format is made from."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import numpy as np
import torch
from torch import Tensor

from mmgraph.errors import ArtifactError, DataError
from mmgraph.files import check_seal, new_folder, read_json, seal, write_json
from mmgraph.interop.rows import check_nothing_loose, check_rows
from mmgraph.schema import Schema
from mmgraph.typing import EdgeType, NodeType

if TYPE_CHECKING:
    import pyarrow as pa
    from torch_geometric.data import HeteroData

    Payloads = Mapping[NodeType, Sequence[str | bytes | None]]

ENDS = ("source", "target")
PAYLOAD = "payload"
FORMAT = "mmgraph.tables/1"
_DTYPES = {
    torch.float64: "float64",
    torch.float32: "float32",
    torch.float16: "float16",
    torch.int64: "int64",
    torch.int32: "int32",
    torch.int16: "int16",
    torch.int8: "int8",
    torch.uint8: "uint8",
    torch.bool: "bool",
}


@dataclass(frozen=True, eq=False)
class Tables:
    """A graph as tables: a row a node, a row an edge.

    A table of nodes has a column a tensor, those of an edge type ``source`` and ``target`` (rows of the node tables)
    besides. A tensor of several dimensions is a column of lists of fixed size. What a node stands for is in
    ``payload``.

    Args:
        schema: What the types mean.
        nodes: Node type → its table.
        edges: Edge type → its table.
    """

    schema: Schema
    nodes: Mapping[NodeType, pa.Table]
    edges: Mapping[EdgeType, pa.Table] = field(default_factory=dict)

    def write(self, folder: str | Path) -> Path:
        """Writes a Parquet file a type and the schema to a folder, all of it or nothing."""
        import pyarrow.parquet as pq

        folder = Path(folder)
        with new_folder(folder) as draft:
            for name, table in self.nodes.items():
                pq.write_table(table, draft / f"node.{quote(name, safe='')}.parquet")
            for number, table in enumerate(self.edges.values()):
                pq.write_table(table, draft / f"edge.{number:04d}.parquet")
            written = {"format": FORMAT, "edges": [list(edge) for edge in self.edges], "nodes": list(self.nodes)}
            write_json(draft / "tables.json", {**written, "schema": json.loads(self.schema.to_json())})
            seal(draft)
        return folder

    @classmethod
    def read(cls, folder: str | Path) -> Tables:
        """Reads tables that were written.

        Raises:
            ArtifactError: A file is missing or damaged, or the folder holds something else.
        """
        import pyarrow.parquet as pq

        folder = Path(folder)
        check_seal(folder)
        facts = read_json(folder / "tables.json")
        if facts.get("format") != FORMAT:
            raise ArtifactError(f"Folder {str(folder)!r} must hold tables, {FORMAT}, got {facts.get('format')!r}")
        nodes = {name: pq.read_table(folder / f"node.{quote(name, safe='')}.parquet") for name in facts["nodes"]}
        edges = {
            tuple(edge): pq.read_table(folder / f"edge.{number:04d}.parquet")
            for number, edge in enumerate(facts["edges"])
        }
        return cls(Schema.from_json(json.dumps(facts["schema"])), nodes, edges)


def to_tables(graph: HeteroData, schema: Schema, payloads: Payloads | None = None) -> Tables:
    """A graph as tables, of which :func:`from_tables` makes the same graph again, to the bit.

    Args:
        graph: The graph.
        schema: What its types mean.
        payloads: Node type → what each node stands for: texts, bytes of files, paths.

    Raises:
        DataError: Something that tables can't hold and that would be lost: an attribute of the graph itself, one that
            is no tensor or has another number of rows than its type, or numbers of a type that Arrow does not have.
        SchemaError: The graph is not what the schema says.

    Example:
        >>> from mmgraph.testing import fake_graph
        >>> graph, schema = fake_graph()
        >>> tables = to_tables(graph, schema)
        >>> tables.edges["scan", "of", "subject"].column_names, tables.nodes["scan"].schema.field("x").type
        (['source', 'target'], FixedSizeListType(fixed_size_list<item: float>[3]))
        >>> bool((from_tables(tables)[0]["scan"].x == graph["scan"].x).all())
        True
    """
    import pyarrow as pa

    schema.check(graph)
    check_nothing_loose(graph, "A table")
    payloads = dict(payloads or {})
    if unknown := sorted(set(payloads) - set(schema.nodes)):
        raise DataError(f"payloads must be of node types, {list(schema.nodes)}, got {unknown[0]!r}")
    nodes = {}
    for name in graph.node_types:
        rows = int(graph[name].num_nodes or 0)
        tensors = {key: value for key, value in graph[name].items() if key != "num_nodes"}
        columns = {key: _column(value, rows, name, key) for key, value in tensors.items()}
        if name in payloads:
            columns[PAYLOAD] = _payload(payloads[name], rows, name, taken=PAYLOAD in columns)
        nodes[name] = _table(columns, tensors, rows)
    edges = {}
    for edge in graph.edge_types:
        index = graph[edge].edge_index
        rows = index.shape[1]
        columns = {end: pa.array(index[place].cpu().numpy()) for place, end in enumerate(ENDS)}
        tensors = {key: value for key, value in graph[edge].items() if key != "edge_index"}
        for key, value in tensors.items():
            if key in ENDS:
                raise DataError(f"Edges must not have a tensor {key!r}, got one on {edge}; rename it")
            columns[key] = _column(value, rows, edge, key)
        edges[edge] = _table(columns, tensors, rows)
    return Tables(schema, nodes, edges)


def from_tables(tables: Tables) -> tuple[HeteroData, dict[NodeType, list[Any]]]:
    """The graph of some tables, and what its nodes stand for.

    Raises:
        DataError: A table is missing, an end of an edge is no row of its type, or a cell holds nothing.
        SchemaError: The graph is not what the schema says.
    """
    from torch_geometric.data import HeteroData

    schema, graph = tables.schema, HeteroData()
    payloads: dict[NodeType, list[Any]] = {}
    missing: list[object] = [name for name in schema.nodes if name not in tables.nodes]
    missing += [edge for edge in schema.edges if edge not in tables.edges]
    if missing:
        raise DataError(f"There must be a table for each type of the schema, got none for {missing[0]!r}")
    for name, table in tables.nodes.items():
        for key in table.column_names:
            if key == PAYLOAD and _is_payload(table.column(key).type):
                payloads[name] = table.column(key).to_pylist()
            elif key != _ROWS:
                graph[name][key] = _tensor(table, f"{name!r}", key)
        graph[name].num_nodes = table.num_rows
        if schema.nodes[name].channels is not None:
            del graph[name].num_nodes  # `x` says it
    for edge, table in tables.edges.items():
        ends = [_tensor(table, str(edge), end) for end in ENDS]
        for end, index, node in zip(ENDS, ends, (edge[0], edge[2]), strict=True):
            rows = tables.nodes[node].num_rows
            if len(index) and not (int(index.min()) >= 0 and int(index.max()) < rows):
                raise DataError(
                    f"{end} of {edge} must be a row of {node!r}, 0 to {rows - 1}, got {int(index.min())} to "
                    f"{int(index.max())}"
                )
        graph[edge].edge_index = torch.stack(ends)
        for key in table.column_names:
            if key not in (*ENDS, _ROWS):
                graph[edge][key] = _tensor(table, str(edge), key)
    schema.check(graph)
    return graph, payloads


_ROWS = "row"  # of a table that has no other column
_SHAPE = b"shape"  # of what rows hold, beside a column of rows that hold nothing


def _table(columns: Mapping[str, Any], tensors: Mapping[str, Tensor], rows: int) -> pa.Table:
    import pyarrow as pa

    if not columns:
        return pa.table({_ROWS: pa.array(np.arange(rows))})
    empty = {key: {_SHAPE: json.dumps(list(value.shape[1:]))} for key, value in tensors.items() if 0 in value.shape[1:]}
    fields = [pa.field(key, column.type, metadata=empty.get(key)) for key, column in columns.items()]
    return pa.table(list(columns.values()), schema=pa.schema(fields))


def _column(value: Any, rows: int, name: Any, key: str) -> pa.Array:
    """A tensor as a column: its first dimension are the rows."""
    import pyarrow as pa

    value = check_rows(key, value, rows, name)
    if value.dtype not in _DTYPES or key == _ROWS:
        raise DataError(f"{key!r} of {name!r} can't be kept as {value.dtype}, which Arrow does not have; convert it")
    flat = value.detach().cpu().contiguous().view(-1).numpy()
    column = pa.array(flat)
    if 0 in value.shape[1:]:  # rows that hold nothing; their shape is said beside the column
        return pa.nulls(rows, column.type)
    for size in reversed(value.shape[1:]):
        column = pa.FixedSizeListArray.from_arrays(column, size)
    return column


def _tensor(table: pa.Table, name: str, key: str) -> Tensor:
    import pyarrow as pa

    column, told = table.column(key), table.schema.field(key).metadata or {}
    array = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
    shape = [len(column)]
    if _SHAPE in told:
        shape, array = [*shape, *json.loads(told[_SHAPE])], array[:0]
    while pa.types.is_fixed_size_list(array.type):
        if array.null_count:
            raise DataError(f"{key!r} of {name} must hold a list in each row, got {array.null_count} without")
        shape.append(array.type.list_size)
        array = array.flatten()
    if array.null_count:
        raise DataError(f"{key!r} of {name} must hold a number in each row, got {array.null_count} without")
    kind = str(array.type)
    names = {"double": "float64", "float": "float32", "halffloat": "float16", "bool": "bool"}
    dtype = next((one for one, text in _DTYPES.items() if text == names.get(kind, kind)), None)
    if dtype is None:
        raise DataError(f"{key!r} of {name} must be numbers, got {kind}; keep it beside the graph")
    return torch.from_numpy(array.to_numpy(zero_copy_only=False).copy()).to(dtype).view(shape)


def _payload(values: Sequence[str | bytes | None], rows: int, name: str, *, taken: bool) -> pa.Array:
    import pyarrow as pa

    if taken or len(values) != rows:
        got = "a tensor of that name" if taken else f"{len(values)} of them"
        raise DataError(f"payloads of {name!r} must be one for each of its {rows} nodes, got {got}")
    kinds = {type(value) for value in values if value is not None}
    if not kinds <= {str} and not kinds <= {bytes}:
        raise DataError(f"payloads of {name!r} must be all texts or all bytes, got {sorted(k.__name__ for k in kinds)}")
    return pa.array(values, pa.binary() if kinds == {bytes} else pa.string())


def _is_payload(kind: pa.DataType) -> bool:
    import pyarrow as pa

    return pa.types.is_string(kind) or pa.types.is_binary(kind)
