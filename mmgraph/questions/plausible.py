r"""Questions answered by a trained linker, so that facts that nobody wrote down count too.

| way | what is composed | prefer it |
|---|---|---|
| ``beam`` | truth values of single facts, over the best entities in between | by default; of any scorer |
| ``vectors`` | the relations' vectors: a path is one question | TransE, RotatE, DistMult, ComplEx; fast, and rougher |

``beam`` (Arakelyan et al. 2021, Complex query answering with neural link predictors, arXiv:2011.03459): the truth of a
fact is its score made a number from 0 to 1; "and" is a t-norm, product or least; "there is an entity in between" is the
best over the ``width`` best entities so far:

.. math:: v_{k+1}(e) = \max_{e' \in \mathrm{top}_w(v_k)} v_k(e') \top \sigma(f(e', r_{k+1}, e))

With ``width`` at the number of entities nothing is left out.

``vectors`` (Guu, Miller & Liang 2015, Traversing knowledge graphs in vector space, arXiv:1506.01094): the question of
a source and a relation is as wide as an entity, so it is the source of the next relation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal, TypeAlias

import torch
from torch import Tensor

from mmgraph.errors import ConfigError, DataError
from mmgraph.linker import Linker, States
from mmgraph.questions.query import Path, Query
from mmgraph.scorers.base import Family

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData

Norm: TypeAlias = Literal["product", "least"]
Truth: TypeAlias = Literal["softmax", "sigmoid"]

NORMS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"product": torch.mul, "least": torch.minimum}
TRUTHS: dict[str, Callable[[Tensor], Tensor]] = {
    "softmax": lambda scores: (scores - scores.amax(dim=-1, keepdim=True)).exp(),  # the most plausible entity is true
    "sigmoid": torch.sigmoid,
}


@torch.no_grad()
def plausible(
    linker: Linker,
    graph: HeteroData,
    queries: Sequence[Query],
    *,
    way: Literal["beam", "vectors"] = "beam",
    width: int = 8,
    norm: Norm = "product",
    truth: Truth = "softmax",
) -> Tensor:
    """How plausible each entity is as an answer to each query; see the module.

    Args:
        linker: A trained linker.
        graph: What it may see.
        queries: What is asked.
        way: ``beam`` or ``vectors``; an intersection of ``vectors`` joins its branches by the t-norm, and goes on from
            its best entity.
        width: How many entities in between are followed.
        norm: ``product`` or ``least``, of two truth values.
        truth: How scores become truth values: ``softmax``, each divided by the best one's, for linkers trained against
            all entities; ``sigmoid`` for those trained fact by fact.

    Returns:
        ``[queries, entities]``, from 0 to 1.

    Raises:
        ConfigError: An unknown option, a width below 1, or vectors of a scorer that can't compose them.
        DataError: A query names an entity or a relation that is not there.

    Example:
        >>> import mmgraph as mg
        >>> from mmgraph.questions import path
        >>> from mmgraph.scorers import DistMult
        >>> known = mg.KnowledgeGraph.fit(mg.Triples(["owl", "cat"], ["eats", "eats"], ["mouse", "mouse"]))
        >>> linker = mg.Linker(schema=known.schema, scorer=DistMult(4))
        >>> plausible(linker, known.graph, [path(0, "eats", "^eats")]).shape
        torch.Size([1, 3])
    """
    for name, value, known in (("way", way, ("beam", "vectors")), ("norm", norm, NORMS), ("truth", truth, TRUTHS)):
        if value not in known:
            raise ConfigError(f"{name} must be one of {list(known)}, got {value!r}")
    if width < 1:
        raise ConfigError(f"width must be at least 1, got {width}")
    if way == "vectors" and not isinstance(linker.scorer, Family):
        raise ConfigError(
            f"Vectors can be composed by a scorer that makes questions of them, got {type(linker.scorer).__name__}; "
            "use way='beam'"
        )
    states = linker.states(graph)
    answer = _Answer(linker, states, width, NORMS[norm], TRUTHS[truth], way)
    rows = [answer(query) for query in queries]
    return torch.stack(rows) if rows else states.entities.new_zeros(0, len(states.entities))


class _Answer:
    def __init__(
        self,
        linker: Linker,
        states: States,
        width: int,
        norm: Callable[[Tensor, Tensor], Tensor],
        truth: Callable[[Tensor], Tensor],
        way: str,
    ) -> None:
        self.linker, self.states, self.norm, self.truth, self.way = linker, states, norm, truth, way
        self.width = min(width, len(states.entities))

    def __call__(self, query: Query) -> Tensor:
        branches = [self.branch(branch) for branch in query.branches]
        met = branches[0]
        for other in branches[1:]:
            met = self.norm(met, other)
        if not query.then:
            return met
        if self.way == "beam":
            return self.beam(met, query.then)
        best = met.argmax()
        return self.norm(met[best], self.composed(int(best), query.then))

    def branch(self, branch: Path) -> Tensor:
        """Truth of each entity as the end of a branch, ``[entities]``."""
        if branch.entity >= len(self.states.entities):
            raise DataError(f"Entities must be 0 to {len(self.states.entities) - 1}, got {branch.entity} in a query")
        if self.way == "vectors":
            return self.composed(branch.entity, branch.relations)
        start = self.states.entities.new_zeros(len(self.states.entities))
        start[branch.entity] = 1.0
        return self.beam(start, branch.relations, width=1)

    def beam(self, truth: Tensor, relations: Sequence[str], *, width: int | None = None) -> Tensor:
        for relation in relations:
            values, sources = truth.topk(width or self.width)  # [width]
            number = torch.full_like(sources, self.number(relation))
            facts = self.truth(self.linker.against(self.states, sources, number))  # [width, entities]
            truth, width = self.norm(values[:, None], facts).amax(dim=0), None
        return truth

    def composed(self, entity: int, relations: Sequence[str]) -> Tensor:
        scorer = self.linker.scorer
        assert isinstance(scorer, Family)
        source = self.states.entities[[entity]]  # [1, channels]
        for relation in relations[:-1]:
            source = scorer.question(source, self.states.relations[[self.number(relation)]])
        last = self.states.relations[[self.number(relations[-1])]]
        return self.truth(scorer.against(source, last, self.states.entities))[0]

    def number(self, relation: str) -> int:
        return self.linker.numbering.number(relation)


def rank_answers(scores: Tensor, known: Tensor, sought: Tensor) -> dict[str, float]:
    r"""How well sought answers are ranked, each among the entities that are no answers at all.

    .. math:: \mathrm{MRR} = \frac1{|Q|} \sum_q \frac1{|A_q|} \sum_{a \in A_q} \frac1{r_{qa}}

    Answers known beforehand (those that traversal of the seen facts gives) and the other sought ones are no rivals
    (the filtered ranking of Ren, Hu & Leskovec 2020, Query2box, arXiv:2002.05969). Equal scores share the mean of
    their places. Queries without a sought answer are left out.

    Args:
        scores: ``[queries, entities]``.
        known: Answers that are not sought, ``[queries, entities]`` of bool.
        sought: Answers to be found, ``[queries, entities]`` of bool.

    Returns:
        ``mrr``, ``hits@1``, ``hits@3``, ``hits@10``.

    Raises:
        DataError: Shapes that differ, an answer both known and sought, or nothing sought.

    Example:
        >>> scores = torch.tensor([[0.9, 0.8, 0.7, 0.6]])
        >>> known, sought = torch.tensor([[1, 0, 0, 0]]).bool(), torch.tensor([[0, 0, 1, 1]]).bool()
        >>> rank_answers(scores, known, sought)["mrr"]
        0.5
    """
    if not scores.shape == known.shape == sought.shape:
        raise DataError(
            "Scores, known and sought must be [queries, entities], "
            f"got {list(scores.shape)}, {list(known.shape)} and {list(sought.shape)}"
        )
    if (known & sought).any():
        raise DataError(f"A sought answer must not be known, got {int((known & sought).sum())} that are both")
    asked = sought.any(dim=1)
    if not asked.any():
        raise DataError("There must be at least 1 sought answer, got none")
    totals = {"mrr": 0.0, "hits@1": 0.0, "hits@3": 0.0, "hits@10": 0.0}
    for row in asked.nonzero()[:, 0].tolist():
        rivals = scores[row][~(known[row] | sought[row])]
        own = scores[row][sought[row]][:, None]  # [answers, 1]
        places = 1 + (rivals > own).sum(dim=1) + (rivals == own).sum(dim=1) / 2
        totals["mrr"] += float((1 / places).mean())
        for most in (1, 3, 10):
            totals[f"hits@{most}"] += float((places <= most).float().mean())
    return {name: total / int(asked.sum()) for name, total in totals.items()}
