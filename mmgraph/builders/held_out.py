"""Edges taken out of a graph, to be asked for: no copy of them stays."""

from __future__ import annotations

import copy
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Generator, Tensor

from mmgraph.errors import ConfigError, DataError, SchemaError
from mmgraph.schema import NodeSpec, Schema, TargetSpec
from mmgraph.typing import EdgeType

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData

PARTS = ("train", "val", "test")
ROUNDS = 32  # of draws, before all pairs that are left are listed
MOST_LISTED = 1 << 26  # pairs


def hold_out(
    graph: HeteroData,
    schema: Schema,
    relation: EdgeType,
    *,
    val: float = 0.05,
    test: float = 0.1,
    train: float = 0.0,
    negatives: int = 1,
    seed: int = 0,
    also: Collection[EdgeType] = (),
    node: str = "pair",
    target: str = "joined",
) -> tuple[HeteroData, Schema]:
    """Takes some edges out, and asks for them among pairs that are no edges.

    Two nodes that edges join, in whichever direction and however often, are one pair, and all its edges go together:
    an edge whose reverse stays behind would be no question. So do its edges of the inverse relation (``"^" + name``)
    and of ``also``. Loops stay.

    The graph gets a node type with a row a pair: ``source`` and ``target``, the rows of its nodes, ``joined`` (1 or 0)
    and the masks of the parts, in an order that says nothing. Where both directions were edges, one is asked for at
    random. The others of a part are drawn from all pairs that no edge joins in either direction, each at most once in
    all parts. :class:`mmgraph.tasks.EdgePrediction` asks for them. Edges are drawn whatever falls apart: a node may be
    left without any.

    Args:
        graph: The graph; it is left as it is.
        schema: What it means.
        relation: The edge type.
        val: Share of the pairs that validation asks for.
        test: Share that the test asks for.
        train: Share that is taken out to be asked for in training, for models that learn from such questions.
        negatives: Pairs that are no edges, for each one that is.
        seed: Of all draws.
        also: Further edge types between nodes of the two types, from which edges of held-out pairs are taken.
        node: Name of the node type of the pairs.
        target: Name of the target, and of the attribute that holds it.

    Returns:
        The graph and its schema.

    Raises:
        SchemaError: An edge type that the schema does not have or that joins other types, or a node type or target that
            it has already.
        ConfigError: Shares that are not in their range or leave no edge, or negatives below 1.
        DataError: Too few edges for each part to get one, or too few pairs that are no edges.

    Example:
        >>> from mmgraph.testing import fake_graph
        >>> near = ("subject", "near", "subject")
        >>> graph, schema = fake_graph()
        >>> left, more = hold_out(graph, schema, near, val=0.1, test=0.2)
        >>> graph[near].edge_index.shape[1], left[near].edge_index.shape[1], left["pair"].num_nodes
        (117, 82, 70)
    """
    shares = dict(zip(PARTS, (train, val, test), strict=True))
    _check(schema, relation, also, node, target)
    if min(shares.values()) < 0 or not 0 < sum(shares.values()) < 1 or negatives < 1:
        raise ConfigError(
            f"train, val and test must be at least 0 and in sum between 0 and 1, and negatives at least 1, "
            f"got {train}, {val}, {test} and {negatives}"
        )
    generator = Generator().manual_seed(seed)
    pairs = _Pairs(graph, relation)
    keys = pairs.keys(graph[relation].edge_index)
    known = keys[keys >= 0].unique()
    counts = {part: round(share * len(known)) for part, share in shares.items()}
    if empty := [part for part in PARTS if shares[part] > 0 and counts[part] == 0]:
        raise DataError(
            f"{relation} must have enough pairs for each part to get 1, got {len(known)}, of which {empty[0]} would "
            f"get {shares[empty[0]]}; raise the share"
        )
    drawn = known[torch.randperm(len(known), generator=generator)[: sum(counts.values())]]
    others = pairs.unjoined(known, negatives * len(drawn), generator)
    held = copy.copy(graph)
    for edge in _same_pairs(schema, relation, also):
        _take_out(held[edge], torch.isin(pairs.keys(graph[edge].edge_index, back=edge[0] != relation[0]), drawn))
    number = torch.repeat_interleave(torch.arange(len(PARTS)), torch.tensor([counts[part] for part in PARTS]))
    rows = torch.cat([pairs.directed(graph[relation].edge_index, keys, drawn, generator), pairs.ends(others)], dim=1)
    joined = torch.arange(rows.shape[1]) < len(drawn)
    part = torch.cat([number, number.repeat(negatives)])
    order = torch.randperm(rows.shape[1], generator=generator)
    held[node].num_nodes = len(order)
    held[node].source, held[node].target = rows[:, order]
    held[node][target] = joined[order].long()
    for place, name in enumerate(PARTS):
        held[node][f"{name}_mask"] = part[order] == place
    return held, _with_pairs(schema, node, target)


