"""The facts of a graph as one sparse matrix a relation, and questions answered by their products: exact."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mmgraph.errors import DataError
from mmgraph.functional import Adjacency, aggregate
from mmgraph.questions.query import SHAPES, Path, Query
from mmgraph.schema import Schema
from mmgraph.schema.facts import INVERSE, Numbering

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData


class Facts:
    r"""What is known of some entities, to be followed along relations and back.

    With :math:`A_r \in \{0, 1\}^{E \times E}` the facts of relation :math:`r`, the entities that a path reaches from
    :math:`s` are those where the boolean product :math:`s A_{r_1} A_{r_2} \cdots` is true; an intersection is the
    product of its branches, entry by entry. What is not among the facts is taken for false.

    Source: Cohen, Sun, Hofer & Siegler 2020, Scalable neural methods for reasoning with a symbolic knowledge base,
    arXiv:2002.06115.

    Args:
        triples: ``[facts, 3]``: source, relation, target, by number.
        relations: Names of the relations, in the order of their numbers.
        num_entities: How many entities there are.

    Raises:
        DataError: A number out of range.

    Example:
        >>> facts = Facts(torch.tensor([[0, 0, 1], [0, 0, 2], [1, 1, 3], [2, 1, 3]]), ["child", "lives_in"], 4)
        >>> facts.answers(Query((Path(0, ("child", "lives_in")),))).tolist()
        [3]
        >>> facts.answers(Query((Path(3, ("^lives_in",)), Path(0, ("child",))))).tolist()
        [1, 2]
    """

    def __init__(self, triples: Tensor, relations: Sequence[str], num_entities: int) -> None:
        if triples.dim() != 2 or triples.shape[1] != 3:
            raise DataError(f"Facts must be [facts, 3], got {list(triples.shape)}")
        limits = torch.tensor([num_entities, len(relations), num_entities])
        if ((triples < 0) | (triples >= limits)).any():
            raise DataError(
                f"Facts must join entities 0 to {num_entities - 1} by relations 0 to {len(relations) - 1}, "
                f"got {triples[((triples < 0) | (triples >= limits)).any(dim=1)][0].tolist()}"
            )
        self.triples, self.relations, self.num_entities = triples.unique(dim=0), tuple(relations), num_entities
        self._made: dict[str, Adjacency] = {}

    @classmethod
    def of(cls, graph: HeteroData, schema: Schema, *, among: Iterable[str] | None = None) -> Facts:
        """The facts that the edges of a graph are; hidden edges are no facts, so give it a view.

        Args:
            graph: A view.
            schema: What it means.
            among: Node types whose facts count; by default all that relations join.
        """
        if among is not None:
            kept = set(among)
            edges = {edge: spec for edge, spec in schema.edges.items() if {edge[0], edge[2]} <= kept}
            nodes = {node: spec for node, spec in schema.nodes.items() if node in kept}
            anchor = schema.anchor if schema.anchor in kept else None
            schema = Schema(nodes=nodes, edges=edges, anchor=anchor)
        numbering = Numbering(schema)
        return cls(numbering.facts(graph), numbering.relations, numbering.count(graph))

    def number(self, relation: str) -> int:
        """The number of a relation; that of an inverse comes after all relations.

        Raises:
            DataError: There is no such relation.
        """
        name = relation.removeprefix(INVERSE)
        if name not in self.relations:
            raise DataError(f"Relation must be one of {list(self.relations)}, or ^ and one of them, got {relation!r}")
        return self.relations.index(name) + (len(self.relations) if name != relation else 0)

    def edges(self, relation: str) -> Adjacency:
        """The facts of a relation or of its inverse, sorted once."""
        if relation not in self._made:
            number = self.number(relation)
            rows = self.triples[self.triples[:, 1] == number % len(self.relations)]
            index = rows[:, [0, 2]].T if number < len(self.relations) else rows[:, [2, 0]].T
            self._made[relation] = Adjacency(index.contiguous(), self.num_entities, self.num_entities)
        return self._made[relation]

    def follow(self, states: Tensor, relation: str) -> Tensor:
        """Goes from sets of entities to those that a relation leads to, ``[sets, entities]`` of bool both."""
        return aggregate(states.T.float().contiguous(), self.edges(relation)).T > 0

    def reached(self, queries: Sequence[Query]) -> Tensor:
        """The answers to some queries as a mask, ``[queries, entities]``.

        Raises:
            DataError: A query names an entity or a relation that is not there.
        """
        groups: dict[tuple[object, ...], list[int]] = {}
        for row, query in enumerate(queries):
            self._check(query)
            groups.setdefault((tuple(branch.relations for branch in query.branches), query.then), []).append(row)
        found = torch.zeros(len(queries), self.num_entities, dtype=torch.bool)
        for rows in groups.values():  # queries of one shape and relations go together
            first = queries[rows[0]]
            met = torch.ones(len(rows), self.num_entities, dtype=torch.bool)
            for place, branch in enumerate(first.branches):
                states = torch.zeros(len(rows), self.num_entities, dtype=torch.bool)
                states[range(len(rows)), [queries[row].branches[place].entity for row in rows]] = True
                for relation in branch.relations:
                    states = self.follow(states, relation)
                met &= states
            for relation in first.then:
                met = self.follow(met, relation)
            found[rows] = met
        return found

    def answers(self, query: Query) -> Tensor:
        """The entities that answer a query, ascending."""
        return self.reached([query])[0].nonzero()[:, 0]

    def _check(self, query: Query) -> None:
        for branch in query.branches:
            if branch.entity >= self.num_entities:
                raise DataError(f"Entities must be 0 to {self.num_entities - 1}, got {branch.entity} in a query")
            for relation in branch.relations:
                self.number(relation)
        for relation in query.then:
            self.number(relation)


def draw_queries(facts: Facts, shape: str, count: int, *, seed: int = 0) -> list[Query]:
    """Draws queries that have an answer: from one, back along the facts that lead to it.

    Facts and their inverses are drawn alike; no path turns back at once along the fact that it came by, and no two
    branches are the same. Queries may repeat where there are few.

    Args:
        facts: What is known.
        shape: One of ``1p 2p 3p 2i 3i ip pi``.
        count: How many.
        seed: Of the draw.

    Raises:
        DataError: An unknown shape, or facts that hold no (or hardly a) query of it.

    Example:
        >>> facts = Facts(torch.tensor([[0, 0, 1], [2, 0, 1]]), ["child"], 3)
        >>> query = draw_queries(facts, "2p", 1)[0]
        >>> query.shape, len(facts.answers(query))
        ('2p', 2)
    """
    if shape not in SHAPES:
        raise DataError(f"shape must be one of {list(SHAPES)}, got {shape!r}")
    hops, then = SHAPES[shape]
    generator = torch.Generator().manual_seed(seed)
    into: list[list[tuple[int, str]]] = [[] for _ in range(facts.num_entities)]  # what leads to each entity
    for source, number, target in facts.triples.tolist():
        into[target].append((source, facts.relations[number]))
        into[source].append((target, INVERSE + facts.relations[number]))

    def pick(size: int) -> int:
        return int(torch.randint(size, (1,), generator=generator))

    def back(node: int, length: int) -> tuple[int, tuple[str, ...]] | None:
        names: list[str] = []
        came = -1
        for _ in range(length):
            ways = [way for way in into[node] if not names or way != (came, _turned(names[0]))]
            if not ways:
                return None
            came, (node, name) = node, ways[pick(len(ways))]
            names.insert(0, name)
        return node, tuple(names)

    found: list[Query] = []
    for _ in range(200 * max(count, 1)):
        if len(found) == count:
            return found
        if (tail := back(pick(facts.num_entities), then) if facts.num_entities else None) is None:
            continue
        ends = [back(tail[0], length) for length in hops]
        if any(end is None for end in ends) or len(set(ends)) < len(ends):
            continue
        found.append(Query(tuple(Path(*end) for end in ends if end is not None), tail[1]))
    if len(found) == count:
        return found
    raise DataError(f"The facts must hold {count} queries of shape {shape!r}, found {len(found)}; ask for fewer")


def _turned(relation: str) -> str:
    return relation.removeprefix(INVERSE) if relation.startswith(INVERSE) else INVERSE + relation
