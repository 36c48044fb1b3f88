"""NetworkX: a directed multigraph with all that nodes and edges carry, and GraphML, its file."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmgraph.errors import ArtifactError, DataError
from mmgraph.files import write_bytes
from mmgraph.interop.rows import array, decoded, encoded
from mmgraph.interop.tables import ENDS, PAYLOAD, Tables, from_tables, to_tables
from mmgraph.schema import Schema
from mmgraph.typing import EdgeType, NodeType

if TYPE_CHECKING:
    import networkx as nx
    import pyarrow as pa
    from torch_geometric.data import HeteroData

KEPT = "mmgraph"  # the attribute of the graph that says what types mean
TYPE, ROW, RELATION = "type", "row", "relation"


def to_networkx(
    graph: HeteroData, schema: Schema, payloads: Mapping[NodeType, Sequence[str | bytes | None]] | None = None
) -> nx.MultiDiGraph:
    """A graph for NetworkX: nodes ``(type, row)``, edges keyed by their relation and number.

    A node has its ``type``, its ``payload`` (a text, bytes or a path, if given) and its tensors as numbers or lists; an
    edge its ``relation``, its weight and its attributes. What the types mean is kept with the graph, so that
    :func:`from_networkx` makes the same graph again, to the bit; nodes and edges that were added or removed in between
    are too.

    Args:
        graph: The graph.
        schema: What its types mean.
        payloads: Node type → what each node stands for.

    Raises:
        DataError: Something would be lost, see :func:`~mmgraph.interop.to_tables`.
        SchemaError: The graph is not what the schema says.

    Example:
        >>> from mmgraph.testing import fake_graph
        >>> joined = to_networkx(*fake_graph())
        >>> joined.nodes["scan", 0]["type"], len(joined.nodes["scan", 0]["x"]), joined.is_multigraph()
        ('scan', 3, True)
    """
    import networkx as nx

    made = nx.MultiDiGraph()
    tables = to_tables(graph, schema, payloads)
    types: dict[str, Any] = {"schema": json.loads(schema.to_json()), "nodes": {}, "edges": []}
    for node, table in tables.nodes.items():
        types["nodes"][node] = encoded(table.schema)
        for row, values in enumerate(table.to_pylist()):
            made.add_node((node, row), **{TYPE: node, ROW: row}, **_free(values, node, (TYPE, ROW)))
    for edge, table in tables.edges.items():
        types["edges"].append([list(edge), encoded(table.schema)])
        for number, values in enumerate(table.to_pylist()):
            source, target = ((end, values.pop(name)) for end, name in zip((edge[0], edge[2]), ENDS, strict=True))
            made.add_edge(
                source, target, key=(edge[1], number), **{RELATION: edge[1]}, **_free(values, edge, (RELATION,))
            )
    made.graph[KEPT] = json.dumps(types)
    return made


def from_networkx(joined: nx.MultiDiGraph) -> tuple[HeteroData, Schema, dict[NodeType, list[Any]]]:
    """The graph that :func:`to_networkx` gave, with its schema and its payloads.

    Nodes are in the order of their type in the NetworkX graph, edges in that of their numbers, new ones last.

    Raises:
        DataError: The graph does not say what its types mean, or a node or an edge is of none of them, lacks a value or
            has another one.

    Example:
        >>> from mmgraph.testing import fake_graph
        >>> graph, schema = fake_graph()
        >>> back, *_ = from_networkx(to_networkx(graph, schema))
        >>> bool((back["scan"].x == graph["scan"].x).all())
        True
    """
    if KEPT not in joined.graph:
        raise DataError(
            f"A NetworkX graph must say what its types mean, by graph.graph[{KEPT!r}], got none; make it by to_networkx"
        )
    types = json.loads(joined.graph[KEPT])
    schema = Schema.from_json(json.dumps(types["schema"]))
    fields = {node: decoded(text) for node, text in types["nodes"].items()}
    rows: dict[str, list[dict[str, Any]]] = {node: [] for node in fields}
    place: dict[Any, int] = {}
    for name, values in joined.nodes(data=True):
        node = values.get(TYPE)
        if node not in rows:
            raise DataError(f"A node must have a type, one of {list(rows)}, got {node!r} for {name!r}")
        place[name] = len(rows[node])
        rows[node].append(values)
    nodes = {node: _tabled(found, fields[node], node) for node, found in rows.items()}
    joins: dict[EdgeType, list[tuple[Any, dict[str, Any]]]] = {tuple(edge): [] for edge, _ in types["edges"]}
    for source, target, key, values in joined.edges(keys=True, data=True):
        edge = (joined.nodes[source][TYPE], values.get(RELATION), joined.nodes[target][TYPE])
        if edge not in joins:
            raise DataError(f"An edge must be of one of the types {list(joins)}, got {edge} for {source!r}, {target!r}")
        number = key[1] if isinstance(key, tuple) and len(key) == 2 else len(joined.edges)
        joins[edge].append((number, {**values, ENDS[0]: place[source], ENDS[1]: place[target]}))
    edges = {}
    for edge, text in types["edges"]:
        found = [values for _, values in sorted(joins[tuple(edge)], key=lambda one: one[0])]
        edges[tuple(edge)] = _tabled(found, decoded(text), edge)
    graph, payloads = from_tables(Tables(schema, nodes, edges))
    return graph, schema, payloads


def write_graphml(
    graph: HeteroData,
    schema: Schema,
    path: str | Path,
    payloads: Mapping[NodeType, Sequence[str | bytes | None]] | None = None,
) -> Path:
    """Writes a graph as GraphML, which many tools draw: lists as JSON, bytes as base64; whole or not at all.

    Raises:
        DataError: Something would be lost, see :func:`~mmgraph.interop.to_tables`; or a sign that XML does not have.

    Example:
        >>> from mmgraph.testing import fake_graph
        >>> graph, schema = fake_graph()
        >>> path = write_graphml(graph, schema, getfixture("tmp_path") / "graph.graphml")
        >>> bool((read_graphml(path)[0]["scan"].x == graph["scan"].x).all())
        True
    """
    import networkx as nx

    joined, plain = to_networkx(graph, schema, payloads), nx.MultiDiGraph()
    plain.graph.update(joined.graph)
    names = {name: f"{name[0]}/{name[1]}" for name in joined.nodes}
    for name, values in joined.nodes(data=True):
        plain.add_node(names[name], **{key: _plain(value) for key, value in values.items() if value is not None})
    for source, target, key, values in joined.edges(keys=True, data=True):
        attributes = {name: _plain(value) for name, value in values.items()}
        plain.add_edge(names[source], names[target], key=f"{key[0]}/{key[1]}", **attributes)
    path, text = Path(path), "\n".join(nx.generate_graphml(plain, named_key_ids=True))
    if odd := next((sign for sign in text if not _in_xml(sign)), None):
        raise DataError(f"GraphML holds no control characters, got {odd!r} in a payload or a name; take it out")
    write_bytes(path, text.encode())
    return path


def read_graphml(path: str | Path) -> tuple[HeteroData, Schema, dict[NodeType, list[Any]]]:
    """Reads what :func:`write_graphml` wrote: the graph, its schema and its payloads.

    Raises:
        ArtifactError: The file is missing or is no GraphML.
        DataError: It does not say what its types mean, or something in it does not fit them.
    """
    from xml.etree.ElementTree import ParseError

    import networkx as nx

    try:
        plain = nx.parse_graphml(Path(path).read_text(encoding="utf-8"), force_multigraph=True)
    except (OSError, ParseError, nx.NetworkXError) as error:
        raise ArtifactError(f"File {str(path)!r} must be GraphML, but {error}") from None
    joined = nx.MultiDiGraph(**plain.graph)
    types = json.loads(plain.graph.get(KEPT, "{}"))
    kinds = {node: decoded(text) for node, text in types.get("nodes", {}).items()}
    for name, values in plain.nodes(data=True):
        joined.add_node(name, **_rich(values, kinds.get(values.get(TYPE), ())))
    ends = {(edge[0], edge[1], edge[2]): decoded(text) for edge, text in types.get("edges", [])}
    for source, target, key, values in plain.edges(keys=True, data=True):
        edge = (plain.nodes[source].get(TYPE), values.get(RELATION), plain.nodes[target].get(TYPE))
        number = str(values.get("id", key)).rpartition("/")[2]
        place = (edge[1], int(number)) if number.isdigit() else key
        joined.add_edge(source, target, key=place, **_rich(values, ends.get(edge, ())))
    return from_networkx(joined)


def _free(values: dict[str, Any], name: Any, taken: Sequence[str]) -> dict[str, Any]:
    """The values of a row, none of whose names is needed for something else."""
    if odd := [key for key in values if key in taken and key != ROW]:
        raise DataError(f"A tensor must not be called {odd[0]!r} in a NetworkX graph, got one on {name!r}; rename it")
    return {key: value for key, value in values.items() if key != ROW}


def _tabled(rows: Sequence[Mapping[str, Any]], schema: pa.Schema, name: Any) -> pa.Table:
    """Rows as a table of known columns."""
    import pyarrow as pa

    columns = []
    for field in schema:
        known = pa.types.is_string(field.type) or pa.types.is_binary(field.type) or field.metadata
        found = [row.get(field.name) for row in rows]
        if not known and None in found and field.name != ROW:
            raise DataError(f"Each of {name!r} must have {field.name!r}, got one without")
        if field.name == ROW:
            found = list(range(len(rows)))
        try:
            columns.append(array(found, field.type))
        except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError) as error:
            raise DataError(f"{field.name!r} of {name!r} must be {field.type}, but {error}") from None
    return pa.table(columns, schema=schema) if columns else pa.table({ROW: list(range(len(rows)))})


def _plain(value: Any) -> Any:
    """A value as GraphML has it."""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return value if isinstance(value, str) else json.dumps(value)


def _rich(values: Mapping[str, Any], schema: Any) -> dict[str, Any]:
    """Values out of GraphML, as the columns are."""
    import pyarrow as pa

    found = dict(values)
    for field in schema:
        value = found.get(field.name)
        if value is None or field.name == ROW:
            continue
        if field.name == PAYLOAD and pa.types.is_binary(field.type):
            found[field.name] = base64.b64decode(value)
        elif not (field.name == PAYLOAD and pa.types.is_string(field.type)):
            found[field.name] = json.loads(value)
    found.pop("id", None)
    return found


def _in_xml(sign: str) -> bool:
    """Whether XML 1.0 can hold a character."""
    return sign in "\t\n" or " " <= sign <= "\ud7ff" or "\ue000" <= sign <= "\ufffd" or sign > "\uffff"
