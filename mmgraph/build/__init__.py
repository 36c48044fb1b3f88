"""From tables, pictures, recordings and text to a graph: declared, encoded, checked, written."""

from mmgraph.build.built import Built
from mmgraph.build.config import GraphConfig, read_config
from mmgraph.build.graph import build_graph, dataset_source
from mmgraph.build.rejected import Rejection, TooManyRejectedError
from mmgraph.build.source import Source

__all__ = [
    "Built",
    "GraphConfig",
    "Rejection",
    "Source",
    "TooManyRejectedError",
    "build_graph",
    "dataset_source",
    "read_config",
]
