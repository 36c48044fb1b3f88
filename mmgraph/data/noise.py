"""Noise on features that looks like the features: they say less than they seem to."""

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
class FeatureNoise:
    r"""Replaces a share of the variance of numeric features by Gaussian noise of the same covariance.

    .. math:: \tilde x = \mu + \sqrt{1 - \lambda}\,(x - \mu) + \sqrt{\lambda}\,\varepsilon, \qquad
        \varepsilon \sim \mathcal N(0, \Sigma)

    with mean :math:`\mu` and covariance :math:`\Sigma` of the rows of a type, which so stay as they are: 0 leaves a row
    alone, 1 leaves nothing of it. It mends features that know too much: those that were trained on the labels of the
    training part are surer there than they will ever be again, and a model that believes them learns to ask nobody
    else. As the transform of a fit or a loader, it draws other noise in each step.

    Relates to: training with white noise, which is a penalty on weights (Bishop 1995, doi:10.1162/neco.1995.7.1.108).

    Args:
        share: Node type → :math:`\lambda`. Types that are not named stay as they are.

    Raises:
        ConfigError: A share outside of 0 to 1.
        DataError: A type is not in the graph, or has no ``x`` of floating point (when called).

    Example:
        >>> from mmgraph.testing import fake_graph
        >>> graph, _ = fake_graph()
        >>> noisy = FeatureNoise({"scan": 0.5})(graph, torch.Generator().manual_seed(0))
        >>> torch.equal(noisy["scan"].x, graph["scan"].x), noisy["text"].x is graph["text"].x
        (False, True)
    """

    share: Mapping[str, float]

    def __post_init__(self) -> None:
        for node, share in self.share.items():
            if not _is_share(share):
                raise ConfigError(f"The share of {node!r} must be a number from 0 to 1, got {share!r}")

    def __call__(self, graph: Graph, generator: torch.Generator) -> Graph:
        """Returns the graph, or batch, with noise; the one given is left as it is."""
        noisy = copy.copy(graph)
        for node in sorted(self.share):
            x = graph[node].get("x") if node in graph.node_types else None
            if x is None or not x.is_floating_point():
                raise DataError(f"FeatureNoise needs {node!r} nodes with numeric x, got a graph of {graph.node_types}")
            if len(x):
                noisy[node].x = _noisy(x, self.share[node], generator)
        return noisy


def _noisy(x: Tensor, share: float, generator: torch.Generator) -> Tensor:
    drawn = torch.randn(x.shape, generator=generator, dtype=torch.float64)  # on the CPU, wherever x is
    mean = x.double().mean(dim=0)
    centred = x.double() - mean
    values, axes = torch.linalg.eigh(centred.T @ centred / len(x))  # of the covariance, [channels]
    noise = (drawn.to(x.device) * values.clamp_min(0).sqrt()) @ axes.T  # [rows, channels]
    return (mean + (1 - share) ** 0.5 * centred + share**0.5 * noise).to(x.dtype)


def _is_share(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1
