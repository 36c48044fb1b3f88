"""Objectives: ``objective(model, graph) -> terms``, the scalars that training makes small.

| objective | learns from | prefer it when |
|---|---|---|
| :class:`Supervised` | labels, through the fused answer | modalities interact |
| :class:`Late` | labels, each modality for itself | few rows, many columns |
"""

from mmgraph.objectives.base import Objective
from mmgraph.objectives.late import Late
from mmgraph.objectives.supervised import Supervised

__all__ = ["Late", "Objective", "Supervised"]
