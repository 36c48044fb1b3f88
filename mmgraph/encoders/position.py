"""Where in its sequence a node is, added to what it is."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mmgraph.encoders.base import Encoder
from mmgraph.errors import ConfigError, DataError
from mmgraph.typing import Features

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData


class Positions(Encoder):
    r"""Another encoder, to whose features sinusoids of each node's position are added: attention knows no order.

    .. math:: h_v \leftarrow h_v + p, \qquad p_{2i} = \sin(t_v / \lambda^{2i / c}), \quad
        p_{2i + 1} = \cos(t_v / \lambda^{2i / c})

    Reads ``graph[type].position [rows]``, e.g. from :func:`mmgraph.builders.patterns.positions`: places, or seconds
    times some rate. Nothing is learned.

    Source: Vaswani et al. 2017, Attention is all you need, section 3.5; arXiv:1706.03762.

    Args:
        encoder: What encodes the nodes.
        nodes: Node types whose nodes have positions.
        name: Name of the attribute.
        longest: :math:`\lambda`; wavelengths are :math:`2 \pi` to :math:`2 \pi \lambda`.

    Raises:
        ConfigError: No node types, or a wavelength that is not above 1.

    Example:
        >>> from torch_geometric.data import HeteroData
        >>> from mmgraph.encoders import Raw
        >>> graph = HeteroData()
        >>> graph["word"].x, graph["word"].position = torch.zeros(2, 4), torch.tensor([0.0, 1.0])
        >>> Positions(Raw(["word"]), ["word"])(graph)["word"]
        tensor([[0.0000, 1.0000, 0.0000, 1.0000],
                [0.8415, 0.5403, 0.0100, 0.9999]])
    """

    def __init__(
        self, encoder: Encoder, nodes: Iterable[str], *, name: str = "position", longest: float = 10_000.0
    ) -> None:
        super().__init__()
        self.encoder, self.nodes, self.name, self.longest = encoder, tuple(nodes), name, longest
        if not self.nodes or isinstance(nodes, str) or not 1 < longest < math.inf:
            raise ConfigError(
                f"Positions needs a list of node types and a longest wavelength above 1, got {nodes!r}, {longest}"
            )

    def forward(self, graph: HeteroData) -> Features:
        """Gives ``[rows, channels]`` for each node type of the encoder."""
        features = dict(self.encoder(graph))
        for node in self.nodes:
            position = graph[node].get(self.name)
            if position is None or position.shape != (features[node].shape[0],):
                got = "none" if position is None else list(position.shape)
                raise DataError(
                    f"{node!r} must have {self.name} [{len(features[node])}], a number a node, got {got}; "
                    "builders.patterns.positions(graph, schema) gives it"
                )
            features[node] = features[node] + sinusoids(position, features[node].shape[1], longest=self.longest)
        return features


def sinusoids(position: Tensor, channels: int, *, longest: float = 10_000.0) -> Tensor:
    """Sinusoids of some positions, ``[rows, channels]``: sines at even channels, cosines at odd ones.

    Example:
        >>> sinusoids(torch.tensor([0.0]), 3)
        tensor([[0., 1., 0.]])
    """
    even = torch.arange(0, channels, 2, device=position.device)
    angle = position.to(torch.get_default_dtype())[:, None] * torch.exp(even * (-math.log(longest) / max(channels, 1)))
    return torch.stack([angle.sin(), angle.cos()], dim=2).flatten(1)[:, :channels]
