"""Which node goes with which: the regions and words, frames and words, or steps of two series at one anchor.

| method | says | its weights | prefer it when |
|---|---|---|---|
| ``nearest`` | each row's most alike column | 1 for it | columns may serve many rows, or none |
| ``transport`` | the cheapest plan in which all nodes take part equally | a plan, adding up to 1 | all nodes matter |
| ``dtw`` | the cheapest path that keeps the order of both | 1 along it | both are series |
| ``attention`` | what the model itself looked at | a row adds up to at most 1 | the model attends |
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

import torch
from torch import Tensor, nn

from mmgraph.errors import ConfigError, DataError
from mmgraph.explain import Attends
from mmgraph.explain.scene import evaluating
from mmgraph.functional import distance, warp
from mmgraph.functional.assignment import transport
from mmgraph.layers import edge_sets
from mmgraph.schema import Schema
from mmgraph.typing import EdgeSet, EdgeSets, EdgeType, Features, NodeType

if TYPE_CHECKING:
    from rich.table import Table
    from torch_geometric.data import HeteroData

    from mmgraph.functional.similarity import Metric

Method: TypeAlias = Literal["transport", "attention", "nearest", "dtw"]


class Pair(NamedTuple):
    """A row and a column that go together."""

    row: str
    column: str
    weight: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Alignment:
    """The nodes of two types at one anchor, and how much each of one goes with each of the other.

    Args:
        method: How it was found.
        anchor: Row of the anchor.
        a: Node type of the rows.
        b: Node type of the columns.
        rows: Name of each row.
        columns: Name of each column.
        index: Rows of the graph that the rows, and the columns, are.
        weights: ``[rows, columns]``, at least 0.
        cost: Of the plan, the path, or the mean of the nearest; ``None`` of attention.

    Example:
        >>> found = Alignment(
        ...     method="nearest",
        ...     anchor=0,
        ...     a="region",
        ...     b="word",
        ...     rows=("box 1", "box 2"),
        ...     columns=("a", "dog", "runs"),
        ...     index=(torch.tensor([4, 5]), torch.tensor([7, 8, 9])),
        ...     weights=torch.tensor([[0.1, 0.8, 0.1], [0.0, 0.3, 0.7]]),
        ...     cost=0.4,
        ... )
        >>> [tuple(pair)[:2] for pair in found.pairs()]
        [('box 1', 'dog'), ('box 2', 'runs')]
        >>> found.as_edges().index
        tensor([[4, 5],
                [8, 9]])
    """

    method: Method
    anchor: int
    a: NodeType
    b: NodeType
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    index: tuple[Tensor, Tensor]
    weights: Tensor
    cost: float | None

    def pairs(self, threshold: float = 0.5) -> list[Pair]:
        """The pairs that go together, row by row, the strongest of a row first.

        Args:
            threshold: How heavy a pair must be, as a share of its row's heaviest; a weight of 0 is none.

        Raises:
            ConfigError: A threshold that is not from 0 to 1.
        """
        row, column = self._chosen(threshold).tolist()
        weights = self.weights.tolist()
        found = [(i, -weights[i][j], j) for i, j in zip(row, column, strict=True)]
        return [Pair(self.rows[i], self.columns[j], -weight) for i, weight, j in sorted(found)]

    def as_edges(self, threshold: float = 0.5) -> EdgeSet:
        """The same pairs as edges from ``a`` to ``b``, in rows of the graph, with their weights.

        Raises:
            ConfigError: A threshold that is not from 0 to 1.
        """
        row, column = self._chosen(threshold)
        return EdgeSet(torch.stack([self.index[0][row], self.index[1][column]]), self.weights[row, column])

    def table(self, threshold: float = 0.5) -> Table:
        """The same pairs for a terminal.

        Raises:
            ConfigError: A threshold that is not from 0 to 1.
        """
        from rich import box
        from rich.table import Table
        from rich.text import Text

        cost = "" if self.cost is None else f", cost {self.cost:.3f}"
        found = Table(title=Text(f"{self.a} and {self.b} by {self.method}{cost}"), box=box.SIMPLE_HEAD)
        for name in (self.a, self.b):
            found.add_column(Text(name))
        found.add_column("weight", justify="right")
        for pair in self.pairs(threshold):
            found.add_row(Text(pair.row), Text(pair.column), f"{pair.weight:.3f}")
        return found

    def _chosen(self, threshold: float) -> Tensor:
        if not 0 <= threshold <= 1:
            raise ConfigError(f"threshold must be from 0 to 1, a share of a row's largest weight, got {threshold}")
        largest = self.weights.amax(dim=1, keepdim=True)  # [rows, 1]
        return ((self.weights >= threshold * largest) & (self.weights > 0)).nonzero().T


@torch.no_grad()
def align(
    given: nn.Module | Features,
    graph: HeteroData,
    a: NodeType,
    b: NodeType,
    row: int,
    *,
    schema: Schema | None = None,
    method: Method = "transport",
    metric: Metric = "cosine",
    epsilon: float = 0.05,
    window: int | None = None,
    names: Mapping[NodeType, Sequence[str]] | None = None,
) -> Alignment:
    """Aligns the nodes of two types at one anchor.

    The nodes are compared by their states: those given, those after :class:`~mmgraph.model.Model`'s messages within a
    sample, or those in the last space of an :class:`~mmgraph.aligner.Aligner`, each made on the view that can't see the
    other type (with linear projections, their mean is the view's vector).

    Args:
        given: A model or aligner, asked in evaluation mode; or node type → states ``[rows, channels]``, of one width.
        graph: What may be seen.
        a: Node type of the rows.
        b: Node type of the columns.
        row: The anchor's row.
        schema: What the graph means; by default that of the model.
        method: See the table above. ``transport`` is entropic optimal transport between all nodes, each of equal mass
            (Cuturi 2013, arXiv:1306.0895; between regions and words: Chen et al. 2020, UNITER, arXiv:1909.11740);
            ``dtw`` takes the nodes in the order of their rows; ``attention`` is the mean over the heads and layers that
            attend from rows to columns (or, if none does, from columns to rows).
        metric: How states are compared.
        epsilon: Of transport: how soft the plan is, in the unit of the metric.
        window: Of dtw: how far apart two nodes may be, in steps.
        names: Node type → a name for each of the graph's nodes; by default ``"<type> <row>"``.

    Raises:
        ConfigError: An unknown method or node type, no schema, a type that is no view of its own of the aligner, or
            attention that is not there.
        DataError: No such anchor, one that lacks either type, or states of different width.

    Example:
        >>> from mmgraph.testing import fake_graph
        >>> graph, schema = fake_graph(widths={"scan": 3, "text": 3})
        >>> states = {name: graph[name].x for name in ("scan", "text")}
        >>> found = align(states, graph, "scan", "text", 1, schema=schema)
        >>> found.rows, found.columns, round(float(found.weights.sum()), 4)
        (('scan 0', 'scan 1', 'scan 2'), ('text 0',), 1.0)
    """
    known: Schema | None = getattr(given, "schema", None) if schema is None else schema
    if known is None or known.anchor is None:
        raise ConfigError("align needs a schema with an anchor, got none; give schema=")
    if not 0 <= row < graph[known.anchor].num_nodes:
        raise DataError(f"An anchor must be a row from 0 to {graph[known.anchor].num_nodes - 1}, got {row}")
    index = (_at(graph, known, a, row), _at(graph, known, b, row))
    if not all(map(len, index)):
        raise DataError(
            f"Anchor {row} must have nodes of both types to align, got {len(index[0])} {a!r}, {len(index[1])} {b!r}"
        )
    weights, cost = _weigh(given, graph, (a, b), index, method, metric, epsilon, window)
    return Alignment(
        method=method,
        anchor=row,
        a=a,
        b=b,
        rows=_names(names, a, index[0]),
        columns=_names(names, b, index[1]),
        index=index,
        weights=weights,
        cost=cost,
    )


def _weigh(
    given: nn.Module | Features,
    graph: HeteroData,
    types: tuple[NodeType, NodeType],
    index: tuple[Tensor, Tensor],
    method: Method,
    metric: Metric,
    epsilon: float,
    window: int | None,
) -> tuple[Tensor, float | None]:
    if method == "attention":
        return _attended(given, graph, types, index), None
    states = [state[rows] for state, rows in zip(_states(given, graph, types), index, strict=True)]
    if states[0].shape[1] != states[1].shape[1]:
        raise DataError(
            f"States must have one width to be compared, got {states[0].shape[1]} of {types[0]!r} and "
            f"{states[1].shape[1]} of {types[1]!r}; align in the space of an Aligner"
        )
    costs = distance(*states, metric=metric)  # [rows, columns]
    weights = torch.zeros_like(costs)
    if method == "transport":
        shares = [costs.new_full((count,), 1 / count) for count in costs.shape]
        weights = transport(costs, *shares, epsilon=epsilon)
        return weights, float((weights * costs).sum())
    if method == "nearest":
        least, column = costs.min(dim=1)
        weights[torch.arange(len(costs)), column] = 1
        return weights, float(least.mean())
    if method == "dtw":
        found = warp(costs, window=window)
        weights[found.path[0], found.path[1]] = 1
        return weights, float(found.cost)
    raise ConfigError(f"method must be 'transport', 'attention', 'nearest' or 'dtw', got {method!r}")


def _states(given: nn.Module | Features, graph: HeteroData, types: Sequence[NodeType]) -> list[Tensor]:
    """The states of all nodes of some types."""
    if isinstance(given, Mapping):
        found: Mapping[str, Tensor] = given
    else:
        with evaluating(given):
            if hasattr(given, "project"):
                found = {node: given.states(graph, node) for node in types}
            else:
                found = given.within(given.encoder(graph), edge_sets(graph))
    if unknown := [node for node in types if node not in found]:
        raise ConfigError(f"Nodes to align must have states, some of {sorted(found)}, got {unknown[0]!r}")
    return [found[node] for node in types]


def _attended(
    given: nn.Module | Features, graph: HeteroData, types: tuple[NodeType, NodeType], index: tuple[Tensor, Tensor]
) -> Tensor:
    """What the rows attend to, or if they attend to no column, what attends to them; mean over the layers."""
    a, b = types
    seen: list[dict[EdgeType, EdgeSet]] = []

    def note(layer: nn.Module, args: tuple[Features, EdgeSets]) -> None:
        assert isinstance(layer, Attends)
        weights = layer.weights(*args)
        seen.append({name: EdgeSet(args[1][name].index, one.mean(dim=1)) for name, one in weights.items()})

    if isinstance(given, nn.Module):
        layers: Iterable[nn.Module] = (layer for layer in given.modules() if isinstance(layer, Attends))
        hooks = [layer.register_forward_pre_hook(note) for layer in layers]
        try:
            with evaluating(given):
                given(graph)
        finally:
            for hook in hooks:
                hook.remove()
    for source, target in ((b, a), (a, b)):
        tables = [
            torch.stack([_table(edges, index, turned=source == a) for edges in joined]).sum(dim=0)
            for layer in seen
            if (joined := [edges for name, edges in layer.items() if (name[0], name[2]) == (source, target)])
        ]
        if tables:
            return torch.stack(tables).mean(dim=0)
    raise ConfigError(
        f"attention needs a model with layers that attend from {a!r} to {b!r} or back, "
        f"got {type(given).__name__} without; take transport or nearest"
    )


def _table(edges: EdgeSet, index: tuple[Tensor, Tensor], *, turned: bool) -> Tensor:
    """The weights of edges from columns to rows (turned: from rows to columns), ``[rows, columns]``."""
    ends = edges.index if turned else edges.index.flip(0)
    assert edges.weight is not None
    kept = torch.isin(ends[0], index[0]) & torch.isin(ends[1], index[1])
    place = [torch.searchsorted(rows, end[kept]) for rows, end in zip(index, ends, strict=True)]
    found = edges.weight.new_zeros(len(index[0]), len(index[1]))
    return found.index_put_((place[0], place[1]), edges.weight[kept], accumulate=True)


def _at(graph: HeteroData, schema: Schema, node: NodeType, row: int) -> Tensor:
    """The nodes of a type that hang on an anchor, in order."""
    joins = [edge for edge in schema.edges if (edge[0], edge[2]) == (node, schema.anchor)]
    path = schema.paths.get(node, tuple(joins))
    if not path or (node not in schema.paths and len(joins) > 1):
        raise ConfigError(f"Nodes to align must hang on {schema.anchor!r}, as {sorted(schema.paths)} do, got {node!r}")
    found = torch.tensor([row])
    for edge in reversed(path):
        source, target = graph[edge].edge_index
        found = source[torch.isin(target, found)].unique()
    return found


def _names(names: Mapping[NodeType, Sequence[str]] | None, node: NodeType, rows: Tensor) -> tuple[str, ...]:
    given = (names or {}).get(node)
    return tuple(f"{node} {row}" if given is None else str(given[row]) for row in rows.tolist())
