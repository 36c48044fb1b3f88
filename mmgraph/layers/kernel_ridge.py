"""Kernel machines on population graphs: the edges are the kernel, the states are what is known of a node."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from mmgraph.errors import ConfigError
from mmgraph.functional.kernels import combine_kernels, kernel_ridge
from mmgraph.layers.base import Layer, check_relations, keep
from mmgraph.typing import EdgeSets, EdgeType, Features, NodeType

MOST_NODES = 10_000
"""Most nodes of one type: all pairs of them are held."""


class KernelRidge(Layer):
    r"""What is said of a node by what is known of all others, by kernel ridge regression over weighted edges.

    .. math:: f(i) = \sum_{j \in L,\, j \ne i} a_j K_{ij} + b, \qquad K_{ij} = \sum_r w^r_{ji}, \quad K_{ii} = 1

    over the known nodes L: those whose state is not all zeros, e.g. labels (:class:`mmgraph.encoders.Labels`). No
    node's own state enters its answer (:func:`mmgraph.functional.kernel_ridge`), so that the loss on training nodes is
    the exact loss on a node left out, and the ridge, and the shares of the relations, can be trained by it. The
    relations must be kernels of diagonal 1: all pairs, as of ``PopulationConfig(k=None, kernel=True)``.

    Args:
        relations: Edge types between nodes of one type.
        shares: ``given``: relations are summed as they are, as :func:`mmgraph.builders.weigh` has weighed them;
            ``learned``: :math:`\sum_r \beta_r w^r`, where :math:`\beta` is a softmax, equal at the start, and nodes
            that a relation does not reach count as in :func:`mmgraph.functional.combine_kernels`.
        ridge: Where :math:`\lambda` starts; it is learned.

    Raises:
        ConfigError: An option out of its range, a relation between two types, or (when called) too many nodes.

    Example:
        >>> from mmgraph.typing import EdgeSet
        >>> near = ("a", "near", "a")
        >>> layer = KernelRidge(relations=[near], ridge=0.01)
        >>> pair = torch.tensor([[0, 1, 2, 3, 0, 1], [1, 0, 3, 2, 4, 4]])
        >>> known = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0], [0.0, 0.0]])
        >>> layer({"a": known}, {near: EdgeSet(pair, torch.full((6,), 0.9))})["a"].argmax(dim=1)
        tensor([0, 0, 1, 1, 0])
    """

    def __init__(self, *, relations: Iterable[EdgeType], shares: str = "given", ridge: float = 1.0) -> None:
        super().__init__()
        if shares not in ("given", "learned") or not ridge > 0:
            raise ConfigError(f"shares must be 'given' or 'learned' and ridge above 0, got {shares!r} and {ridge}")
        self.relations = check_relations(relations)
        if mixed := [relation for relation in self.relations if relation[0] != relation[2]]:
            raise ConfigError(f"KernelRidge joins nodes of one type, got {mixed[0]}")
        self.log_ridge = nn.Parameter(torch.tensor([ridge]).log())
        self.scores = nn.Parameter(torch.zeros(len(self.relations))) if shares == "learned" else None

    @property
    def shares(self) -> dict[EdgeType, float]:
        """How much each relation counts; 1 where that is given by the edges."""
        if self.scores is None:
            return dict.fromkeys(self.relations, 1.0)
        return dict(zip(self.relations, self.scores.detach().softmax(dim=0).tolist(), strict=True))

    def forward(self, features: Features, edges: EdgeSets) -> Features:
        """Gives what is said of each node, in the shapes of what is known."""
        nodes = dict.fromkeys(relation[0] for relation in self.relations)
        said = {node: self._said(features[node], edges, node) for node in nodes}
        return {**features, **said}

    def _said(self, state: Tensor, edges: EdgeSets, node: NodeType) -> Tensor:
        if len(state) > MOST_NODES:
            raise ConfigError(
                f"KernelRidge holds all pairs of at most {MOST_NODES:,} nodes, got {len(state):,} {node!r}"
            )
        known = (state != 0).any(dim=1)
        return kernel_ridge(self._kernel(state, edges, node), state, known, ridge=self.log_ridge.exp()).answers

    def _kernel(self, state: Tensor, edges: EdgeSets, node: NodeType) -> Tensor:
        """The sum of the relations' edges, ``[rows, rows]``: into row i from column j."""
        rows, dtype = len(state), state.dtype
        own = [relation for relation in self.relations if relation[0] == node]
        loops = torch.eye(rows, dtype=torch.bool, device=state.device)
        if self.scores is None:
            kernel = self._kept(edges, tuple(own), rows, dtype)
            return kernel.masked_fill(loops, 1.0)
        each = [self._kept(edges, (relation,), rows, dtype) for relation in own]
        shares = self.scores.softmax(dim=0)[[self.relations.index(relation) for relation in own]]
        present = []
        for kernel in each:
            reached = (kernel != 0).any(dim=0) | (kernel != 0).any(dim=1)
            present.append((reached, reached))
        return combine_kernels(each, shares, present=present).masked_fill(loops, 1.0)

    @staticmethod
    def _kept(edges: EdgeSets, relations: tuple[EdgeType, ...], rows: int, dtype: torch.dtype) -> Tensor:
        """The edges of some relations as a matrix, laid out once for as long as they are kept."""

        def make() -> Tensor:
            kernel = torch.zeros(rows, rows, dtype=dtype, device=edges[relations[0]].index.device)
            for (source, target), weight in (edges[relation] for relation in relations):
                weight = torch.ones(len(source), device=kernel.device) if weight is None else weight
                kernel = kernel.index_put((target, source), weight.to(dtype), accumulate=True)
            return kernel

        if any(weight is not None and weight.requires_grad for _, weight in (edges[one] for one in relations)):
            return make()
        return keep(edges, ("kernel", relations, rows, dtype), make)

    def extra_repr(self) -> str:
        """What is printed of the layer."""
        return f"relations={len(self.relations)}, shares={'given' if self.scores is None else 'learned'}"
