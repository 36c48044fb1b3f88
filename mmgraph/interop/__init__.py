"""To and from other tools: lossless, or an error that says what would be lost.

| format | functions | needs |
|---|---|---|
| Arrow tables, Parquet, pandas | :func:`to_tables`, :func:`from_tables`, :class:`Tables` | |
| NetworkX | :func:`to_networkx`, :func:`from_networkx` | networkx |
| DGL | :func:`to_dgl`, :func:`from_dgl` | the extra ``dgl`` |
| GraphML | :func:`write_graphml`, :func:`read_graphml` | networkx |
| Neo4j's import format | :func:`write_neo4j`, :func:`read_neo4j` | |
"""

from mmgraph.interop.dgl import from_dgl, to_dgl
from mmgraph.interop.neo4j import read_neo4j, write_neo4j
from mmgraph.interop.networkx import from_networkx, read_graphml, to_networkx, write_graphml
from mmgraph.interop.tables import Tables, from_tables, to_tables

__all__ = [
    "Tables",
    "from_dgl",
    "from_networkx",
    "from_tables",
    "read_graphml",
    "read_neo4j",
    "to_dgl",
    "to_networkx",
    "to_tables",
    "write_graphml",
    "write_neo4j",
]
