"""A graph in parts, on one machine or several: cut, served, and sampled as if it were whole."""

from mmgraph.data.partitions.book import Book
from mmgraph.data.partitions.graph import GraphParts
from mmgraph.data.partitions.owners import PartLostError
from mmgraph.data.partitions.server import PartServer
from mmgraph.data.partitions.write import partition_graph

__all__ = ["Book", "GraphParts", "PartLostError", "PartServer", "partition_graph"]
