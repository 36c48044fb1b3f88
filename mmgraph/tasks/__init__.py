"""Tasks: what is asked, on which view, and how it is judged. A task knows no model: arrays in, floats out."""

from mmgraph.tasks.base import Part, Task
from mmgraph.tasks.clustering import Clustering
from mmgraph.tasks.controls import BASELINES, alignment_controls, baseline, control_graph, default_controls
from mmgraph.tasks.edge_prediction import EdgePrediction
from mmgraph.tasks.link_prediction import LinkPrediction
from mmgraph.tasks.node_classification import NodeClassification
from mmgraph.tasks.retrieval import Retrieval
from mmgraph.tasks.triple_classification import TripleClassification

__all__ = [
    "BASELINES",
    "Clustering",
    "EdgePrediction",
    "LinkPrediction",
    "NodeClassification",
    "Part",
    "Retrieval",
    "Task",
    "TripleClassification",
    "alignment_controls",
    "baseline",
    "control_graph",
    "default_controls",
]
