"""Texts of a hidden node, judged against those that it had."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mmgraph.decoders.translation import Translation
from mmgraph.encoders import spell
from mmgraph.errors import DataError, SchemaError
from mmgraph.files import write_bytes
from mmgraph.functional.captions import (
    CiderReferences,
    bleu,
    cider_between,
    cider_d,
    exact_match,
    meteor,
    rouge_l,
    words,
)
from mmgraph.schema import Schema
from mmgraph.tasks.base import Part
from mmgraph.tasks.generation import LIKELIHOOD, Generation

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData

COMPARED = ("exact_match", "bleu", "bleu@1", "rouge_l", "cider", "meteor", "retrieval@1", "retrieval@10")
CELLS = 1 << 24  # similarities held at once
PLACES = 10  # decimals of a similarity that count: equal texts differ in their rounding errors


class TextGeneration(Generation):
    r"""A text for each anchor whose own is hidden: a caption of a picture, a name, a description.

    - ``log_loss``: negative log likelihood of a piece of the references, their ends among them, in nats;
      ``perplexity`` is its exponential. Of a :class:`~mmgraph.decoders.Translation` alone, and nothing is generated.
    - ``exact_match``: share of rows whose text is one of their references, sign by sign.
    - ``bleu`` (BLEU-4), ``bleu@1``: :func:`~mmgraph.functional.captions.bleu` of all texts together, 0 to 1.
    - ``rouge_l``, ``meteor`` (of equal words alone), ``cider`` (CIDEr-D, 0 to 10, rare among the part's references):
      means over rows, see :mod:`mmgraph.functional.captions`.
    - ``retrieval@k``: share of rows of whose own references one is among the k that are nearest to what was made, by
      CIDEr, of all different ones of the part; equally near ones share the mean of their places.

    - ``exact_match 4 shots``, with ``groups={"shots": (0, 4)}``: the same, of the rows whose number ``shots`` is 4.

    All but the first two compare :func:`~mmgraph.functional.captions.words`. Rows without a reference are not judged.

    Args:
        schema: What the graph means.
        target: The node type whose text is asked for; its nodes are ``of`` the anchor.
        attribute: The tensor that holds its numbers.
        spell: ``spell(tokens [rows, length]) -> texts``; by default by the vocabulary that the schema keeps.
        groups: A tensor of the anchors, ``[rows]`` of int64 → the numbers in it by which exact matches are told apart.

    Raises:
        SchemaError: There is no such modality or tensor, or neither a vocabulary nor ``spell``.

    Example:
        >>> from torch_geometric.data import HeteroData
        >>> from mmgraph.schema import EdgeSpec, NodeSpec
        >>> graph = HeteroData()
        >>> graph["name"].tokens = torch.tensor([[2, 3, 1], [4, 3, 1]])
        >>> graph["sample"].num_nodes, graph["sample"].test_mask = 2, torch.tensor([True, True])
        >>> graph["name", "of", "sample"].edge_index = torch.tensor([[0, 1], [0, 1]])
        >>> name = NodeSpec(attributes=("tokens",), vocabulary=("", "", "red", "Ġcat", "blue"))
        >>> nodes, edges = {"sample": NodeSpec(), "name": name}, {("name", "of", "sample"): EdgeSpec()}
        >>> task = TextGeneration(Schema(nodes=nodes, edges=edges, anchor="sample"), "name")
        >>> made = torch.tensor([[2, 3, 1], [2, 3, 1]])  # "red cat" twice
        >>> task.evaluate(made, graph, metrics=["exact_match", "bleu@1", "retrieval@1"])
        {'exact_match': 0.5, 'bleu@1': 0.75, 'retrieval@1': 0.5}
    """

    def __init__(
        self,
        schema: Schema,
        target: str,
        *,
        attribute: str = "tokens",
        spell: Callable[[Tensor], Sequence[str]] | None = None,
        groups: Mapping[str, Sequence[int]] | None = None,
    ) -> None:
        super().__init__(schema, target, attribute=attribute)
        self.vocabulary = schema.nodes[target].vocabulary
        if spell is None and not self.vocabulary:
            raise SchemaError(
                f"{target!r} must have a vocabulary to be read, got none; encode it by 'subwords', or give spell"
            )
        self._spell = spell
        several = [(name, number) for name, numbers in (groups or {}).items() for number in numbers]
        self._groups = {f"exact_match {number} {name}": (name, number) for name, number in several}

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics that :meth:`evaluate` knows."""
        return (*LIKELIHOOD, *COMPARED, *self._groups)

    def evaluate(
        self,
        predictions: Translation | Tensor,
        graph: HeteroData,
        part: Part = "test",
        *,
        metrics: Collection[str] | None = None,
    ) -> dict[str, float]:
        """Judges what was made; where likelihoods alone are asked for, nothing is made.

        Args:
            predictions: What is said of each row of the part, or numbers ``[rows, length]``.
            graph: The whole graph, with its texts.
            part: Which part of the split they are for.
            metrics: Which metrics; by default all, of numbers those that need no likelihood.

        Raises:
            DataError: Another number of rows than the part has, no row with a reference (in a group), or the likelihood
                of numbers.
            SchemaError: An unknown metric.
        """
        wanted = self._wanted(predictions, graph, part, metrics)
        found: dict[str, float] = {}
        if set(LIKELIHOOD) & set(wanted):
            loss = self._losses(predictions, graph, part)
            found |= {"log_loss": loss, "perplexity": math.exp(min(loss, 700.0))}  # above, a float has no room
        if asked := {*COMPARED, *self._groups} & set(wanted):
            found |= self._compared(self._payloads(predictions), graph, part, asked)
        return {name: found[name] for name in wanted}

    def texts(self, tokens: Tensor) -> list[str]:
        """The texts of rows of numbers, ``[rows, length]``."""
        tokens = tokens.cpu()
        return spell(self.vocabulary, tokens) if self._spell is None else list(self._spell(tokens))

    def sheet(self, predictions: Translation | Tensor, graph: HeteroData, part: Part, folder: Path) -> list[Path]:
        """Writes ``samples.tsv``: the number of each anchor of the part, what was made, and each of its references."""
        made, references = self._texts(self._payloads(predictions), graph, part)
        numbers = graph[self.node][f"{part}_mask"].nonzero().flatten().tolist()
        lines = [["row", "made", "references"]]
        lines += [[str(number), made[row], *references.get(row, [])] for row, number in enumerate(numbers)]
        path = folder / "samples.tsv"
        write_bytes(path, "".join("\t".join(" ".join(cell.split()) for cell in line) + "\n" for line in lines).encode())
        return [path]

    def _texts(self, made: Tensor, graph: HeteroData, part: Part) -> tuple[list[str], dict[int, list[str]]]:
        """What was made of each row, and row → its references."""
        payload, owner = self.references(graph, part)
        references: dict[int, list[str]] = {}
        for row, text in zip(owner.tolist(), self.texts(payload), strict=True):
            references.setdefault(row, []).append(text)
        return self.texts(made), references

    def _compared(self, made: Tensor, graph: HeteroData, part: Part, asked: Collection[str]) -> dict[str, float]:
        texts, references = self._texts(made, graph, part)
        if not references:
            raise DataError(f"At least 1 {self.node!r} of {part} must have a {self.made!r} to judge by, got none")
        judged = sorted(references)
        candidates = [words(texts[row]) for row in judged]
        meant = [[words(one) for one in references[row]] for row in judged]
        each: dict[str, Callable[[], Tensor]] = {
            "exact_match": lambda: exact_match([texts[row] for row in judged], [references[row] for row in judged]),
            "rouge_l": lambda: rouge_l(candidates, meant),
            "meteor": lambda: meteor(candidates, meant),
            "cider": lambda: cider_d(candidates, meant),
        }
        found = {name: float(score().mean()) for name, score in each.items() if name in asked}
        found |= {name: bleu(candidates, meant, order=n) for name, n in (("bleu", 4), ("bleu@1", 1)) if name in asked}
        if groups := [name for name in self._groups if name in asked]:
            matched = each["exact_match"]()
        for name in groups:
            attribute, number = self._groups[name]
            if attribute not in graph[self.node]:
                raise DataError(f"{self.node!r} must have the tensor {attribute!r}, by which {name!r} is told apart")
            group = graph[self.node][attribute][graph[self.node][f"{part}_mask"]].cpu()[judged] == number
            if not group.any():
                raise DataError(f"At least 1 {self.node!r} of {part} must have {attribute!r} {number}, got none")
            found[name] = float(matched[group].mean())
        if some := [name for name in asked if name.startswith("retrieval@")]:
            places = _places(candidates, meant)
            found |= {name: float((places <= int(name.partition("@")[2])).double().mean()) for name in some}
        return found


def _places(candidates: list[list[str]], references: list[list[list[str]]]) -> Tensor:
    """The place of the nearest of each candidate's own references among those of others, ``[candidates]``."""
    known = CiderReferences(references)
    number: dict[tuple[str, ...], int] = {}
    own = [[number.setdefault(tuple(one), len(number)) for one in meant] for meant in references]
    texts, block, found = list(number), max(1, CELLS // len(number)), []
    for start in range(0, len(candidates), block):
        near = cider_between(candidates[start : start + block], texts, known).round(decimals=PLACES)
        mine = torch.zeros_like(near, dtype=torch.bool)
        for row, some in enumerate(own[start : start + block]):
            mine[row, some] = True
        best = near.masked_fill(~mine, -1).amax(dim=1, keepdim=True)
        better, equal = (near > best) & ~mine, (near == best) & ~mine
        found.append(1 + better.sum(dim=1) + equal.sum(dim=1) / 2)
    return torch.cat(found)
