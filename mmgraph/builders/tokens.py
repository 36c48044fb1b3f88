"""Learned tokens of a block, and positions: node types and attributes that no payload gives."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from mmgraph.builders.blocks import Found, Members, check_types, find_members, join, joined
from mmgraph.builders.edges import add
from mmgraph.errors import ConfigError
from mmgraph.schema import Modality, NodeSpec, Schema

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData

INFORMS = "informs"


def bottleneck(
    graph: HeteroData,
    schema: Schema,
    *,
    count: int,
    types: Sequence[str] | None = None,
    group: str | None = None,
    node: str = "bottleneck",
    relation: str = INFORMS,
) -> tuple[HeteroData, Schema]:
    """A few tokens a block attend to all its nodes and to each other, and all nodes attend to them.

    With :func:`mmgraph.builders.patterns.modality_specific` all that modalities exchange goes through the tokens. One
    softmax of a token is over the nodes of all modalities; in the paper a token attends to each modality by itself, and
    the results are averaged.

    Source: Nagrani et al. 2021, Attention bottlenecks for multimodal fusion, section 3.2; arXiv:2107.00135.

    Args:
        graph: The graph; it is left as it is.
        schema: What its types mean.
        count: Tokens a block.
        types: Node types that exchange; by default the schema's modalities.
        group: As of :func:`mmgraph.builders.patterns.merged`.
        node: Name of the tokens' node type. Its ``symbol`` is 0 to ``count - 1``, for
            ``encoders.SymbolEmbedding({node: count}, channels)``.
        relation: Name of the edges.

    Returns:
        As of :func:`mmgraph.builders.patterns.merged`.

    Raises:
        ConfigError: A count below 1, a node type that is there already, or as of :func:`merged`.
        DataError: As of :func:`mmgraph.builders.patterns.merged`.

    Example:
        >>> from mmgraph.testing import fake_graph
        >>> graph, schema = bottleneck(*fake_graph(), count=4)
        >>> graph["bottleneck"].symbol[:6].tolist()
        [0, 1, 2, 3, 0, 1]
    """
    types = check_types(schema, types)
    found, larger, widened = _with_tokens(graph, schema, types, group, count, node)
    pairs = [(node, node), *((one, node) for one in types), *((node, one) for one in types)]
    return add(larger, widened, joined(found, pairs, relation))


def latents(
    graph: HeteroData,
    schema: Schema,
    *,
    count: int,
    types: Sequence[str] | None = None,
    group: str | None = None,
    node: str = "latent",
    relation: str = INFORMS,
) -> tuple[HeteroData, Schema]:
    """A fixed number of tokens a block attend to all its nodes and to each other; nodes attend to nobody.

    However many nodes a block has, ``count`` states come out, and each edge is read once: linear in the nodes. Tokens
    hang on the anchors of their block by ``of`` edges, so that a model gathers them as it gathers a modality. An anchor
    without any modality has its tokens too.

    Source: Jaegle et al. 2021, Perceiver: general perception with iterative attention; arXiv:2103.03206.

    Args, returns and errors are those of :func:`bottleneck`.

    Example:
        >>> from mmgraph.testing import fake_graph
        >>> graph, schema = latents(*fake_graph(), count=2)
        >>> graph["latent"].num_nodes, schema.modalities
        (80, ('scan', 'text', 'latent'))
    """
    types = check_types(schema, types)
    found, larger, widened = _with_tokens(graph, schema, types, group, count, node)
    edges = joined(found, [(node, node), *((one, node) for one in types)], relation)
    if schema.anchor is not None:
        edges[node, "of", schema.anchor] = join(found.members[node], found.anchors)
    return add(larger, widened, edges)


def memory(
    graph: HeteroData,
    schema: Schema,
    *,
    count: int,
    types: Sequence[str] | None = None,
    group: str | None = None,
    node: str = "memory",
    relation: str = INFORMS,
) -> tuple[HeteroData, Schema]:
    """All nodes of a block attend to a few learned slots, which attend to nobody: what is known beforehand.

    Source: Cornia, Stefanini, Baraldi and Cucchiara 2020, Meshed-memory transformer, section 3.1; arXiv:1912.08226
    (whose slots are keys and values beside those of the nodes, anew in each layer).

    Args, returns and errors are those of :func:`bottleneck`.

    Example:
        >>> from mmgraph.testing import fake_graph
        >>> graph, schema = memory(*fake_graph(), count=2)
        >>> [edge for edge in schema.edges if "memory" in edge]
        [('memory', 'informs', 'scan'), ('memory', 'informs', 'text')]
    """
    types = check_types(schema, types)
    found, larger, widened = _with_tokens(graph, schema, types, group, count, node)
    return add(larger, widened, joined(found, [(node, one) for one in types], relation))


def positions(
    graph: HeteroData,
    schema: Schema,
    *,
    types: Sequence[str] | None = None,
    group: str | None = None,
    name: str = "position",
) -> tuple[HeteroData, Schema]:
    """Gives every node its place among the nodes of its type and block, in the order of rows: float32 ``[rows]``.

    A node that is in several blocks has its place in the first; one in none has 0. Read by ``encoders.Positions``.

    Args:
        graph: The graph; it is left as it is.
        schema: What its types mean.
        types: Node types; by default the schema's modalities.
        group: As of :func:`mmgraph.builders.patterns.merged`.
        name: Name of the attribute.

    Returns:
        A new graph, and its schema.

    Raises:
        ConfigError: As of :func:`mmgraph.builders.patterns.merged`.
        DataError: As of :func:`mmgraph.builders.patterns.merged`.

    Example:
        >>> from mmgraph.testing import fake_graph
        >>> graph, schema = positions(*fake_graph())
        >>> int(graph["scan"].position.min()), schema.nodes["scan"].attributes
        (0, ('position',))
    """
    types = check_types(schema, types)
    found = find_members(graph, schema, types, group=group, position=None)
    changed, nodes = copy.copy(graph), dict(schema.nodes)
    for node in types:
        rows, _, places = found.members[node]
        value = places.new_zeros(graph[node].num_nodes)
        changed[node][name] = value.index_copy(0, rows.flip(0), places.flip(0)).float()
        known = nodes[node].attributes
        nodes[node] = nodes[node].model_copy(update={"attributes": tuple(dict.fromkeys([*known, name]))})
    return changed, schema.model_copy(update={"nodes": nodes})


def _with_tokens(
    graph: HeteroData, schema: Schema, types: tuple[str, ...], group: str | None, count: int, node: str
) -> tuple[Found, HeteroData, Schema]:
    """The blocks of some types, with tokens of a new type in each, and the graph that has these."""
    if count < 1:
        raise ConfigError(f"count must be at least 1 token a block, got {count}")
    if node in graph.node_types:
        raise ConfigError(f"node must be a node type that is not there yet, got {node!r}")
    found = find_members(graph, schema, types, group=group, position=None)
    rows = torch.arange(found.num_blocks * count)
    places = rows % count
    found.members[node] = Members(rows, rows // count, places.double())
    larger = copy.copy(graph)
    larger[node].symbol, larger[node].num_nodes = places, len(rows)
    spec = NodeSpec(modality=Modality.SYMBOL, attributes=("symbol",))
    return found, larger, Schema(**{**dict(schema), "nodes": {**schema.nodes, node: spec}})
