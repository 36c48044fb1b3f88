"""Learning from random walks: DeepWalk, node2vec, metapath2vec, and the unsupervised loss of GraphSAGE."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Generator, Tensor, nn

from mmgraph.data.walks import Walker
from mmgraph.errors import ConfigError
from mmgraph.functional.skip_gram import skip_gram
from mmgraph.objectives.base import Objective
from mmgraph.objectives.pairs import anchor_of
from mmgraph.schema import Schema
from mmgraph.typing import EdgeType, NodeType, Terms

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData

POWER = 0.75
"""Of the degree by which negatives are drawn (Mikolov et al. 2013, section 2.2)."""


class SkipGram(Objective):
    r"""Nodes that walks pass close to each other are alike; others, drawn by degree :math:`^{3/4}`, are not.

    The loss is :func:`mmgraph.functional.skip_gram.skip_gram`, of walks that are drawn anew in each training step. Its
    score is the dot product of two vectors, so that dot products tell who is joined.

    | options | system |
    |---|---|
    | as it is, with a vector a node (:class:`~mmgraph.encoders.Nodes`) | DeepWalk (Perozzi et al. 2014) |
    | ``p``, ``q`` | node2vec (Grover & Leskovec 2016, arXiv:1607.00653) |
    | ``in_turn=True`` | metapath2vec++ (Dong et al. 2017): negatives are of the type of the positive |
    | an encoder that reads payloads, and layers | GraphSAGE, unsupervised (Hamilton et al. 2017, arXiv:1706.02216) |
    | ``length=1`` | edges alone: similar is what is joined |
    | chains of tokens in place of a graph, p → ∞ | word2vec (Mikolov et al. 2013, arXiv:1310.4546) |

    The model must give vectors by ``model.embed(graph)``, of the anchors ``[anchors, channels]`` as
    :class:`~mmgraph.model.Model` does, or of several types ``{type: [rows, channels]}``; places of other types are
    walked through, and passed over in the loss. Chance is torch's own, as that of dropout, so that a resumed fit goes
    on with the walks that it would have drawn; in evaluation mode it starts from the same seed each time. Prefer
    :class:`Contrast` with a relation as ``positives`` where a softmax over all anchors is affordable.

    Args:
        schema: What the graph means; it must have an anchor.
        relations: Edge types to walk along; by default all between anchors. See :class:`~mmgraph.data.Walker`.
        in_turn: Walk along them one after the other.
        length: Steps of a walk.
        window: How many steps apart two nodes of a walk may be.
        negatives: How many a place has, for each type of its context.
        p: Return parameter.
        q: In-out parameter.
        weighted: Draw edges by their weight.
        walks: How many a training step takes, from nodes drawn without repetition; by default one from each node.

    Raises:
        ConfigError: An option out of its range, no relation, or no vectors for any type (when called).

    Example:
        >>> from mmgraph.encoders import Nodes
        >>> from mmgraph.model import Model
        >>> from mmgraph.testing import fake_graph
        >>> graph, schema = fake_graph()
        >>> model = Model(schema=schema, encoder=Nodes({"subject": 40}, 8), head=nn.Identity())
        >>> sorted(SkipGram(schema, length=5, window=2)(model, graph))
        ['negative', 'positive', 'total']
    """

    labelled = False

    def __init__(
        self,
        schema: Schema,
        relations: Sequence[EdgeType] | None = None,
        *,
        in_turn: bool = False,
        length: int = 20,
        window: int = 5,
        negatives: int = 1,
        p: float = 1.0,
        q: float = 1.0,
        weighted: bool = False,
        walks: int | None = None,
    ) -> None:
        super().__init__()
        self.anchor = anchor_of(schema, "SkipGram")
        self.relations = schema.relations(self.anchor) if relations is None else tuple(relations)
        if odd := [relation for relation in self.relations if relation not in schema.edges]:
            raise ConfigError(f"relations must be edge types of the schema, {list(schema.edges)}, got {odd[0]}")
        if not self.relations:
            raise ConfigError(f"SkipGram needs a relation to walk along, got none between nodes of {self.anchor!r}")
        if min(length, window, negatives) < 1 or (walks is not None and walks < 1):
            raise ConfigError(
                f"length, window, negatives and walks must be at least 1, got {length}, {window}, {negatives} and "
                f"{walks}"
            )
        self.in_turn, self.p, self.q, self.weighted = in_turn, p, q, weighted
        self.length, self.window, self.negatives, self.walks = length, window, negatives, walks
        self._sorted: tuple[list[Tensor], Walker] | None = None  # of the edges seen last

    def forward(self, model: nn.Module, graph: HeteroData) -> Terms:
        """Gives ``total`` and its halves, ``positive`` and ``negative``, each a mean over the pairs."""
        states = self._states(model, graph)
        generator = torch.default_generator if self.training else Generator().manual_seed(0)
        walker = self._walker(graph)
        walks = self._walk(walker, graph, generator)  # [walks, places]
        types = [walker.type_at(place) for place in range(walks.shape[1])]
        seen = [node for node in dict.fromkeys(types) if node in states]
        if not seen:
            raise ConfigError(f"The model must give vectors of a type that walks pass, {types}, got {list(states)}")
        table = torch.cat([states[node] for node in seen])  # [nodes of all types, channels]
        first = {node: sum(len(states[other]) for other in seen[:number]) for number, node in enumerate(seen)}
        passed = torch.tensor([node in first for node in types])
        shift = torch.tensor([first.get(node, 0) for node in types])
        shape = (*walks.shape, self.negatives)
        loss = skip_gram(
            table,
            torch.where(passed & (walks >= 0), walks + shift, -1).to(table.device),
            torch.stack([self._drawn(graph, node, first[node], shape, generator) for node in seen], 2).to(table.device),
            window=self.window,
            kinds=torch.tensor([seen.index(node) if node in first else 0 for node in types], device=table.device),
        )
        return {"total": loss.positive + loss.negative, "positive": loss.positive, "negative": loss.negative}

    def _states(self, model: nn.Module, graph: HeteroData) -> dict[NodeType, Tensor]:
        if not hasattr(model, "embed"):
            raise ConfigError(
                f"The model must give vectors by embed(graph), as Model does, got {type(model).__name__} without it"
            )
        states = model.embed(graph)
        return dict(states) if isinstance(states, Mapping) else {self.anchor: states}

    def _walker(self, graph: HeteroData) -> Walker:
        """The walker of a graph, whose edges are sorted anew only if they are others than the last time."""
        stores = [graph[relation] for relation in self.relations]
        edges = [store[key] for store in stores for key in ("edge_index", "edge_weight") if key in store]
        if self._sorted is None or not _same(self._sorted[0], edges):
            walker = Walker(graph, self.relations, in_turn=self.in_turn, p=self.p, q=self.q, weighted=self.weighted)
            self._sorted = (edges, walker)
        return self._sorted[1]

    def _walk(self, walker: Walker, graph: HeteroData, generator: Generator) -> Tensor:
        seed = int(torch.randint(1 << 62, (1,), generator=generator))
        rows = graph[walker.type_at(0)].num_nodes
        starts = torch.arange(rows)
        if self.walks is not None and self.walks < rows:
            starts = torch.randperm(rows, generator=generator)[: self.walks]
        return walker(starts, self.length, seed=seed)

    def _drawn(self, graph: HeteroData, node: NodeType, first: int, shape: Sequence[int], by: Generator) -> Tensor:
        """Negatives of a type, by their degree; their number is ``first`` more than their row."""
        degree = torch.zeros(graph[node].num_nodes, dtype=torch.float64)
        for relation in self.relations:
            for end, rows in zip((relation[0], relation[2]), graph[relation].edge_index.cpu(), strict=True):
                if end == node:
                    degree += torch.bincount(rows, minlength=len(degree))
        mass = degree.pow(POWER).cumsum(0)
        if not len(mass) or mass[-1] == 0:
            return torch.zeros(shape, dtype=torch.int64)  # no walk passes the type: nothing is compared with them
        wanted = torch.rand(shape, generator=by, dtype=torch.float64) * mass[-1]
        return torch.searchsorted(mass, wanted, right=True).clamp_max(len(mass) - 1) + first


def _same(kept: Sequence[Tensor], edges: Sequence[Tensor]) -> bool:
    return len(kept) == len(edges) and all(one is other for one, other in zip(kept, edges, strict=True))
