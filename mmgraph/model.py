"""The model: encode, propagate within samples, gather, fuse, propagate between anchors, answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from mmgraph.blueprint import Recorded
from mmgraph.encoders import Encoder, Table
from mmgraph.errors import ConfigError
from mmgraph.functional import pool_reached
from mmgraph.fusion import Concat, Fusion
from mmgraph.layers import Layer, Mean, Stack, edge_sets, gather_parts
from mmgraph.schema import Schema

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData


class Model(Recorded):
    """A pipeline on graphs, from payloads to an answer at each anchor.

    1. *encode*: each node's payload becomes features.
    2. *within*: messages among the nodes of a sample (optional).
    3. *gather* and *fuse*: the modality nodes of each anchor become one vector. They are those that are ``of`` it, and
       those that are ``of`` a node which one edge type joins to it (the picture that a question is about; see
       :attr:`Schema.paths <mmgraph.schema.Schema.paths>`). An anchor with a payload of its own counts as a part of its
       own name.
    4. *between*: messages among anchors, over the population (optional).
    5. *head*: the answer.
    6. *after*: messages among the answers, over the population (optional): the probabilities of the classes spread
       along edges, so that nodes which are alike are answered alike. Neither training nor the choice of its epoch sees
       them. This is the second step of Huang et al. 2021, Combining label propagation and simple models out-performs
       graph neural networks (correct and smooth), arXiv:2010.13993, for answers that no label has touched.

    Args:
        schema: What the types of the graphs mean; it must name an anchor.
        encoder: Payloads to features.
        head: ``[anchors, channels] -> [anchors, outputs]``.
        fusion: Parts to one vector; may be left out if the anchor is all that the encoder encodes.
        within: Message passing before the fusion.
        between: Message passing after it.
        after: Message passing among the anchors' answers, e.g. :class:`~mmgraph.layers.Smooth`. It keeps them
            probabilities.

    Raises:
        ConfigError: The schema has no anchor; or, when called, ``after`` with a head that has one output.

    Example:
        >>> import torch
        >>> from torch_geometric.data import HeteroData
        >>> from mmgraph.encoders import Raw
        >>> graph = HeteroData()
        >>> graph["paper"].x = torch.ones(3, 4)
        >>> schema = Schema.infer(graph, anchor="paper")
        >>> Model(schema=schema, encoder=Raw(["paper"]), head=nn.Linear(4, 2))(graph).shape
        torch.Size([3, 2])
    """

    def __init__(
        self,
        *,
        schema: Schema,
        encoder: Encoder,
        head: nn.Module,
        fusion: Fusion | None = None,
        within: Layer | None = None,
        between: Layer | None = None,
        after: Layer | None = None,
    ) -> None:
        super().__init__()
        if schema.anchor is None:
            raise ConfigError("Model needs a schema with an anchor, got none; set Schema(anchor=...)")
        self.schema, self.anchor = schema, schema.anchor
        self.encoder, self.fusion, self.head = encoder, fusion, head
        self.within, self.between = within or Stack(), between or Stack()
        self.after = after

    def forward(self, graph: HeteroData) -> Tensor:
        """Gives the answers ``[anchors, outputs]``; with ``after``, logarithms of what they have spread to."""
        answers = self.answer(graph)
        if self.after is None:
            return answers
        if answers.shape[1] < 2:
            raise ConfigError(
                f"after spreads the probabilities of classes, at least 2, got a head of {answers.shape[1]} output; "
                "leave it out, or use between"
            )
        if self.training:
            return answers
        spread = self.after({self.anchor: answers.softmax(dim=1)}, edge_sets(graph))[self.anchor]
        return spread.clamp_min(torch.finfo(spread.dtype).tiny).log()

    def answer(self, graph: HeteroData) -> Tensor:
        """Gives the answers of the head, before they spread, ``[anchors, outputs]``."""
        answers: Tensor = self.head(self.embed(graph))
        return answers

    def embed(self, graph: HeteroData) -> Tensor:
        """Gives the states of the anchors after all messages, ``[anchors, channels]``."""
        edges = edge_sets(graph)
        features = self.within(self.encoder(graph), edges)
        if self.fusion is not None:
            fused = self.fusion(*gather_parts(features, edges, graph, self.schema))  # [anchors, channels]
        elif self.anchor in features:
            fused = features[self.anchor]
        else:
            raise ConfigError(f"Model needs a fusion to join {sorted(features)} at {self.anchor!r}, got none")
        return self.between({**features, self.anchor: fused}, edges)[self.anchor]

    def parts(self, graph: HeteroData) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Gives what each modality says of the anchors before the fusion, ``[anchors, channels]``, and of which."""
        edges = edge_sets(graph)
        return gather_parts(self.within(self.encoder(graph), edges), edges, graph, self.schema)

    def embed_subgraphs(self, graph: HeteroData, *, hops: int = 1) -> Tensor:
        r"""Gives a vector for the subgraph around each anchor: the mean state of all anchors within ``hops``.

        .. math:: z_S = \frac{1}{|S|} \sum_{v \in S} h_v

        Args:
            graph: A view: what may be seen.
            hops: Radius, in edges between anchors; 0 for the anchor alone.

        Returns:
            ``[anchors, channels]``.
        """
        states = self.embed(graph)
        joins = [graph[relation].edge_index for relation in self.schema.relations(self.anchor)]
        if hops == 0 or not joins:
            return states
        return pool_reached(states, _merge(joins), hops=hops)


def _merge(indices: list[Tensor]) -> Tensor:
    return torch.cat(indices, dim=1)


def classifier(
    schema: Schema, *, target: str | None = None, channels: int = 16, rounds: int = 1, dropout: float = 0.3
) -> Model:
    """A model to start from: a linear map a modality, concatenation, averaging over relations, a linear head.

    Args:
        schema: What the graph means; its modality nodes (or its anchor) carry numeric ``x``.
        target: Name of the target; by default the only one.
        channels: Width of the states.
        rounds: Rounds of messages between anchors, if they are joined at all.
        dropout: Share of the values zeroed while training.

    Raises:
        ConfigError: The schema has no anchor, no numeric features, or no target with classes to choose.

    Example:
        >>> from mmgraph.schema import EdgeSpec, NodeSpec, TargetSpec
        >>> schema = Schema(
        ...     nodes={"patient": NodeSpec(), "blood": NodeSpec(modality="tabular", channels=3)},
        ...     edges={("blood", "of", "patient"): EdgeSpec()},
        ...     targets={"ill": TargetSpec(node="patient", kind="binary", classes=("no", "yes"))},
        ...     anchor="patient",
        ... )
        >>> classifier(schema).head.out_features
        2
    """
    names = [name for name in (*schema.modalities, schema.anchor) if name and schema.nodes[name].channels]
    targets = [target] if target else list(schema.targets)
    if not names or len(targets) != 1 or not schema.target(targets[0]).classes:
        raise ConfigError(
            f"classifier needs an anchor, numeric features and 1 target with classes, got anchor {schema.anchor!r}, "
            f"features on {names}, targets {targets}; build a Model from its parts instead"
        )
    widths = {name: schema.nodes[name].channels or 0 for name in names}
    relations = schema.relations(schema.anchor or "")
    between = [Mean(channels, channels, relations=relations) for _ in range(rounds)] if relations else []
    return Model(
        schema=schema,
        encoder=Table(widths, channels, dropout=dropout),
        fusion=Concat(dict.fromkeys(widths, channels), channels),
        between=Stack(*between),
        head=nn.Linear(channels, len(schema.target(targets[0]).classes)),
    )
