"""Which node belongs to which: alignment's graph task, asked from one view of the anchors to another."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from mmgraph.errors import DataError, SchemaError
from mmgraph.functional.ranking import average_precision, in_blocks, precision_at, ranks
from mmgraph.schema import Schema
from mmgraph.tasks.base import Part, Task, seen_by
from mmgraph.tasks.class_nodes import check_classes, with_classes
from mmgraph.tasks.controls import alignment_controls

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData

INSTANCE = ("recall@1", "recall@5", "recall@10", "median_rank", "mrr")
CLASS = ("class_map", "class_precision@1", "class_precision@10")
ZERO_SHOT = ("zero_shot_accuracy", "zero_shot_class_accuracy")
PLACES = 10  # decimals of a cosine that count: equal vectors differ in their rounding errors


class Retrieval(Task):
    r"""Retrieval across views: the same anchor is sought among the vectors of another view, by cosine.

    The answers to a part are the vectors of its anchors, ``[rows, views, channels]``, NaN where a view has nothing of
    an anchor; candidates are the rows of the part. Each metric is there for each pair as ``"recall@10 image>text"``,
    and under its bare name as the mean over the pairs.

    *Instance level* (another view of the same anchor is sought): ``recall@k``, the share of queries whose one
    counterpart is among the best k; ``median_rank``, of its place (1 is best); ``mrr``, the mean of one over it.
    *Class level* (with a target; anything of the same class is sought): ``class_map``, mean average precision;
    ``class_precision@k``. Of equal scores none is better placed than another. From a view to itself, where the best is
    always the query, it is left out, and the class level alone is judged.

    *Zero-shot* (with ``classes``; the class itself is sought): each class is an anchor that is described and nothing
    else, and a row is of the class whose description, in the view that answers, lies nearest (Radford et al. 2021,
    arXiv:2103.00020, section 3.1). ``zero_shot_accuracy`` is the share of rows that are told right,
    ``zero_shot_class_accuracy`` its mean over the classes. The class anchors are in the views for validation and test,
    after all others, and so are their vectors in the answers, ``[rows + classes, views, channels]``; training is judged
    without.

    Args:
        schema: What the graph means; it must have an anchor.
        pairs: (view that asks, view that answers); by default all pairs of the modalities of the anchor, either way.
        target: Name of the target whose classes the class level is about; its training labels are in the views.
        views: View → its modalities, for views that are not one modality of their own name; controls read them.
        classes: What describes the classes of the target: modality node type → features ``[classes, channels]``, in the
            order of the classes, made by the encoder that made the graph's (a text for each class, in general).

    Raises:
        SchemaError: No anchor or pair, a target that is not one of classes at the anchor, or nothing to be judged;
            ``classes`` without a target, of another shape, or of nodes that no view that answers another sees.

    Example:
        >>> from mmgraph.testing import fake_graph
        >>> graph, schema = fake_graph()
        >>> task = Retrieval(schema)
        >>> vectors = torch.randn(int(graph["subject"].test_mask.sum()), 1, 8).expand(-1, 2, -1)
        >>> task.evaluate(vectors, graph, "test", metrics=["recall@1", "recall@1 scan>text"])
        {'recall@1': 1.0, 'recall@1 scan>text': 1.0}
    """

    def __init__(
        self,
        schema: Schema,
        pairs: Sequence[tuple[str, str]] | None = None,
        *,
        target: str | None = None,
        views: Mapping[str, Collection[str]] | None = None,
        classes: Mapping[str, Tensor] | None = None,
    ) -> None:
        if schema.anchor is None:
            raise SchemaError("Retrieval needs a schema with an anchor, got none; set Schema(anchor=...)")
        names = tuple(schema.paths)
        if pairs is None:
            pairs = [(a, b) for a in names for b in names if a != b]
        if not pairs:
            raise SchemaError(f"Retrieval needs at least 1 pair of views, got none; modalities are {list(names)}")
        self.schema, self.node, self.pairs = schema, schema.anchor, tuple((a, b) for a, b in pairs)
        self.views = tuple(dict.fromkeys(name for pair in self.pairs for name in pair))
        self.modalities = {name: tuple((views or {}).get(name, (name,))) for name in self.views}
        self.controls = alignment_controls(schema, self.modalities)
        self.name = target
        self.target = None if target is None else schema.target(target)
        if self.target is not None and (self.target.node != self.node or not self.target.classes):
            raise SchemaError(
                f"Target {target!r} must have classes and be of the anchor {self.node!r}, got {self.target}"
            )
        if self.target is None and all(a == b for a, b in self.pairs):
            raise SchemaError(f"Retrieval from a view to itself, {self.pairs}, needs a target with classes, got none")
        self.described = dict(classes or {})
        if self.described:
            check_classes(self.described, schema, self.target)
            if not self._pairs_of(ZERO_SHOT[0]):
                raise SchemaError(f"classes must be seen by a view that answers another, got {sorted(self.described)}")

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics: bare names, then those of each pair."""
        bare = [name for name in (*INSTANCE, *CLASS, *ZERO_SHOT) if self._pairs_of(name)]
        each = [f"{name} {a}>{b}" for a, b in self.pairs for name in bare if (a, b) in self._pairs_of(name)]
        return (*bare, *(each if len(self.pairs) > 1 else ()))

    def view(self, graph: HeteroData, part: Part) -> HeteroData:
        """Gives what may be seen in order to answer for one part; the aligner hides what each view may not see."""
        seen = seen_by(self.schema, self.node, graph, part, labels=() if self.name is None else (self.name,))
        return seen if part == "train" else self.joined(seen)

    def joined(self, graph: HeteroData) -> HeteroData:
        """Gives a graph with the anchors of the classes beside it, if there are any; its answers are theirs, too."""
        return with_classes(graph, self.schema, self.described) if self.described else graph

    def answers(self, outputs: Tensor | Mapping[str, Tensor], view: HeteroData, part: Part) -> Tensor:
        """Gives the vectors ``[rows of the part, views, channels]``, from ``{view: [anchors, channels]}``."""
        rows = view[self.node][f"{part}_mask"]
        if isinstance(outputs, Tensor):  # of one view, or of all, as the conformance check gives them
            outputs = dict(zip(self.views, outputs.unbind(1) if outputs.dim() == 3 else [outputs], strict=True))
        return torch.stack([outputs[name].detach()[rows].cpu() for name in self.views], dim=1)

    def evaluate(
        self, predictions: Tensor, graph: HeteroData, part: Part = "test", *, metrics: Collection[str] | None = None
    ) -> dict[str, float]:
        """Judges vectors.

        Args:
            predictions: ``[rows of the part, views, channels]``, in the order of :attr:`views`; with ``classes``, and
                but for training, followed by those of the classes.
            graph: The whole graph, with its labels.
            part: Which part of the split they are for.
            metrics: Which metrics; by default all that the part has.

        Raises:
            DataError: Another number of rows or views than there are, or no row that can be asked about.
            SchemaError: An unknown metric.
        """
        rows = graph[self.node][f"{part}_mask"]
        classes = 0 if part == "train" or self.target is None or not self.described else len(self.target.classes)
        count = int(rows.sum()) + classes
        if predictions.dim() != 3 or predictions.shape[:2] != (count, len(self.views)):
            raise DataError(
                f"Predictions for {part} must be [{count}, {len(self.views)}, channels], got {list(predictions.shape)}"
            )
        known = [name for name in self.metrics if classes or name.partition(" ")[0] not in ZERO_SHOT]
        wanted = known if metrics is None else tuple(metrics)
        if unknown := [name for name in wanted if name not in known]:
            raise SchemaError(f"Metrics must be among {known}, got {unknown}")
        vectors, described = predictions.split([count - classes, classes])
        labels = None if self.target is None else graph[self.node][self.target.attribute][rows].cpu()
        judged: dict[tuple[str, str, str], float] = {}
        found = {}
        for name in wanted:
            kind, _, pair = name.partition(" ")
            asked = self._pairs_of(kind) if not pair else [one for one in self.pairs if pair == f"{one[0]}>{one[1]}"]
            for a, b in asked:
                if (kind, a, b) not in judged:
                    kinds = [kind] if len(wanted) == 1 else [one.partition(" ")[0] for one in wanted]
                    some = [(one, a, b) for one in dict.fromkeys(kinds) if (a, b) in self._pairs_of(one)]
                    judged |= self._judge(vectors, described, labels, some)
            found[name] = sum(judged[kind, a, b] for a, b in asked) / len(asked)
        return found

    def _pairs_of(self, metric: str) -> list[tuple[str, str]]:
        """The pairs that a metric is about."""
        if metric in INSTANCE:
            return [(a, b) for a, b in self.pairs if a != b]
        if metric in ZERO_SHOT:
            seeing = [name for name, seen in self.modalities.items() if not self.described.keys().isdisjoint(seen)]
            return [(a, b) for a, b in self.pairs if a != b and b in seeing]
        return list(self.pairs) if self.target is not None else []

    def _judge(
        self, vectors: Tensor, described: Tensor, labels: Tensor | None, wanted: Sequence[tuple[str, str, str]]
    ) -> dict[tuple[str, str, str], float]:
        """Some metrics of one pair."""
        _, a, b = wanted[0]
        x, y = (vectors[:, self.views.index(name)] for name in (a, b))
        has_x, has_y = x[:, 0].isfinite(), y[:, 0].isfinite()
        places = torch.arange(len(x))
        found: dict[tuple[str, str, str], float] = {}
        if any(kind in INSTANCE for kind, _, _ in wanted):
            asking, there = places[has_x & has_y], places[has_y]
            _check_some(asking, f"be both {a!r} and {b!r}")
            sought = torch.searchsorted(there, asking)
            score = _cosines(x[asking], y[there])
            place = in_blocks(len(asking), len(there), lambda rows: ranks(score(rows), sought[rows])).double()
            scores = {f"recall@{k}": float((place <= k).double().mean()) for k in (1, 5, 10)}
            scores |= {"median_rank": float(place.median()), "mrr": float((1 / place).mean())}
            found |= {(kind, a, b): scores[kind] for kind, _, _ in wanted if kind in scores}
        for kind in [kind for kind, _, _ in wanted if kind in CLASS]:
            assert labels is not None
            asking, there = places[has_x & (labels >= 0)], places[has_y & (labels >= 0)]
            _check_some(asking, f"be {a!r} of a known class")
            judged = self._by_class(kind, x, y, labels, asking, there, itself=a == b)
            if not judged.isfinite().any():
                raise DataError(f"Some rows must be {b!r} of the same class as another, got {len(there)} of none")
            found[kind, a, b] = float(judged[judged.isfinite()].mean())
        if any(kind in ZERO_SHOT for kind, _, _ in wanted):
            assert labels is not None
            asking = places[has_x & (labels >= 0)]
            _check_some(asking, f"be {a!r} of a known class")
            scores = _zero_shot(x[asking], described[:, self.views.index(b)], labels[asking])
            found |= {(kind, a, b): scores[kind] for kind, _, _ in wanted if kind in scores}
        return found

    def _by_class(
        self, kind: str, x: Tensor, y: Tensor, labels: Tensor, asking: Tensor, there: Tensor, *, itself: bool
    ) -> Tensor:
        score = _cosines(x[asking], y[there])

        def judge(rows: slice) -> Tensor:
            scores, relevant = score(rows), labels[asking[rows]][:, None] == labels[there]
            if itself:
                own = asking[rows][:, None] == there
                scores, relevant = scores.masked_fill(own, -torch.inf), relevant & ~own
            if kind == "class_map":
                return average_precision(scores, relevant)
            return precision_at(scores, relevant, k=int(kind.partition("@")[2]))

        return in_blocks(len(asking), len(there), judge)


def _zero_shot(x: Tensor, classes: Tensor, labels: Tensor) -> dict[str, float]:
    """How many rows are nearest to their class, of all and of each class on average."""
    own = labels[:, None] == torch.arange(len(classes))
    right = precision_at(_cosines(x, classes)(slice(None)), own, k=1)  # [rows]
    within = (right @ own.to(right)) / own.sum(dim=0)  # [classes], NaN of those that nobody is of
    return dict(zip(ZERO_SHOT, (float(right.mean()), float(within.nanmean())), strict=True))


def _cosines(x: Tensor, y: Tensor) -> Callable[[slice], Tensor]:
    """Gives the cosines ``[block, candidates]`` of a block of queries."""
    ahead, behind = F.normalize(x.double(), dim=1), F.normalize(y.double(), dim=1).T
    return lambda rows: (ahead[rows] @ behind).round(decimals=PLACES)


def _check_some(rows: Tensor, what: str) -> None:
    if not len(rows):
        raise DataError(f"At least 1 row must {what} to be asked about, got none")
