"""Objectives: ``objective(model, graph) -> terms``, the scalars that training makes small."""

from mmgraph.objectives.base import Objective
from mmgraph.objectives.supervised import Supervised

__all__ = ["Objective", "Supervised"]
