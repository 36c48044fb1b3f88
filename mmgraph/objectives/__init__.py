"""Objectives: ``objective(model, graph) -> terms``, the scalars that training makes small.

| objective | learns from | prefer it when |
|---|---|---|
| :class:`Supervised` | labels, through the fused answer | modalities interact |
| :class:`Late` | labels, each modality for itself | few rows, many columns |
| :class:`Several` | labels of several targets | targets that help each other |
| :class:`Reconstruct` | the payloads, some of them hidden | few labels; modalities missing later |
| :class:`Weighted` | several objectives, each with its weight | labels and reconstruction together |
"""

from mmgraph.objectives.base import Objective
from mmgraph.objectives.late import Late
from mmgraph.objectives.reconstruct import Reconstruct
from mmgraph.objectives.several import Several
from mmgraph.objectives.supervised import Supervised
from mmgraph.objectives.weighted import Weighted

__all__ = ["Late", "Objective", "Reconstruct", "Several", "Supervised", "Weighted"]
