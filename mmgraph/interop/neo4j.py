"""Neo4j's import format: a CSV file a node type and an edge type, for ``neo4j-admin database import``."""

from __future__ import annotations

import base64
import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from mmgraph.errors import ArtifactError, DataError
from mmgraph.files import check_seal, new_folder, read_json, seal, write_bytes, write_json
from mmgraph.interop.rows import array, decoded, encoded
from mmgraph.interop.tables import ENDS, PAYLOAD, Tables, from_tables, to_tables
from mmgraph.schema import Schema
from mmgraph.typing import EdgeType, NodeType

if TYPE_CHECKING:
    import pyarrow as pa
    from torch_geometric.data import HeteroData

FORMAT = "mmgraph.neo4j/1"
ID, LABEL, START, END, KIND = "id:ID({})", ":LABEL", ":START_ID({})", ":END_ID({})", ":TYPE"
_TYPES = {
    "bool": "boolean",
    "float": "float",
    "double": "double",
    "halffloat": "float",
    "int64": "long",
    "int32": "int",
}


def write_neo4j(
    graph: HeteroData,
    schema: Schema,
    folder: str | Path,
    payloads: Mapping[NodeType, Sequence[str | bytes | None]] | None = None,
) -> Path:
    """Writes a graph as CSV files that Neo4j imports, all of them or nothing.

    A node type is a label with its own space of ids (their rows), an edge type a relationship type. Numbers and lists
    of them are typed properties, lists with ``;``; tensors of more dimensions are JSON, bytes base64. The command that
    imports them is in ``import.sh``. What the types mean is beside them, so that :func:`read_neo4j` gives the same
    graph, to the bit.

    Raises:
        DataError: Something would be lost, see :func:`~mmgraph.interop.to_tables`; or a name that it can't have.

    Example:
        >>> from mmgraph.testing import fake_graph
        >>> graph, schema = fake_graph()
        >>> folder = write_neo4j(graph, schema, getfixture("tmp_path") / "neo4j")
        >>> (folder / "node.scan.csv").read_text().splitlines()[0]
        'id:ID(scan),:LABEL,x:float[]'
        >>> bool((read_neo4j(folder)[0]["scan"].x == graph["scan"].x).all())
        True
    """
    tables = to_tables(graph, schema, payloads)
    folder, facts = Path(folder), {"format": FORMAT, "nodes": {}, "edges": [], "schema": json.loads(schema.to_json())}
    options = []
    with new_folder(folder) as draft:
        for node, table in tables.nodes.items():
            _check_name(node)
            name = f"node.{quote(node, safe='')}.csv"
            rows = ([number, node] for number in range(table.num_rows))
            write_bytes(draft / name, _csv([ID.format(node), LABEL], rows, table))
            facts["nodes"][node] = [name, encoded(table.schema)]
            options.append(f"--nodes={name}")
        for number, (edge, table) in enumerate(tables.edges.items()):
            _check_name(edge[1])
            name = f"edge.{number:04d}.csv"
            ends = zip(*(table.column(end).to_pylist() for end in ENDS), strict=True)
            rows = ([source, target, edge[1]] for source, target in ends)
            heads = [START.format(edge[0]), END.format(edge[2]), KIND]
            write_bytes(draft / name, _csv(heads, rows, table.drop_columns(list(ENDS))))
            facts["edges"].append([list(edge), name, encoded(table.schema)])
            options.append(f"--relationships={name}")
        command = ["neo4j-admin database import full --id-type=integer --multiline-fields=true", *options, "neo4j"]
        write_bytes(draft / "import.sh", (" \\\n  ".join(command) + "\n").encode())
        write_json(draft / "mmgraph.json", facts)
        seal(draft)
    return folder


def read_neo4j(folder: str | Path) -> tuple[HeteroData, Schema, dict[NodeType, list[Any]]]:
    """Reads what :func:`write_neo4j` wrote: the graph, its schema and its payloads.

    Raises:
        ArtifactError: A file is missing or damaged, or the folder holds something else.
    """
    folder = Path(folder)
    check_seal(folder)
    facts = read_json(folder / "mmgraph.json")
    if facts.get("format") != FORMAT:
        raise ArtifactError(f"Folder {str(folder)!r} must hold {FORMAT}, got {facts.get('format')!r}")
    nodes = {node: _table(folder / name, decoded(text), 2) for node, (name, text) in facts["nodes"].items()}
    edges: dict[EdgeType, pa.Table] = {}
    for edge, name, text in facts["edges"]:
        edges[tuple(edge)] = _table(folder / name, decoded(text), 3, ends=True)
    schema = Schema.from_json(json.dumps(facts["schema"]))
    graph, payloads = from_tables(Tables(schema, nodes, edges))
    return graph, schema, payloads


def _csv(heads: Sequence[str], firsts: Any, table: pa.Table) -> bytes:
    """A file: what identifies each row, and its properties."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    fields = list(table.schema)
    writer.writerow([*heads, *(f"{field.name}:{_kind(field)}" for field in fields)])
    columns = [table.column(field.name).to_pylist() for field in fields]
    for row, first in enumerate(firsts):
        writer.writerow([*first, *(_cell(column[row], field) for column, field in zip(columns, fields, strict=True))])
    return file.getvalue().encode()


def _table(path: Path, schema: pa.Schema, first: int, *, ends: bool = False) -> pa.Table:
    """The table of a file, from the columns after the first ones."""
    import pyarrow as pa

    rows = list(csv.reader(io.StringIO(path.read_bytes().decode(), newline="")))[1:]
    columns = []
    for number, field in enumerate(schema):
        if ends and field.name in ENDS:
            columns.append(pa.array([int(row[ENDS.index(field.name)]) for row in rows], field.type))
            continue
        place = first + number - (len(ENDS) if ends else 0)
        columns.append(array([_value(row[place], field) for row in rows], field.type))
    return pa.table(columns, schema=schema)


def _kind(field: pa.Field) -> str:
    """The type of a property, as Neo4j calls it."""
    import pyarrow as pa

    kind = field.type
    if pa.types.is_fixed_size_list(kind) and str(kind.value_type) in _TYPES:
        return f"{_TYPES[str(kind.value_type)]}[]"
    return _TYPES.get(str(kind), "string" if not pa.types.is_integer(kind) else "int")


def _cell(value: Any, field: pa.Field) -> Any:
    if value is None:
        return ""
    if field.name == PAYLOAD:
        return "b" + base64.b64encode(value).decode() if isinstance(value, bytes) else "t" + value
    if isinstance(value, list):
        if _kind(field).endswith("[]"):
            return ";".join(json.dumps(one) for one in value)
        return json.dumps(value)
    return json.dumps(value)


def _value(cell: str, field: pa.Field) -> Any:
    if not cell:
        return None
    if field.name == PAYLOAD:
        return base64.b64decode(cell[1:]) if cell[0] == "b" else cell[1:]
    if _kind(field).endswith("[]"):
        return [json.loads(one) for one in cell.split(";")]
    return json.loads(cell)


def _check_name(name: str) -> None:
    if odd := next((sign for sign in name if sign in "();:,\n"), None):
        raise DataError(f"A label of Neo4j can't hold {odd!r} here, got {name!r}; rename the type")
