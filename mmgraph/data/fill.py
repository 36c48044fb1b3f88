r"""Missing modalities, filled in: nodes with made-up features where an anchor has none, and marked as such.

A missing modality is a node that is not there, and most models do well to leave it so. Where one must be there:

| how | the made-up features | needs |
|---|---|---|
| ``leave`` | none: the graph stays as it is | |
| ``mean`` | the mean of the modality, over training rows | |
| ``neighbours`` | the mean of the neighbours', theirs made up in turn, until nothing changes | relations |
| ``pagerank`` | the mean of those who have it, weighted by how often a walk from the anchor visits them | relations |
| ``token`` | zeros, which :class:`~mmgraph.encoders.LearnedToken` replaces by what was learned | training |

``neighbours`` is feature propagation with rows that are known kept (Rossi, Kenlay, Gorinova, Chamberlain, Dong,
Bronstein, "On the unreasonable effectiveness of feature propagation in learning on graphs with missing node
features", LoG 2022, arXiv:2111.12128), with the mean in place of their symmetric normalisation, so that a made-up row
lies among those it is made of. ``pagerank`` weighs by personalised PageRank,

.. math:: \pi_i = \sum_{k \ge 0} \alpha (1 - \alpha)^k (P^k)_{i\cdot}

(Page, Brin, Motwani, Winograd 1999; Gasteiger, Bojchevski, Günnemann 2019, arXiv:1810.05997), where :math:`P_{ij}` is
the share of i's incoming edges that come from j, restricted to the anchors that have the modality.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Collection
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias, get_args

import torch
from torch import Tensor

from mmgraph.errors import ConfigError, DataError
from mmgraph.schema import Schema
from mmgraph.schema.checks import check_present

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData

How: TypeAlias = Literal["leave", "mean", "neighbours", "pagerank", "token"]
HOWS: tuple[How, ...] = get_args(How)

FILLED = "filled"
RESTART = 0.15  # α
STEPS = 100  # of a walk: 0.85 ** 100 is below 1e-7
LEAST_ROUNDS, MOST_ROUNDS, CHANGE = 40, 1000, 1e-6  # of propagation, once all that can be reached are


def fill(
    graph: HeteroData, schema: Schema, how: How = "leave", *, modalities: Collection[str] | None = None
) -> HeteroData:
    """Returns a graph in which each anchor has a node of each modality; the one given is left as it is.

    An anchor that lacks a modality gets one node of it: features ``x`` made up as ``how`` says, an ``of`` edge, and
    ``True`` in the type's mask ``filled [rows]``, which is ``False`` for all that is data. What is filled already is
    never data to make others of. The other attributes of a made-up node are NaN, 0 or False (``n_id`` is -1), and no
    relation joins it.

    Fill a *view*, so that nothing can be made of what is hidden. On a whole graph the guard is this: the mean is over
    training, where there is a ``train_mask``; and in the regimes that hide parts of the split, relations that lead
    from a part that is hidden (in ``single_query``: from any anchor outside training) are not followed.

    Joined are two anchors by the relations between anchors, and by those between their nodes. Where a relation was
    made from a modality (``near_<modality>``), it has no edge at an anchor that lacks it: what is left are the
    relations made from the others.

    Args:
        graph: A graph or a view; not a batch of many.
        schema: What its types mean; it must have an anchor.
        how: How features are made up; see the table above. Where no neighbour can be reached that has the modality,
            it is the mean; where nobody in training has it, zeros.
        modalities: Which; by default all that have numeric ``x``.

    Raises:
        ConfigError: An unknown ``how`` or modality, a modality without numeric ``x``, or a schema without an anchor.
        DataError: A batch of graphs.
        SchemaError: A type of the schema is not in the graph.

    Example:
        >>> from torch_geometric.data import HeteroData
        >>> graph = HeteroData()
        >>> graph["patient"].x = torch.empty(3, 0)
        >>> graph["scan"].x = torch.tensor([[1.0], [5.0]])
        >>> graph["scan", "of", "patient"].edge_index = torch.tensor([[0, 1], [0, 1]])
        >>> graph["patient", "knows", "patient"].edge_index = torch.tensor([[1], [2]])
        >>> schema = Schema.infer(graph, anchor="patient")
        >>> full = fill(graph, schema, "neighbours")
        >>> full["scan"].x.flatten().tolist(), full["scan"].filled.tolist()
        ([1.0, 5.0, 5.0], [False, False, True])
        >>> fill(graph, schema, "mean")["scan"].x.flatten().tolist()
        [1.0, 5.0, 3.0]
    """
    if how not in HOWS:
        raise ConfigError(f"how must be one of {list(HOWS)}, got {how!r}")
    anchor = _anchor(schema)
    check_present(graph, schema.nodes, schema.edges)
    if "_slice_dict" in graph._global_store.__dict__:
        raise DataError("A graph to fill must be one graph, got a batch of several; fill each before it is batched")
    names = _names(graph, schema, modalities)
    if how == "leave":
        return graph
    changed = copy.copy(graph)
    ties = _ties(graph, schema, anchor) if how in ("neighbours", "pagerank") else None
    for name in names:
        part = _part(graph, name, anchor)
        lacking = ~part.has_node
        x = part.mean.expand(int(lacking.sum()), -1)
        if how == "token":
            x = torch.zeros_like(x)
        elif ties is not None:
            found, reached = _propagate(ties, part) if how == "neighbours" else _walk(ties, part)
            x = torch.where(reached[lacking][:, None], found[lacking], x)
        _append(changed, name, anchor, lacking, x.to(graph[name].x.dtype))
    return changed


class _Part(NamedTuple):
    """One modality: what each anchor has of it."""

    values: Tensor  # [anchors, channels], the mean of an anchor's own nodes; zeros where it has none
    has: Tensor  # [anchors], those who have data
    has_node: Tensor  # [anchors], those who have a node, be it made up
    mean: Tensor  # [1, channels]


def _part(graph: HeteroData, name: str, anchor: str) -> _Part:
    store = graph[name]
    row, owner = graph[name, "of", anchor].edge_index
    anchors = int(graph[anchor].num_nodes)
    has_node = torch.zeros(anchors, dtype=torch.bool, device=row.device)
    has_node[owner] = True
    if FILLED in store:
        real = ~store[FILLED][row]
        row, owner = row[real], owner[real]
    x = store.x[row].to(torch.float64)  # [edges, channels]
    count = torch.bincount(owner, minlength=anchors)
    values = x.new_zeros(anchors, x.shape[1]).index_add(0, owner, x) / count.clamp_min(1)[:, None]
    train = graph[anchor].get("train_mask")
    seen = x if train is None else x[train[owner]]
    mean = seen.sum(dim=0, keepdim=True) / max(len(seen), 1)
    return _Part(values, count > 0, has_node, mean)


def _propagate(ties: Tensor, part: _Part) -> tuple[Tensor, Tensor]:
    """Means over neighbours, those who have the modality kept fixed, until nothing changes: values, who is reached."""
    values, reached, known = part.values, part.has, part.has[:, None]
    for number in itertools.count():
        mass = torch.sparse.mm(ties, reached.to(values.dtype)[:, None])  # [anchors, 1]
        mean = torch.sparse.mm(ties, values) / torch.where(mass > 0, mass, torch.ones_like(mass))
        moved = torch.where(known, part.values, torch.where(mass > 0, mean, values))
        grown = reached | (mass[:, 0] > 0)
        still = bool((grown == reached).all())
        change = float((moved - values).abs().max()) if moved.numel() else 0.0
        values, reached = moved, grown
        if still and ((number >= LEAST_ROUNDS and change < CHANGE) or number >= MOST_ROUNDS):
            break
    return values, reached


def _walk(ties: Tensor, part: _Part) -> tuple[Tensor, Tensor]:
    """Means weighted by personalised PageRank: values, and who reaches anybody that has the modality."""
    has = part.has.to(part.values.dtype)[:, None]
    start = torch.cat([part.values * has, has], dim=1)  # [anchors, channels + 1]
    visited = start
    for _ in range(STEPS):
        visited = RESTART * start + (1 - RESTART) * torch.sparse.mm(ties, visited)
    weight = visited[:, -1:]  # [anchors, 1]
    return visited[:, :-1] / torch.where(weight > 0, weight, torch.ones_like(weight)), weight[:, 0] > 0


def _ties(graph: HeteroData, schema: Schema, anchor: str) -> Tensor:
    """How much each anchor's neighbours count for it, ``[anchors, anchors]``, sparse; rows add up to 1, or to 0."""
    anchors = int(graph[anchor].num_nodes)
    ends, weights = [], []
    for edge_type in schema.edges:
        source, relation, target = edge_type
        if relation == "of" or source != target or source not in (anchor, *schema.modalities):
            continue
        store = graph[edge_type]
        index, weight = store.edge_index, store.get("edge_weight")
        if source != anchor:
            index, kept = _lifted(index, graph[source, "of", anchor].edge_index, graph[source].num_nodes)
            weight = None if weight is None else weight[kept]
        ends.append(index)
        size = index.shape[1]
        weights.append(torch.ones(size, dtype=torch.float64) if weight is None else weight.double().clamp_min(0))
    index = torch.cat(ends, dim=1) if ends else torch.empty(2, 0, dtype=torch.long)
    weight = torch.cat(weights) if weights else torch.empty(0, dtype=torch.float64)
    allowed = (index[0] != index[1]) & _allowed(graph, schema, index)
    (source, target), weight = index[:, allowed], weight[allowed]
    mass = weight.new_zeros(anchors).index_add(0, target, weight)[target]
    share = weight / torch.where(mass > 0, mass, torch.ones_like(mass))
    return torch.sparse_coo_tensor(
        torch.stack([target, source]), share, (anchors, anchors), check_invariants=True
    ).coalesce()


