"""Rows blended with others: features that say less than they seem to."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mmgraph.errors import ConfigError, DataError

if TYPE_CHECKING:
    from typing import TypeVar

    from torch_geometric.data import HeteroData

    Graph = TypeVar("Graph", bound=HeteroData)


@dataclass(frozen=True)
class Blend:
    r"""Blends the numeric features of each node with those of another of its type, drawn anew each time.

    .. math:: \tilde x_i = \mu + \sqrt{1 - \lambda}\,(x_i - \mu) + \sqrt{\lambda}\,(x_j - \mu), \qquad j \text{ uniform}

    Mean and covariance stay as they are, while the share :math:`\lambda` of the variance is about somebody else: 0
    leaves a row alone, 1 replaces it. It is noise that looks like the data, and mends features that know too much:
    those that were trained on the labels of the training part are surer there than they will ever be again, and a model
    that believes them learns to ask nobody else. As the transform of a fit or a loader, it draws others in each step.

    Relates to: mixup (Zhang, Cissé, Dauphin and Lopez-Paz 2018, arXiv:1710.09412), which blends the labels too.

    Args:
        share: Node type → :math:`\lambda`. Types that are not named stay as they are.

    Raises:
        ConfigError: A share outside of 0 to 1.
        DataError: A type is not in the graph, or has no ``x`` of floating point (when called).

    Example:
        >>> from mmgraph.testing import fake_graph
        >>> graph, _ = fake_graph()
        >>> blended = Blend({"scan": 0.5})(graph, torch.Generator().manual_seed(0))
        >>> torch.equal(blended["scan"].x, graph["scan"].x), blended["text"].x is graph["text"].x
        (False, True)
    """

    share: Mapping[str, float]

    def __post_init__(self) -> None:
        for node, share in self.share.items():
            if isinstance(share, bool) or not isinstance(share, int | float) or not 0 <= share <= 1:
                raise ConfigError(f"The share of {node!r} must be a number from 0 to 1, got {share!r}")

    def __call__(self, graph: Graph, generator: torch.Generator) -> Graph:
        """Returns the graph, or batch, with blended rows; the one given is left as it is."""
        blended = copy.copy(graph)
        for node in sorted(self.share):
            x = graph[node].get("x") if node in graph.node_types else None
            if x is None or not x.is_floating_point():
                raise DataError(f"Blend needs {node!r} nodes with numeric x, got a graph of {graph.node_types}")
            if len(x):
                blended[node].x = _blended(x, self.share[node], generator)
        return blended


def _blended(x: Tensor, share: float, generator: torch.Generator) -> Tensor:
    partner = torch.randint(len(x), (len(x),), generator=generator).to(x.device)  # drawn on the CPU, wherever x is
    mean = x.mean(dim=0)
    centred = x - mean
    return mean + (1 - share) ** 0.5 * centred + share**0.5 * centred.index_select(0, partner)
