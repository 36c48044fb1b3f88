"""A model that answers questions by walking: which relation to take at each step is read off the question."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn

from mmgraph.blueprint import Recorded
from mmgraph.errors import ConfigError
from mmgraph.layers import edge_sets
from mmgraph.layers.base import keep
from mmgraph.model import Model
from mmgraph.questions.answers import ABOUT, READS
from mmgraph.schema import Schema
from mmgraph.typing import EdgeSets

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData

STAY = "stay"
_FLOOR = 1e-12  # of a probability


class Walked(NamedTuple):
    """Where the walk of each question ended, and how it went."""

    ends: Tensor  # [questions, entities]: shares of the walkers
    choices: Tensor  # [hops, questions, relations + 1]: how likely each relation, the last to stay


class _Step(NamedTuple):
    """The moves of one hop: from which pair, by whose choice of which relation, with which share, to which pair."""

    before: Tensor  # [moves]
    choice: Tensor  # [moves]: place in the flattened choices [questions, relations + 1]
    share: Tensor  # [moves]
    after: Tensor  # [moves]: place in pairs
    pairs: Tensor  # [pairs]: question * entities + entity


class Follower(Recorded):
    r"""Follows relations from the entities that a question is about, as the question says.

    .. math::
        a_{qk} = \mathrm{softmax}(W_k h_q), \qquad
        x_{q,k+1} = a_{qk,\mathrm{stay}}\, x_{qk} + \sum_r a_{qkr}\, x_{qk} \bar A_r, \qquad
        p(e \mid q) = x_{qK,e}

    :math:`h_q` is what the reader makes of the question, :math:`x_{q0}` spreads evenly over the entities it is about,
    and :math:`\bar A_r` are the facts of a relation, each row divided by its sum. A walker that finds no fact of the
    relation is lost, and so is one that leaves the entities that the question may read, if it says which. Trained on
    answers alone; the path is what it finds by itself, and can be read (:meth:`paths`).

    Only the entities that a question can reach are ever looked at; which these are is found once a graph.

    Source: Cohen, Sun, Hofer & Siegler 2020, Scalable neural methods for reasoning with a symbolic knowledge base,
    arXiv:2002.06115 (the walk); Zhou, Huang & Zhu 2018, An interpretable reasoning network for multi-relation question
    answering, arXiv:1801.04726 (a relation a hop, read off the question).

    Args:
        reader: A model whose anchor is the question; its answers are the states :math:`h_q`.
        channels: Their width.
        hops: Most relations a path may have.
        of: Node type of the entities.
        back: Whether relations may be followed backwards too.

    Raises:
        ConfigError: No hop, or no relation among the entities, or questions that are about none of them.

    Example:
        >>> from torch_geometric.data import HeteroData
        >>> from mmgraph.encoders import Raw
        >>> from mmgraph.questions import ask
        >>> from mmgraph.schema import NodeSpec
        >>> graph = HeteroData()
        >>> graph["question"].x, graph["entity"].num_nodes = torch.ones(1, 2), 3
        >>> graph["entity", "child", "entity"].edge_index = torch.tensor([[0, 1], [1, 2]])
        >>> asked, schema = ask(
        ...     graph, Schema.infer(graph, anchor="question"), about=[[0]], answers=[[2]], names=["ann", "bob", "cid"]
        ... )
        >>> reader = Model(schema=schema, encoder=Raw(["question"]), head=nn.Identity())
        >>> Follower(reader, 2, hops=2)(asked).shape
        torch.Size([1, 3])
    """

    def __init__(self, reader: Model, channels: int, *, hops: int = 2, of: str = "entity", back: bool = False) -> None:
        super().__init__()
        self.schema: Schema = reader.schema
        self.anchor = reader.anchor
        self.about, self.reads = (self.anchor, ABOUT, of), (self.anchor, READS, of)
        self.of, self.hops = of, hops
        self.relations = tuple(edge for edge in self.schema.edges if edge[0] == edge[2] == of)
        if hops < 1 or not self.relations or self.about not in self.schema.edges:
            raise ConfigError(
                f"Follower needs at least 1 hop, relations among {of!r} and edges {self.about}, got {hops} hops and "
                f"{list(self.schema.edges)}"
            )
        self.names = tuple(edge[1] for edge in self.relations)
        if back:
            self.names += tuple(f"^{name}" for name in self.names)
        self.reader = reader
        self.choose = nn.ModuleList(nn.Linear(channels, len(self.names) + 1) for _ in range(hops))

    def forward(self, graph: HeteroData) -> Tensor:
        """Gives the logarithm of each entity's probability, ``[questions, entities]``."""
        return self.walk(graph).ends.clamp_min(_FLOOR).log()

    def embed(self, graph: HeteroData) -> Tensor:
        """Gives the states of the questions, ``[questions, channels]``."""
        return self.reader(graph)

    def walk(self, graph: HeteroData) -> Walked:
        """Gives where walkers end, and what they chose."""
        edges, states = edge_sets(graph), self.reader(graph)
        entities = int(graph[self.of].num_nodes)
        start, steps = keep(edges, ("walk", self.hops, len(self.names), entities), lambda: self._steps(edges, entities))
        count = torch.bincount(start // entities, minlength=len(states)).to(states.dtype)
        walkers = count[start // entities].reciprocal()  # of each pair of a question and an entity
        choices, pairs = [], start
        for choose, step in zip(self.choose, steps, strict=True):
            choice = choose(states).softmax(dim=1)  # [questions, relations + 1]
            taken = choice.flatten()[step.choice] * step.share.to(states.dtype) * walkers[step.before]
            walkers, pairs = taken.new_zeros(len(step.pairs)).index_add(0, step.after, taken), step.pairs
            choices.append(choice)
        ends = states.new_zeros(len(states) * entities).index_put((pairs,), walkers).view(len(states), entities)
        return Walked(ends, torch.stack(choices))

    def paths(self, graph: HeteroData) -> list[tuple[str, ...]]:
        """The relations that each question most likely asks for, hop by hop; a hop that stays is left out."""
        names = (*self.names, STAY)
        best = self.walk(graph).choices.argmax(dim=2).T.tolist()  # [questions, hops]
        return [tuple(names[choice] for choice in row if names[choice] != STAY) for row in best]

    def _steps(self, edges: EdgeSets, entities: int) -> tuple[Tensor, list[_Step]]:
        """Every step that any walker could take, and the pairs that they set out from; pairs are ``q E + e``."""
        asked, named = edges[self.about].index
        start = pairs = (asked * entities + named).unique()
        source, relation, target, share = self._facts(edges, entities)
        fan = torch.bincount(source, minlength=entities)
        first = fan.cumsum(0) - fan
        allowed = None
        if self.reads in edges:
            asked, read = edges[self.reads].index
            allowed = asked * entities + read
        steps = []
        for _ in range(self.hops):
            counts = fan[pairs % entities]
            before = torch.arange(len(pairs), device=pairs.device).repeat_interleave(counts)
            place = torch.arange(len(before), device=pairs.device)
            fact = place + (first[pairs % entities] - counts.cumsum(0) + counts).repeat_interleave(counts)
            question = pairs[before] // entities
            reached = question * entities + target[fact]
            inside = slice(None) if allowed is None else torch.isin(reached, allowed)
            after, place = reached[inside].unique(return_inverse=True)
            choice = question * (len(self.names) + 1) + relation[fact]
            steps.append(_Step(before[inside], choice[inside], share[fact][inside], place, after))
            pairs = after
        return start, steps

    def _facts(self, edges: EdgeSets, entities: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """All facts by source: source, number of the relation, target, 1 over the facts alike; staying is one too."""
        there = [edges[edge].index for edge in self.relations]
        index = [*there, *(one.flip(0) for one in there)][: len(self.names)]
        index.append(torch.arange(entities, device=edges[self.about].index.device).expand(2, -1))
        number = torch.arange(len(index)).repeat_interleave(torch.tensor([one.shape[1] for one in index]))
        source, target = torch.cat(index, dim=1)
        number = number.to(source.device)
        _, which, counts = (source * len(index) + number).unique(return_inverse=True, return_counts=True)
        order = source.argsort(stable=True)
        return source[order], number[order], target[order], counts[which].double().reciprocal()[order]
