"""A learned vector where a modality was filled in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import nn

from mmgraph.encoders.base import Encoder
from mmgraph.errors import ConfigError
from mmgraph.keys import weight_key
from mmgraph.typing import Features

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData


class LearnedToken(Encoder):
    r"""Another encoder, whose features of made-up nodes are replaced by one learned vector a node type.

    .. math:: h_v = t_{\tau(v)} \text{ if } v \text{ is filled, else } f(v)

    Nodes that :func:`mmgraph.data.fill` has made up are marked in ``filled [rows]``; a type without that mask has none.
    The vectors start at 0 and learn where training has made-up nodes: because modalities are missing there, or are
    taken away on purpose (:class:`mmgraph.data.ModalityDropout`, and ``fill(…, "token")`` after it).

    Source: learned vectors in place of absent inputs are the mask token of Devlin, Chang, Lee and Toutanova 2019,
    BERT, arXiv:1810.04805; for a missing modality as a prompt: Lee, Tsai, Chiu and Lee 2023, arXiv:2303.03369.

    Args:
        encoder: What encodes all other nodes.
        widths: Node type → channels that the encoder gives it.

    Raises:
        ConfigError: No node type, or a width below 1.

    Example:
        >>> from torch_geometric.data import HeteroData
        >>> from mmgraph.encoders import Raw
        >>> graph = HeteroData()
        >>> graph["scan"].x, graph["scan"].filled = torch.ones(2, 3), torch.tensor([False, True])
        >>> LearnedToken(Raw(["scan"]), {"scan": 3})(graph)["scan"].tolist()
        [[1.0, 1.0, 1.0], [0.0, 0.0, 0.0]]
    """

    def __init__(self, encoder: Encoder, widths: Mapping[str, int]) -> None:
        super().__init__()
        if not widths or min(widths.values()) < 1:
            raise ConfigError(f"LearnedToken needs node types with widths of at least 1, got {dict(widths)}")
        self.encoder, self.nodes = encoder, tuple(widths)
        self.token = nn.ParameterDict(
            {weight_key(node): nn.Parameter(torch.zeros(width)) for node, width in widths.items()}
        )

    def forward(self, graph: HeteroData) -> Features:
        """Gives ``[rows, channels]`` for each node type of the encoder."""
        features = dict(self.encoder(graph))
        for node in self.nodes:
            state = features[node]
            filled = graph[node].get("filled", state.new_zeros(state.shape[0], dtype=torch.bool))
            features[node] = torch.where(filled[:, None], self.token[weight_key(node)].to(state.dtype), state)
        return features
