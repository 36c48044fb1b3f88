"""The pieces of a text as nodes, so that messages and decoders attend to each of them."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch

from mmgraph.errors import ConfigError
from mmgraph.schema import EdgeSpec, NodeSpec, Schema

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData


def split_pieces(
    graph: HeteroData, schema: Schema, text: str, *, attribute: str = "tokens", node: str = "piece"
) -> tuple[HeteroData, Schema]:
    """A node for each piece of each text, of its text, each joined to the one after it.

    A text that was encoded as numbers of pieces, ``tokens [rows, length]`` with 0 where it has ended, becomes a chain.
    The pieces have their number as ``symbol`` (for ``encoders.SymbolEmbedding({node: len(vocabulary)}, channels)``) and
    their place as ``position`` (for ``encoders.Positions``). The end, number 1 of texts, is a piece like the others. As
    the text is of the anchor, its pieces reach the anchor through it: they are a part of what a
    :class:`~mmgraph.Model` gathers, and each is a node that a :class:`~mmgraph.Translator`'s decoder attends to.

    Args:
        graph: The graph; it is left as it is.
        schema: What its types mean.
        text: Node type of the texts.
        attribute: The tensor of the numbers.
        node: Name of the pieces' node type.

    Returns:
        The graph and its schema, with the node type and ``(node, "of", text)`` and ``(node, "next", node)`` edges.

    Raises:
        ConfigError: No such texts, or a node type that is there already.

    Example:
        >>> from torch_geometric.data import HeteroData
        >>> graph = HeteroData()
        >>> graph["photo"].x = torch.empty(2, 0)
        >>> graph["name"].tokens = torch.tensor([[5, 7, 1], [5, 1, 0]])
        >>> graph["name", "of", "photo"].edge_index = torch.tensor([[0, 1], [0, 1]])
        >>> nodes = {"photo": NodeSpec(channels=0), "name": NodeSpec(attributes=("tokens",))}
        >>> schema = Schema(nodes=nodes, edges={("name", "of", "photo"): EdgeSpec()}, anchor="photo")
        >>> graph, schema = split_pieces(graph, schema, "name")
        >>> graph["piece"].symbol.tolist(), graph["piece"].position.tolist()
        ([5, 7, 1, 5, 1], [0.0, 1.0, 2.0, 0.0, 1.0])
        >>> graph["piece", "next", "piece"].edge_index.tolist(), list(schema.paths)
        ([[0, 1, 3], [1, 2, 4]], ['name', 'piece'])
    """
    if text not in schema.nodes or attribute not in schema.nodes[text].attributes:
        raise ConfigError(
            f"Texts must be nodes with {attribute!r}, some of "
            f"{[name for name, spec in schema.nodes.items() if attribute in spec.attributes]}, got {text!r}"
        )
    if node in schema.nodes:
        raise ConfigError(f"Pieces must be of a node type that is not there yet, got {node!r}; name it by node=")
    numbers = graph[text][attribute]  # [texts, length]
    owner, place = (numbers != 0).nonzero().T
    larger = copy.copy(graph)
    larger[node].symbol = numbers[owner, place]
    larger[node].position = place.to(torch.float32)
    larger[node].num_nodes = len(owner)
    row = torch.arange(len(owner), device=owner.device)
    larger[node, "of", text].edge_index = torch.stack([row, owner])
    first = (owner[1:] == owner[:-1]).nonzero()[:, 0]
    larger[node, "next", node].edge_index = torch.stack([first, first + 1])
    spec = NodeSpec(modality=schema.nodes[text].modality, attributes=("symbol", "position"))
    edges = {**schema.edges, (node, "of", text): EdgeSpec(), (node, "next", node): EdgeSpec()}
    return larger, Schema(**{**dict(schema), "nodes": {**schema.nodes, node: spec}, "edges": edges})
