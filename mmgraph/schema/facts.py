"""The facts of a knowledge graph, in numbers: its entities, its relations, and the edges that join them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmgraph.errors import SchemaError
from mmgraph.schema.schema import Schema

if TYPE_CHECKING:
    from torch import Tensor
    from torch_geometric.data import HeteroData

INVERSE = "^"
"""What the name of an inverse relation begins with, as in SPARQL's property paths."""


class Numbering:
    """The numbers of entities and relations.

    Entities are the nodes that relations join, numbered through, type after type. Relations are the names of edge
    types other than ``of``, in the order of the schema; that of ``^r``, the inverse of ``r``, is the number of ``r``
    plus how many relations there are. Nodes that are ``of`` others are payloads: what joins them (the frames of a
    video) is no fact.

    Args:
        schema: What the types mean.

    Attributes:
        entities: Node types, in order.
        relations: Names, in order, without those of inverses.
        joins: The edge types that are facts, or inverses of them.

    Raises:
        SchemaError: Nothing is joined by a relation, or an inverse's relation is not there.

    Example:
        >>> from mmgraph.schema import EdgeSpec, NodeSpec
        >>> edges = dict.fromkeys([("a", "knows", "a"), ("a", "^knows", "a"), ("a", "likes", "b")], EdgeSpec())
        >>> found = Numbering(Schema(nodes=dict.fromkeys(["b", "a"], NodeSpec()), edges=edges))
        >>> found.entities, found.relations, found.number("likes"), found.number("^knows")
        (('b', 'a'), ('knows', 'likes'), 1, 2)
    """

    def __init__(self, schema: Schema) -> None:
        payloads = {source for source, name, _ in schema.edges if name == "of"}
        joins = [edge for edge in schema.edges if edge[1] != "of" and not payloads & {edge[0], edge[2]}]
        ends = {end for source, _, target in joins for end in (source, target)}
        self.entities = tuple(node for node in schema.nodes if node in ends)
        self.relations = tuple(dict.fromkeys(name for _, name, _ in joins if not name.startswith(INVERSE)))
        self.joins = tuple(joins)
        if not self.relations:
            raise SchemaError(f"A knowledge graph needs at least 1 relation, got edge types {list(schema.edges)}")
        self._numbers = {name: number for number, name in enumerate(self.relations)}
        if odd := [name for _, name, _ in joins if name.removeprefix(INVERSE) not in self._numbers]:
            raise SchemaError(f"Inverse relation {odd[0]!r} needs {odd[0][1:]!r}, got relations {list(self.relations)}")

    def number(self, relation: str) -> int:
        """The number of a relation, or of its inverse.

        Raises:
            SchemaError: There is no such relation.
        """
        name = relation.removeprefix(INVERSE)
        if name not in self._numbers:
            raise SchemaError(f"Relation must be one of {list(self.relations)}, got {relation!r}")
        return self._numbers[name] + (len(self.relations) if name != relation else 0)

    def offsets(self, graph: HeteroData) -> dict[str, int]:
        """The number of the first entity of each type."""
        found, first = {}, 0
        for node in self.entities:
            found[node] = first
            first += int(graph[node].num_nodes)
        return found

    def count(self, graph: HeteroData) -> int:
        """How many entities there are."""
        return sum(int(graph[node].num_nodes) for node in self.entities)

    def facts(self, graph: HeteroData) -> Tensor:
        """The edges of a graph as facts ``[facts, 3]``: number of the source, of the relation, of the target.

        Inverse edges are left out: they say nothing else.

        Example:
            >>> import torch
            >>> from torch_geometric.data import HeteroData
            >>> graph = HeteroData()
            >>> graph["a"].num_nodes = 3
            >>> graph["a", "knows", "a"].edge_index = torch.tensor([[0, 2], [1, 0]])
            >>> Numbering(Schema.infer(graph)).facts(graph).tolist()
            [[0, 0, 1], [2, 0, 0]]
        """
        import torch

        first, rows = self.offsets(graph), []
        for source, name, target in self.joins:
            if not name.startswith(INVERSE):
                heads, tails = graph[source, name, target].edge_index
                number = torch.full_like(heads, self._numbers[name])
                rows.append(torch.stack([heads + first[source], number, tails + first[target]], dim=1))
        return torch.cat(rows)
