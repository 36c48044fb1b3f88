"""From tables, pictures, recordings and text to a graph: declared, encoded, checked, written."""

from mmgraph.assembly.built import Built
from mmgraph.assembly.config import GraphConfig, read_config
from mmgraph.assembly.database import DatabaseSource, database_source
from mmgraph.assembly.graph import build_graph, dataset_source
from mmgraph.assembly.rejected import Rejection, TooManyRejectedError
from mmgraph.assembly.source import Source

__all__ = [
    "Built",
    "DatabaseSource",
    "GraphConfig",
    "Rejection",
    "Source",
    "TooManyRejectedError",
    "build_graph",
    "database_source",
    "dataset_source",
    "read_config",
]
