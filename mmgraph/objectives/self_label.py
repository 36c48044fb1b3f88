"""Learning labels that nobody gave: clusters of given sizes, and a model that says them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmgraph.errors import ConfigError, DataError
from mmgraph.functional.assignment import marginal, sinkhorn
from mmgraph.functional.distributed import gather_rows
from mmgraph.objectives.base import Objective
from mmgraph.objectives.correlate import counted
from mmgraph.objectives.pairs import anchor_of, check_views
from mmgraph.schema import Schema
from mmgraph.typing import Seen, Terms

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData


class SelfLabel(Objective):
    r"""Self-labelling: the model learns labels that its own answers were given, under clusters of given sizes.

    .. math:: L = -\frac{1}{|V| H} \sum_{v \in V} \sum_h \frac{1}{|I_v|} \sum_{i \in I_v} \log P_{vh}(q_{ih} | i),
        \quad q_{ih} = \arg\max_k Q_{ik}, \quad
        Q = \arg\max_{Q \in U(r, c)} \Big\langle Q, \tfrac{1}{|V_i|} \sum_{v \in V_i} \log P_{vh} \Big\rangle
        + \tfrac{1}{\lambda} H(Q)

    over anchors of training :math:`i` with the views :math:`V_i`. Every so many steps all anchors are labelled anew by
    :func:`~mmgraph.functional.sinkhorn`: without the sizes :math:`c`, the best labels were one and the same for all.
    With one view it is SeLa (Asano, Rupprecht & Vedaldi 2020, Self-labelling via simultaneous clustering and
    representation learning, arXiv:1911.05371); with several that share their labels, SeLaVi (Asano, Patrick, Rupprecht
    & Vedaldi 2020, Labelling unlabelled videos from scratch with multi-modal self-supervision, arXiv:2006.13662).

    The model gives the logits of the clusters by ``model.project(graph)``: an :class:`~mmgraph.aligner.Aligner` whose
    space is ``clusters * heads`` wide. :class:`~mmgraph.tasks.Clustering` judges those of the first head.

    Sizes are known up to their order: the greatest goes to the cluster that the model now says most (as the authors'
    code does). Several heads label independently; with ``decorrelate`` :math:`\delta`, each is scored by what its
    answers say *beyond* the labels of the heads before it (the paper wants heads to differ; this form is ours):

    .. math:: \log P_h(k | i) - \delta \sum_{g < h} \log \frac{\bar P_h(k | q_{ig})}{\bar P_h(k)}

    Pairs of views that were matched *by class* tell the class to shared labels: for a claim take truly paired data.

    What is remembered of each anchor (its last answers, its labels) stands in buffers, and so in a checkpoint. Between
    two labellings, anchors that come for the first time in a batch are labelled at once, together with all others.

    Args:
        schema: What the graph means; it must have an anchor.
        anchors: How many anchors the whole graph has, at least.
        clusters: How many clusters.
        views: Which views of the model.
        heads: How many labels each anchor gets.
        marginals: Sizes of clusters: ``uniform``, ``zipf`` or ``gaussian``, see :func:`mmgraph.functional.marginal`.
        shared: Whether an anchor's views share its labels, or each view has its own (single-modality controls).
        every: Steps from one labelling to the next.
        decorrelate: :math:`\delta`; 0 to 1.
        sharpness: :math:`\lambda`.
        rounds: Of Sinkhorn's algorithm.
        space: In which space the logits are; by default the last.

    Raises:
        ConfigError: No anchor, or an option out of range; when called, a model without such views, or of another width.
        DataError: The graph has more anchors than ``anchors`` tells.

    Example:
        >>> from mmgraph.aligner import Aligner
        >>> from mmgraph.encoders import Raw
        >>> from mmgraph.testing import fake_graph
        >>> graph, schema = fake_graph()
        >>> spaces = {"clusters": {"scan": torch.nn.Linear(3, 4), "text": torch.nn.Linear(5, 4)}}
        >>> model = Aligner(schema=schema, encoder=Raw(["scan", "text"]), spaces=spaces)
        >>> objective = SelfLabel(schema, anchors=40, clusters=4, views=["scan", "text"])
        >>> sorted(objective(model, graph))
        ['label_scan', 'label_text', 'total']
    """

    labelled = False
    shared = True
    labels: Tensor  # [groups, anchors, heads], -1 where there is none
    answers: Tensor  # [groups, anchors, heads, clusters], mean log-probabilities of the views
    steps: Tensor  # []

    def __init__(
        self,
        schema: Schema,
        *,
        anchors: int,
        clusters: int,
        views: Sequence[str],
        heads: int = 1,
        marginals: Literal["uniform", "zipf", "gaussian"] = "uniform",
        shared: bool = True,
        every: int = 10,
        decorrelate: float = 0.0,
        sharpness: float = 25.0,
        rounds: int = 50,
        space: str | None = None,
    ) -> None:
        super().__init__()
        self.anchor = anchor_of(schema, "SelfLabel")
        counts = {"anchors": anchors, "clusters": clusters, "heads": heads, "every": every, "rounds": rounds}
        if odd := [(name, value) for name, value in counts.items() if value < 1 + (name == "clusters")]:
            name, value = odd[0]
            raise ConfigError(f"{name} must be at least {1 + (name == 'clusters')}, got {value}")
        if marginals not in ("uniform", "zipf", "gaussian"):
            raise ConfigError(f"marginals must be 'uniform', 'zipf' or 'gaussian', got {marginals!r}")
        if decorrelate < 0 or not sharpness > 0 or not views:
            raise ConfigError(
                f"decorrelate must be at least 0, sharpness above 0 and views at least 1, got {decorrelate}, "
                f"{sharpness} and {list(views)}"
            )
        self.views, self.heads, self.clusters, self.space = tuple(views), heads, clusters, space
        self.groups = [self.views] if shared else [(name,) for name in self.views]  # of views with common labels
        self.sizes = marginal(marginals, clusters)
        self.every, self.decorrelate, self.sharpness, self.rounds = every, decorrelate, sharpness, rounds
        self.register_buffer("steps", torch.tensor(0))
        self.register_buffer("labels", torch.full((len(self.groups), anchors, heads), -1))
        self.register_buffer("answers", torch.full((len(self.groups), anchors, heads, clusters), torch.nan))

    def forward(self, model: nn.Module, graph: HeteroData) -> Terms:
        """Gives ``total`` and ``label_<view>``, the cross-entropy of each view with the labels.

        In evaluation mode nothing is remembered: the labels are those of the anchors that are seen.
        """
        seen = counted(model, graph, self.anchor, self.space)
        check_views(seen, self.views)
        log_p = {name: self._log_p(name, seen[name]) for name in self.views}  # [rows, heads, clusters]
        rows = gather_rows(graph[self.anchor].get("n_id", torch.arange(graph[self.anchor].num_nodes)))
        if len(rows) and int(rows.max()) >= self.labels.shape[1]:
            raise DataError(
                f"The graph must have at most the {self.labels.shape[1]} anchors that SelfLabel was told of, "
                f"got row {int(rows.max())}; set anchors to how many the whole graph has"
            )
        means = [self._mean(log_p, seen, group) for group in self.groups]
        given = self._remembered(means, rows.to(self.labels.device)) if self.training else [*map(self.label, means)]
        terms: Terms = {}
        for group, labels in zip(self.groups, given, strict=True):
            for name in group:
                target = labels.masked_fill(~seen[name].present[:, None], -1)
                loss = F.nll_loss(log_p[name].flatten(0, 1), target.flatten(), ignore_index=-1, reduction="sum")
                terms[f"label_{name}"] = loss / max(int((target >= 0).sum()), 1)
        return {"total": torch.stack(list(terms.values())).mean(), **terms}

    @torch.no_grad()
    def label(self, answers: Tensor) -> Tensor:
        """Labels anchors under the sizes of the clusters.

        Args:
            answers: Log-probabilities ``[anchors, heads, clusters]``, NaN where nothing is known.

        Returns:
            ``[anchors, heads]``, -1 where nothing is known.
        """
        labels = torch.full(answers.shape[:2], -1, device=answers.device)
        known = answers[:, 0, 0].isfinite()
        found: list[Tensor] = []
        for head in range(self.heads if known.any() else 0):
            log_p = answers[known, head].double()  # [rows, clusters]
            said = sum((_told(log_p, earlier) for earlier in found), torch.zeros_like(log_p))
            scores = log_p - self.decorrelate * said
            sizes = torch.empty_like(log_p[0])
            sizes[log_p.exp().sum(dim=0).argsort(descending=True)] = self.sizes.to(sizes)
            found.append(sinkhorn(scores, columns=sizes, sharpness=self.sharpness, rounds=self.rounds).argmax(dim=1))
            labels[known, head] = found[-1]
        return labels

    def _log_p(self, name: str, seen: Seen) -> Tensor:
        if seen.states.shape[1] != self.heads * self.clusters:
            raise ConfigError(
                f"The space must be {self.heads * self.clusters} wide, {self.clusters} clusters for each of "
                f"{self.heads} heads, got {seen.states.shape[1]} of view {name!r}"
            )
        return seen.states.view(-1, self.heads, self.clusters).log_softmax(dim=2)

    def _mean(self, log_p: Mapping[str, Tensor], seen: Mapping[str, Seen], group: Sequence[str]) -> Tensor:
        """What the views that are there say on average, ``[rows, heads, clusters]``, NaN where none is."""
        there = torch.stack([seen[name].present for name in group])[..., None, None]  # [views, rows, 1, 1]
        said = torch.stack([log_p[name].detach() for name in group]).masked_fill(~there, 0)
        return said.sum(dim=0) / there.sum(dim=0).where(there.any(dim=0), torch.nan)

    def _remembered(self, means: Sequence[Tensor], rows: Tensor) -> list[Tensor]:
        """Keeps what was said of some anchors, labels all if it is time to, and gives the labels of these."""
        new = False
        for at, mean in enumerate(means):
            known = mean[:, 0, 0].isfinite()
            self.answers[at, rows[known]] = mean[known].to(self.answers)
            new = new or bool((self.labels[at, rows[known]] < 0).any())
        if new or int(self.steps) % self.every == 0:
            for at, answers in enumerate(self.answers):
                self.labels[at] = self.label(answers)
        self.steps += 1
        return [labels[rows] for labels in self.labels]


def _told(log_p: Tensor, labels: Tensor) -> Tensor:
    """How much more often than on average the rows with a row's label say each cluster, as a logarithm."""
    p = log_p.exp()
    member = F.one_hot(labels).to(p)  # [rows, labels]
    by_label = (member.T @ p) / member.sum(dim=0).clamp_min(1)[:, None]  # [labels, clusters]
    return (by_label.clamp_min(1e-12).log() - p.mean(dim=0).clamp_min(1e-12).log())[labels]
