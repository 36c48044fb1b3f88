"""Noise on features: what a model is trained on is never as clean as it looks."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from mmgraph.errors import ConfigError, DataError

if TYPE_CHECKING:
    from typing import TypeVar

    from torch_geometric.data import HeteroData

    Graph = TypeVar("Graph", bound=HeteroData)


@dataclass(frozen=True)
class FeatureNoise:
    r"""Adds Gaussian noise to numeric features: as the transform of a fit or a loader, other noise each time.

    .. math:: \tilde x = x + \sigma \varepsilon, \qquad \varepsilon \sim \mathcal N(0, I)

    In a linear model it is a penalty on the squared weights (Bishop 1995, Training with noise is equivalent to Tikhonov
    regularization, doi:10.1162/neco.1995.7.1.108). It also mends features that know too much: those that were trained
    on the labels of the training part are surer there than they will ever be again, and a model that believes them
    learns to ask nobody else. A channel that is the same in all rows stays as it is.

    Args:
        std: Node type → :math:`\sigma`, in the units of its ``x``. Types that are not named stay as they are.

    Raises:
        ConfigError: A negative or infinite :math:`\sigma`.
        DataError: A type is not in the graph, or has no ``x`` of floating point (when called).

    Example:
        >>> from mmgraph.testing import fake_graph
        >>> graph, _ = fake_graph()
        >>> noisy = FeatureNoise({"scan": 0.5})(graph, torch.Generator().manual_seed(0))
        >>> torch.equal(noisy["scan"].x, graph["scan"].x), noisy["text"].x is graph["text"].x
        (False, True)
    """

    std: Mapping[str, float]

    def __post_init__(self) -> None:
        for node, std in self.std.items():
            if not _is_deviation(std):
                raise ConfigError(f"The std of {node!r} must be a number of at least 0, got {std!r}")

    def __call__(self, graph: Graph, generator: torch.Generator) -> Graph:
        """Returns the graph, or batch, with noise; the one given is left as it is."""
        noisy = copy.copy(graph)
        for node in sorted(self.std):
            x = graph[node].get("x") if node in graph.node_types else None
            if x is None or not x.is_floating_point():
                raise DataError(f"FeatureNoise needs {node!r} nodes with numeric x, got a graph of {graph.node_types}")
            drawn = torch.randn(x.shape, generator=generator, dtype=torch.float64)  # on the CPU, whatever x is on
            varies = (x != x[:1]).any(dim=0)  # [channels]
            noisy[node].x = x + self.std[node] * drawn.to(x) * varies
        return noisy


def _is_deviation(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf
