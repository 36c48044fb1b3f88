"""Questions as nodes of a graph: the entities they are about, those that answer them, and how answers are judged."""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mmgraph.errors import DataError, SchemaError
from mmgraph.functional.ranking import precision_at
from mmgraph.schema import EdgeSpec, Schema, TargetSpec
from mmgraph.tasks import Part, Task
from mmgraph.tasks.base import seen_by

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData

ABOUT, READS = "about", "reads"
ANSWER, ANSWERS = "answer", "answers"  # the first answer, and all of them padded with -1


def ask(
    graph: HeteroData,
    schema: Schema,
    *,
    about: Sequence[Sequence[int]],
    answers: Sequence[Sequence[int]],
    names: Sequence[str],
    reads: Sequence[Tensor] | None = None,
    node: str = "question",
    of: str = "entity",
) -> tuple[HeteroData, Schema]:
    """Joins questions to the entities that they are about, and writes down who answers them.

    Args:
        graph: Has the questions and the entities as nodes; it is left as it is.
        schema: What it means.
        about: Of each question the rows of the entities that it names.
        answers: Of each question the rows of the entities that answer it; none where that is not known.
        names: Of all entities: the classes of the target.
        reads: Of each question the rows of the entities retrieved for it; ``None`` sets no bounds.
        node: Node type of the questions.
        of: Node type of the entities.

    Returns:
        The graph with edges ``(question, about, entity)`` (and ``(question, reads, entity)``) and the target
        ``answer``, which no view has outside training; and its schema.

    Raises:
        DataError: Not one entry a question, or rows that are not there.

    Example:
        >>> from torch_geometric.data import HeteroData
        >>> from mmgraph.schema import NodeSpec
        >>> graph = HeteroData()
        >>> graph["question"].num_nodes, graph["entity"].num_nodes = 1, 3
        >>> schema = Schema(nodes={"question": NodeSpec(), "entity": NodeSpec()}, anchor="question")
        >>> asked, schema = ask(graph, schema, about=[[0]], answers=[[1, 2]], names=["ann", "bob", "cid"])
        >>> asked["question"].answer.tolist(), asked["question", "about", "entity"].edge_index.tolist()
        ([1], [[0], [0]])
    """
    questions, entities = int(graph[node].num_nodes), int(graph[of].num_nodes)
    if len(names) != entities:
        raise DataError(f"There must be a name for each of the {entities} {of!r}, got {len(names)}")
    edges = {ABOUT: about} | ({} if reads is None else {READS: [part.tolist() for part in reads]})
    for what, rows in (*edges.items(), (ANSWERS, answers)):
        wrong = [row for some in rows for row in some if not 0 <= row < entities]
        if len(rows) != questions or wrong:
            raise DataError(
                f"{what} must have rows of {of!r}, 0 to {entities - 1}, for each of {questions} {node!r}, "
                f"got {len(rows)} entries" + (f", among them {wrong[0]}" if wrong else "")
            )
    asked, specs = copy.copy(graph), dict(schema.edges)
    for name, rows in edges.items():
        pairs = [(question, row) for question, some in enumerate(rows) for row in dict.fromkeys(some)]
        asked[node, name, of].edge_index = torch.tensor(pairs, dtype=torch.long).reshape(-1, 2).T.contiguous()
        specs[node, name, of] = EdgeSpec()
    width = max((len(some) for some in answers), default=0)
    padded = torch.full((questions, max(width, 1)), -1)
    for question, some in enumerate(answers):
        padded[question, : len(some)] = torch.tensor(list(some), dtype=torch.long)
    asked[node][ANSWERS], asked[node][ANSWER] = padded, padded[:, 0].clone()
    target = TargetSpec(node=node, attribute=ANSWER, kind="multiclass", classes=tuple(names))
    targets = {**schema.targets, ANSWER: target}
    return asked, schema.model_copy(update={"edges": specs, "targets": targets})