def _lifted(index: Tensor, of: Tensor, rows: int) -> tuple[Tensor, Tensor]:
    """Edges between nodes as edges between the anchors that they are of (the last, if several), and which have both."""
    owner = torch.full((rows,), -1, dtype=torch.long, device=index.device)
    owner[of[0]] = of[1]
    ends = owner[index]
    kept = (ends >= 0).all(dim=0)
    return ends[:, kept], kept


def _allowed(graph: HeteroData, schema: Schema, index: Tensor) -> Tensor:
    """Mask ``[edges]`` of the edges along which features may flow in this regime."""
    store = graph[_anchor(schema)]
    if schema.regime == "transductive" or "val_mask" not in store or "test_mask" not in store:
        return torch.ones(index.shape[1], dtype=torch.bool, device=index.device)
    part = store.val_mask.long() + 2 * store.test_mask.long()  # 0 for training and those of no part
    source, target = part[index[0]], part[index[1]]
    return (source == 0) | ((source == target) if schema.regime == "cohort_hidden" else torch.zeros_like(source).bool())


def _append(graph: HeteroData, name: str, anchor: str, lacking: Tensor, x: Tensor) -> None:
    """Adds a made-up node to each anchor that lacks one."""
    store, of = graph[name], graph[name, "of", anchor]
    rows, edges, more = int(store.num_nodes), of.edge_index.shape[1], len(x)
    was = store.get(FILLED, torch.zeros(rows, dtype=torch.bool, device=x.device))
    for key, value in list(store.items()):
        if isinstance(value, Tensor) and value.dim() > 0 and len(value) == rows and key != "x":
            nothing = float("nan") if value.dtype.is_floating_point else -int(key == "n_id")
            store[key] = torch.cat([value, value.new_full((more, *value.shape[1:]), nothing)])
    if "num_nodes" in store:
        store.num_nodes = rows + more
    store.x = torch.cat([store.x, x])
    store[FILLED] = torch.cat([was, was.new_ones(more)])
    made = torch.stack([torch.arange(rows, rows + more, device=x.device), lacking.nonzero().flatten()])
    for key, value in list(of.items()):
        if key == "edge_index":
            of.edge_index = torch.cat([value, made], dim=1)
        elif isinstance(value, Tensor) and value.dim() > 0 and len(value) == edges:
            of[key] = torch.cat([value, value.new_full((more, *value.shape[1:]), int(key == "edge_weight"))])


def _names(graph: HeteroData, schema: Schema, modalities: Collection[str] | None) -> list[str]:
    numeric = [name for name in schema.modalities if "x" in graph[name] and graph[name].x.dtype.is_floating_point]
    for name in modalities or ():
        if name not in numeric:
            raise ConfigError(f"modalities must be among those with numeric x, {numeric}, got {name!r}")
    return numeric if modalities is None else [name for name in numeric if name in modalities]


def _anchor(schema: Schema) -> str:
    if schema.anchor is None:
        raise ConfigError("Modalities hang on an anchor; the schema must have one, got anchor=None")
    return schema.anchor
