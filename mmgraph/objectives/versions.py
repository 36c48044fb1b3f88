"""Learning from changed versions of a graph: SimCLR, transformations to be told or not, and co-training."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import product
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

import torch
from torch import Generator, Tensor, nn

from mmgraph.errors import ConfigError
from mmgraph.functional.contrastive import masked_nce, mined_pairs, pair_mask, transformed_pairs
from mmgraph.objectives.base import Objective
from mmgraph.objectives.pairs import Embedded, Scale, Ties, anchor_of, embedded, space_of
from mmgraph.schema import Schema
from mmgraph.typing import EdgeType, Terms

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData

    Change: TypeAlias = Callable[[HeteroData, Generator], HeteroData]

Kind: TypeAlias = Literal["invariant", "distinctive"]


class TwoViews(Objective):
    r"""Two versions of each view of an anchor must find each other among the versions of all anchors.

    .. math:: L = \sum_v L_v, \quad L_v = -\operatorname{mean}_i \log
        \frac{\sum_{j \in P(i)} e^{\cos(z_i, z_j) / \tau}}{\sum_{j \ne i} e^{\cos(z_i, z_j) / \tau}}

    over the 2N versions of N anchors, where P(i) is the other version of the same anchor: SimCLR (Chen, Kornblith,
    Norouzi & Hinton 2020, arXiv:2002.05709), on graphs GraphCL (You et al. 2020, arXiv:2010.13902), and with dropout
    as the only change SimCSE (Gao, Yao & Chen 2021, arXiv:2104.08821). With a target as ``positives`` it is supervised
    contrastive learning (Khosla et al. 2020, arXiv:2004.11362; there ``inside=False``).

    What is changed is what the embedding will not know: changes must keep the meaning. Chance is torch's own, as that
    of dropout; in evaluation mode it starts from the same seed each time. See :class:`Contrast` for what is asked of
    the model, and which anchors count.

    Args:
        schema: What the graph means; it must have an anchor.
        augment: ``(graph, generator) -> graph``, changes a graph at random; ``None`` leaves it to the encoder.
        space: Where versions are compared; by default the model's last.
        temperature: :math:`\tau`, at the start.
        learned: Whether it is trained.
        positives: ``anchor``, or what ties anchors together, an edge type between them or a target: their versions are
            positives too.
        inside: Whether several positives are added up within the logarithm, so that some may be wrong.

    Raises:
        ConfigError: An option out of its range.
        DataError: When called, a target whose labels are not in the graph.

    Example:
        >>> from mmgraph.data import FeatureNoise
        >>> from mmgraph.aligner import Aligner
        >>> from mmgraph.encoders import Raw
        >>> from mmgraph.testing import fake_graph
        >>> graph, schema = fake_graph()
        >>> spaces = {"own": {"scan": nn.Linear(3, 4)}}
        >>> aligner = Aligner(schema=schema, encoder=Raw(["scan"]), spaces=spaces)
        >>> sorted(TwoViews(schema, FeatureNoise({"scan": 0.2}))(aligner, graph))
        ['scan', 'total']
    """

    labelled = False
    shared = True

    def __init__(
        self,
        schema: Schema,
        augment: Change | None = None,
        *,
        space: str | None = None,
        temperature: float = 0.1,
        learned: bool = False,
        positives: EdgeType | str = "anchor",
        inside: bool = True,
    ) -> None:
        super().__init__()
        self.anchor = anchor_of(schema, "TwoViews")
        self.augment, self.space, self.inside = augment, space, inside
        self.positives = None if positives == "anchor" else Ties(schema, positives)
        self.scale = Scale(temperature, learned=learned)

    def forward(self, model: nn.Module, graph: HeteroData) -> Terms:
        """Gives ``total``, and one term for each view."""
        first, second = _versions(self, model, graph, [self.augment, self.augment])
        terms = {}
        for view in first:
            there = first[view].there & second[view].there
            more = None if self.positives is None else self.positives.edges(graph, there, there)
            terms[view] = _two(first[view], second[view], there, more, self.scale(), inside=self.inside)
        return {"total": torch.stack(list(terms.values())).sum(), **terms}


class CoCLR(Objective):
    r"""Two versions of each view, where an anchor's neighbours in the *other* views are positives too.

    The loss is that of :class:`TwoViews`, with :math:`P(i)` the versions of the anchor and of its k nearest in the
    batch, by the mean cosine of the other views as they are embedded now. What looks different and sounds alike is
    drawn together, so that the next neighbours, found in this view for the others, are better ones.

    Source: Han, Xie & Zisserman 2020, Self-supervised co-training for video representation learning, arXiv:2010.09709,
    with the batch in place of a queue. First each view learns from its own versions alone (``warm_up``), then by turns
    from neighbours in the others.

    Args:
        schema: What the graph means; it must have an anchor.
        augment: As of :class:`TwoViews`.
        k: How many neighbours; 0 is :class:`TwoViews`.
        warm_up: Training steps in which all views learn, without neighbours.
        every: Training steps for which one view learns, before it is the next one's turn; ``None`` lets all learn in
            each step.
        judge: Name of a target by which neighbours are judged: ``precision_<view>`` is the share of those found for a
            view that are of the anchor's class. Nothing is learned from it.
        space: Where versions and neighbours are compared; by default the model's last.
        temperature: :math:`\tau`, at the start.
        learned: Whether it is trained.

    Raises:
        ConfigError: An option out of its range; when called, a model with less than two views.

    Example:
        >>> from mmgraph.aligner import Aligner
        >>> from mmgraph.encoders import Raw
        >>> from mmgraph.testing import fake_graph
        >>> graph, schema = fake_graph()
        >>> spaces = {"joint": {"scan": nn.Linear(3, 4), "text": nn.Linear(5, 4)}}
        >>> aligner = Aligner(schema=schema, encoder=Raw(["scan", "text"]), spaces=spaces)
        >>> sorted(CoCLR(schema, k=2)(aligner, graph))
        ['scan', 'text', 'total']
    """

    labelled = False
    shared = True

    def __init__(
        self,
        schema: Schema,
        augment: Change | None = None,
        *,
        k: int = 5,
        warm_up: int = 0,
        every: int | None = None,
        judge: str | None = None,
        space: str | None = None,
        temperature: float = 0.1,
        learned: bool = False,
    ) -> None:
        super().__init__()
        if k < 0 or warm_up < 0 or (every is not None and every < 1):
            raise ConfigError(f"k and warm_up must be at least 0 and every at least 1, got {k}, {warm_up} and {every}")
        self.anchor = anchor_of(schema, "CoCLR")
        self.augment, self.space = augment, space
        self.k, self.warm_up, self.every = k, warm_up, every
        self.judge = None if judge is None else Ties(schema, judge)
        self.scale = Scale(temperature, learned=learned)
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def forward(self, model: nn.Module, graph: HeteroData) -> Terms:
        """Gives ``total``, and one term for each view (if it is not its turn, no part of the total)."""
        first, second = _versions(self, model, graph, [self.augment, self.augment])
        if len(first) < 2:
            raise ConfigError(f"CoCLR needs two views, got {list(first)}; take TwoViews for one")
        step = int(self.steps)
        learning = list(first)
        if self.training:
            self.steps += 1
            if self.every is not None and step >= self.warm_up:
                learning = [learning[(step - self.warm_up) // self.every % len(learning)]]
        k = 0 if self.training and step < self.warm_up else self.k
        terms = {}
        for view in first:
            there = first[view].there & second[view].there
            sides = [
                version[other].states.masked_fill(~version[other].there[:, None], 0)[there]
                for version in (first, second)
                for other in first
                if other != view
            ]
            more = mined_pairs(torch.cat(sides, dim=1), k)
            terms[view] = _two(first[view], second[view], there, more, self.scale(), inside=True)
            if self.judge is not None:
                terms[f"precision_{view}"] = _share(more, self.judge.edges(graph, there, there), int(there.sum()))
        return {"total": torch.stack([terms[view] for view in learning]).sum(), **terms}


class GDT(Objective):
    r"""All versions of all views, told apart by some transformations and not by others.

    Each of T transformations is applied to the graph or not, which gives :math:`2^T` versions of each view. Two
    versions belong together if they are of one anchor and agree in the *distinctive* transformations; in the
    *invariant* ones they may differ. With one view, each version is compared with all others; with several, with those
    of other views. Without transformations, two views make it CLIP (:class:`Contrast`).

    .. math:: L = -\operatorname{mean}_T \operatorname{mean}_{T' \in P(T)}
        \log \frac{e^{\cos(z_T, z_{T'}) / \tau}}{\sum_{T'' \in C(T)} e^{\cos(z_T, z_{T''}) / \tau}}

    Source: Patrick, Asano, Kuznetsova, Fong, Henriques, Zweig & Vedaldi 2021, Multi-modal self-supervision from
    generalized data transformations, arXiv:2003.04298, eq. 2; see
    :func:`~mmgraph.functional.contrastive.transformed_pairs`.

    The order of a recording, for instance, is lost on an embedding that learns to be invariant to its reversal, and
    kept by one to which reversal is distinctive. A single view needs at least one invariant transformation: without,
    no two versions belong together. Chance, the model and the anchors that count are as of :class:`TwoViews`.

    Args:
        schema: What the graph means; it must have an anchor.
        transforms: Name → the transformation, ``(graph, generator) -> graph``, and ``"invariant"`` or
            ``"distinctive"``. They are applied in this order.
        augment: ``(graph, generator) -> graph``, changes each version at random besides; the embedding learns to be
            invariant to it.
        space: Where versions are compared; by default the model's last.
        temperature: :math:`\tau`, at the start.
        learned: Whether it is trained.

    Raises:
        ConfigError: An option out of its range.

    Example:
        >>> from mmgraph.aligner import Aligner
        >>> from mmgraph.encoders import Raw
        >>> from mmgraph.testing import fake_graph
        >>> graph, schema = fake_graph()
        >>> spaces = {"own": {"scan": nn.Linear(3, 4)}}
        >>> aligner = Aligner(schema=schema, encoder=Raw(["scan"]), spaces=spaces)
        >>> def shifted(graph, generator):
        ...     graph = graph.clone()
        ...     graph["scan"].x += torch.randn(3, generator=generator)
        ...     return graph
        >>> sorted(GDT(schema, {"shift": (shifted, "invariant")})(aligner, graph))
        ['scan', 'total']
    """

    labelled = False
    shared = True

    def __init__(
        self,
        schema: Schema,
        transforms: Mapping[str, tuple[Change, Kind]],
        *,
        augment: Change | None = None,
        space: str | None = None,
        temperature: float = 0.1,
        learned: bool = False,
    ) -> None:
        super().__init__()
        if odd := {name: kind for name, (_, kind) in transforms.items() if kind not in get_args(Kind)}:
            raise ConfigError(f"Each transformation must be one of {list(get_args(Kind))}, got {odd}")
        self.anchor = anchor_of(schema, "GDT")
        self.transforms, self.augment, self.space = dict(transforms), augment, space
        self.scale = Scale(temperature, learned=learned)

    def forward(self, model: nn.Module, graph: HeteroData) -> Terms:
        """Gives ``total``, the mean over the views, and one term for each view as the one that asks."""
        chosen = list(product((False, True), repeat=len(self.transforms)))
        versions = _versions(self, model, graph, [self._change(applied) for applied in chosen])
        states, sample, view, told = [], [], [], []
        for applied, version in zip(chosen, versions, strict=True):
            for number, (vectors, there) in enumerate(version.values()):
                states.append(vectors[there])
                sample.append(there.nonzero().flatten())
                view.append(torch.full_like(sample[-1], number))
                told.append(torch.tensor(applied, device=vectors.device).expand(len(sample[-1]), -1))
        z, number, applied_to = torch.cat(states), torch.cat(view), torch.cat(told)  # [rows, channels], [rows], ...
        kinds = [kind for _, kind in self.transforms.values()]
        distinctive = [applied_to[:, place] for place, kind in enumerate(kinds) if kind == "distinctive"]
        views = list(versions[0])
        positives, among = transformed_pairs(torch.cat(sample), distinctive, number if len(views) > 1 else None)
        scores = z @ z.T * self.scale()
        terms = {
            name: masked_nce(scores, positives & (number == place)[:, None], among, inside=False)
            for place, name in enumerate(views)
        }
        return {"total": torch.stack(list(terms.values())).mean(), **terms}

    def _change(self, applied: tuple[bool, ...]) -> Change:
        steps = [change for (change, _), on in zip(self.transforms.values(), applied, strict=True) if on]
        steps += [] if self.augment is None else [self.augment]

        def change(graph: HeteroData, generator: Generator) -> HeteroData:
            for step in steps:
                graph = step(graph, generator)
            return graph

        return change


def _versions(
    objective: TwoViews | CoCLR | GDT, model: nn.Module, graph: HeteroData, changes: list[Change | None]
) -> list[dict[str, Embedded]]:
    """The views of each changed version of a graph."""
    generator = torch.default_generator if objective.training else Generator().manual_seed(0)
    found = []
    for change in changes:
        changed = graph if change is None else change(graph, generator)
        found.append(space_of(embedded(model, changed, objective.anchor), objective.space))
    return found


def _two(
    first: Embedded, second: Embedded, there: Tensor, more: Tensor | None, scale: Tensor, *, inside: bool
) -> Tensor:
    """The loss of two versions of some anchors, where edges say which anchors are positives besides themselves."""
    count = int(there.sum())
    tied = torch.eye(count, dtype=torch.bool, device=there.device)
    if more is not None:
        tied = tied | pair_mask(more, count, count)
    z = torch.cat([first.states[there], second.states[there]])  # [2 anchors, channels]
    among = ~torch.eye(len(z), dtype=torch.bool, device=z.device)
    return masked_nce(z @ z.T * scale, tied.repeat(2, 2) & among, among, inside=inside)


def _share(pairs: Tensor, tied: Tensor, count: int) -> Tensor:
    """Which share of the pairs of two different anchors is tied, a scalar."""
    query, key = pairs[:, pairs[0] != pairs[1]]
    right = pair_mask(tied, count, count)[query, key]
    return right.float().sum() / max(len(right), 1)
