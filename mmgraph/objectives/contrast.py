"""Learning which views are of one anchor: CLIP, SigLIP and their kin."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Literal, TypeAlias

import torch
from torch import Tensor, nn

from mmgraph.errors import ConfigError
from mmgraph.functional.contrastive import edge_nce, masked_nce, pair_mask, sigmoid_nce
from mmgraph.objectives.base import Objective
from mmgraph.objectives.pairs import Embedded, Scale, Ties, anchor_of, embedded, places, space_of
from mmgraph.schema import Schema
from mmgraph.typing import EdgeType, Terms

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData

Pair: TypeAlias = tuple[str, str]
"""Two views."""

BIAS = -10.0  # of the sigmoid loss, at the start (Zhai et al. 2023, section 3.2)


class Contrast(Objective):
    r"""Each view of an anchor must find the other views of it among those of all anchors.

    .. math:: L = \sum_{(a, b)} \frac{w_{ab}}{2} \big(L_{a \to b} + L_{b \to a}\big), \quad
        L_{a \to b} = -\operatorname{mean}_i \log
        \frac{\sum_{j \in P(i)} e^{\cos(a_i, b_j) / \tau}}{\sum_{j \in C(i)} e^{\cos(a_i, b_j) / \tau}}

    | option | system |
    |---|---|
    | as it is | CLIP (Radford et al. 2021, arXiv:2103.00020) |
    | ``loss="sigmoid"`` | SigLIP (Zhai et al. 2023, arXiv:2303.15343) |
    | ``positives=`` a relation | MIL-NCE (Miech et al. 2020, arXiv:1912.06430), neighbours as positives |
    | ``positives=`` a target | supervised (Khosla et al. 2020, arXiv:2004.11362, with ``inside=False``) |
    | ``pairs=[(view, view)]`` and a relation | neighbours alike (Hamilton et al. 2017, arXiv:1706.02216) |
    | ``space={pair: space}`` | fine and coarse spaces, MMV (Alayrac et al. 2020, arXiv:2006.16228) |
    | ``ignore=`` a relation or a target | known false negatives are no candidates |
    | ``hard=`` a relation | neighbours as hard negatives |

    Needs a batch with many anchors, as each is told from the others in it. The model must give its views by
    ``model.project(graph)``, each made without seeing the others, as :class:`mmgraph.Aligner` does. Where the graph
    says which anchors are for training, they alone count. In several processes the anchors of all are compared.

    Args:
        schema: What the graph means; it must have an anchor.
        pairs: Pairs of views to bring together; by default all of two different views of the space.
        space: Where they are compared, one for all or one for each pair; by default the model's last.
        temperature: :math:`\tau` at the start.
        learned: Whether it is trained (and the bias of the sigmoid loss, which starts with -10).
        loss: ``nce``, a softmax over the candidates, or ``sigmoid``, each pair for itself.
        positives: ``anchor``: the other view of the same anchor. Or what ties anchors together, an edge type between
            them or a target: their views are positives too.
        ignore: Edge types or targets by which anchors are tied that must not be negatives of each other.
        hard: Edge type between anchors: negatives that it joins count in full, the others ``easy``.
        easy: How often the negatives count that ``hard`` does not join, from 0 (they are not even compared) to 1.
        inside: Whether several positives are added up within the logarithm, so that some may be wrong.
        weights: Pair → :math:`w`; by default 1.

    Raises:
        ConfigError: An option out of its range; a pair of one view with itself where only anchors are positives; when
            called, a space or a pair that the model does not have.
        DataError: When called, a target whose labels are not in the graph.

    Example:
        >>> from mmgraph.aligner import Aligner
        >>> from mmgraph.encoders import Raw
        >>> from mmgraph.testing import fake_graph
        >>> graph, schema = fake_graph()
        >>> spaces = {"joint": {"scan": nn.Linear(3, 4), "text": nn.Linear(5, 4)}}
        >>> aligner = Aligner(schema=schema, encoder=Raw(["scan", "text"]), spaces=spaces)
        >>> sorted(Contrast(schema)(aligner, graph))
        ['scan_text', 'total']
    """

    labelled = False
    shared = True

    def __init__(
        self,
        schema: Schema,
        *,
        pairs: Sequence[Pair] | None = None,
        space: str | Mapping[Pair, str] | None = None,
        temperature: float = 0.1,
        learned: bool = True,
        loss: Literal["nce", "sigmoid"] = "nce",
        positives: EdgeType | str = "anchor",
        ignore: str | Sequence[EdgeType | str] = (),
        hard: EdgeType | None = None,
        easy: float = 0.0,
        inside: bool = True,
        weights: Mapping[Pair, float] | None = None,
    ) -> None:
        super().__init__()
        self.anchor = anchor_of(schema, "Contrast")
        if loss not in ("nce", "sigmoid") or not 0 <= easy <= 1 or (hard is not None and loss == "sigmoid"):
            raise ConfigError(
                "loss must be 'nce' or 'sigmoid', the latter without hard negatives, and easy from 0 to 1, "
                f"got {loss!r}, hard={hard} and {easy}"
            )
        alone = [pair for pair in pairs or () if pair[0] == pair[1]]
        if positives == "anchor" and alone:
            raise ConfigError(f"A view needs other positives than itself, got {alone[0]}; set positives= to a relation")
        self.pairs = None if pairs is None else tuple((a, b) for a, b in pairs)
        self.space, self.loss, self.easy, self.inside = space, loss, easy, inside
        self.weights = dict(weights or {})
        if min(self.weights.values(), default=0) < 0:
            raise ConfigError(f"weights must be at least 0, got {self.weights}")
        if isinstance(ignore, str):
            ignore = (ignore,)
        self.positives = () if positives == "anchor" else (Ties(schema, positives),)
        self.ignore = tuple(Ties(schema, one) for one in ignore)
        self.hard = None if hard is None else Ties(schema, hard)
        self.scale = Scale(temperature, learned=learned)
        if loss == "sigmoid":
            self.bias = nn.Parameter(torch.tensor(BIAS), requires_grad=learned)

    def forward(self, model: nn.Module, graph: HeteroData) -> Terms:
        """Gives ``total``, and ``<view>_<view>`` for each pair, before its weight."""
        spaces = embedded(model, graph, self.anchor)
        default = space_of(spaces, self.space if isinstance(self.space, str) else None)
        pairs = tuple(combinations(default, 2)) if self.pairs is None else self.pairs
        if not pairs or not self.weights.keys() <= set(pairs):
            raise ConfigError(f"Contrast needs pairs of views, and weights of them, got {pairs} and {self.weights}")
        scale = self.scale()
        terms: Terms = {}
        for a, b in pairs:
            views = space_of(spaces, self.space.get((a, b))) if isinstance(self.space, Mapping) else default
            if not {a, b} <= views.keys():
                raise ConfigError(f"Each pair must be of views of the space, {list(views)}, got {(a, b)}")
            terms[f"{a}_{b}"] = self._loss(graph, views[a], views[b], scale, alike=a == b)
        total = torch.stack([self.weights.get(pair, 1.0) * terms["_".join(pair)] for pair in pairs]).sum()
        return {"total": total, **terms}

    def _loss(self, graph: HeteroData, a: Embedded, b: Embedded, scale: Tensor, *, alike: bool) -> Tensor:
        """The mean of both directions, which are one where a view is compared with itself."""
        edges = _Edges(graph, a.there, b.there, alike=alike)
        x, y = a.states[a.there], b.states[b.there]
        positives = torch.cat([edges.own, edges.tied(*self.positives)], dim=1)
        if self.hard is not None and self.easy == 0:
            ways = self._sparse(x, y, positives, edges, scale)
        else:
            ways = self._dense(x, y, positives, edges, scale)
        return torch.stack(ways).mean()

    def _dense(self, x: Tensor, y: Tensor, positives: Tensor, edges: _Edges, scale: Tensor) -> list[Tensor]:
        """With the scores of all pairs."""
        scores, shape = x @ y.T, (len(x), len(y))  # [queries, keys]
        good = pair_mask(positives, *shape)
        among = ~pair_mask(torch.cat([edges.itself, edges.tied(*self.ignore)], dim=1), *shape)
        weight = None
        if self.hard is not None:
            weight = pair_mask(edges.tied(self.hard), *shape).to(scores.dtype).clamp_min(self.easy)
        sides = [(scores, good, among, weight)]
        if not edges.alike:
            sides.append((scores.T, good.T, among.T, None if weight is None else weight.T))
        if self.loss == "sigmoid":
            return [sigmoid_nce(*some, scale=scale, bias=self.bias) for *some, _ in sides]
        return [masked_nce(some[0] * scale, *some[1:3], inside=self.inside, weight=some[3]) for some in sides]

    def _sparse(self, x: Tensor, y: Tensor, positives: Tensor, edges: _Edges, scale: Tensor) -> list[Tensor]:
        """With the scores of candidates alone."""
        assert self.hard is not None
        good, ignored, hard = (
            (pairs[0] * len(y) + pairs[1]).unique()  # [pairs], a number for each
            for pairs in (positives, edges.tied(*self.ignore), edges.tied(self.hard))
        )
        among = torch.cat([good, hard[~torch.isin(hard, ignored)]]).unique()
        query, key = among // max(len(y), 1), among % max(len(y), 1)
        scores, positive = (x[query] * y[key]).sum(dim=1) * scale, torch.isin(among, good)
        sides = (query,) if edges.alike else (query, key)
        return [edge_nce(scores, one, positive, inside=self.inside) for one in sides]


class _Edges:
    """Edge sets between the anchors of two views, by their places among those that are there."""

    def __init__(self, graph: HeteroData, queries: Tensor, keys: Tensor, *, alike: bool) -> None:
        self.graph, self.queries, self.keys, self.alike = graph, queries, keys, alike
        both = queries & keys
        same = torch.stack([places(queries)[both], places(keys)[both]])
        self.own, self.itself = (same[:, :0], same) if alike else (same, same[:, :0])

    def tied(self, *ties: Ties) -> Tensor:
        """``[2, pairs]``; no node is tied to itself."""
        pairs = torch.cat([self.own[:, :0], *(tie.edges(self.graph, self.queries, self.keys) for tie in ties)], dim=1)
        return pairs[:, pairs[0] != pairs[1]] if self.alike else pairs