class _Pairs:
    """Pairs of nodes as numbers: the same for both directions, where both nodes are of one type."""

    def __init__(self, graph: HeteroData, relation: EdgeType) -> None:
        self.rows = tuple(int(graph[end].num_nodes or 0) for end in (relation[0], relation[2]))
        self.alike = relation[0] == relation[2]

    def keys(self, index: Tensor, *, back: bool = False) -> Tensor:
        """The number of each edge's pair; -1 for a loop. ``back``: the edges lead from the second type to the first."""
        one, other = (index.flip(0) if back else index).long()
        if self.alike:
            one, other = torch.minimum(one, other), torch.maximum(one, other)
        keys = one * self.rows[1] + other
        return keys.masked_fill(one == other, -1) if self.alike else keys

    def ends(self, keys: Tensor) -> Tensor:
        """Both nodes of each pair, ``[2, pairs]``."""
        return torch.stack([keys // max(self.rows[1], 1), keys % max(self.rows[1], 1)])

    def directed(self, index: Tensor, keys: Tensor, drawn: Tensor, generator: Generator) -> Tensor:
        """For each pair one of its edges, at random, ``[2, pairs]``."""
        mixed = torch.randperm(len(keys), generator=generator)
        order = mixed[keys[mixed].argsort(stable=True)]
        return index.long()[:, order[torch.searchsorted(keys[order].contiguous(), drawn)]]

    def unjoined(self, known: Tensor, count: int, generator: Generator) -> Tensor:
        """Numbers of pairs that are not known, each once, uniform over all of them, in either order."""
        possible = self.rows[0] * (self.rows[0] - 1) // 2 if self.alike else self.rows[0] * self.rows[1]
        if count > possible - len(known):
            raise DataError(
                f"There must be {count} pairs of nodes that are no edges, got {possible - len(known)}; hold fewer out"
            )
        found = known[:0]
        for _ in range(ROUNDS):
            ends = torch.stack([torch.randint(rows, (2 * count,), generator=generator) for rows in self.rows])
            new = self.keys(ends)
            found = _distinct(torch.cat([found, new[(new >= 0) & ~torch.isin(new, known)]]))
            if len(found) >= count:
                break
        else:
            found = self._listed(known, generator)
        found = found[:count]
        if not self.alike:
            return found
        turned = torch.rand(count, generator=generator) < 0.5
        one, other = self.ends(found)
        return torch.where(turned, other * self.rows[1] + one, found)

    def _listed(self, known: Tensor, generator: Generator) -> Tensor:
        if self.rows[0] * self.rows[1] > MOST_LISTED:
            raise DataError(f"Fewer pairs must be edges for others to be drawn, got {len(known)}; hold fewer out")
        every = torch.arange(self.rows[0] * self.rows[1])
        free = torch.ones(len(every), dtype=torch.bool)
        free[known] = False
        if self.alike:
            one, other = self.ends(every)
            free &= one < other
        left = every[free]
        return left[torch.randperm(len(left), generator=generator)]


def _distinct(values: Tensor) -> Tensor:
    """Each value once, where it comes first."""
    unique, place = values.unique(return_inverse=True)
    first = torch.full_like(unique, len(values)).scatter_reduce(0, place, torch.arange(len(values)), "amin")
    return values[first.sort().values]


def _take_out(store: object, gone: Tensor) -> None:
    for key, value in list(store.items()):  # type: ignore[attr-defined]
        if isinstance(value, Tensor):
            store[key] = value[:, ~gone] if key == "edge_index" else value[~gone]  # type: ignore[index]


def _same_pairs(schema: Schema, relation: EdgeType, also: Collection[EdgeType]) -> Sequence[EdgeType]:
    """The relation, its inverse if there is one, and what else joins the same nodes."""
    inverse = (relation[2], "^" + relation[1], relation[0])
    return list(dict.fromkeys([relation, *([inverse] if inverse in schema.edges else []), *also]))


def _check(schema: Schema, relation: EdgeType, also: Collection[EdgeType], node: str, target: str) -> None:
    for edge in (relation, *also):
        if edge not in schema.edges:
            raise SchemaError(f"Edges to hold out must be of a type of the schema, {list(schema.edges)}, got {edge}")
        if {edge[0], edge[2]} != {relation[0], relation[2]}:
            raise SchemaError(f"also must join {relation[0]!r} and {relation[2]!r} as {relation} does, got {edge}")
    if node in schema.nodes or target in schema.targets:
        raise SchemaError(
            f"The pairs must be a new node type and a new target, got {node!r} and {target!r} beside "
            f"{list(schema.nodes)} and {list(schema.targets)}; name them otherwise"
        )


def _with_pairs(schema: Schema, node: str, target: str) -> Schema:
    return Schema(
        nodes={**schema.nodes, node: NodeSpec(attributes=("source", "target"))},
        edges=schema.edges,
        targets={
            **schema.targets,
            target: TargetSpec(node=node, attribute=target, kind="binary", classes=("no", "yes")),
        },
        anchor=schema.anchor,
        regime=schema.regime,
    )
