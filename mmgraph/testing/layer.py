"""Whether a layer keeps its promises."""

from __future__ import annotations

import copy

import torch
from torch import Generator, Tensor

from mmgraph.layers import Layer
from mmgraph.testing.expect import check_registered, close, expect, name_of, same
from mmgraph.typing import EdgeSet, EdgeSets, Features


def check_layer(layer: Layer, features: Features, edges: EdgeSets, *, seed: int = 0) -> None:
    """Checks a layer: equivariance, lonely nodes, relations without edges, types without nodes, other relations.

    Args:
        layer: What to check; it is checked in evaluation mode.
        features: States of each type, ``[rows, channels]``.
        edges: Edges of each type, at least one.
        seed: Of the permutation.

    Raises:
        AssertionError: A promise is broken.

    Example:
        >>> from mmgraph.layers import Mean
        >>> from mmgraph.testing import check_layer, fake_states
        >>> features, edges = fake_states(4)
        >>> check_layer(Mean(4, 8, relations=edges), features, edges)
    """
    layer, name = copy.deepcopy(layer).eval(), name_of(layer)
    given = {node: state.clone() for node, state in features.items()}
    out = layer(features, edges)
    _check_states(name, "", out, features)
    kept = features.keys() == given.keys() and all(same(features[node], given[node]) for node in given)
    expect(kept, f"{name} must leave the states that it is given as they are, got others")
    check_registered(layer, torch.cat([state.flatten() for state in out.values()]))
    _check_permuted(layer, features, edges, out, torch.Generator().manual_seed(seed))
    _check_edges(layer, features, edges, out)
    lonely = {node: torch.cat([state, torch.ones_like(state[:1])]) for node, state in features.items()}
    _check_states(name, " with a node more that has no neighbour", layer(lonely, edges), lonely)
    for gone in (*([node] for node in features), list(features)):
        _check_gone(layer, features, edges, gone)


def _check_states(name: str, where: str, out: Features, features: Features) -> None:
    for node, state in features.items():
        expect(node in out, f"{name}{where} must give states of {node!r} too, got {sorted(out)}")
        rows = len(state)
        expect(
            out[node].dim() == 2 and len(out[node]) == rows,
            f"{name}{where} must give {node!r} a row a node, [{rows}, channels], got {list(out[node].shape)}",
        )
        expect(bool(out[node].isfinite().all()), f"{name}{where} must give finite states, got others for {node!r}")


def _check_permuted(layer: Layer, features: Features, edges: EdgeSets, out: Features, generator: Generator) -> None:
    order = {node: torch.randperm(len(state), generator=generator) for node, state in features.items()}
    place = {node: rows.argsort() for node, rows in order.items()}  # row before → row after
    moved = {}
    for (source, relation, target), (index, weight) in edges.items():
        shuffled = torch.randperm(index.shape[1], generator=generator)
        ends = torch.stack([place[source][index[0]], place[target][index[1]]])[:, shuffled]
        moved[source, relation, target] = EdgeSet(ends, None if weight is None else weight[shuffled])
    after = layer({node: state[order[node]] for node, state in features.items()}, moved)
    for node, state in out.items():
        expect(
            close(after[node], state[order[node]]),
            f"{name_of(layer)} must permute its states as the nodes are permuted, got others for {node!r}",
        )


def _check_edges(layer: Layer, features: Features, edges: EdgeSets, out: Features) -> None:
    name = name_of(layer)
    none = {edge: _only(edge_set, torch.zeros_like(edge_set.index[0]).bool()) for edge, edge_set in edges.items()}
    _check_states(name, " without any edge", layer(features, none), features)
    node = next(iter(features))
    unknown = (node, "unknown to the layer", node)
    loops = torch.arange(len(features[node])).expand(2, -1)
    after = layer(features, {**edges, unknown: EdgeSet(loops)})
    for other, state in out.items():
        expect(same(after[other], state), f"{name} must leave relations aside that it was not made for, got {unknown}")


def _check_gone(layer: Layer, features: Features, edges: EdgeSets, gone: list[str]) -> None:
    fewer = {node: state[:0] if node in gone else state for node, state in features.items()}
    kept = {}
    for edge, edge_set in edges.items():
        stays = edge[0] not in gone and edge[2] not in gone
        kept[edge] = _only(edge_set, torch.full_like(edge_set.index[0], stays).bool())
    _check_states(name_of(layer), f" without rows of {gone}", layer(fewer, kept), fewer)


def _only(edge_set: EdgeSet, which: Tensor) -> EdgeSet:
    return EdgeSet(edge_set.index[:, which], None if edge_set.weight is None else edge_set.weight[which])
