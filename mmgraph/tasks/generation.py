"""Which payload a hidden node had, from the nodes around it: what all tasks of translation share."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mmgraph.decoders.translation import Translation
from mmgraph.errors import DataError, SchemaError
from mmgraph.schema import Schema, view
from mmgraph.tasks.base import Part, Task, unseen
from mmgraph.tasks.translation_controls import translation_controls, with_others_sources, without_sources

if TYPE_CHECKING:
    from pathlib import Path

    from torch_geometric.data import HeteroData

LIKELIHOOD = ("log_loss", "perplexity")  # metrics of what is said, not of what is made


class Generation(Task):
    """A payload for each anchor whose own is hidden; what there is of others in training may be seen.

    Args:
        schema: What the graph means.
        target: The node type whose payload is asked for; its nodes are ``of`` the anchor.
        attribute: The tensor that holds it.

    Raises:
        SchemaError: There is no such modality of the anchor, or it has no such tensor.
    """

    def __init__(self, schema: Schema, target: str, *, attribute: str) -> None:
        if schema.anchor is None or target not in schema.modalities:
            raise SchemaError(f"target must be a modality of the anchor, {list(schema.modalities)}, got {target!r}")
        spec = schema.nodes[target]
        known = [*spec.attributes, *(["x"] if spec.channels else [])]
        if attribute not in known:
            raise SchemaError(f"attribute must be a tensor of {target!r}, one of {known}, got {attribute!r}")
        self.schema, self.node, self.made, self.attribute = schema, schema.anchor, target, attribute
        self.controls = translation_controls(schema, target, attribute)

    def view(self, graph: HeteroData, part: Part) -> HeteroData:
        """Gives the graph without the target's nodes of anchors outside training."""
        store = graph[self.node]
        node, owner = graph[self.made, "of", self.node].edge_index
        hidden = torch.zeros(graph[self.made].num_nodes, dtype=torch.bool, device=node.device)
        hidden[node[~store.train_mask[owner]]] = True
        keep = {self.made: ~hidden}
        if self.schema.regime != "transductive":
            keep[self.node] = ~unseen(store, part)
        return view(graph, self.schema, keep=keep)

    def answers(
        self, outputs: Translation | Tensor | Mapping[str, Tensor], view: HeteroData, part: Part
    ) -> Translation | Tensor:
        """Gives what is said of the anchors of one part; of payloads, ``[rows, *shape]``.

        Raises:
            DataError: There is not one answer an anchor.
        """
        said = outputs[self.made] if isinstance(outputs, Mapping) else outputs
        rows = view[self.node][f"{part}_mask"]
        if len(said) != len(rows):
            raise DataError(f"There must be a payload for each {self.node!r}, {len(rows)}, got {len(said)}")
        return said.take(rows) if isinstance(said, Translation) else said[rows]

    def references(self, graph: HeteroData, part: Part) -> tuple[Tensor, Tensor]:
        """The payloads that the anchors of a part have, ``[nodes, *shape]``, and which row of the part each is of.

        A row may have several, or none: then it is not judged.
        """
        store = graph[self.node]
        rows = store[f"{part}_mask"]
        place = rows.cumsum(0) - 1
        node, owner = graph[self.made, "of", self.node].edge_index
        node, owner = node[rows[owner]], owner[rows[owner]]
        order = owner.argsort(stable=True)
        payload: Tensor = graph[self.made][self.attribute][node[order]]
        return payload, place[owner[order]]

    def control(self, name: str, graph: HeteroData, *, seed: int = 0) -> HeteroData:
        """Gives the graph that one of the controls trains and tests on."""
        if name == "no_source":
            return without_sources(graph, self.schema, self.made)
        if name == "shuffled_sources":
            return with_others_sources(graph, self.schema, self.made, seed=seed)
        return super().control(name, graph, seed=seed)

    def sheet(self, predictions: Translation | Tensor, graph: HeteroData, part: Part, folder: Path) -> list[Path]:
        """Writes some of what was made, for a person to look at; gives the files."""
        return []

    def _wanted(
        self, predictions: Translation | Tensor, graph: HeteroData, part: Part, metrics: Collection[str] | None
    ) -> tuple[str, ...]:
        """The metrics that are asked for: by default all, and of what is made already those without a likelihood.

        Raises:
            DataError: Another number of rows than the part has.
            SchemaError: An unknown metric.
        """
        made = not isinstance(predictions, Translation)
        wanted = self.metrics if metrics is None else tuple(metrics)
        if unknown := [name for name in wanted if name not in self.metrics]:
            raise SchemaError(f"Metrics must be among {list(self.metrics)}, got {unknown}")
        rows = int(graph[self.node][f"{part}_mask"].sum())
        if len(predictions) != rows:
            raise DataError(f"Predictions for {part} must have {rows} rows, got {len(predictions)}")
        return wanted if metrics is not None or not made else tuple(name for name in wanted if name not in LIKELIHOOD)

    def _losses(self, predictions: Translation | Tensor, graph: HeteroData, part: Part) -> float:
        """The mean loss of a value of the references: what is known of a :class:`Translation` alone."""
        if not isinstance(predictions, Translation):
            raise DataError("Payloads that are made already have no likelihood, got a tensor; leave log_loss out")
        payload, row = self.references(graph, part)
        losses, counts = predictions.losses(payload, row)
        return float(losses.sum() / counts.sum().clamp_min(1))

    def _payloads(self, predictions: Translation | Tensor) -> Tensor:
        """What was made, ``[rows, *shape]``."""
        return predictions.payloads() if isinstance(predictions, Translation) else predictions
