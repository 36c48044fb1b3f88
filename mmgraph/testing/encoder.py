"""Whether an encoder keeps its promises."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch

from mmgraph.encoders import Encoder
from mmgraph.schema import Schema, view
from mmgraph.testing.expect import check_registered, expect, name_of, same, untouched
from mmgraph.testing.perturb import with_new_payload
from mmgraph.typing import Features

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData


def check_encoder(encoder: Encoder, graph: HeteroData, schema: Schema, *, seed: int = 0) -> None:
    """Checks an encoder: a row a node, zero rows, views, and no influence of one type on another.

    Args:
        encoder: What to check; it is checked in evaluation mode.
        graph: A graph with at least one row of each type that it encodes.
        schema: What the graph means: the encoder may read no more than it declares.
        seed: Of the perturbations.

    Raises:
        AssertionError: A promise is broken.

    Example:
        >>> from mmgraph.encoders import Table
        >>> from mmgraph.testing import check_encoder, fake_graph
        >>> check_encoder(Table({"scan": 3, "text": 5}, 4), *fake_graph())
    """
    encoder, name = copy.deepcopy(encoder).eval(), name_of(encoder)
    with untouched(graph, encoder):
        features = encoder(graph)
    _check_rows(name, features, graph)
    check_registered(encoder, torch.cat([state.flatten() for state in features.values()]))
    seen = encoder(view(graph, schema))
    for node, state in features.items():
        expect(
            node in seen and same(seen[node], state),
            f"{name} must encode a view like the graph, got other features of {node!r}; "
            "it may read what the schema declares, and no label",
        )
    generator = torch.Generator().manual_seed(seed)
    for node in features:
        empty = view(graph, schema, hide=[node])
        without = encoder(empty)
        _check_rows(name, without, empty)
        width = [0, features[node].shape[1]]
        expect(list(without[node].shape) == width, f"{name} must give {width} for no {node!r}, got {without[node]}")
        moved = encoder(with_new_payload(graph, node, generator, attributes=schema.nodes[node].attributes))
        expect(not same(moved[node], features[node]), f"{name} must read the payload of {node!r}, got no change by it")
        for other in features:
            alone = other == node or (same(without[other], features[other]) and same(moved[other], features[other]))
            expect(alone, f"{name} must encode {other!r} by itself, got other features where {node!r} changed")


def _check_rows(name: str, features: Features, graph: HeteroData) -> None:
    expect(bool(features), f"{name} must encode at least 1 node type, got none")
    for node, state in features.items():
        rows = graph[node].num_nodes
        expect(
            state.dim() == 2 and len(state) == rows,
            f"{name} must give {node!r} a row a node, [{rows}, channels], got {list(state.shape)}",
        )
        expect(bool(state.isfinite().all()), f"{name} must give finite features, got NaN or infinity for {node!r}")
