"""Whether a given fact holds: scores against a threshold a relation."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import torch
from torch import Tensor
from torchmetrics.functional import classification as tm

from mmgraph.errors import DataError, SchemaError

METRICS = ("accuracy", "balanced_accuracy", "f1")


@dataclass(frozen=True, eq=False)
class TripleClassification:
    r"""Classification of facts into those that hold and those that don't: :math:`s(h, r, t) \ge \tau_r`.

    Source: Socher et al. 2013, Reasoning with neural tensor networks for knowledge base completion, NeurIPS, section
    4.3. A threshold a relation, that of the best accuracy on validation; for relations that validation lacks, that of
    the best accuracy on all of it. It says little about facts that are false at random, which any model tells apart:
    ask for hard ones, such as those of CoDEx that people have verified (Safavi and Koutra 2020, arXiv:2009.07810).

    It needs scores of single facts, such as ``linker.each(linker.states(graph), heads, relations, tails)`` gives.

    Args:
        thresholds: Relation → threshold.
        default: The threshold of all other relations.

    Example:
        >>> scores, labels = torch.tensor([3.0, 1.0, 9.0, 7.0]), torch.tensor([True, False, True, False])
        >>> facts = torch.tensor([[0, 0, 1], [1, 0, 2], [2, 1, 0], [1, 1, 0]])  # head, relation, tail
        >>> judge = TripleClassification.fit(scores, facts, labels)
        >>> judge.thresholds, judge.default
        ({0: 2.0, 1: 8.0}, 2.0)
        >>> judge.evaluate(torch.tensor([2.5, 2.5]), facts[[0, 2]], torch.tensor([True, False]))
        {'accuracy': 1.0, 'balanced_accuracy': 1.0, 'f1': 1.0}
    """

    thresholds: dict[int, float]
    default: float

    @classmethod
    def fit(cls, scores: Tensor, facts: Tensor, labels: Tensor) -> TripleClassification:
        """Chooses thresholds.

        A threshold is half way between two scores that follow each other; of equally good ones it is the least.

        Args:
            scores: Of facts of the validation part, ``[facts]``; larger is more plausible.
            facts: Their head, relation and tail, ``[facts, 3]``.
            labels: Whether each holds, ``[facts]`` of bool.

        Raises:
            DataError: Nothing to choose on, other lengths, scores that are not finite numbers, or a fact that is
                labelled both ways.
        """
        _check(scores, facts, labels)
        scores, labels, relations = scores.detach().double().cpu(), labels.bool().cpu(), facts[:, 1].cpu()
        found = {}
        for relation in relations.unique().tolist():
            of = relations == relation
            found[int(relation)] = _threshold(scores[of], labels[of])
        return cls(found, _threshold(scores, labels))

    def predict(self, scores: Tensor, facts: Tensor) -> Tensor:
        """Says which facts, ``[facts, 3]``, hold: ``[facts]`` of bool."""
        limits = [self.thresholds.get(relation, self.default) for relation in facts[:, 1].tolist()]
        return scores.detach().double().cpu() >= torch.tensor(limits, dtype=torch.float64)

    def evaluate(
        self, scores: Tensor, facts: Tensor, labels: Tensor, *, metrics: Collection[str] | None = None
    ) -> dict[str, float]:
        """Judges the scores of some facts: ``accuracy``, ``balanced_accuracy`` and ``f1`` of those that hold.

        Args:
            scores: ``[facts]``.
            facts: Head, relation and tail, ``[facts, 3]``.
            labels: Whether each holds, ``[facts]`` of bool.
            metrics: Which metrics; by default all.

        Raises:
            DataError: No facts, other lengths, scores that are not finite numbers, or a fact that is labelled both
                ways.
            SchemaError: An unknown metric.
        """
        _check(scores, facts, labels)
        wanted = METRICS if metrics is None else tuple(metrics)
        if unknown := [name for name in wanted if name not in METRICS]:
            raise SchemaError(f"Metrics must be among {list(METRICS)}, got {unknown}")
        said, holds = self.predict(scores, facts), labels.bool().cpu()
        recalls = [(said == holds)[holds == kind].double().mean() for kind in holds.unique().tolist()]
        values = {
            "accuracy": (said == holds).double().mean(),
            "balanced_accuracy": torch.stack(recalls).mean(),
            "f1": tm.binary_f1_score(said.long(), holds.long()),
        }
        return {name: float(values[name]) for name in wanted}


def _threshold(scores: Tensor, labels: Tensor) -> float:
    """The threshold of the best accuracy."""
    values, place = scores.unique(return_inverse=True)  # rising
    weight = torch.where(labels, 1, -1)
    gain = torch.zeros(len(values), dtype=torch.long).index_add(0, place, weight)  # by saying that it holds
    above = gain.flip(0).cumsum(0).flip(0)  # where all from this value on hold
    totals = torch.cat([above, above.new_zeros(1)])  # at last: where none does
    best = int(totals.argmax())
    if best == 0:
        return float("-inf")
    return float("inf") if best == len(values) else float(values[best - 1] + values[best]) / 2


def _check(scores: Tensor, facts: Tensor, labels: Tensor) -> None:
    if not len(scores) or scores.dim() != 1 or scores.shape != labels.shape or facts.shape != (len(scores), 3):
        raise DataError(
            "Scores and labels must be one a fact, [facts], and facts head, relation and tail, [facts, 3], of at least "
            f"1 fact, got {list(scores.shape)}, {list(labels.shape)} and {list(facts.shape)}"
        )
    if odd := int((~scores.isfinite()).sum()):
        raise DataError(f"Scores of facts must be finite numbers, got {odd} of {len(scores)} that are not")
    labelled = torch.cat([facts.cpu(), labels.bool().long().cpu()[:, None]], dim=1).unique(dim=0)
    once, ways = labelled[:, :3].unique(dim=0, return_counts=True)
    if len(both := once[ways > 1]):
        raise DataError(
            f"A fact must either hold or not, got {len(both)} of {len(once)} that are labelled both ways, as "
            f"{both[0].tolist()} (head, relation, tail); take them out of the facts that hold or of those that don't"
        )
