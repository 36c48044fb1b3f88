"""Attention that also reads slots of memory: what holds of all samples, whatever their graph says."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from mmgraph.errors import ConfigError
from mmgraph.layers.attention import Attention, Share
from mmgraph.layers.base import Activation, Edges, Layer, check_relations, keep, node_types
from mmgraph.typing import EdgeSet, EdgeSets, EdgeType, Features

MEMORY = "memory"
"""The node type of the slots, inside of the layer."""


class MemoryAttention(Layer):
    r"""An :class:`~mmgraph.layers.Attention` with learned nodes that every target attends to, and to which none leads.

    .. math::
        m_v = \mathrm{Attention}\big(W_Q h_v, [W_K H_{N(v)}; K_M], [W_V H_{N(v)}; V_M]\big), \qquad
        K_M = W^M_K S, \quad V_M = W^M_V S

    Keys and values of the slots depend on no input: they hold what is known beforehand, which the graph of a sample
    doesn't say. S are ``memories`` learned states, nodes without edges into them. With ``share="type"`` they have
    matrices of their own (as many slots as channels, or fewer, can then take any keys and values, as in the paper);
    with ``share="all"`` they are read like any node. Without slots this is Attention exactly. A node at which no edge
    points reads the slots alone.

    Source: Cornia et al. 2020, Meshed-memory transformer for image captioning, eq. 3 and 4; arXiv:1912.08226. The
    decoder that reads every layer of it is :class:`~mmgraph.decoders.MeshedDecoder`.

    Args:
        channels: Width of the states, in and out.
        relations: Edge types to attend along.
        memories: How many slots (the paper has 40).
        heads: How many; they divide the channels.
        hidden: Width of the feed-forward layer; by default 4 times the channels.
        share: Who shares weights, as of Attention.
        dropout: Share zeroed while training.
        norm_first: Normalise what goes into attention and feed-forward, in place of what comes out.
        activation: Of the feed-forward layer.

    Raises:
        ConfigError: An option out of its range, or a node type that is called as the slots are.

    Example:
        >>> layer = MemoryAttention(8, relations=[("image", "near", "image")], memories=3, heads=2)
        >>> edges = {("image", "near", "image"): EdgeSet(torch.tensor([[0, 1], [1, 0]]))}
        >>> {node: list(state.shape) for node, state in layer({"image": torch.randn(2, 8)}, edges).items()}
        {'image': [2, 8]}
        >>> {edge: list(weight.shape) for edge, weight in layer.weights({"image": torch.randn(2, 8)}, edges).items()}
        {('image', 'near', 'image'): [2, 2], ('memory', 'informs', 'image'): [6, 2]}
    """

    def __init__(
        self,
        channels: int,
        *,
        relations: Iterable[EdgeType],
        memories: int,
        heads: int = 4,
        hidden: int | None = None,
        share: Share = "all",
        dropout: float = 0.0,
        norm_first: bool = False,
        activation: Activation = torch.relu,
    ) -> None:
        super().__init__()
        self.relations = check_relations(relations)
        if memories < 0 or MEMORY in node_types(self.relations):
            raise ConfigError(
                f"memories must be at least 0 and no node type be called {MEMORY!r}, got {memories} and "
                f"{list(node_types(self.relations))}"
            )
        targets = dict.fromkeys(relation[2] for relation in self.relations)
        self.slots = tuple((MEMORY, "informs", target) for target in targets) if memories else ()
        self.attention = Attention(
            channels,
            relations=[*self.relations, *self.slots],
            heads=heads,
            hidden=hidden,
            share=share,
            dropout=dropout,
            norm_first=norm_first,
            activation=activation,
        )
        self.memory = nn.Parameter(torch.randn(memories, channels))

    def forward(self, features: Features, edges: EdgeSets) -> Features:
        """Gives ``[rows, channels]`` for the node types that relations lead to; others pass unchanged."""
        new = self.attention(self._told(features), self._joined(features, edges))
        return {node: new[node] for node in features}

    def weights(self, features: Features, edges: EdgeSets) -> dict[EdgeType, Tensor]:
        """Gives how much each target attends to each of its sources, and to each slot.

        Returns:
            Relation → ``[edges, heads]``; ``("memory", "informs", target)`` → ``[slots * targets, heads]``, those of a
            slot side by side.
        """
        return self.attention.weights(self._told(features), self._joined(features, edges))

    def extra_repr(self) -> str:
        """What is shown of its options."""
        return f"memories={len(self.memory)}"

    def _told(self, features: Features) -> Features:
        return {**features, MEMORY: self.memory} if self.slots else features

    def _joined(self, features: Features, edges: EdgeSets) -> EdgeSets:
        """The edges, and those from each slot to each target."""
        if not self.slots:
            return edges
        rows = tuple(features[slot[2]].shape[0] for slot in self.slots)

        def make() -> Edges:
            slots = torch.arange(len(self.memory), device=self.memory.device)
            every = [
                torch.stack(
                    [slots[:, None].expand(-1, count), torch.arange(count, device=slots.device).expand(len(slots), -1)]
                )
                for count in rows
            ]  # [2, slots, targets]
            return Edges({**edges, **dict(zip(self.slots, (EdgeSet(one.flatten(1)) for one in every), strict=True))})

        return keep(edges, ("memory", self.slots, rows, len(self.memory)), make)
