"""Meta-paths: nodes that a path of several edge types joins, as an edge type of its own."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy.sparse import csr_matrix

from mmgraph.errors import ConfigError
from mmgraph.schema import EdgeSpec, Schema
from mmgraph.typing import EdgeSet, EdgeType

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData

INVERSE = "^"


def add_metapaths(
    graph: HeteroData,
    schema: Schema,
    paths: Mapping[str, Sequence[EdgeType]],
    *,
    counts: bool = False,
    loops: bool = True,
    most: int | None = None,
    seed: int = 0,
) -> tuple[HeteroData, Schema]:
    r"""A graph in which nodes that are joined by a path of given edge types are joined by one edge.

    .. math:: A_{P} = A_{r_1} A_{r_2} \cdots A_{r_n}, \qquad u \to v \text{ where } (A_P)_{uv} > 0

    ``PAP``, two papers by one author, is the path paper – author – paper. A step may be an edge type of the graph, or
    the inverse of one, with ``^`` before the name of the relation: then its edges are read backwards. Two papers with
    two authors in common are joined by two paths, and by one edge of the weight 2, if weights are asked for. Weights of
    the edges on the way are not read; an edge that is there twice makes two paths.

    Source: Sun, Han, Yan, Yu and Wu 2011, PathSim: meta path-based top-k similarity search in heterogeneous information
    networks, definition 2 (their commuting matrix is :math:`A_P`); doi:10.14778/3402707.3402736.

    Args:
        graph: The graph; it is left as it is.
        schema: What it means.
        paths: Name of the new relation → its steps, each from the node type that the one before leads to.
        counts: Whether an edge weighs the number of paths that it stands for.
        loops: Whether a node is joined to itself, where a path leads back to it.
        most: At most so many edges into a node, those of the most paths; of equal ones some at random, and a loop
            before the others. ``None`` keeps all.
        seed: Of what is drawn.

    Returns:
        The graph with the new edge types, sorted by target, and its schema.

    Raises:
        ConfigError: A path has less than two steps, a step is no edge type or does not start where the one before ends,
            ``most`` is below 1, or the new edge type is there already.

    Example:
        >>> from torch_geometric.data import HeteroData
        >>> graph = HeteroData()
        >>> graph["paper"].x, graph["author"].x = torch.zeros(3, 1), torch.zeros(2, 1)
        >>> graph["paper", "by", "author"].edge_index = torch.tensor([[0, 0, 1, 1, 2], [0, 1, 0, 1, 1]])
        >>> path = [("paper", "by", "author"), ("author", "^by", "paper")]
        >>> joined, schema = add_metapaths(graph, Schema.infer(graph), {"PAP": path}, counts=True, loops=False)
        >>> joined["paper", "PAP", "paper"].edge_index.tolist(), joined["paper", "PAP", "paper"].edge_weight.tolist()
        ([[1, 2, 0, 2, 0, 1], [0, 0, 1, 1, 2, 2]], [2.0, 1.0, 2.0, 1.0, 1.0, 1.0])
    """
    if most is not None and most < 1:
        raise ConfigError(f"most must be at least 1, or None, got {most}")
    larger, specs = copy.copy(graph), dict(schema.edges)
    for name, steps in paths.items():
        edge = _ends(graph, name, steps)
        if edge in specs or edge in graph.edge_types:
            raise ConfigError(f"A meta-path must be of a type that is not there yet, got {edge}; take another name")
        found = _compose(graph, steps, loops=loops, most=most, rng=np.random.default_rng(seed))
        larger[edge].edge_index = found.index
        if counts:
            larger[edge].edge_weight = found.weight
        specs[edge] = EdgeSpec(weighted=counts)
    return larger, Schema(**{**dict(schema), "edges": specs})


def _ends(graph: HeteroData, name: str, steps: Sequence[EdgeType]) -> EdgeType:
    """The new edge type of a path, whose steps are checked."""
    if len(steps) < 2:
        raise ConfigError(f"A meta-path needs at least 2 steps, got {len(steps)} for {name!r}")
    for step in steps:
        if step not in graph.edge_types and _back(step) not in graph.edge_types:
            raise ConfigError(
                f"A step must be an edge type or the inverse of one, got {step} in {name!r}; "
                f"there are {sorted(graph.edge_types)}"
            )
    for before, after in pairwise(steps):
        if before[2] != after[0]:
            raise ConfigError(f"A step must start where the one before ends, got {before} and then {after} in {name!r}")
    return steps[0][0], name, steps[-1][2]


def _back(step: EdgeType) -> EdgeType:
    """The edge type that leads the other way."""
    source, name, target = step
    return target, name.removeprefix(INVERSE) if name.startswith(INVERSE) else INVERSE + name, source


def _compose(
    graph: HeteroData, steps: Sequence[EdgeType], *, loops: bool, most: int | None, rng: np.random.Generator
) -> EdgeSet:
    product = _matrix(graph, steps[0])
    for step in steps[1:]:
        product = product @ _matrix(graph, step)  # [sources, targets], how many paths
    into = product.T.tocsr()
    into.sort_indices()
    targets = np.repeat(np.arange(into.shape[0]), np.diff(into.indptr))
    sources, number = into.indices.astype(np.int64), into.data
    if not loops and steps[0][0] == steps[-1][2]:
        other = sources != targets
        sources, targets, number = sources[other], targets[other], number[other]
    if most is not None:
        own = (sources == targets) & (steps[0][0] == steps[-1][2])
        order = np.lexsort((rng.random(len(sources)), -number, ~own, targets))  # by target; loops and many paths first
        place = np.arange(len(order)) - np.searchsorted(targets, targets)  # of each among those into its target
        kept = np.sort(order[place < most])
        sources, targets, number = sources[kept], targets[kept], number[kept]
    return EdgeSet(torch.from_numpy(np.stack([sources, targets])), torch.from_numpy(number).float())


def _matrix(graph: HeteroData, step: EdgeType) -> csr_matrix:
    """How many edges of a step lead from each source to each target, ``[sources, targets]``."""
    if step in graph.edge_types:
        rows, columns = graph[step].edge_index.numpy()
    else:
        columns, rows = graph[_back(step)].edge_index.numpy()
    shape = (graph[step[0]].num_nodes, graph[step[2]].num_nodes)
    return csr_matrix((np.ones(len(rows), dtype=np.int64), (rows, columns)), shape=shape)
