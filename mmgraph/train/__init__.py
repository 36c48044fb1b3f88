"""Training, and the experiments around it: fits that can be killed, scores that stand beside their controls."""

from mmgraph.train.batches import Batches
from mmgraph.train.evaluate import evaluate
from mmgraph.train.fit import FitConfig, Fitted, fit
from mmgraph.train.launch import launch
from mmgraph.train.processes import Place, ProcessError
from mmgraph.train.record import record
from mmgraph.train.results import Cell, Results

__all__ = [
    "Batches",
    "Cell",
    "FitConfig",
    "Fitted",
    "Place",
    "ProcessError",
    "Results",
    "evaluate",
    "fit",
    "launch",
    "record",
]
