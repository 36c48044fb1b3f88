"""What an objective is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from torch import nn

from mmgraph.typing import Terms

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData


class Objective(nn.Module, ABC):
    """What training makes small: ``objective(model, graph) -> terms``.

    Promises: ``terms["total"]`` is a scalar, the other terms name its parts; without anything to learn from
    the total is 0 and has a gradient. Its own parameters, if it has any, are trained with the model's.

    Attributes:
        labelled: Whether it learns from labelled rows alone; batches then leave the others out.
        shared: Whether several processes, each with some rows of a step, learn from it what one process learns from all
            of them. Means of rows are then passed through :func:`~mmgraph.functional.share_mean`, and rows that are
            compared with each other through :func:`~mmgraph.functional.gather_rows`, in all processes alike.
    """

    labelled: bool = True
    shared: bool = False

    @abstractmethod
    def forward(self, model: nn.Module, graph: HeteroData) -> Terms:
        """Gives the terms for a graph that holds the labels which may be seen."""
