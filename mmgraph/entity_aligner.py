"""The aligner of two knowledge graphs: entities that are the same thing, from a few that are known to be."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Literal, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmgraph.aligner import Aligner
from mmgraph.encoders import Raw
from mmgraph.errors import ConfigError
from mmgraph.functional.adjacency import Adjacency
from mmgraph.functional.entity_alignment import (
    balance,
    bound_facts,
    csls,
    mutual_nearest,
    spread_seeds,
    with_offsets,
)
from mmgraph.functional.message import aggregate
from mmgraph.schema import Schema
from mmgraph.typing import Seen

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData

Offsets: TypeAlias = Literal["balance", "csls"]
COMPARED = 768  # channels by which all entities of both graphs are compared
LEAST = 0.1  # rarity of a relation that all facts are of


class EntityAligner(Aligner):
    r"""Entities of two graphs by the known pairs around them.

    A pair is an anchor, and its two entities are ``of`` it; the pairs of training are known. Each view sees its own
    graph alone. :func:`mmgraph.builders.pair` makes such a graph of two knowledge graphs; an anchor of one entity is a
    candidate and no pair.

    1. *Signatures*: each known pair has a random vector, the same on both sides, drawn anew at each step of training.
    2. *Spreading*, along facts both ways, :func:`~mmgraph.functional.entity_alignment.spread_seeds`; a fact weighs
       :math:`\ln(F / F_r) \, e^{\theta_{kr}}` at hop :math:`k`, with :math:`F_r` of the :math:`F` facts of relation
       :math:`r`, and :math:`\theta` learned. In training a share of the known pairs is hidden, and these alone are told
       apart: a pair that hears itself would learn nothing.
    3. *Facts*, in answers alone: which relations lead to which neighbours,
       :func:`~mmgraph.functional.entity_alignment.bound_facts`. A relation is told by the entities that have it.
    4. *Names*: entities with a payload of their own (``x``) are told by it, too.
    5. *Joining*: at some steps of training those of both graphs that are each other's nearest become pairs, until the
       next time (Sun et al. 2018, Bootstrapping entity alignment with knowledge graph embedding, IJCAI).
    6. *Offsets*, in answers alone, among the anchors that are not known.

    Source: Mao et al. 2022, LightEA: a scalable, robust, and interpretable entity alignment framework via three-view
    label propagation, arXiv:2210.10436, which learns nothing, and binds by outer products.

    Args:
        schema: What the graph means: an anchor with two modalities, each joined to itself by an edge type ``facts``
            whose one channel is the number of the relation.
        entities: Modality → how many entities there are, at most.
        relations: Modality → how many relations.
        facts: Name of the edge type.
        hops: How far signatures travel, at least 2.
        channels: Width of signatures.
        bound: Width of the bound facts; 0 for none.
        hidden: Share of the known pairs that is hidden in each step, between 0 and 1.
        joins: Steps, from 1, at which pairs join.
        offsets: ``balance``, ``csls``, or ``None`` for plain cosines.
        learned: Whether the weights of relations are learned.

    Raises:
        ConfigError: An option out of its range, or a schema of another form.

    Example:
        >>> from torch_geometric.data import HeteroData
        >>> from mmgraph.schema import EdgeSpec, NodeSpec
        >>> graph, nodes, edges = HeteroData(), {"pair": NodeSpec()}, {}
        >>> graph["pair"].update({"num_nodes": 3, "train_mask": torch.tensor([True, False, False])})
        >>> for side in ("zh", "en"):
        ...     graph[side].num_nodes = 3
        ...     graph[side, "fact", side].edge_index = torch.tensor([[0, 1], [1, 2]])
        ...     graph[side, "fact", side].edge_attr = torch.zeros(2, 1)
        ...     graph[side, "of", "pair"].edge_index = torch.arange(3).expand(2, -1)
        ...     nodes[side] = NodeSpec()
        ...     edges[side, "fact", side] = EdgeSpec(channels=1, multiple=True)
        ...     edges[side, "of", "pair"] = EdgeSpec()
        >>> schema = Schema(nodes=nodes, edges=edges, anchor="pair")
        >>> aligner = EntityAligner(schema=schema, entities={"zh": 3, "en": 3}, relations={"zh": 1, "en": 1})
        >>> found = aligner.eval()(graph)
        >>> (found["zh"][1:] @ found["en"][1:].T).argmax(dim=1).tolist()  # of those that are not known
        [0, 1]
    """

    def __init__(
        self,
        *,
        schema: Schema,
        entities: Mapping[str, int],
        relations: Mapping[str, int],
        facts: str = "fact",
        hops: int = 3,
        channels: int = 128,
        bound: int = 384,
        hidden: float = 0.5,
        joins: Collection[int] = (),
        offsets: Offsets | None = "balance",
        learned: bool = True,
    ) -> None:
        sides = schema.modalities
        if len(sides) != 2 or any(
            (edge := schema.edges.get((side, facts, side))) is None or edge.channels != 1 for side in sides
        ):
            raise ConfigError(
                f"EntityAligner needs two modalities of the anchor, each joined to itself by {facts!r} edges of 1 "
                f"channel, got {list(sides)} and {list(schema.edges)}"
            )
        if set(entities) != set(sides) or set(relations) != set(sides):
            raise ConfigError(
                f"entities and relations must count those of {list(sides)}, got {dict(entities)} and {dict(relations)}"
            )
        if hops < 2 or channels < 1 or bound < 0 or not 0 < hidden < 1:
            raise ConfigError(
                "hops must be at least 2, channels at least 1, bound at least 0 and hidden between 0 and 1, "
                f"got {hops}, {channels}, {bound} and {hidden}"
            )
        if offsets not in ("balance", "csls", None):
            raise ConfigError(f"offsets must be 'balance', 'csls' or None, got {offsets!r}")
        super().__init__(schema=schema, encoder=Raw([]), spaces={"joint": {side: nn.Identity() for side in sides}})
        self.sides, self.relations, self.facts = sides, dict(relations), facts
        self.channels, self.bound, self.hidden_share = channels, bound, hidden
        self.joins, self.offsets = frozenset(joins), offsets
        self.gains = nn.ParameterDict(
            {side: nn.Parameter(torch.zeros(hops, 2 * relations[side]), requires_grad=learned) for side in sides}
        )
        self.found: Tensor  # [entities of the first side]: which of the second each is, -1 for none
        self.register_buffer("found", torch.full((entities[sides[0]],), -1))
        self.steps: Tensor
        self.register_buffer("steps", torch.tensor(0))

    def project(self, graph: HeteroData) -> dict[str, dict[str, Seen]]:
        """Gives what each view says of each anchor; in training of those alone that were hidden from it."""
        seen = {side: self.hidden(graph, side) for side in self.sides}
        known = graph[self.anchor].train_mask
        if not self.training:
            return {self.space: self._compared(self._states(seen, known), seen, known)}
        self.steps += 1
        if int(self.steps) in self.joins:
            self._join(seen, known)
        visible = known & (torch.rand(len(known), device=known.device) >= self.hidden_share)
        states = self._states(seen, visible)
        found = {}
        for side in self.sides:
            owned = self._owned(seen, side)
            found[side] = Seen(states[side][owned.clamp_min(0)], ~visible & (owned >= 0))
        return {self.space: found}

    def _owned(self, seen: Mapping[str, HeteroData], side: str) -> Tensor:
        """The entity of each anchor, -1 where it has none."""
        entity, anchor = seen[side][side, "of", self.anchor].edge_index
        owned = torch.full((seen[side][self.anchor].num_nodes,), -1, device=entity.device)
        return owned.scatter(0, anchor, entity)

    def _states(self, seen: Mapping[str, HeteroData], known: Tensor) -> dict[str, Tensor]:
        """Vectors of all entities of each side, ``[entities, channels]``; in answers of unit length."""
        generator = None if self.training else torch.Generator().manual_seed(0)

        def draw(*shape: int) -> Tensor:
            return (torch.randn(*shape, generator=generator) / shape[1] ** 0.5).to(known.device)

        first, second = self.sides
        partner = self.found[: seen[first][first].num_nodes]
        joined = {first: (partner >= 0).nonzero().flatten(), second: partner[partner >= 0]}
        width = self.channels
        signatures = torch.cat([draw(len(known), width)[known], draw(len(joined[first]), width)])
        hops = len(self.gains[first])
        maps = None if self.training or not self.bound else (draw(hops * width, self.bound), draw(width, self.bound))
        states = {}
        for side in self.sides:
            x = torch.zeros(seen[side][side].num_nodes, width, device=known.device)
            x[torch.cat([self._owned(seen, side)[known], joined[side]])] = signatures
            states[side] = self._spread(seen[side], side, x, maps)
        return states

    def _spread(self, graph: HeteroData, side: str, x: Tensor, maps: tuple[Tensor, Tensor] | None) -> Tensor:
        index, number = graph[side, self.facts, side].edge_index, graph[side, self.facts, side].edge_attr[:, 0].long()
        index = torch.cat([index.flip(0), index], dim=1)  # a subject hears its objects, then objects their subjects
        relation = torch.cat([number, number + self.relations[side]])
        count = relation.bincount(minlength=2 * self.relations[side])
        rarity = (len(number) / count.clamp_min(1)).log().clamp_min(LEAST)
        weights = (rarity * self.gains[side].exp()).index_select(1, relation)  # [hops, edges]
        hops = spread_seeds(x, Adjacency(index, len(x), len(x)), weights)
        names = [graph[side].x] if self.schema.nodes[side].channels else []
        if self.training:
            return torch.cat([*hops, *names], dim=1)
        told = F.normalize(torch.cat(hops, dim=1), dim=1)
        parts = [told, *names]
        if maps is not None:
            having = Adjacency(torch.stack([index[1], relation]), len(x), len(count))
            kinds = F.normalize(aggregate(hops[1], having), dim=1)  # [relations, channels]
            parts.append(F.normalize(bound_facts(told @ maps[0], kinds @ maps[1], index, relation, weights[0]), dim=1))
        return F.normalize(torch.cat(parts, dim=1), dim=1)

    def _compared(self, states: Mapping[str, Tensor], seen: Mapping[str, HeteroData], known: Tensor) -> dict[str, Seen]:
        owned = [self._owned(seen, side) for side in self.sides]
        there = [own >= 0 for own in owned]
        x, y = (states[side][own.clamp_min(0)] for side, own in zip(self.sides, owned, strict=True))
        if self.offsets is not None:
            f, g = x.new_zeros(len(x)), y.new_zeros(len(y))
            find = balance if self.offsets == "balance" else csls
            sought = [~known & own for own in there]
            f[sought[0]], g[sought[1]] = find(x[sought[0]], y[sought[1]])
            x, y = with_offsets(x, y, f, g)
        return {side: Seen(z, own) for side, z, own in zip(self.sides, (x, y), there, strict=True)}

    @torch.no_grad()
    def _join(self, seen: Mapping[str, HeteroData], known: Tensor) -> None:
        self.training = False  # as in answers, for as long as this takes
        states, free = self._states(seen, known), {}
        self.training = True
        for side in self.sides:
            sought = torch.ones(len(states[side]), dtype=torch.bool, device=known.device)
            sought[self._owned(seen, side)[known]] = False
            free[side] = sought.nonzero().flatten()
        way = torch.randn(states[self.sides[0]].shape[1], COMPARED).to(known.device)
        x, y = (F.normalize(states[side][free[side]] @ way, dim=1) for side in self.sides)
        here, there = mutual_nearest(x, y, *balance(x, y))
        self.found.fill_(-1)
        self.found[free[self.sides[0]][here]] = free[self.sides[1]][there]
