"""What a task is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Literal, TypeAlias

import torch
from torch import Tensor

from mmgraph.schema import Schema, view

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData
    from torch_geometric.data.storage import NodeStorage

Part: TypeAlias = Literal["train", "val", "test"]


class Task(ABC):
    """What is asked, on which view, how it is judged.

    Promises: no label that may not be seen is in a view; perfect predictions get the best score; predictions
    made from noise score at chance.

    Attributes:
        schema: What the graph means.
        node: The node type whose rows are asked about; its masks are the parts of the split.
        classes: Names of the classes, if the answers are about classes.
        controls: The controls that apply, see :mod:`mmgraph.tasks.controls`.
    """

    schema: Schema
    node: str
    classes: Sequence[str] = ()
    controls: tuple[str, ...] = ()

    @property
    @abstractmethod
    def metrics(self) -> tuple[str, ...]:
        """The metrics that :meth:`evaluate` knows."""

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

    def control(self, name: str, graph: HeteroData, *, seed: int = 0) -> HeteroData:
        """Gives the graph that one of the controls trains and tests on; the one given is left as it is.

        Raises:
            ConfigError: The control has no graph of its own, or there is no such control.
        """
        from mmgraph.tasks.controls import control_graph  # which knows what each task's controls are

        return control_graph(name, graph, self.schema, seed=seed)


def seen_by(schema: Schema, node: str, graph: HeteroData, part: Part, *, labels: Collection[str]) -> HeteroData:
    """What may be seen in order to answer for one part: training labels, and all nodes that the regime doesn't hide.

    In the regimes ``cohort_hidden`` and ``single_query`` training is blind to who will be asked for, and who is asked
    for to those of the other part.
    """
    store = graph[node]
    keep = None
    if schema.regime != "transductive":
        keep = {node: ~unseen(store, part)}
    return view(graph, schema, keep=keep, labels=dict.fromkeys(labels, store.train_mask))


def unseen(store: NodeStorage, part: Part) -> Tensor:
    """The rows of which nothing may be seen by who answers for one part, ``[rows]``, where the regime hides parts."""
    found = torch.zeros_like(store.train_mask)
    for other in ("val", "test"):
        if other != part:
            found |= store[f"{other}_mask"]
    return found
