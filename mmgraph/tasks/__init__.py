"""Tasks: what is asked, on which view, and how it is judged. A task knows no model: arrays in, floats out."""

from mmgraph.tasks.base import Part, Task
from mmgraph.tasks.controls import BASELINES, baseline, control_graph, default_controls
from mmgraph.tasks.node_classification import NodeClassification

__all__ = [
    "BASELINES",
    "NodeClassification",
    "Part",
    "Task",
    "baseline",
    "control_graph",
    "default_controls",
]
