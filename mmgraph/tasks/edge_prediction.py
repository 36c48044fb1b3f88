"""Which nodes are joined: held-out edges against pairs that are none, by a score for each pair."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor
from torch.nn import functional as F
from torchmetrics.functional import classification as tm

from mmgraph.errors import DataError, SchemaError
from mmgraph.schema import Schema, view
from mmgraph.tasks.base import Part, Task
from mmgraph.typing import EdgeType

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData


class EdgePrediction(Task):
    r"""Edges that were taken out of the graph, told from pairs of nodes that never were joined.

    Asked are the rows of a node type that :func:`mmgraph.builders.hold_out` adds: pairs, with the rows of both nodes
    (``source``, ``target``) and whether they are joined. The view of a part holds the pairs of that part and of
    training alone, with the labels of training: training does not see what will be asked, and no held-out edge is
    in any view.

    The score of a pair is the dot product of the vectors of its nodes, or their cosine, or what a model says itself.

    Metrics: ``auroc`` and ``average_precision`` (by torchmetrics); ``hits@K``, the share of the joined pairs that score
    above all but K - 1 of the others, as ogb's evaluator has it (Hu et al. 2020, arXiv:2005.00687, section 5): 1 where
    there are fewer than K others. Ties count half in the first, and as a miss in the last.

    Uniform pairs are easy: most of them are far from each other, and joined nodes have more neighbours. So the controls
    ask what needs no learning: ``degree``, the product of both degrees; ``common_neighbours`` and ``adamic_adar`` (of
    what the two share, for nodes of one type); ``cosine`` of their features.

    Args:
        schema: What the graph means, as ``hold_out`` gave it.
        relation: The edge type that is asked about.
        target: Name of the target that says who is joined.
        by: ``dot`` or ``cosine``.

    Raises:
        SchemaError: No such relation, a target that is not binary or whose type lacks ``source`` and ``target``, a
            regime that hides nodes, or an unknown ``by``.

    Example:
        >>> from mmgraph.builders import hold_out
        >>> from mmgraph.testing import fake_graph
        >>> near = ("subject", "near", "subject")
        >>> graph, schema = hold_out(*fake_graph(), near, val=0.1, test=0.2)
        >>> task = EdgePrediction(schema, near)
        >>> joined = graph["pair"].joined[graph["pair"].test_mask]
        >>> task.evaluate(joined.float(), graph, metrics=["auroc"])
        {'auroc': 1.0}
    """

    def __init__(
        self,
        schema: Schema,
        relation: EdgeType,
        *,
        target: str = "joined",
        by: Literal["dot", "cosine"] = "dot",
    ) -> None:
        self.schema, self.relation, self.name, self.by = schema, relation, target, by
        self.target = schema.target(target)
        self.node = self.target.node
        if relation not in schema.edges:
            raise SchemaError(f"relation must be one of {list(schema.edges)}, got {relation}")
        carried = schema.nodes[self.node].attributes
        if self.target.kind != "binary" or not {"source", "target"} <= set(carried):
            raise SchemaError(
                f"Target {target!r} must be binary, on nodes with a source and a target, got a {self.target.kind} one "
                f"on {self.node!r} with {list(carried)}; make it with builders.hold_out"
            )
        if schema.regime != "transductive" or by not in ("dot", "cosine"):
            raise SchemaError(
                f"Edges are asked for where all nodes are seen, regime 'transductive', by 'dot' or 'cosine', "
                f"got {schema.regime!r} and {by!r}"
            )
        featured = all(schema.nodes[node].channels for node in (relation[0], relation[2]))
        alike = ("common_neighbours", "adamic_adar") if relation[0] == relation[2] else ()
        self.controls = ("no_graph", "shuffled_edges", "degree", *alike, *(("cosine",) if featured else ()))

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics that :meth:`evaluate` knows."""
        return tuple(METRICS)

    def view(self, graph: HeteroData, part: Part) -> HeteroData:
        """Gives what may be seen in order to answer for one part."""
        store = graph[self.node]
        asked = store.train_mask | store[f"{part}_mask"]
        return view(graph, self.schema, keep={self.node: asked}, labels={self.name: store.train_mask})

    def answers(self, outputs: Tensor | Mapping[str, Tensor], view: HeteroData, part: Part) -> Tensor:
        """Gives the scores of the pairs of a part, ``[rows of the part]``.

        Args:
            outputs: Vectors of the nodes, ``[nodes, channels]``, or those of each type; or a score a pair, ``[pairs]``.
            view: What was seen.
            part: Which part is asked for.

        Raises:
            DataError: Vectors of fewer nodes than the pairs join, or of one type where they join two.
        """
        store = view[self.node]
        rows = store[f"{part}_mask"]
        if isinstance(outputs, Tensor) and outputs.dim() == 1:
            return outputs.detach()[rows].cpu()
        found = []
        for end, node in (("source", self.relation[0]), ("target", self.relation[2])):
            if isinstance(outputs, Tensor) and self.relation[0] != self.relation[2]:
                raise DataError(
                    f"Vectors must be of both {self.relation[0]!r} and {self.relation[2]!r}, as {{type: vectors}}, "
                    f"got {list(outputs.shape)}"
                )
            states = outputs if isinstance(outputs, Tensor) else outputs[node]
            places = store[end][rows]
            if len(places) and int(places.max()) >= len(states):
                raise DataError(
                    f"There must be a vector for each of the {node!r} that pairs join, up to row {int(places.max())}, "
                    f"got {len(states)}; predict without batches"
                )
            found.append(states.detach()[places])
        if self.by == "cosine":
            return F.cosine_similarity(*found, dim=1).cpu()
        return (found[0] * found[1]).sum(dim=1).cpu()

    def evaluate(
        self, predictions: Tensor, graph: HeteroData, part: Part = "test", *, metrics: Collection[str] | None = None
    ) -> dict[str, float]:
        """Judges scores of pairs.

        Args:
            predictions: ``[rows of the part]``; a joined pair should score higher than another.
            graph: The whole graph, with its labels.
            part: Which part of the split they are for.
            metrics: Which metrics; by default all.

        Raises:
            DataError: Another number of rows than the part has, a score that is not a number, or not both joined pairs
                and others.
            SchemaError: An unknown metric.
        """
        store = graph[self.node]
        labels = store[self.target.attribute][store[f"{part}_mask"]].cpu()
        if predictions.shape != labels.shape:
            raise DataError(f"Predictions for {part} must be [{len(labels)}], got {list(predictions.shape)}")
        wanted = self.metrics if metrics is None else tuple(metrics)
        if unknown := [name for name in wanted if name not in METRICS]:
            raise SchemaError(f"Metrics must be among {list(METRICS)}, got {unknown}")
        known = labels >= 0
        scores, labels = predictions[known], labels[known]
        if scores.isnan().any():
            raise DataError(f"Scores must be numbers, got NaN for {int(scores.isnan().sum())} of {len(scores)} pairs")
        joined = int((labels == 1).sum())
        if not 0 < joined < len(labels):
            raise DataError(f"Part {part!r} must have joined pairs and others, got {joined} and {len(labels) - joined}")
        places = scores.unique(return_inverse=True)[1].double()  # ranks alone count; torchmetrics would squash scores
        return {name: float(METRICS[name](places / len(scores), labels)) for name in wanted}


def _hits(scores: Tensor, labels: Tensor, k: int) -> Tensor:
    others = scores[labels == 0]
    if len(others) < k:
        return torch.ones(())
    return (scores[labels == 1] > others.topk(k).values[-1]).double().mean()


METRICS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "auroc": lambda s, y: tm.binary_auroc(s, y),
    "average_precision": lambda s, y: tm.binary_average_precision(s, y),
    "hits@20": lambda s, y: _hits(s, y, 20),
    "hits@50": lambda s, y: _hits(s, y, 50),
    "hits@100": lambda s, y: _hits(s, y, 100),
}
