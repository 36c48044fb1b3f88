"""Which class is a node of: fusion's graph task, and the population graph's."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torchmetrics.functional import classification as tm

from mmgraph.errors import DataError, SchemaError
from mmgraph.schema import Schema
from mmgraph.tasks.base import Part, Task, seen_by
from mmgraph.tasks.controls import default_controls

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData

BINARY = ("f1", "correlation", "mae")  # metrics of the probability of the second of two classes


class NodeClassification(Task):
    r"""Classification of the nodes that carry a target.

    The view of a part holds the labels of training alone. In the regimes ``cohort_hidden`` and
    ``single_query`` it holds no node of the other parts either: training is blind to who will be asked for.

    Metrics (by torchmetrics): ``accuracy``, ``balanced_accuracy`` (the mean recall of the classes there are; the
    balanced error is 1 minus it), ``f1_macro``, ``f1_weighted``, ``auroc`` (one against the rest, averaged over the
    classes), ``log_loss``; ``brier`` :math:`\frac1n\sum_i\sum_c (p_{ic} - [y_i = c])^2`
    (Brier 1950); ``ece``, expected calibration error in 15 bins (Naeini et al. 2015); for two classes also, of the
    second, ``f1``, and between its probability and the label (0 or 1) ``mae``, the mean absolute error, and
    ``correlation``, Pearson's (0 where either is constant).

    Args:
        schema: What the graph means.
        target: Name of the target; by default the only one.
        beside: Further targets of the same node type whose training labels are in the views too, for objectives over
            several targets; they are not asked for here.

    Raises:
        SchemaError: There is no such target, it has no classes, or one beside it is of another node type.

    Example:
        >>> from torch_geometric.data import HeteroData
        >>> graph = HeteroData()
        >>> graph["paper"].x = torch.ones(4, 2)
        >>> graph["paper"].y = torch.tensor([0, 1, 0, 1])
        >>> for part, rows in {"train": [0], "val": [1], "test": [2, 3]}.items():
        ...     graph["paper"][f"{part}_mask"] = torch.zeros(4, dtype=torch.bool)
        ...     graph["paper"][f"{part}_mask"][rows] = True
        >>> task = NodeClassification(Schema.infer(graph))
        >>> task.view(graph, "train")["paper"].y.tolist()
        [0, -1, -1, -1]
        >>> task.evaluate(torch.tensor([[0.9, 0.1], [0.2, 0.8]]), graph, metrics=["accuracy", "auroc"])
        {'accuracy': 1.0, 'auroc': 1.0}
    """

    beside: tuple[str, ...] = ()

    def __init__(self, schema: Schema, target: str | None = None, *, beside: Collection[str] = ()) -> None:
        if target is None:
            if len(schema.targets) != 1:
                raise SchemaError(f"target must be named, one of {sorted(schema.targets)}, got None")
            target = next(iter(schema.targets))
        self.schema, self.name, self.target = schema, target, schema.target(target)
        if not self.target.classes:
            raise SchemaError(f"Target {target!r} must have classes to classify into, got a {self.target.kind}")
        self.beside = tuple(name for name in beside if name != target)
        if odd := [name for name in self.beside if schema.target(name).node != self.target.node]:
            raise SchemaError(f"Targets beside {target!r} must be of {self.target.node!r} as it is, got {odd}")
        self.node, self.classes, self.controls = self.target.node, self.target.classes, default_controls(schema)

    def view(self, graph: HeteroData, part: Part) -> HeteroData:
        """Gives what may be seen in order to answer for one part."""
        return seen_by(self.schema, self.node, graph, part, labels=(self.name, *self.beside))

    def answers(self, outputs: Tensor | Mapping[str, Tensor], view: HeteroData, part: Part) -> Tensor:
        """Gives the class probabilities ``[rows of the part, classes]`` from logits ``[nodes, classes]``.

        Of a model that answers several targets at once, it takes the answers to its own.
        """
        if isinstance(outputs, Mapping):
            outputs = outputs[self.name]
        mask = view[self.target.node][f"{part}_mask"]
        return outputs.detach().softmax(dim=1)[mask].cpu()

    def labels(self, graph: HeteroData, part: Part) -> Tensor:
        """Gives the true classes ``[rows of the part]``, -1 where they are not known."""
        store = graph[self.target.node]
        return store[self.target.attribute][store[f"{part}_mask"]].cpu()

    def evaluate(
        self, predictions: Tensor, graph: HeteroData, part: Part = "test", *, metrics: Collection[str] | None = None
    ) -> dict[str, float]:
        """Judges class probabilities.

        Args:
            predictions: ``[rows of the part, classes]``.
            graph: The whole graph, with its labels.
            part: Which part of the split the predictions are for.
            metrics: Which metrics; by default all.

        Raises:
            DataError: Another number of rows or classes than the part has, no labelled row, or (for the
                AUROC) one class only.
            SchemaError: An unknown metric.
        """
        labels = self.labels(graph, part)
        classes = len(self.target.classes)
        if predictions.shape != (len(labels), classes):
            raise DataError(f"Predictions for {part} must be [{len(labels)}, {classes}], got {list(predictions.shape)}")
        known = labels >= 0
        if not known.any():
            raise DataError(f"Part {part!r} must have at least 1 labelled row to be judged on, got none")
        wanted = self.metrics if metrics is None else tuple(metrics)
        if unknown := [name for name in wanted if name not in self.metrics]:
            raise SchemaError(f"Metrics must be among {list(self.metrics)}, got {unknown}")
        return {name: float(METRICS[name](predictions[known], labels[known])) for name in wanted}

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics of this target."""
        return tuple(name for name in METRICS if name not in BINARY or len(self.target.classes) == 2)


