"""Tasks: what is asked, on which view, and how it is judged. A task knows no model: arrays in, floats out."""

from mmgraph.tasks.base import Part, Task
from mmgraph.tasks.clustering import Clustering
from mmgraph.tasks.controls import BASELINES, alignment_controls, baseline, control_graph, default_controls
from mmgraph.tasks.edge_prediction import EdgePrediction
from mmgraph.tasks.generation import Generation
from mmgraph.tasks.link_prediction import LinkPrediction
from mmgraph.tasks.node_classification import NodeClassification
from mmgraph.tasks.payload_generation import PayloadGeneration
from mmgraph.tasks.retrieval import Retrieval
from mmgraph.tasks.text_generation import TextGeneration
from mmgraph.tasks.triple_classification import TripleClassification
from mmgraph.tasks.triple_generation import TripleGeneration

__all__ = [
    "BASELINES",
    "Clustering",
    "EdgePrediction",
    "Generation",
    "LinkPrediction",
    "NodeClassification",
    "Part",
    "PayloadGeneration",
    "Retrieval",
    "Task",
    "TextGeneration",
    "TripleClassification",
    "TripleGeneration",
    "alignment_controls",
    "baseline",
    "control_graph",
    "default_controls",
]
