"""Which graph a text tells, written down triple by triple: judged by the triples."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from torch import Tensor

from mmgraph.decoders.translation import Translation
from mmgraph.encoders import spell
from mmgraph.errors import DataError, SchemaError
from mmgraph.files import write_bytes
from mmgraph.functional.triples import read_triples, triple_counts, triple_scores
from mmgraph.schema import Schema
from mmgraph.tasks.base import Part
from mmgraph.tasks.generation import Generation

if TYPE_CHECKING:
    from pathlib import Path

    from torch_geometric.data import HeteroData

SHOWN = 20  # texts on a sheet


class TripleGeneration(Generation):
    """A graph for each anchor, made as one line of text, ``head | relation | tail ; …``.

    ``triple_precision``, ``triple_recall`` and ``triple_f1`` are over the triples of all rows together
    (:func:`~mmgraph.functional.triples.triple_scores`); a row that has several references is judged by the one that it
    is nearest to, by its own F1. ``exact_match`` is the share of rows whose triples are all right and all there, in any
    order; ``log_loss`` that of a piece of the references, in nats.

    Args:
        schema: What the graph means; the target's nodes have a vocabulary.
        target: The node type whose text is asked for.

    Raises:
        SchemaError: There is no such modality of the anchor, or it has no vocabulary.

    Example:
        >>> import torch
        >>> from torch_geometric.data import HeteroData
        >>> from mmgraph.schema import EdgeSpec, NodeSpec
        >>> graph = HeteroData()
        >>> graph["text"].tokens = torch.tensor([[2, 5, 3, 5, 4, 1]])
        >>> graph["sample"].num_nodes, graph["sample"].test_mask = 1, torch.tensor([True])
        >>> graph["text", "of", "sample"].edge_index = torch.zeros(2, 1, dtype=torch.long)
        >>> words = NodeSpec(attributes=("tokens",), vocabulary=("", "", "ann", "knows", "bob", "|"))
        >>> nodes = {"sample": NodeSpec(), "text": words}
        >>> schema = Schema(nodes=nodes, edges={("text", "of", "sample"): EdgeSpec()}, anchor="sample")
        >>> task = TripleGeneration(schema, "text")
        >>> task.evaluate(graph["text"].tokens, graph, metrics=["triple_f1"])
        {'triple_f1': 1.0}
    """

    def __init__(self, schema: Schema, target: str) -> None:
        super().__init__(schema, target, attribute="tokens")
        self.vocabulary = schema.nodes[target].vocabulary
        if not self.vocabulary:
            raise SchemaError(f"{target!r} must have a vocabulary to be read, got none; encode it by 'subwords'")

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics."""
        return ("triple_f1", "triple_precision", "triple_recall", "exact_match", "log_loss")

    def evaluate(
        self,
        predictions: Translation | Tensor,
        graph: HeteroData,
        part: Part = "test",
        *,
        metrics: Collection[str] | None = None,
    ) -> dict[str, float]:
        """Judges what was made.

        Args:
            predictions: Of the rows of the part, in their order.
            graph: The whole graph, with the references.
            part: Which part of the split they are for.
            metrics: Which metrics; by default all that are known of the predictions: payloads have no ``log_loss``.

        Raises:
            DataError: Another number of rows than there are, or no row with a reference.
            SchemaError: An unknown metric.
        """
        wanted = self._wanted(predictions, graph, part, metrics)
        found: dict[str, float] = {}
        if "log_loss" in wanted:
            found["log_loss"] = self._losses(predictions, graph, part)
        if set(wanted) - {"log_loss"}:
            found |= self._judge(self._payloads(predictions), graph, part)
        return {name: found[name] for name in wanted}

    def _judge(self, made: Tensor, graph: HeteroData, part: Part) -> dict[str, float]:
        payload, owner = self.references(graph, part)
        said = [read_triples(text) for text in spell(self.vocabulary, made.cpu())]
        best: dict[int, tuple[int, int, int]] = {}
        for text, row in zip(spell(self.vocabulary, payload.cpu()), owner.tolist(), strict=True):
            counts = triple_counts(said[row], read_triples(text))
            best[row] = max(best.get(row, counts), counts, key=_f1)
        if not best:
            raise DataError(f"Some rows of {part} must have a text to be judged by, got none")
        exact = sum(right == there == true for right, there, true in best.values()) / len(best)
        return {**triple_scores(list(best.values())), "exact_match": exact}

    def sheet(self, predictions: Translation | Tensor, graph: HeteroData, part: Part, folder: Path) -> list[Path]:
        """Writes the first rows with a reference, what was made under what was asked for, as a text file."""
        payload, owner = self.references(graph, part)
        made, asked = spell(self.vocabulary, self._payloads(predictions).cpu()), spell(self.vocabulary, payload.cpu())
        lines = [f"asked: {asked[row]}\nmade:  {made[one]}\n" for row, one in enumerate(owner.tolist()[:SHOWN])]
        path = folder / "triples.txt"
        write_bytes(path, "\n".join(lines).encode())
        return [path]


def _f1(counts: tuple[int, int, int]) -> float:
    return triple_scores([counts])["triple_f1"]
