"""Learning what belongs together by margins: DeViSE, ranking, structure-preserving embedding, the grounded space."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Literal, TypeAlias

import torch
from torch import Tensor

from mmgraph.errors import ConfigError, DataError
from mmgraph.functional.distributed import gather_edges, gather_rows
from mmgraph.functional.margin import (
    Affinity,
    affinity,
    bidirectional_ranking,
    hinge_ranking,
    perceptual_correlation,
    structure_ranking,
)
from mmgraph.objectives.base import Objective
from mmgraph.objectives.pairs import anchor_of, check_views, embedded, places, space_of
from mmgraph.schema import Schema
from mmgraph.typing import EdgeType, Terms

if TYPE_CHECKING:
    from torch import nn
    from torch_geometric.data import HeteroData

Alike: TypeAlias = str | EdgeType
"""Who means the same: a target of the anchor (equal classes), or an edge type that ends at it."""


class Margin(Objective):
    r"""Views of one anchor are nearer to each other than to other anchors, by a margin.

    .. math:: L = \sum_{(a, b)} L^{ab}(P, N) + L^{ba}(P, N) + \sum_v \lambda_v L^{vv}(N_v, \bar N_v)

    with the hinge :math:`L(P, N)` of :mod:`mmgraph.functional.margin`, over the anchors of training that both views
    have something of, of all processes. What makes it which system:

    - as it stands: bidirectional ranking; ``negatives="hardest"``: VSE++ (arXiv:1707.05612);
    - ``bidirectional=False``, text projected by ``nn.Identity()``: DeViSE (Frome et al. 2013, NeurIPS 26);
    - ``structure={"image": .1, "text": .2}``: structure-preserving (Wang, Li & Lazebnik 2016, arXiv:1511.06078, whose
      :math:`\lambda_2, \lambda_3` these are), with the neighbours that ``alike`` names.

    The model must give its views by ``model.project(graph)``, as :class:`~mmgraph.aligner.Aligner` does. Prefer it to a
    contrastive objective where few pairs are wrong already, or where one side is fixed; the contrastive ones use large
    batches better.

    Args:
        schema: What the graph means.
        pairs: Two views each, in the order (queries, candidates); by default every two views of the model.
        margin: :math:`m`, of the cosine or the distance.
        negatives: ``all`` other anchors, or the ``hardest`` alone.
        bidirectional: Whether the candidates rank the queries as well.
        alike: Which other anchors mean the same: a target of the anchor, or an edge type that joins anchors, or one
            from another node type, of which they share a node. They are positives too, and no negatives; with a target
            an anchor whose class is not known is neither. By default each anchor is alike to itself alone.
        structure: View → :math:`\lambda`, above 0, for the terms within a view.
        neighbours: Which anchors are neighbours within a view, like ``alike``, which it is by default.
        metric: ``cosine`` or ``euclidean``.
        space: In which space; by default the last.

    Raises:
        ConfigError: An option out of range, a structure without neighbours, a target or edge type that is not there
            or not at the anchor; when called, a model without such views.

    Example:
        >>> from mmgraph.aligner import Aligner
        >>> from mmgraph.encoders import Raw
        >>> from mmgraph.testing import fake_graph
        >>> graph, schema = fake_graph()
        >>> spaces = {"joint": {"scan": torch.nn.Linear(3, 4), "text": torch.nn.Linear(5, 4)}}
        >>> model = Aligner(schema=schema, encoder=Raw(["scan", "text"]), spaces=spaces)
        >>> sorted(Margin(schema, alike="diagnosis", structure={"text": 0.1})(model, graph))
        ['ranking_scan_text', 'structure_text', 'total']
    """

    labelled = False
    shared = True

    def __init__(
        self,
        schema: Schema,
        pairs: Sequence[tuple[str, str]] | None = None,
        *,
        margin: float = 0.2,
        negatives: Literal["all", "hardest"] = "all",
        bidirectional: bool = True,
        alike: Alike | None = None,
        structure: Mapping[str, float] | None = None,
        neighbours: Alike | None = None,
        metric: Affinity = "cosine",
        space: str | None = None,
    ) -> None:
        super().__init__()
        self.structure, self.neighbours = dict(structure or {}), alike if neighbours is None else neighbours
        for by in (alike, neighbours):
            _check_alike(schema, by)
        if negatives not in ("all", "hardest"):
            raise ConfigError(f"negatives must be 'all' or 'hardest', got {negatives!r}")
        if metric not in ("cosine", "euclidean"):
            raise ConfigError(f"metric must be 'cosine' or 'euclidean', got {metric!r}")
        if min(margin, *self.structure.values()) <= 0 if self.structure else margin <= 0:
            raise ConfigError(f"margin and the weights of structure must be above 0, got {margin}, {self.structure}")
        if self.structure and self.neighbours is None:
            raise ConfigError(
                "structure needs neighbours: name a target or an edge type as alike or neighbours, got none"
            )
        if pairs is not None and (not pairs or any(len(set(pair)) != 2 for pair in pairs)):
            raise ConfigError(f"pairs must be at least 1, each of two different views, got {list(pairs)}")
        self.anchor = anchor_of(schema, "Margin")
        self.schema, self.space, self.alike, self.bidirectional = schema, space, alike, bidirectional
        self.pairs = None if pairs is None else [(one, other) for one, other in pairs]
        self.margin, self.hardest, self.metric = margin, negatives == "hardest", metric

    def forward(self, model: nn.Module, graph: HeteroData) -> Terms:
        """Gives ``total``, ``ranking_<a>_<b>`` of each pair of views, and ``structure_<view>`` of each that has one."""
        views = space_of(embedded(model, graph, self.anchor), self.space)
        pairs = list(combinations(views, 2)) if self.pairs is None else self.pairs
        if not pairs:
            raise ConfigError(f"Margin needs a model with at least 2 views, got {list(views)}")
        check_views(views, [*self.structure, *(name for pair in pairs for name in pair)])
        rank = bidirectional_ranking if self.bidirectional else hinge_ranking
        terms: Terms = {}
        for one, other in pairs:
            both = views[one].there & views[other].there
            same, different = _masks(graph, self.schema, self.alike, both)
            scores = affinity(views[one].states[both], views[other].states[both], metric=self.metric)
            loss = rank(scores, same, different, margin=self.margin, hardest=self.hardest)
            terms[f"ranking_{one}_{other}"] = loss
        total = torch.stack(list(terms.values())).sum()
        for name, weight in self.structure.items():
            states, there = views[name]
            same, different = _masks(graph, self.schema, self.neighbours, there)
            same.fill_diagonal_(False)
            terms[f"structure_{name}"] = structure_ranking(
                states[there], same, different, margin=self.margin, hardest=self.hardest, metric=self.metric
            )
            total = total + weight * terms[f"structure_{name}"]
        return {"total": total, **terms}


class Grounded(Objective):
    r"""Texts in a grounded space: alike where their pictures are, without a map between texts and pictures.

    .. math:: L = \alpha_C L(P, N) - \alpha_P\, \rho(\cos(s_i, s_j), \cos(v_i, v_j))

    Texts :math:`s` that share a picture are nearer to each other than to others, by a margin of the cosine (*cluster
    information*), and two texts are as similar as their pictures :math:`v` are (*perceptual information*, a
    correlation over all pairs of anchors of training that have both). The pictures are what is given: no gradient flows
    into them, so project them by ``nn.Identity()``. The spaces may differ in width; that a picture is found by a text
    is not asked for. Prefer it where many texts fit one picture, and none of them one to one.

    Source: Bordes et al. 2019, Incorporating visual semantics into sentence representations within a grounded space,
    arXiv:2002.02734. Their loss on the text itself is another objective: join them by
    :class:`~mmgraph.objectives.Weighted`.

    Args:
        schema: What the graph means.
        text: View of the texts.
        vision: View of the pictures.
        alike: Which anchors share a picture, as for :class:`Margin`: an edge type from the pictures to the anchor, or a
            target. Needed if ``cluster`` is above 0.
        margin: :math:`\gamma` of the cluster information.
        cluster: :math:`\alpha_C`.
        perceptual: :math:`\alpha_P`.
        space: In which space; by default the last.

    Raises:
        ConfigError: As for :class:`Margin`; weights below 0 or both 0.

    Example:
        >>> from mmgraph.aligner import Aligner
        >>> from mmgraph.encoders import Raw
        >>> from mmgraph.testing import fake_graph
        >>> graph, schema = fake_graph()
        >>> spaces = {"grounded": {"scan": torch.nn.Identity(), "text": torch.nn.Linear(5, 4)}}
        >>> model = Aligner(schema=schema, encoder=Raw(["scan", "text"]), spaces=spaces)
        >>> sorted(Grounded(schema, "text", "scan", alike="diagnosis")(model, graph))
        ['cluster', 'correlation', 'total']
    """

    labelled = False
    shared = True

    def __init__(
        self,
        schema: Schema,
        text: str,
        vision: str,
        *,
        alike: Alike | None = None,
        margin: float = 0.5,
        cluster: float = 1.0,
        perceptual: float = 1.0,
        space: str | None = None,
    ) -> None:
        super().__init__()
        _check_alike(schema, alike)
        if margin <= 0 or min(cluster, perceptual) < 0 or max(cluster, perceptual) == 0:
            raise ConfigError(
                f"margin must be above 0, cluster and perceptual at least 0 and not both 0, got {margin}, {cluster}, "
                f"{perceptual}"
            )
        if cluster > 0 and alike is None:
            raise ConfigError("cluster needs alike, which anchors share a picture, got None; name it, or set cluster=0")
        self.anchor = anchor_of(schema, "Grounded")
        self.schema, self.text, self.vision, self.alike, self.space = schema, text, vision, alike, space
        self.margin, self.cluster, self.perceptual = margin, cluster, perceptual

    def forward(self, model: nn.Module, graph: HeteroData) -> Terms:
        """Gives ``total``, the hinge ``cluster`` if it has a weight, and the ``correlation`` if it has one."""
        views = space_of(embedded(model, graph, self.anchor), self.space)
        check_views(views, [self.text, self.vision])
        text, vision = views[self.text], views[self.vision]
        terms: Terms = {}
        total = text.states.sum() * 0
        if self.cluster > 0:
            same, different = _masks(graph, self.schema, self.alike, text.there)
            same.fill_diagonal_(False)
            terms["cluster"] = structure_ranking(text.states[text.there], same, different, margin=self.margin)
            total = total + self.cluster * terms["cluster"]
        if self.perceptual > 0:
            both = text.there & vision.there
            terms["correlation"] = perceptual_correlation(text.states[both], vision.states[both].detach())
            total = total - self.perceptual * terms["correlation"]
        return {"total": total, **terms}


def _check_alike(schema: Schema, by: Alike | None) -> None:
    if isinstance(by, str):
        target = schema.targets.get(by)
        if target is None or target.node != schema.anchor or not target.classes:
            fit = [name for name, one in schema.targets.items() if one.node == schema.anchor and one.classes]
            raise ConfigError(
                f"alike must be a target of {schema.anchor!r} with classes, {fit}, or an edge type, got {by!r}"
            )
    elif by is not None and (by not in schema.edges or by[2] != schema.anchor):
        known = [edge for edge in schema.edges if edge[2] == schema.anchor]
        raise ConfigError(f"alike must be an edge type to {schema.anchor!r}, one of {known}, or a target, got {by!r}")


def _masks(graph: HeteroData, schema: Schema, by: Alike | None, there: Tensor) -> tuple[Tensor, Tensor]:
    """Which of the anchors that are there mean the same, each itself among them, and which don't, ``[rows, rows]``."""
    rows = int(there.sum())
    itself = torch.eye(rows, dtype=torch.bool, device=there.device)
    if isinstance(by, str):
        target = schema.target(by)
        y = graph[target.node].get(target.attribute)
        if y is None:
            raise DataError(
                f"Margins by {by!r} need its labels, {target.attribute!r} of {target.node!r}, got none in view"
            )
        y = gather_rows(y)[there]
        known, equal = (y >= 0)[:, None] & (y >= 0), y[:, None] == y
        return (known & equal) | itself, known & ~equal
    same = itself if by is None else itself | _joined(graph, by, there)
    return same, ~same


def _joined(graph: HeteroData, edge: EdgeType, there: Tensor) -> Tensor:
    """Which of the anchors that are there an edge joins, either way, or which share a node at its other end."""
    source, target = (
        gather_edges(
            end.expand(2, -1),
            graph[node].num_nodes,
            names=graph[node].get("n_id"),
            counts=graph[node].get("train_mask"),
        )[0]
        for end, node in zip(graph[edge].edge_index, (edge[0], edge[2]), strict=True)
    )
    place, rows = places(there), int(there.sum())
    if edge[0] == edge[2]:
        joined = torch.zeros(rows, rows, dtype=torch.bool, device=there.device)
        inside = (place[source] >= 0) & (place[target] >= 0)
        joined[place[source[inside]], place[target[inside]]] = True
        return joined | joined.T
    inside = place[target] >= 0
    nodes, column = source[inside].unique(return_inverse=True)
    holds = torch.zeros(rows, len(nodes), device=there.device)
    holds[place[target[inside]], column] = 1
    return holds @ holds.T > 0