class Answers(Task):
    r"""Questions that entities answer, often more than one.

    | metric | |
    |---|---|
    | ``accuracy`` | share of the questions whose best-scored entity is one of their answers |
    | ``mrr`` | mean of 1 over the place of the best-placed answer |
    | ``hits@10`` | share of the questions with an answer among their best ten |
    | ``log_loss`` | mean of minus the logarithm of the softmax of the scores, all answers of a question together |

    Of equal scores all orders count alike (``accuracy``), or the mean place (``mrr``, ``hits@10``). The view of a part
    has the first answer to each question of training, and no other.

    Args:
        schema: What the graph means.
        target: Name of the target; its classes are the entities.

    Raises:
        SchemaError: There is no such target, or it has no classes.

    Example:
        >>> from torch_geometric.data import HeteroData
        >>> from mmgraph.schema import NodeSpec
        >>> graph = HeteroData()
        >>> graph["question"].num_nodes, graph["entity"].num_nodes = 1, 3
        >>> graph["question"].test_mask = torch.tensor([True])
        >>> schema = Schema(nodes={"question": NodeSpec(), "entity": NodeSpec()}, anchor="question")
        >>> graph, schema = ask(graph, schema, about=[[0]], answers=[[1, 2]], names=["ann", "bob", "cid"])
        >>> Answers(schema).evaluate(torch.tensor([[0.1, 0.2, 0.7]]), graph, metrics=["accuracy"])
        {'accuracy': 1.0}
    """

    def __init__(self, schema: Schema, target: str = ANSWER) -> None:
        self.schema, self.name, self.target = schema, target, schema.target(target)
        if not self.target.classes:
            raise SchemaError(f"Target {target!r} must have the entities as classes, got a {self.target.kind}")
        self.node, self.classes = self.target.node, self.target.classes
        modalities = [name for name in schema.paths if schema.paths[name][-1][2] == self.node]
        self.controls = ("no_graph", "noise", *(f"without:{name}" for name in modalities), "majority")

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics of this task."""
        return ("accuracy", "mrr", "hits@10", "log_loss")

    def view(self, graph: HeteroData, part: Part) -> HeteroData:
        """Gives what may be seen in order to answer for one part."""
        return seen_by(self.schema, self.node, graph, part, labels=(self.name,))

    def answers(self, outputs: Tensor | Mapping[str, Tensor], view: HeteroData, part: Part) -> Tensor:
        """Gives the scores ``[questions of the part, entities]``."""
        if isinstance(outputs, Mapping):
            outputs = outputs[self.name]
        return outputs.detach()[view[self.node][f"{part}_mask"]].cpu()

    def labels(self, graph: HeteroData, part: Part) -> Tensor:
        """Gives the first answer to each question of a part, ``[questions of the part]``, -1 where not known."""
        store = graph[self.node]
        return store[self.target.attribute][store[f"{part}_mask"]].cpu()

    def evaluate(
        self, predictions: Tensor, graph: HeteroData, part: Part = "test", *, metrics: Collection[str] | None = None
    ) -> dict[str, float]:
        """Judges scores ``[questions of the part, entities]``.

        Raises:
            DataError: Another number of questions or entities, or no question with an answer.
            SchemaError: An unknown metric.
        """
        first, entities = self.labels(graph, part), len(self.classes)
        if predictions.shape != (len(first), entities):
            raise DataError(f"Scores for {part} must be [{len(first)}, {entities}], got {list(predictions.shape)}")
        wanted = self.metrics if metrics is None else tuple(metrics)
        if unknown := [name for name in wanted if name not in self.metrics]:
            raise SchemaError(f"Metrics must be among {list(self.metrics)}, got {unknown}")
        store = graph[self.node]
        rows = store[ANSWERS][store[f"{part}_mask"]].cpu() if ANSWERS in store else first[:, None]
        gold = torch.zeros(len(first), entities + 1, dtype=torch.bool)  # the last column is the padding's
        gold = gold.scatter(1, torch.where(rows < 0, entities, rows), value=True)[:, :entities]
        known = gold.any(dim=1)
        if not known.any():
            raise DataError(f"Part {part!r} must have at least 1 question with an answer, got none")
        scores, gold = predictions[known], gold[known]
        best = scores.masked_fill(~gold, -torch.inf).amax(dim=1, keepdim=True)  # of the answers
        places = 1 + ((scores > best) & ~gold).sum(dim=1) + ((scores == best) & ~gold).sum(dim=1) / 2
        found = {
            "accuracy": precision_at(scores, gold, k=1),
            "mrr": 1 / places,
            "hits@10": (places <= 10).float(),
            "log_loss": -scores.log_softmax(dim=1).masked_fill(~gold, -torch.inf).logsumexp(dim=1),
        }
        return {name: float(found[name].mean()) for name in wanted}
