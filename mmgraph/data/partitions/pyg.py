"""A partitioned graph behind PyTorch Geometric's interfaces: feature store, graph store and sampler."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import FeatureStore, GraphStore
from torch_geometric.data.feature_store import TensorAttr
from torch_geometric.data.graph_store import EdgeAttr, EdgeLayout
from torch_geometric.sampler import BaseSampler, HeteroSamplerOutput, NodeSamplerInput

from mmgraph.data.partitions.graph import GraphParts
from mmgraph.data.partitions.rows import Reader
from mmgraph.data.sampler import NeighbourSampler
from mmgraph.data.sampling.draw import key_of
from mmgraph.data.sampling.memory import Recycler
from mmgraph.errors import ConfigError, DataError


class PartFeatures(FeatureStore):
    """The node attributes of a partitioned graph as PyG's ``FeatureStore``; read-only.

    Args:
        graph: The graph.

    Example:
        >>> from mmgraph.data.partitions import partition_graph
        >>> from mmgraph.testing import fake_graph
        >>> whole, folder = fake_graph()[0], getfixture("tmp_path") / "parts"
        >>> _ = partition_graph(whole, folder, parts=2, method="random")
        >>> store = PartFeatures(GraphParts(folder))
        >>> bool((store["scan", "x", torch.tensor([1, 0])] == whole["scan"].x[[1, 0]]).all())
        True
    """

    def __init__(self, graph: GraphParts) -> None:
        super().__init__()
        self.__dict__["graph"] = graph

    def get_all_tensor_attrs(self) -> list[TensorAttr]:
        """Every attribute of every node type."""
        return [TensorAttr(name, key) for name, rows in self._graph.nodes.items() for key in rows]

    def _get_tensor(self, attr: TensorAttr) -> Tensor | None:
        return self._multi_get_tensor([attr])[0]

    def _multi_get_tensor(self, attrs: Sequence[TensorAttr]) -> list[Tensor | None]:
        graph = self._graph
        reader = Reader(graph.owners, Recycler())
        found: list[Tensor | None] = []
        for attr in attrs:
            name, key = attr.group_name, attr.attr_name
            if key not in graph.nodes.get(name, {}):
                found.append(None)
                continue
            places = graph.book.place(name, _rows(attr.index, graph.num_nodes[name]))
            found.append(reader.want(graph.book.nodes[name], places, [key], graph.kept.get(name))[key])
        reader.read()
        return found

    def _get_tensor_size(self, attr: TensorAttr) -> tuple[int, ...] | None:
        one = self._graph.book.nodes.get(attr.group_name)
        if one is None or attr.attr_name not in one.attributes:
            return None
        return (len(one), *one.attributes[attr.attr_name][1])

    def _put_tensor(self, tensor: Any, attr: TensorAttr) -> bool:
        raise _read_only(attr)

    def _remove_tensor(self, attr: TensorAttr) -> bool:
        raise _read_only(attr)

    @property
    def _graph(self) -> GraphParts:
        graph: GraphParts = self.__dict__["graph"]
        return graph


class PartEdges(GraphStore):
    """The edges of a partitioned graph as PyG's ``GraphStore``; read-only.

    Whoever asks for an edge type gets all its edges into memory: PyG's own samplers do so. `PartSampler` does not ask.

    Args:
        graph: The graph.
    """

    def __init__(self, graph: GraphParts) -> None:
        super().__init__()
        self.__dict__["graph"] = graph

    def get_all_edge_attrs(self) -> list[EdgeAttr]:
        """Every edge type, as pairs of source and target."""
        graph = self._graph
        return [
            EdgeAttr(name, EdgeLayout.COO, size=(graph.num_nodes[name[0]], graph.num_nodes[name[2]]))
            for name in graph.edges
        ]

    def _get_edge_index(self, edge_attr: EdgeAttr) -> tuple[Tensor, Tensor] | None:
        if edge_attr.edge_type not in self._graph.edges or edge_attr.layout != EdgeLayout.COO:
            return None
        source, target = self._graph.index(edge_attr.edge_type)
        return source, target

    def _put_edge_index(self, edge_index: Any, edge_attr: EdgeAttr) -> bool:
        raise _read_only(edge_attr)

    def _remove_edge_index(self, edge_attr: EdgeAttr) -> bool:
        raise _read_only(edge_attr)

    @property
    def _graph(self) -> GraphParts:
        graph: GraphParts = self.__dict__["graph"]
        return graph


class PartSampler(BaseSampler):
    """Our sampler as PyG's ``BaseSampler``, for ``NodeLoader((features, edges), sampler, ...)``; it needs no pyg-lib.

    What is drawn depends on ``seed`` and on which seeds are in the batch. PyG's loader reads node attributes alone; for
    those of edges, and for draws that change with the epoch, take `NeighbourLoader`.

    Args:
        sampler: Draws the neighbours.
        seed: Of the draws.
    """

    def __init__(self, sampler: NeighbourSampler, *, seed: int = 0) -> None:
        self._sampler, self._seed = sampler, seed

    def sample_from_nodes(self, index: NodeSamplerInput, **kwargs: Any) -> HeteroSamplerOutput:
        """Draws the surroundings of some nodes.

        Raises:
            ConfigError: The seeds have no type.
        """
        if index.input_type is None:
            raise ConfigError("input_nodes must be (node type, rows), got rows without a type")
        time = None if index.time is None else {index.input_type: index.time}
        number = index.node if index.input_id is None else index.input_id
        seed = int(key_of(self._seed, number.tolist()))
        sampled = self._sampler.sample({index.input_type: index.node}, seed=seed, time=time)
        return HeteroSamplerOutput(
            node=sampled.nodes,
            row={name: rows[0] for name, rows in sampled.edges.items()},
            col={name: rows[1] for name, rows in sampled.edges.items()},
            edge=dict(sampled.columns),
            batch=sampled.tree,
            num_sampled_nodes=sampled.num_nodes,
            num_sampled_edges=sampled.num_edges,
            metadata=(number, index.time),
        )

    def sample_from_edges(self, index: Any, neg_sampling: Any = None) -> HeteroSamplerOutput:
        """Is not offered.

        Raises:
            ConfigError: Always.
        """
        raise ConfigError("PartSampler draws around nodes; for links, take NeighbourLoader with LinkSeeds")


def _rows(index: Any, count: int) -> np.ndarray:
    """The rows that PyG's ways of saying so mean."""
    if index is None:
        return np.arange(count)
    if isinstance(index, slice):
        return np.arange(count)[index]
    rows = np.atleast_1d(torch.as_tensor(index).cpu().numpy())
    if rows.dtype == np.bool_:
        rows = np.flatnonzero(rows)
    if rows.ndim != 1 or rows.dtype.kind not in "iu" or (len(rows) and not 0 <= rows.min() <= rows.max() < count):
        raise DataError(f"An index must be rows in [0, {count}), got {index!r}")
    return rows.astype(np.int64)


def _read_only(attr: Any) -> ConfigError:
    return ConfigError(f"A partitioned graph can't be changed, got {attr}; partition the changed graph again")
