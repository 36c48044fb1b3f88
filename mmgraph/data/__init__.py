"""Records, splits, datasets and files: what graphs are made from, and how they are kept."""

from mmgraph.data.graph_file import load_graph, save_graph
from mmgraph.data.manifest import Manifest, dataset_names, load_dataset
from mmgraph.data.records import Records
from mmgraph.data.split import Split, stratified_split

__all__ = [
    "Manifest",
    "Records",
    "Split",
    "dataset_names",
    "load_dataset",
    "load_graph",
    "save_graph",
    "stratified_split",
]
