"""What a regressor is asked: one number a node."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from torch import Tensor

from mmgraph.schema import Schema
from mmgraph.tasks import Part, Task
from mmgraph.tasks.base import seen_by

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData

TARGET = "y"


class _NodeRegression(Task):
    r"""One number a node, of mean 0 and deviation 1 in training.

    Its one metric is ``error``, the mean squared error: of numbers so scaled the share of their variance that is left.

    Args:
        schema: What the graph means; its one target is called ``y``.
    """

    metrics = ("error",)

    def __init__(self, schema: Schema) -> None:
        self.schema, self.target = schema, schema.target(TARGET)
        self.node = self.target.node

    def view(self, graph: HeteroData, part: Part) -> HeteroData:
        """Gives what may be seen in order to answer for one part."""
        return seen_by(self.schema, self.node, graph, part, labels=(TARGET,))

    def answers(self, outputs: Tensor | Mapping[str, Tensor], view: HeteroData, part: Part) -> Tensor:
        """Gives the numbers ``[rows of the part]``."""
        assert isinstance(outputs, Tensor)
        return outputs.detach().squeeze(1)[view[self.node][f"{part}_mask"]].cpu()

    def evaluate(
        self, predictions: Tensor, graph: HeteroData, part: Part = "test", *, metrics: Collection[str] | None = None
    ) -> dict[str, float]:
        """Gives the mean squared error of the numbers for one part."""
        store = graph[self.node]
        wanted = store[TARGET][store[f"{part}_mask"]]
        return {"error": float((predictions - wanted).square().mean())}
