"""The translator: the payload of a hidden node, made from the nodes around it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import Generator, Tensor, nn

from mmgraph.blueprint import Recorded
from mmgraph.decoders.generative import Generative
from mmgraph.decoders.translation import Translation
from mmgraph.encoders import Encoder
from mmgraph.errors import ConfigError, DataError
from mmgraph.functional.packing import Places, follow, pack, places
from mmgraph.layers import Layer, Stack, edge_sets
from mmgraph.schema import Schema, view
from mmgraph.typing import EdgeSets, EdgeType, Features, NodeType, Sources

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData


class Translator(Recorded):
    """Translation's model: one node of a sample is hidden, and its payload is made from what is left of the sample.

    1. *hide*: the target's nodes are taken out of the graph, and the relations that were made from them
       (``near_<target>``). So nothing that is read tells what is to be made, in training as in use.
    2. *encode*, *within*: as in :class:`~mmgraph.model.Model`.
    3. *gather*: the nodes that reach each anchor stand side by side, each with a learned vector that says along which
       path it came. They are not averaged: a decoder attends to them.
    4. *between*: messages among anchors, which start from the mean of their nodes; what an anchor then knows is one
       more node beside the others (optional).
    5. *decode*: the payload, see :class:`~mmgraph.decoders.Generative`.

    The encoder may be one that an :class:`~mmgraph.Aligner` has trained before: give the same object.

    Args:
        schema: What the types of the graphs mean; it must name an anchor.
        target: The node type whose payload is made; its nodes are ``of`` the anchor.
        encoder: Payloads to features, all of the width that the decoder reads.
        decoder: Makes the payload.
        sources: Name → the edges, one kind after the other, that lead from nodes to the anchor; by default
            :attr:`Schema.paths <mmgraph.schema.Schema.paths>` without the target, and the anchor's own payload.
        within: Message passing among the nodes of a sample.
        between: Message passing among anchors.

    Raises:
        ConfigError: The schema has no anchor, the target does not hang on it, or a path that does not lead to it.

    Example:
        >>> from mmgraph.decoders import Dense, Regression
        >>> from mmgraph.encoders import Table
        >>> from mmgraph.testing import fake_graph
        >>> graph, schema = fake_graph()
        >>> encoder, decoder = Table({"scan": 3}, 8), Regression(Dense(8, (5,)))
        >>> translator = Translator(schema=schema, target="text", encoder=encoder, decoder=decoder)
        >>> translator.generate(graph, torch.tensor([0, 7])).shape
        torch.Size([2, 5])
    """

    def __init__(
        self,
        *,
        schema: Schema,
        target: str,
        encoder: Encoder,
        decoder: Generative,
        sources: Mapping[str, Sequence[EdgeType]] | None = None,
        within: Layer | None = None,
        between: Layer | None = None,
    ) -> None:
        super().__init__()
        if schema.anchor is None or target not in schema.modalities:
            raise ConfigError(
                f"Translator needs a target that is of the anchor, one of {list(schema.modalities)}, got {target!r}"
            )
        self.schema, self.anchor, self.target = schema, schema.anchor, target
        chosen = {name: path for name, path in schema.paths.items() if name != target} if sources is None else sources
        self.paths = {name: tuple(path) for name, path in chosen.items()}
        for name, path in self.paths.items():
            _check_path(name, path, schema, target)
        self.encoder, self.decoder = encoder, decoder
        self.within, self.between = within or Stack(), between
        self.kind = nn.Embedding(len(self.paths) + 2, decoder.channels)  # paths, the anchor itself, its neighbours
        nn.init.normal_(self.kind.weight, std=0.02)

    def forward(self, graph: HeteroData) -> Translation:
        """Gives what is said of all anchors, made when it is asked for."""
        return Translation(self.decoder, self.sources(graph))

    def generate(self, graph: HeteroData, rows: Tensor | None = None, *, generator: Generator | None = None) -> Tensor:
        """Makes a payload for each anchor, or for those named, ``[rows, *shape]``."""
        sources = self.sources(graph)
        return self.decoder.generate(sources if rows is None else sources.take(rows), generator=generator)

    def losses(self, graph: HeteroData) -> tuple[dict[str, Tensor], Tensor]:
        """The decoder's losses of the target's nodes, ``[nodes]`` each, and over how many values each is a sum.

        Where the graph says which anchors are for training, their nodes alone count.

        Raises:
            DataError: The target's nodes lack the tensor that the decoder makes.
        """
        payload = graph[self.target].get(self.decoder.attribute)
        if payload is None:
            raise DataError(
                f"Nodes of {self.target!r} must have {self.decoder.attribute!r} to be learned from, "
                f"got {sorted(graph[self.target].keys())}"
            )
        node, owner = graph[self.target, "of", self.anchor].edge_index
        counted = graph[self.anchor].get("train_mask")
        if counted is not None:
            node, owner = node[counted[owner]], owner[counted[owner]]
        payload = payload[node]
        return self.decoder.losses(self.sources(graph).take(owner), payload), self.decoder.counts(payload)

    def embed(self, graph: HeteroData) -> Tensor:
        """Gives the mean of what each anchor's decoder reads, ``[anchors, channels]``."""
        return self.sources(graph).mean()

    def hidden(self, graph: HeteroData) -> HeteroData:
        """Gives what may be read of a graph: nothing of the target."""
        made = (self.anchor, f"near_{self.target}", self.anchor)
        return view(graph, self.schema, hide=[self.target], drop_edges=[made] if made in self.schema.edges else [])

    def sources(self, graph: HeteroData) -> Sources:
        """Gives what the decoder reads of each anchor.

        Raises:
            ConfigError: Nothing that is encoded reaches the anchor, or it is of another width than the decoder reads.
        """
        seen = self.hidden(graph)
        edges, features = edge_sets(seen), self.encoder(seen)
        rounds = list(self.within.rounds(features, edges)) if isinstance(self.within, Stack) else []
        rounds = rounds or [self.within(features, edges)]
        nodes, where, kinds = self._gathered(rounds[-1], edges, seen[self.anchor].num_nodes)
        told = self.kind(kinds)  # [nodes, channels]
        packed = [pack(torch.cat([states[node][rows] for node, rows in nodes]) + told, where) for states in rounds]
        depths, present = [states for states, _ in packed], packed[-1][1]
        if self.between is not None:
            depths, present = self._with_neighbours(depths, present, edges)
        return Sources(depths[-1], present, tuple(depths) if len(depths) > 1 else ())

    def _gathered(
        self, features: Features, edges: EdgeSets, anchors: int
    ) -> tuple[list[tuple[NodeType, Tensor]], Places, Tensor]:
        """The rows of each type that reach anchors, where they stand, and along which path each came, ``[nodes]``."""
        ways = {
            number: (path[0][0], follow([edges[edge].index for edge in path]))
            for number, path in enumerate(self.paths.values())
            if path[0][0] in features
        }
        if self.anchor in features:
            itself = torch.arange(anchors, device=features[self.anchor].device)
            ways[len(self.paths)] = (self.anchor, torch.stack([itself, itself]))
        self._check_nodes([node for node, _ in ways.values()], features)
        kinds = [torch.full_like(way[0], number) for number, (_, way) in ways.items()]
        owner = torch.cat([way[1] for _, way in ways.values()])
        return [(node, way[0]) for node, way in ways.values()], places(owner, anchors), torch.cat(kinds)

    def _with_neighbours(self, depths: list[Tensor], present: Tensor, edges: EdgeSets) -> tuple[list[Tensor], Tensor]:
        """The same with one more node at each anchor: what it hears of others."""
        assert self.between is not None
        mean = Sources(depths[-1], present).mean()
        heard = self.between({self.anchor: mean}, edges)[self.anchor] + self.kind.weight[-1]
        there = present.any(dim=1)
        for relation in self.schema.relations(self.anchor):
            there = there.index_fill(0, edges[relation].index[1], value=True)
        heard = heard * there[:, None]
        wider = [torch.cat([states, heard[:, None]], dim=1) for states in depths]
        return wider, torch.cat([present, there[:, None]], dim=1)

    def _check_nodes(self, nodes: Sequence[str], features: Features) -> None:
        if not nodes:
            raise ConfigError(
                f"Something that is encoded must reach {self.anchor!r}, along one of {list(self.paths)}, "
                f"got features of {sorted(features)}"
            )
        widths = {node: features[node].shape[1] for node in nodes}
        if wrong := [node for node, width in widths.items() if width != self.decoder.channels]:
            raise ConfigError(
                f"All that a decoder reads must be of its width, {self.decoder.channels}, got {widths[wrong[0]]} "
                f"for {wrong[0]!r}"
            )


def _check_path(name: str, path: Sequence[EdgeType], schema: Schema, target: str) -> None:
    if odd := [edge for edge in path if edge not in schema.edges]:
        raise ConfigError(f"Source {name!r} must follow edge types of the schema, {list(schema.edges)}, got {odd[0]}")
    if not path or path[-1][2] != schema.anchor or any(a[2] != b[0] for a, b in pairwise(path)):
        raise ConfigError(f"Source {name!r} must lead to {schema.anchor!r}, one edge after the other, got {list(path)}")
    if path[0][0] == target:
        raise ConfigError(f"Source {name!r} must not be what is to be made, got nodes of {target!r}")
