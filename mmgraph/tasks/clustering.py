"""Which nodes are alike, without a label: judged by the classes that were kept back."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from sklearn import metrics as sk
from sklearn.cluster import KMeans
from torch import Tensor

from mmgraph.errors import DataError, SchemaError
from mmgraph.schema import Schema
from mmgraph.tasks.base import Part, Task, seen_by
from mmgraph.tasks.controls import default_controls

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData

STARTS = 10  # of k-means; the one whose points are nearest to their centres is kept


class Clustering(Task):
    r"""Clusters of the nodes that carry a target, judged by its classes, which training does not see.

    The answers are scores of clusters, ``[rows, clusters]``; a row is in the cluster of its greatest. They are the
    model's own logits, or (``by="kmeans"``) how near its vectors are to centres fitted to those of training. Of a model
    that has several views of an anchor, each view in ``views`` clusters by itself: ``[rows, views, clusters]``, NaN
    where a view has nothing of an anchor; a metric is the mean over the views, and of one view ``"nmi image"``.

    Metrics, over the rows of a known class: ``nmi``, mutual information over the mean of the entropies, and ``ari``,
    the adjusted Rand index (both by scikit-learn); ``purity`` :math:`\frac1n \sum_k \max_c n_{kc}`; and
    ``cluster_accuracy``, the greatest there is when clusters are matched to classes one to one (Kuhn 1955, by scipy).
    Good features are not yet good clusters, nor the other way round: report a probe beside them.

    Args:
        schema: What the graph means.
        target: Name of the target whose classes judge; by default the only one. No label of it is in a view, unless
            it is among ``beside``.
        views: Views of the model; none for a model that answers with one tensor.
        by: ``logits``, of which the first ``clusters`` count, or ``kmeans``.
        clusters: How many; by default as many as classes.
        beside: Targets whose training labels are in the views nevertheless, for a probe that is trained beside.

    Raises:
        SchemaError: There is no such target, or it has no classes; fewer than two clusters.

    Example:
        >>> from mmgraph.testing import fake_graph
        >>> graph, schema = fake_graph()
        >>> task, y = Clustering(schema), graph["subject"].y[graph["subject"].test_mask]
        >>> task.evaluate(torch.eye(2)[1 - y.clamp_min(0)], graph)
        {'nmi': 1.0, 'ari': 1.0, 'purity': 1.0, 'cluster_accuracy': 1.0}
    """

    def __init__(
        self,
        schema: Schema,
        target: str | None = None,
        *,
        views: Sequence[str] = (),
        by: Literal["logits", "kmeans"] = "logits",
        clusters: int | None = None,
        beside: Collection[str] = (),
    ) -> None:
        if target is None:
            if len(schema.targets) != 1:
                raise SchemaError(f"target must be named, one of {sorted(schema.targets)}, got None")
            target = next(iter(schema.targets))
        self.schema, self.name, self.target = schema, target, schema.target(target)
        self.node, self.classes = self.target.node, self.target.classes
        if not self.classes:
            raise SchemaError(f"Target {target!r} must have classes to judge clusters by, got a {self.target.kind}")
        self.views, self.by, self.beside = tuple(views), by, tuple(beside)
        self.clusters = len(self.classes) if clusters is None else clusters
        if self.clusters < 2 or by not in ("logits", "kmeans"):
            raise SchemaError(
                f"clusters must be at least 2 and by 'logits' or 'kmeans', got {self.clusters} and {by!r}"
            )
        graph = ("no_graph", "shuffled_edges")
        self.controls = (*(name for name in default_controls(schema) if name in graph), "noise")

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics: bare names, then those of each view."""
        each = [f"{name} {seen}" for seen in self.views for name in METRICS] if len(self.views) > 1 else []
        return (*METRICS, *each)

    def view(self, graph: HeteroData, part: Part) -> HeteroData:
        """Gives what may be seen in order to answer for one part: no label, but those of training that are beside."""
        return seen_by(self.schema, self.node, graph, part, labels=self.beside)

    def answers(self, outputs: Tensor | Mapping[str, Tensor], view: HeteroData, part: Part) -> Tensor:
        """Gives scores of clusters for the rows of the part, from ``[nodes, channels]`` (of each view).

        Raises:
            DataError: Fewer logits than clusters; or, for k-means, no rows of training beside those of the part.
        """
        store = view[self.node]
        rows, train = store[f"{part}_mask"], store.train_mask
        if isinstance(outputs, Tensor):  # of one view, or of all, as the conformance check gives them
            found = list(outputs.unbind(1)) if outputs.dim() == 3 else [outputs]
        else:
            found = [outputs[name] for name in self.views]
        scores = torch.stack([self._scores(one.detach(), rows, train).cpu() for one in found], dim=1)
        return scores if self.views else scores[:, 0]

    def evaluate(
        self, predictions: Tensor, graph: HeteroData, part: Part = "test", *, metrics: Collection[str] | None = None
    ) -> dict[str, float]:
        """Judges clusters.

        Args:
            predictions: ``[rows of the part, clusters]``, or ``[rows of the part, views, clusters]``.
            graph: The whole graph, with its labels.
            part: Which part of the split they are for.
            metrics: Which metrics; by default all.

        Raises:
            DataError: Another number of rows or views than there are, or no row that can be judged.
            SchemaError: An unknown metric.
        """
        store = graph[self.node]
        labels = store[self.target.attribute][store[f"{part}_mask"]].cpu()
        expected = (len(labels), *([len(self.views)] if self.views else []))
        if predictions.dim() != len(expected) + 1 or predictions.shape[:-1] != expected:
            raise DataError(
                f"Predictions for {part} must be {[*expected, 'clusters']}, got {list(predictions.shape)}".replace(
                    "'", ""
                )
            )
        wanted = self.metrics if metrics is None else tuple(metrics)
        if unknown := [name for name in wanted if name not in self.metrics]:
            raise SchemaError(f"Metrics must be among {list(self.metrics)}, got {unknown}")
        each = predictions.unbind(1) if self.views else [predictions]
        tables = [self._table(one, labels, name) for one, name in zip(each, self.views or ("",), strict=True)]
        found = {}
        for name in wanted:
            kind, _, seen = name.partition(" ")
            asked = [tables[self.views.index(seen)]] if seen else tables
            found[name] = float(np.mean([METRICS[kind](*pair) for pair in asked]))
        return found

    def _table(self, scores: Tensor, labels: Tensor, name: str) -> tuple[np.ndarray, np.ndarray]:
        """The cluster and the class of each row of which both are known."""
        known = (labels >= 0) & scores.isfinite().all(dim=1)
        if not known.any():
            what = f" seen by {name!r}" if name else ""
            raise DataError(f"At least 1 row{what} must have a known class to judge clusters by, got none")
        return scores[known].argmax(dim=1).numpy(), labels[known].numpy()

    def _scores(self, x: Tensor, rows: Tensor, train: Tensor) -> Tensor:
        if self.by == "logits":
            if x.shape[1] < self.clusters:
                raise DataError(f"The model must give at least {self.clusters} logits, got {x.shape[1]}")
            return x[rows, : self.clusters]
        known = x.isfinite().all(dim=1)
        if int((train & known).sum()) < self.clusters:
            raise DataError(
                f"k-means needs at least {self.clusters} rows of training beside those it clusters, got "
                f"{int((train & known).sum())}; predict without batches"
            )
        near = KMeans(self.clusters, n_init=STARTS, random_state=0).fit(x[train & known].double().cpu().numpy())
        centres = torch.from_numpy(near.cluster_centers_).to(x)
        return -torch.cdist(x[rows], centres)  # NaN where x is


def _counts(clusters: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """How many rows of each class each cluster has, ``[clusters, classes]``."""
    found: np.ndarray = sk.cluster.contingency_matrix(classes, clusters).T
    return found


def _accuracy(clusters: np.ndarray, classes: np.ndarray) -> float:
    counts = _counts(clusters, classes)
    return float(counts[linear_sum_assignment(counts, maximize=True)].sum() / len(classes))


METRICS: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "nmi": lambda k, y: sk.normalized_mutual_info_score(y, k),
    "ari": lambda k, y: sk.adjusted_rand_score(y, k),
    "purity": lambda k, y: _counts(k, y).max(axis=1).sum() / len(y),
    "cluster_accuracy": _accuracy,
}
