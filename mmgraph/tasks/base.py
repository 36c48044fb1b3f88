"""What a task is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Literal, TypeAlias

from torch import Tensor

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData

Part: TypeAlias = Literal["train", "val", "test"]


class Task(ABC):
    """What is asked, on which view, how it is judged.

    Promises: no label that may not be seen is in a view; perfect predictions get the best score; predictions
    made from noise score at chance.
    """

    @abstractmethod
    def view(self, graph: HeteroData, part: Part) -> HeteroData:
        """Gives what may be seen in order to answer for one part of a split."""

    @abstractmethod
    def answers(self, outputs: Tensor | Mapping[str, Tensor], view: HeteroData, part: Part) -> Tensor:
        """Gives the predictions for one part of a split, from a model's outputs on its view."""

    @abstractmethod
    def evaluate(
        self, predictions: Tensor, graph: HeteroData, part: Part = "test", *, metrics: Collection[str] | None = None
    ) -> dict[str, float]:
        """Gives the scores of the predictions for one part, from the whole graph's labels."""
