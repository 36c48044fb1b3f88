"""A model and all that some anchors can be reached from: encoded once, for every question about them."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from mmgraph.errors import ConfigError
from mmgraph.layers import edge_sets
from mmgraph.schema import Schema
from mmgraph.typing import EdgeSet, EdgeSets, EdgeType, Features, NodeType

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData

SAMPLE = 1000  # training nodes whose mean stands for a node of which nothing is known


class Scene:
    """A model, and the part of a graph that some anchors can be reached from.

    Args:
        model: ``model(graph) -> [anchors, outputs]``, in evaluation mode.
        whole: The graph.
        schema: What it means; it names an anchor.
        asked: Rows of the anchors.
    """

    def __init__(self, model: nn.Module, whole: HeteroData, schema: Schema, asked: Sequence[int]) -> None:
        assert schema.anchor is not None
        self.model, self.whole, self.schema, self.anchor = model, whole, schema, schema.anchor
        self.asked = list(asked)
        start = {node: torch.zeros(whole[node].num_nodes, dtype=torch.bool) for node in whole.node_types}
        start[self.anchor][self.asked] = True
        *_, masks = reach(start, edge_sets(whole))
        self.graph = whole.subgraph(masks)
        self.n_id = {node: mask.nonzero().flatten() for node, mask in masks.items()}
        self.edges: dict[EdgeType, EdgeSet] = {
            name: EdgeSet(edge_set.index, edge_set.weight) for name, edge_set in edge_sets(self.graph).items()
        }
        self.features = self._encode(self.graph)
        counts = {node: len(rows) for node, rows in self.n_id.items()}
        with torch.no_grad():
            outputs = self.call(self.features, counts, self.edges)
            said = model(self.graph)
        if not isinstance(said, Tensor):
            raise ConfigError(f"A model to explain must give [anchors, outputs], got a {type(said).__name__}")
        if said.shape != outputs.shape or said.dim() != 2 or len(said) != counts[self.anchor]:
            raise ConfigError(
                f"A model to explain must give [anchors, outputs], [{counts[self.anchor]}, …] here, "
                f"got {list(said.shape)}"
            )
        if not torch.allclose(said, outputs, rtol=1e-3, atol=1e-4):
            raise ConfigError(
                "A model to explain must rest on what its encoder gives and on the edges alone; without other "
                f"payloads it says something else (by up to {float((said - outputs).abs().max()):.3g}); "
                "move what else it reads into its encoder"
            )
        places = torch.searchsorted(self.n_id[self.anchor], torch.tensor(self.asked, dtype=torch.long))
        self.outputs = outputs[places]  # [asked, outputs]

    def of(self, model: nn.Module) -> Scene:
        """The same scene, of another model."""
        with evaluating(model):
            return Scene(model, self.whole, self.schema, self.asked)

    def call(self, features: Features, counts: Mapping[NodeType, int], edges: EdgeSets) -> Tensor:
        """What the model says of nodes that are encoded already, ``[anchors, outputs]``."""
        from torch_geometric.data import HeteroData

        graph = HeteroData()
        for node, count in counts.items():
            graph[node].num_nodes = count
            if node in features and not hasattr(self.model, "encoder"):
                graph[node].x = features[node]
        for name, (index, weight) in edges.items():
            graph[name].edge_index = index
            if weight is not None:
                graph[name].edge_weight = weight
        if not hasattr(self.model, "encoder"):
            return self.model(graph)
        twin = copy.copy(self.model)
        twin._modules = {**self.model._modules, "encoder": _Given(features)}
        return twin(graph)

    def around(self, anchor: int) -> list[dict[NodeType, Tensor]]:
        """Masks of the nodes from which an anchor is reached in 0, 1, … edges, up to all."""
        start = {node: torch.zeros(len(rows), dtype=torch.bool) for node, rows in self.n_id.items()}
        start[self.anchor] = self.n_id[self.anchor] == anchor
        return list(reach(start, self.edges))

    @cached_property
    def means(self) -> dict[NodeType, Tensor]:
        """The mean of what the encoder gives for training nodes, ``[channels]`` a type; zeros where there are none."""
        masks = {}
        train = self.whole[self.anchor].get("train_mask")
        for node in self.whole.node_types:
            mask = torch.ones(self.whole[node].num_nodes, dtype=torch.bool)
            if train is not None and node == self.anchor:
                mask = train.clone()
            elif train is not None and (node, "of", self.anchor) in self.whole.edge_types:
                row, owner = self.whole[node, "of", self.anchor].edge_index
                mask = torch.zeros_like(mask)
                mask[row[train[owner]]] = True
            rows = mask.nonzero().flatten()
            if len(rows) > SAMPLE:
                mask = torch.zeros_like(mask)
                mask[rows[torch.linspace(0, len(rows) - 1, SAMPLE).long()]] = True
            masks[node] = mask
        with evaluating(self.model):
            encoded = self._encode(self.whole.subgraph(masks))
        return {node: x.mean(dim=0) if len(x) else x.new_zeros(x.shape[1]) for node, x in encoded.items()}

    @torch.no_grad()
    def _encode(self, graph: HeteroData) -> Features:
        if hasattr(self.model, "encoder"):
            return dict(self.model.encoder(graph))
        return {node: graph[node].x for node in graph.node_types if "x" in graph[node]}


class _Given(nn.Module):
    """An encoder that has done its work."""

    def __init__(self, features: Features) -> None:
        super().__init__()
        self.features = features

    def forward(self, graph: HeteroData) -> Features:
        return dict(self.features)


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Puts a model into evaluation mode, and every module back into its own afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def reach(start: Mapping[NodeType, Tensor], edges: EdgeSets) -> Iterator[dict[NodeType, Tensor]]:
    """Masks of the nodes from which some nodes are reached in 0, 1, … edges, until there are no more.

    Example:
        >>> edges = {("a", "to", "a"): EdgeSet(torch.tensor([[0, 1], [1, 2]]))}
        >>> [masks["a"].tolist() for masks in reach({"a": torch.tensor([False, False, True])}, edges)]
        [[False, False, True], [False, True, True], [True, True, True]]
    """
    masks = dict(start)
    while True:
        yield masks
        grown = {node: mask.clone() for node, mask in masks.items()}
        for (source, _, target), (index, _) in edges.items():
            grown[source][index[0][masks[target][index[1]]]] = True
        if all(torch.equal(grown[node], masks[node]) for node in masks):
            return
        masks = grown


def relabelled(edges: EdgeSet, masks: Mapping[NodeType, Tensor], name: EdgeType) -> EdgeSet:
    """The edges among the nodes of some masks, in the rows that these nodes then have."""
    index, weight = edges
    keep = masks[name[0]][index[0]] & masks[name[2]][index[1]]
    rows = [masks[name[2 * end]].cumsum(0)[index[end][keep]] - 1 for end in (0, 1)]
    return EdgeSet(torch.stack(rows), None if weight is None else weight[keep])
