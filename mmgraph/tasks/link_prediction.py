"""Which entity completes a fact: the graph task of knowledge graphs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Literal, NamedTuple

import torch
from torch import Tensor

from mmgraph.errors import DataError, SchemaError
from mmgraph.functional.packing import follow
from mmgraph.functional.ranking import Lists, Scores, filtered_ranks, in_blocks
from mmgraph.functional.relations import CATEGORIES, categories
from mmgraph.schema import Schema, view
from mmgraph.schema.facts import Numbering
from mmgraph.tasks.base import Part, Task
from mmgraph.tasks.link_controls import link_controls, payloads

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData

SIDES = ("tail", "head")  # what is asked for: of a relation its tails, of an inverse its heads
FIELDS = ("source", "relation", "answer")


class Known(NamedTuple):
    """What is known of the questions of a graph."""

    answers: Lists  # by question, source * 2 R + relation
    typed: Lists | None = None  # by kind: the entities that may answer it
    kind: Tensor | None = None  # by relation, [2 R]


class LinkPrediction(Task):
    r"""Completion of facts: for each question ``(source, relation, ?)`` all entities are ranked by their scores.

    Questions are the nodes ``query`` of a :class:`mmgraph.KnowledgeGraph`: of each fact ``(h, r, t)`` one asks
    ``(h, r, ?)``, the other ``(t, ^r, ?)``. The view of a part has its questions and those of training, with the
    answers of training alone. (As both directions are asked, a model that joined questions of one part to each other
    could read its facts; :class:`mmgraph.Linker` answers each by itself.)

    The ranking is *filtered* (Bordes et al. 2013, Translating embeddings for modeling multi-relational data, NeurIPS):
    an entity that answers the question in another fact of the graph, of whatever part, is no rival. Equal scores
    share the mean of their places, so that a model that says the same of all is at chance.

    | metric | | best | chance |
    |---|---|---|---|
    | ``mrr`` | mean of :math:`1 / r_i` | 1 | |
    | ``hits@1``, ``hits@3``, ``hits@10`` | share of :math:`r_i \le k` | 1 | |
    | ``mean_rank`` | mean of :math:`r_i` | 1 | |
    | ``adjusted_mean_rank_index`` | :math:`1 - \sum_i (r_i - 1) \big/ \sum_i \frac12 |C_i|` | 1 | 0 |

    The last is comparable across graphs: one minus the mean rank over that of chance, both counted from 0, for
    :math:`|C_i|` rivals (Berrendorf et al. 2020, On the ambiguity of rank-based evaluation of entity alignment or link
    prediction, arXiv:2002.06914). Each metric is there by group, too, as ``"mrr tail"``, and NaN where no question of
    the part is of the group:

    - ``tail`` and ``head``: which end of the fact is asked for;
    - ``1-1``, ``1-n``, ``n-1`` and ``n-n``: the category of the relation in the training facts, whichever end is asked
      for (:func:`mmgraph.functional.relations.categories`); a relation that training lacks is in none;
    - ``with image``, ``without image`` and so on, for each kind of payload: whether the *answer* has one.

    With ``candidates="typed"`` the rivals are only entities that stand at that end of the relation in a training
    fact (Krompaß et al. 2015, Type-constrained representation learning in knowledge graphs, arXiv:1508.02593); of a
    relation that training lacks, all. It is an easier question: report it beside the other, never in its place. With
    ``candidates="nodes"`` they are the entities of the node types that the relation joins at that end, whether a
    training fact names them or not: a link of :func:`mmgraph.builders.align` is sought in the other graph alone.

    Args:
        schema: What the graph means.
        candidates: ``all`` entities, those that are ``typed`` for the relation, or those of its ``nodes``.

    Raises:
        SchemaError: The schema has no questions with a target ``answer``; or an unknown kind of candidates.

    Example:
        >>> import mmgraph as mg
        >>> facts = mg.Triples(["owl", "cat", "cat"], ["eats", "eats", "likes"], ["mouse", "mouse", "owl"])
        >>> known = mg.KnowledgeGraph.fit(facts)
        >>> task, alike = LinkPrediction(known.schema), torch.zeros(6, 3)
        >>> task.evaluate(alike, known.graph, "train", metrics=["mean_rank", "adjusted_mean_rank_index"])
        {'mean_rank': 1.8333333333333333, 'adjusted_mean_rank_index': 0.0}
    """

    node = "query"
    name = "answer"

    def __init__(self, schema: Schema, *, candidates: Literal["all", "typed", "nodes"] = "all") -> None:
        target = schema.targets.get(self.name)
        if target is None or target.node != self.node or not target.classes:
            raise SchemaError(
                f"LinkPrediction needs a target {self.name!r} of nodes {self.node!r} with the entities as classes, got "
                f"{target}; make the graph with KnowledgeGraph.fit"
            )
        if candidates not in ("all", "typed", "nodes"):
            raise SchemaError(f"candidates must be 'all', 'typed' or 'nodes', got {candidates!r}")
        self.schema, self.target, self.candidates = schema, target, candidates
        self.numbering = Numbering(schema)
        self.payloads = payloads(schema)
        self.controls = link_controls(schema)
        self._kept: tuple[tuple[tuple[Tensor, int], ...], Known] | None = None

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics: bare names, then those of each group."""
        kinds = [f"{which} {name}" for name in self.payloads for which in ("with", "without")]
        return (*METRICS, *(f"{name} {group}" for group in (*SIDES, *CATEGORIES, *kinds) for name in METRICS))

    def view(self, graph: HeteroData, part: Part) -> HeteroData:
        """Gives what may be seen in order to answer for one part: its questions, and training's with their answers."""
        store = graph[self.node]
        asked = store.train_mask | store[f"{part}_mask"]
        return view(graph, self.schema, keep={self.node: asked}, labels={self.name: store.train_mask})

    def answers(self, outputs: Tensor | Scores | Mapping[str, Tensor], view: HeteroData, part: Part) -> Tensor | Scores:
        """Gives the scores ``[rows of the part, entities]``, from those of all questions of the view."""
        if isinstance(outputs, Mapping):
            outputs = outputs[self.name]
        rows = view[self.node][f"{part}_mask"].nonzero()[:, 0]
        return outputs.take(rows) if isinstance(outputs, Scores) else outputs.detach()[rows].cpu()

    @torch.no_grad()
    def evaluate(
        self,
        predictions: Tensor | Scores,
        graph: HeteroData,
        part: Part = "test",
        *,
        metrics: Collection[str] | None = None,
    ) -> dict[str, float]:
        """Judges scores, a block of questions at a time: no more than ``BLOCK_ELEMENTS`` of them are held at once.

        Args:
            predictions: ``[rows of the part, entities]``; larger is more plausible.
            graph: The whole graph, with its answers.
            part: Which part of the split they are for.
            metrics: Which metrics; by default all.

        Raises:
            DataError: Another number of rows or entities than there are, no question with a known answer, an entity or
                relation that is not there, or scores that are no numbers.
            SchemaError: An unknown metric.
        """
        store, entities = graph[self.node], self.numbering.count(graph)
        rows = store[f"{part}_mask"].nonzero()[:, 0]
        if tuple(predictions.shape) != (len(rows), entities):
            raise DataError(
                f"Predictions for {part} must be [{len(rows)}, {entities}], a row a question and a column an entity, "
                f"got {list(predictions.shape)}"
            )
        wanted = self.metrics if metrics is None else tuple(metrics)
        if unknown := [name for name in wanted if name not in self.metrics]:
            raise SchemaError(f"Metrics must be among {list(self.metrics)}, got {unknown}")
        judged = (store.answer[rows] >= 0).cpu()
        if not judged.any():
            raise DataError(f"Part {part!r} must have at least 1 question with a known answer, got {len(rows)} without")
        found = self._places(predictions, graph, rows)[judged]
        if odd := int((~found[:, 0].isfinite()).sum()):
            raise DataError(f"Scores for {part} must be numbers, got NaN in {odd} of {len(found)} rows")
        groups = {name: name.partition(" ")[2] for name in wanted}
        members = self._members(graph, rows[judged.to(rows.device)], set(groups.values()))
        return {
            name: float(METRICS[name.partition(" ")[0]](*found[members[group]].T)) for name, group in groups.items()
        }

    def _places(self, predictions: Tensor | Scores, graph: HeteroData, rows: Tensor) -> Tensor:
        """The place of each row's answer, and how many rivals it has, ``[rows, 2]``."""
        known, entities = self._known(graph), self.numbering.count(graph)
        source, relation, answer = (graph[self.node][field][rows].cpu() for field in FIELDS)
        question, kind = self._question(source, relation), relation if known.kind is None else known.kind[relation]

        def judge(block: slice) -> Tensor:
            scores = predictions[block]
            row, entry = known.answers.of(question[block])
            others, among = (row, known.answers.values[entry]), None
            if known.typed is not None:
                typed = known.typed.have(kind[block][row], others[1])
                others = (row[typed], others[1][typed])
                row, entry = known.typed.of(kind[block])
                among = _on(scores, row, known.typed.values[entry])
            sought = answer[block].clamp_min(0).to(scores.device)
            return filtered_ranks(scores, sought, _on(scores, *others), among).cpu()

        return in_blocks(len(rows), entities, judge)

    def _question(self, source: Tensor, relation: Tensor) -> Tensor:
        return source * (2 * len(self.numbering.relations)) + relation

    def _known(self, graph: HeteroData) -> Known:
        """What is known of the questions of a graph; put together anew where their tensors have changed."""
        store = graph[self.node]
        tensors = [store[name] for name in (*FIELDS, "train_mask")]
        versions = [-1 if tensor.is_inference() else tensor._version for tensor in tensors]
        kept = self._kept[0] if self._kept is not None else ()
        now = tuple(zip(tensors, versions, strict=True))
        if len(kept) != len(now) or any(a is not b or v != w for (a, v), (b, w) in zip(kept, now, strict=True)):
            self._kept = (now, self._put_together(graph))
        assert self._kept is not None
        return self._kept[1]

    def _put_together(self, graph: HeteroData) -> Known:
        store, entities, relations = graph[self.node], self.numbering.count(graph), 2 * len(self.numbering.relations)
        source, relation, answer = (store[field].cpu() for field in FIELDS)
        limits = {"source": (source, 0, entities), "relation": (relation, 0, relations)}
        for field, (values, least, limit) in {**limits, "answer": (answer, -1, entities)}.items():
            if (odd := (values < least) | (values >= limit)).any():
                row = int(odd.nonzero()[0])
                raise DataError(
                    f"{field!r} of {self.node!r} must be from {least} to {limit - 1}, got {int(values[row])} in row "
                    f"{row}; leave facts out that name what training does not know, or fit the graph with them"
                )
        asked = answer >= 0
        answers = Lists(self._question(source, relation)[asked], answer[asked])
        if self.candidates == "all":
            return Known(answers)
        if self.candidates == "nodes":
            return Known(answers, *self._of_nodes(graph))
        asked &= store.train_mask.cpu()
        keys, values = relation[asked], answer[asked]
        unseen = relation[~torch.isin(relation, keys)].unique()
        everyone = torch.arange(entities).repeat(len(unseen))
        return Known(
            answers, Lists(torch.cat([keys, unseen.repeat_interleave(entities)]), torch.cat([values, everyone]))
        )

    def _of_nodes(self, graph: HeteroData) -> tuple[Lists, Tensor]:
        """The entities of each set of node types that a relation leads to, and which set each relation has, [2 R]."""
        first, half = self.numbering.offsets(graph), len(self.numbering.relations)
        ends: list[list[str]] = [[] for _ in range(2 * half)]
        for source, name, target in self.numbering.joins:
            number = self.numbering.number(name)
            ends[number].append(target)
            ends[(number + half) % (2 * half)].append(source)
        kinds = {nodes: kind for kind, nodes in enumerate(dict.fromkeys(map(frozenset, ends)))}
        rows = [
            (kind, torch.arange(first[node], first[node] + int(graph[node].num_nodes)))
            for nodes, kind in kinds.items()
            for node in nodes
        ]
        keys = torch.cat([torch.full_like(own, kind) for kind, own in rows])
        return Lists(keys, torch.cat([own for _, own in rows])), torch.tensor([kinds[frozenset(one)] for one in ends])

    def _members(self, graph: HeteroData, rows: Tensor, groups: set[str]) -> dict[str, Tensor]:
        """Which of some rows are in each of some groups, masks ``[rows]``."""
        store, relations = graph[self.node], len(self.numbering.relations)
        relation, answer = store.relation[rows].cpu(), store.answer[rows].cpu()
        tail = relation < relations
        found = {"": torch.ones_like(tail), "tail": tail, "head": ~tail}
        if not groups.isdisjoint(CATEGORIES):
            facts = torch.stack([store[field].cpu() for field in FIELDS], dim=1)
            seen = store.train_mask.cpu() & (facts[:, 1] < relations) & (facts[:, 2] >= 0)
            category = categories(facts[seen], relations)[relation % relations]
            found |= {name: category == number for number, name in enumerate(CATEGORIES)}
        for name in self.payloads:
            there = self._carrying(graph, name)[answer]
            found |= {f"with {name}": there, f"without {name}": ~there}
        return found

    def _carrying(self, graph: HeteroData, payload: str) -> Tensor:
        """Which entities have a payload, ``[entities]``."""
        found = torch.zeros(self.numbering.count(graph), dtype=torch.bool)
        for node, first in self.numbering.offsets(graph).items():
            if path := self.schema.paths_to(node).get(payload):
                found[follow([graph[edge].edge_index.cpu() for edge in path])[1] + first] = True
        return found


def _on(scores: Tensor, row: Tensor, candidate: Tensor) -> tuple[Tensor, Tensor]:
    return row.to(scores.device), candidate.to(scores.device)


METRICS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "mrr": lambda place, _: (1 / place).mean(),
    "hits@1": lambda place, _: (place <= 1).double().mean(),
    "hits@3": lambda place, _: (place <= 3).double().mean(),
    "hits@10": lambda place, _: (place <= 10).double().mean(),
    "mean_rank": lambda place, _: place.mean(),
    "adjusted_mean_rank_index": lambda place, rivals: 1 - 2 * (place - 1).sum() / rivals.sum(),
}