def _auroc(p: Tensor, y: Tensor) -> Tensor:
    found = y.unique()
    if len(found) < 2:
        raise DataError(f"AUROC needs rows of at least 2 classes, got class {found.tolist()} alone in {len(y)} rows")
    if p.shape[1] == 2:
        return tm.binary_auroc(p[:, 1], y)
    each = [tm.binary_auroc(p[:, c], (y == c).long()) for c in found.tolist()]
    return torch.stack(each).mean()


def _balanced_accuracy(p: Tensor, y: Tensor) -> Tensor:
    recall = tm.multiclass_recall(p, y, num_classes=p.shape[1], average="none")
    return recall[y.unique()].mean()  # a class that nobody has can't be missed


def _correlation(p: Tensor, y: Tensor) -> Tensor:
    centred = torch.stack([p[:, 1].double(), y.double()])
    centred = centred - centred.mean(dim=1, keepdim=True)
    spread = centred.norm(dim=1)
    if (spread <= 1e-9 * len(y) ** 0.5).any():
        return torch.zeros(())
    return torch.dot(*centred) / spread.prod()


def _brier(p: Tensor, y: Tensor) -> Tensor:
    return (p - torch.nn.functional.one_hot(y, p.shape[1])).square().sum(dim=1).mean()


def _log_loss(p: Tensor, y: Tensor) -> Tensor:
    return torch.nn.functional.nll_loss(p.clamp_min(1e-12).log(), y)


METRICS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "accuracy": lambda p, y: tm.multiclass_accuracy(p, y, num_classes=p.shape[1], average="micro"),
    "balanced_accuracy": _balanced_accuracy,
    "f1": lambda p, y: tm.binary_f1_score(p.argmax(dim=1), y),
    "f1_macro": lambda p, y: tm.multiclass_f1_score(p, y, num_classes=p.shape[1], average="macro"),
    "f1_weighted": lambda p, y: tm.multiclass_f1_score(p, y, num_classes=p.shape[1], average="weighted"),
    "auroc": _auroc,
    "correlation": _correlation,
    "brier": _brier,
    "ece": lambda p, y: tm.multiclass_calibration_error(p, y, num_classes=p.shape[1], n_bins=15),
    "log_loss": _log_loss,
    "mae": lambda p, y: (p[:, 1] - y).abs().mean(),
}
