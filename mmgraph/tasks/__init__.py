"""Tasks: what is asked, on which view, and how it is judged. A task knows no model: arrays in, floats out."""

from mmgraph.tasks.base import Part, Task
from mmgraph.tasks.clustering import Clustering
from mmgraph.tasks.controls import BASELINES, alignment_controls, baseline, control_graph, default_controls
from mmgraph.tasks.node_classification import NodeClassification
from mmgraph.tasks.retrieval import Retrieval

__all__ = [
    "BASELINES",
    "Clustering",
    "NodeClassification",
    "Part",
    "Retrieval",
    "Task",
    "alignment_controls",
    "baseline",
    "control_graph",
    "default_controls",
]
