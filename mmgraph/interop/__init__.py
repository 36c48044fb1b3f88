"""To and from other tools: lossless, or an error that says what would be lost.

| format | functions | needs |
|---|---|---|
| Arrow tables, Parquet, pandas | :func:`to_tables`, :func:`from_tables`, :class:`Tables` | |
| databases | :func:`to_database`, :func:`from_database`, :class:`Database` | |
| RelBench | :func:`read_relbench`, :func:`write_relbench`, :func:`from_relbench`, :func:`to_relbench` | relbench, \
for its objects |
| SQLite | :func:`read_sqlite` | |
| PyTorch Geometric | :func:`to_homogeneous`, :func:`from_homogeneous`, :func:`to_temporal`, :func:`from_temporal` | |
| PyTorch Frame | :func:`to_tensor_frame`, :func:`from_tensor_frame` | the extra ``tabular`` |
| OGB | :func:`read_ogb`, :func:`write_ogb`, :func:`ogb_evaluator`, :class:`OgbDataset` | the extra ``ogb`` |
| NetworkX | :func:`to_networkx`, :func:`from_networkx` | networkx |
| DGL | :func:`to_dgl`, :func:`from_dgl` | the extra ``dgl`` |
| GraphML | :func:`write_graphml`, :func:`read_graphml` | networkx |
| Neo4j's import format | :func:`write_neo4j`, :func:`read_neo4j` | |
"""

from mmgraph.interop.database import Database, DatabaseTable, TaskTable, from_database, to_database
from mmgraph.interop.dgl import from_dgl, to_dgl
from mmgraph.interop.frame import from_tensor_frame, to_tensor_frame
from mmgraph.interop.neo4j import read_neo4j, write_neo4j
from mmgraph.interop.networkx import from_networkx, read_graphml, to_networkx, write_graphml
from mmgraph.interop.ogb import OgbDataset, ogb_evaluator, read_ogb
from mmgraph.interop.ogb_write import write_ogb
from mmgraph.interop.pyg import from_homogeneous, from_temporal, to_homogeneous, to_temporal
from mmgraph.interop.relbench import (
    from_relbench,
    from_relbench_task,
    read_relbench,
    read_task,
    to_relbench,
    write_relbench,
)
from mmgraph.interop.sqlite import read_sqlite
from mmgraph.interop.tables import Tables, from_tables, to_tables

__all__ = [
    "Database",
    "DatabaseTable",
    "OgbDataset",
    "Tables",
    "TaskTable",
    "from_database",
    "from_dgl",
    "from_homogeneous",
    "from_networkx",
    "from_relbench",
    "from_relbench_task",
    "from_tables",
    "from_temporal",
    "from_tensor_frame",
    "ogb_evaluator",
    "read_graphml",
    "read_neo4j",
    "read_ogb",
    "read_relbench",
    "read_sqlite",
    "read_task",
    "to_database",
    "to_dgl",
    "to_homogeneous",
    "to_networkx",
    "to_relbench",
    "to_tables",
    "to_temporal",
    "to_tensor_frame",
    "write_graphml",
    "write_neo4j",
    "write_ogb",
    "write_relbench",
]
