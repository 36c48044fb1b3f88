"""The linker: entities and relations as vectors, and how plausible a fact is by them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmgraph.blueprint import Recorded
from mmgraph.encoders import Encoder
from mmgraph.errors import ConfigError, DataError
from mmgraph.functional import pool_reached
from mmgraph.functional.ranking import Scores
from mmgraph.fusion import Fusion
from mmgraph.layers import Layer, Stack, edge_sets, gather_parts
from mmgraph.layers.base import Edges
from mmgraph.schema import Schema
from mmgraph.schema.facts import Numbering
from mmgraph.scorers import Scorer
from mmgraph.typing import EdgeSet, EdgeSets

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData

LEARNED = "learned"
"""The name of an entity's own vector among the parts that are fused."""
RELATION = "relation"
"""The name under which layers find the vectors of the relations among their features."""


class States(NamedTuple):
    """What a linker makes of a graph."""

    entities: Tensor  # [entities, channels]
    relations: Tensor  # [2 * relations, channels of a relation]; the second half are the inverses


class Linker(Recorded):
    r"""Completion's model: from what entities carry, and the facts that join them, to the plausibility of any fact.

    1. *learn*: each entity has a vector of its own, and each relation and its inverse one.
    2. *encode*, *within*, *gather*: as in :class:`~mmgraph.model.Model`, the payloads that hang on entities, of
       whatever type (:meth:`Schema.paths_to <mmgraph.schema.Schema.paths_to>`).
    3. *fuse*: an entity's payloads and its own vector (a part named ``learned``) become one, by one fusion for all
       types of entities: what is of one name is read alike, and what a type can't have is absent. An entity's own
       vector is absent where no fact that may be seen names it: nothing was learned of it, its payload must do.
    4. *between*: messages over the facts. Layers find the vectors of the relations under the name ``relation``, and
       may change them.
    5. *score*: :math:`f(h, r, t)`. A question for heads, :math:`(?, r, t)`, is asked as :math:`(t, r^{-1}, ?)` (Lacroix
       et al. 2018, Canonical tensor decomposition for knowledge base completion, arXiv:1806.07297).

    Args:
        schema: What the graph means; its questions are the node type ``query`` (:class:`mmgraph.KnowledgeGraph`).
        scorer: Plausibility of a fact from its three vectors.
        num_entities: How many there are, type by type; by default as many as the answers have classes.
        encoder: Payloads to features.
        fusion: Parts to one vector of the scorer's (or the layers') width.
        within: Message passing before the fusion.
        between: Message passing among entities.
        channels: Width of the learned vectors; by default the scorer's.
        dropout: Share of the values of heads and relations that training sets to zero.
        forget: Share of the entities whose own vector a training step leaves out, so that payloads are learned from.
        hide_asked: Whether a training step takes the facts that its batch asks for, and their inverses, out of the
            messages. They can't be read off the edges then, as those of validation and the test can't. It needs
            batches: who is asked for all facts at once is left without messages.
        learned: Whether entities have vectors of their own; without, each type of them needs a payload.

    Raises:
        ConfigError: A share that is none; no fusion for payloads, or no encoder for a fusion; nothing to score by; or,
            when called, a type of entities with neither payloads nor vectors of their own.
        SchemaError: Nothing is joined by a relation.

    Example:
        >>> import mmgraph as mg
        >>> from mmgraph.scorers import DistMult
        >>> facts = mg.Triples(["owl", "cat"], ["eats", "eats"], ["mouse", "mouse"])
        >>> known = mg.KnowledgeGraph.fit(facts)
        >>> linker = Linker(schema=known.schema, scorer=DistMult(4))
        >>> linker(known.graph).shape
        (4, 3)
    """

    def __init__(
        self,
        *,
        schema: Schema,
        scorer: Scorer,
        num_entities: Mapping[str, int] | None = None,
        encoder: Encoder | None = None,
        fusion: Fusion | None = None,
        within: Layer | None = None,
        between: Layer | None = None,
        channels: int | None = None,
        dropout: float = 0.0,
        forget: float = 0.0,
        hide_asked: bool = False,
        learned: bool = True,
    ) -> None:
        super().__init__()
        if not 0 <= dropout < 1 or not 0 <= forget <= 1:
            raise ConfigError(f"dropout and forget must be shares, dropout below 1, got {dropout} and {forget}")
        if (encoder is None) != (fusion is None) or (encoder is None and not learned):
            raise ConfigError(
                "Linker needs an encoder and a fusion for payloads, or neither and learned vectors, "
                f"got encoder={type(encoder).__name__}, fusion={type(fusion).__name__}, learned={learned}"
            )
        self.schema, self.numbering = schema, Numbering(schema)
        self.anchor = schema.anchor or self.numbering.entities[0]
        self.scorer, self.encoder, self.fusion = scorer, encoder, fusion
        self.within, self.between = within or Stack(), between or Stack()
        self.dropout, self.forget, self.hide_asked = dropout, forget, hide_asked
        self.shallow = encoder is None and between is None
        counts = _counts(schema, self.numbering, num_entities)
        self.num_entities = counts
        width = channels or scorer.channels
        self.relations = nn.Parameter(torch.empty(2 * len(self.numbering.relations), scorer.relation_channels))
        vectors = torch.empty(sum(counts.values()), width)
        scorer.initialise(vectors, self.relations.data)
        self.entities = nn.Parameter(vectors) if learned else None

    def forward(self, graph: HeteroData) -> Scores:
        """Gives the scores of the graph's questions against all entities, ``[queries, entities]``, when they are read.

        Raises:
            DataError: The graph asks nothing.
        """
        if "query" not in graph.node_types:
            raise DataError(f"The graph must have questions, nodes of type 'query', got types {graph.node_types}")
        with torch.no_grad():
            states = self.states(graph)
        store = graph["query"]
        source, relation = store.source, store.relation

        @torch.no_grad()
        def score(rows: Tensor) -> Tensor:
            rows = rows.to(source.device)
            return self.against(states, source[rows], relation[rows])

        return Scores(score, len(source), len(states.entities))

    def states(self, graph: HeteroData) -> States:
        """Gives the vectors of all entities and relations, after all messages."""
        if self.shallow and not _is_drawn(graph):
            assert self.entities is not None
            return States(self.entities, self.relations)
        edges = edge_sets(graph)
        messages = self._unasked(graph, edges) if self.training and self.hide_asked else edges
        features = {} if self.entities is None else self._own(graph, self.entities)
        if self.encoder is not None:
            features = self._fused(graph, edges, messages, features)
        features = self.between({**features, RELATION: self.relations}, messages)
        states = torch.cat([features[node] for node in self.numbering.entities])
        return States(states, features.get(RELATION, self.relations))

    def against(self, states: States, sources: Tensor, relations: Tensor, candidates: Tensor | None = None) -> Tensor:
        """Gives the scores of questions ``(source, relation, ?)`` against all entities, or some.

        Args:
            states: What :meth:`states` gave.
            sources: Entities, ``[queries]``.
            relations: Relations or inverses, ``[queries]``.
            candidates: Entities ``[candidates]``; by default all.

        Returns:
            ``[queries, candidates]``.

        Raises:
            DataError: A number of no entity, or of no relation.
        """
        if candidates is not None:
            _check_numbers("candidates", candidates, len(states.entities))
        entities = states.entities if candidates is None else states.entities[candidates]
        return self.scorer.against(*self._asked(states, sources, relations), entities)

    def each(self, states: States, sources: Tensor, relations: Tensor, targets: Tensor) -> Tensor:
        """Gives the scores of single facts, ``[...]``, all three given by number, ``[...]``.

        Names have numbers by :meth:`KnowledgeGraph.facts_of <mmgraph.KnowledgeGraph.facts_of>`.

        Raises:
            DataError: A number of no entity, or of no relation.
        """
        _check_numbers("targets", targets, len(states.entities))
        return self.scorer(*self._asked(states, sources, relations), states.entities[targets])

    def answers(self, graph: HeteroData, sources: Tensor, relations: Tensor) -> Tensor:
        """Gives the scores of questions that need not be in the graph, ``[queries, entities]``.

        Raises:
            DataError: A number of no entity, or of no relation.
        """
        return self.against(self.states(graph), sources, relations)

    def embed(self, graph: HeteroData) -> Tensor:
        """Gives the vectors of the anchors, ``[anchors, channels]``."""
        start = self.numbering.offsets(graph)[self.anchor]
        return self.states(graph).entities[start : start + int(graph[self.anchor].num_nodes)]

    def embed_subgraphs(self, graph: HeteroData, *, hops: int = 1) -> Tensor:
        """Gives a vector for the subgraph around each anchor, as :meth:`Model.embed_subgraphs` does."""
        states = self.embed(graph)
        joins = [graph[relation].edge_index for relation in self.schema.relations(self.anchor)]
        return pool_reached(states, torch.cat(joins, dim=1), hops=hops) if hops and joins else states

    def _asked(self, states: States, sources: Tensor, relations: Tensor) -> tuple[Tensor, Tensor]:
        _check_numbers("sources", sources, len(states.entities))
        _check_numbers("relations", relations, len(states.relations))
        source, relation = states.entities[sources], states.relations[relations]
        if self.training and self.dropout:
            return F.dropout(source, self.dropout), F.dropout(relation, self.dropout)
        return source, relation

    def _own(self, graph: HeteroData, vectors: Tensor) -> dict[str, Tensor]:
        """The learned vectors of the entities that a graph has, type by type."""
        found = {}
        for node, own in zip(self.num_entities, vectors.split(list(self.num_entities.values())), strict=True):
            rows = graph[node].num_nodes
            if rows != len(own):
                if (numbers := graph[node].get("n_id")) is None:
                    raise DataError(f"The graph must have the {len(own)} {node!r} of the model, got {rows}, not which")
                own = own[numbers]
            found[node] = own
        return found

    def _unasked(self, graph: HeteroData, edges: Edges) -> Edges:
        """The edges of a graph without the facts that are asked for, and their inverses."""
        if "query" not in graph.node_types or _is_drawn(graph):  # drawn edges are none of these
            return edges
        store, half = graph["query"], len(self.numbering.relations)
        rows = store.answer >= 0
        source, relation, answer = store.source[rows], store.relation[rows], store.answer[rows]
        relation = torch.cat([relation, (relation + half) % (2 * half)])
        asked = torch.cat([source, answer]) * self.numbering.count(graph) + torch.cat([answer, source])
        first, found = self.numbering.offsets(graph), dict(edges)
        for edge in self.numbering.joins:
            index, weight = edges[edge]
            pairs = (index[0] + first[edge[0]]) * self.numbering.count(graph) + index[1] + first[edge[2]]
            left = ~torch.isin(pairs, asked[relation == self.numbering.number(edge[1])])
            found[edge] = EdgeSet(index[:, left], None if weight is None else weight[left])
        before, after = (sum(each[edge].index.shape[1] for edge in self.numbering.joins) for each in (edges, found))
        if before and not after:
            raise DataError(
                f"hide_asked must leave some facts for messages, but all {before} edges are asked for at once; train "
                "in batches, FitConfig(batch_size=...), or set hide_asked=False"
            )
        return Edges(found)

    def _fused(
        self, graph: HeteroData, edges: EdgeSets, messages: EdgeSets, own: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        """One vector an entity, type by type, of what it carries and its own vector."""
        assert self.encoder is not None
        assert self.fusion is not None
        features = self.within(self.encoder(graph), messages)
        found = {
            node: gather_parts(features, edges, graph, self.schema, owner=node) for node in self.numbering.entities
        }
        if bare := [node for node, (parts, _) in found.items() if not parts and node not in own]:
            raise ConfigError(
                f"Without learned vectors each type of entities must carry what the encoder reads, {sorted(features)}, "
                f"but {bare} do not; give them a payload, leave them out of the facts, or set learned=True"
            )
        rows = [int(graph[node].num_nodes) for node in found]
        if own:
            for (node, (parts, present)), named in zip(found.items(), self._known(graph).split(rows), strict=True):
                parts[LEARNED], present[LEARNED] = own[node], named
        fused = self.fusion(*_through(list(found.values()), rows))
        return dict(zip(found, fused.split(rows), strict=True))

    def _known(self, graph: HeteroData) -> Tensor:
        """Which entities facts of training name, ``[entities]``; in training, some of them are forgotten.

        These are edges; where all edges are taken out, it is the questions with their answers that say so, and where
        edges are drawn, the loader.
        """
        joins, types = self.numbering.joins, self.numbering.entities
        rows = [int(graph[node].num_nodes) for node in types]
        known = self.relations.new_zeros(sum(rows), dtype=torch.bool)
        named = dict(zip(types, known.split(rows), strict=True))  # the same memory
        for edge in joins:
            for end, node in enumerate((edge[0], edge[2])):
                named[node][graph[edge].edge_index[end]] = True
        if _is_drawn(graph):
            known = torch.cat([graph[node].named for node in types])
        elif "query" in graph.node_types and not any(graph[edge].edge_index.shape[1] for edge in joins):
            store = graph["query"]
            if len(known) == sum(self.num_entities.values()) and "answer" in store:  # numbers are those of the graph
                asked = (store.answer >= 0) & store.get("train_mask", True)
                known[store.source[asked]] = known[store.answer[asked]] = True
        if self.training and self.forget:
            known &= torch.rand(len(known), device=known.device) >= self.forget
        return known


def _is_drawn(graph: HeteroData) -> bool:
    """Whether a graph is what :class:`mmgraph.data.FactLoader` drew: its entities are some, numbered anew."""
    return "query" in graph.node_types and "candidates" in graph["query"]


def _check_numbers(what: str, numbers: Tensor, count: int) -> None:
    if numbers.is_floating_point() or numbers.dtype == torch.bool:
        raise DataError(f"{what} must be whole numbers, got {numbers.dtype}; give a mask as mask.nonzero()[:, 0]")
    least, most = (int(end) for end in numbers.aminmax()) if numbers.numel() else (0, 0)
    if least < 0 or most >= count:
        raise DataError(
            f"{what} must be numbers from 0 to {count - 1}, got {least if least < 0 else most}; "
            "KnowledgeGraph.facts_of gives the numbers of facts by name"
        )


def _through(
    found: list[tuple[dict[str, Tensor], dict[str, Tensor]]], rows: list[int]
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The parts of all types, one type after the other; a part that a type can't have is absent there."""
    if len(found) == 1:
        return found[0]
    like = {name: part for parts, _ in found for name, part in parts.items()}
    parts, present = {}, {}
    for name, part in like.items():
        every = [
            (own[name], there[name])
            if name in own
            else (part.new_zeros(count, part.shape[1]), part.new_zeros(count, dtype=torch.bool))
            for (own, there), count in zip(found, rows, strict=True)
        ]
        parts[name], present[name] = (torch.cat(one) for one in zip(*every, strict=True))
    return parts, present


def _counts(schema: Schema, numbering: Numbering, given: Mapping[str, int] | None) -> dict[str, int]:
    if given is None and len(numbering.entities) == 1 and "answer" in schema.targets:
        return {numbering.entities[0]: len(schema.targets["answer"].classes)}
    if given is None or sorted(given) != sorted(numbering.entities):
        raise ConfigError(f"num_entities must be given for {list(numbering.entities)}, got {given}")
    return {node: given[node] for node in numbering.entities}
