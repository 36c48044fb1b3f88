"""Which part each node goes to: few edges between the parts, or none of that but no work either."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from mmgraph.data.csc import Csc
from mmgraph.data.sampling.draw import below, key_of, stream
from mmgraph.errors import ConfigError, DataError
from mmgraph.optional import require
from mmgraph.typing import EdgeType, NodeType

Owners = dict[NodeType, np.ndarray]
"""Node type → the part of each node, int32 ``[nodes]``."""


def by_chance(num_nodes: Mapping[NodeType, int], parts: int, seed: int) -> Owners:
    """A part for each node, every one equally likely.

    Example:
        >>> by_chance({"paper": 6}, 2, seed=0)["paper"].tolist()
        [1, 0, 0, 1, 1, 0]
    """
    return {
        node_type: below(stream(key_of(seed, "part", node_type), np.arange(1, count + 1)), parts).astype(np.int32)
        for node_type, count in num_nodes.items()
    }


def by_metis(
    num_nodes: Mapping[NodeType, int],
    edges: Mapping[EdgeType, Csc],
    parts: int,
    balance: Mapping[NodeType, np.ndarray],
) -> Owners:
    """Parts between which few edges run, each with about as many nodes of every type.

    All nodes are joined into one graph without directions, whose edges METIS cuts.

    Source: Karypis and Kumar 1998, A fast and high quality multilevel scheme for partitioning irregular graphs,
    doi:10.1137/S1064827595287997; Zheng et al. 2020, DistDGL, arXiv:2010.05337, for the balance of several kinds.

    Args:
        num_nodes: Nodes of each type.
        edges: Sorted edges of each type.
        parts: How many.
        balance: Node type → a mask ``[nodes]``; the nodes where it is True are balanced by themselves, e.g. the seeds
            of training.

    Raises:
        MissingPackageError: DGL, which brings METIS, is not installed.
    """
    if importlib.util.find_spec("dgl") is None:
        require("dgl", extra="dgl")
    first = dict(zip(num_nodes, np.cumsum([0, *num_nodes.values()]).tolist(), strict=False))
    total = sum(num_nodes.values())
    if parts == 1 or total == 0:  # METIS ends its process by a division by zero
        return {node_type: np.zeros(count, dtype=np.int32) for node_type, count in num_nodes.items()}
    ends: list[list[np.ndarray]] = [[np.empty(0, dtype=np.int64)], [np.empty(0, dtype=np.int64)]]
    for (source, _, target), csc in edges.items():
        ends[0].append(csc.source.astype(np.int64) + first[source])
        ends[1].append(np.repeat(np.arange(csc.num_targets) + first[target], np.diff(csc.indptr)))
    kinds = np.repeat(2 * np.arange(len(num_nodes)), list(num_nodes.values()))
    for node_type, mask in balance.items():
        kinds[first[node_type] : first[node_type] + len(mask)] += mask
    source_ids, target_ids = map(np.concatenate, ends)
    owner = _metis(source_ids, target_ids, np.unique(kinds, return_inverse=True)[1], parts)
    return {node_type: owner[first[node_type] :][:count] for node_type, count in num_nodes.items()}


_TRIES = 5
_METIS = """
import os, sys
import dgl, numpy, torch
names = ("source", "target", "kinds")
source, target, kinds = (torch.from_numpy(numpy.load(f"{sys.argv[1]}/{name}.npy")) for name in names)
apart = source != target  # METIS takes no edge from a node to itself
graph = dgl.graph((source[apart], target[apart]), num_nodes=len(kinds))
found = dgl.metis_partition_assignment(graph, int(sys.argv[2]), balance_ntypes=kinds)
numpy.save(f"{sys.argv[1]}/found.npy", found.numpy())
os._exit(0)  # before what is damaged is freed
"""


def _metis(source: np.ndarray, target: np.ndarray, kinds: np.ndarray, parts: int) -> np.ndarray:
    """Runs METIS in a process of its own: on some graphs it writes beyond its memory, which must not be ours.

    Whether that ends the process is a matter of chance, so it is tried a few times; what it finds is the same.

    Raises:
        ConfigError: It has failed each time.
    """
    with tempfile.TemporaryDirectory() as folder:
        for name, array in (("source", source), ("target", target), ("kinds", kinds)):
            np.save(f"{folder}/{name}.npy", array)
        for _ in range(_TRIES):
            done = subprocess.run(
                [sys.executable, "-c", _METIS, folder, str(parts)],
                env={**os.environ, "DGLBACKEND": "pytorch"},
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode >= 0:  # it has not been ended by a signal
                break
        if done.returncode != 0:
            raise ConfigError(
                f"METIS must end well, it has ended with {done.returncode}: {done.stderr.strip()[-200:]}; "
                "give method='random', or the part of each node"
            )
        found: np.ndarray = np.load(f"{folder}/found.npy", allow_pickle=False)
    return found.astype(np.int32)


def as_given(owners: Mapping[NodeType, Tensor | np.ndarray], num_nodes: Mapping[NodeType, int], parts: int) -> Owners:
    """Parts that are known already, checked.

    Raises:
        ConfigError: A node type is missing, or a part is none of ``parts``.
        DataError: There is not one integer a node.
    """
    if set(owners) != set(num_nodes):
        raise ConfigError(f"method must have the part of each node of {list(num_nodes)}, got {list(owners)}")
    found = {}
    for node_type, count in num_nodes.items():
        owner = torch.as_tensor(owners[node_type]).cpu().numpy()
        if owner.shape != (count,) or owner.dtype.kind not in "iu":
            raise DataError(
                f"method[{node_type!r}] must be one integer a node, [{count}], got {list(owner.shape)} of {owner.dtype}"
            )
        if count and not 0 <= owner.min() <= owner.max() < parts:
            raise ConfigError(
                f"method[{node_type!r}] must be parts in [0, {parts}), got {owner.min()} to {owner.max()}"
            )
        found[node_type] = owner.astype(np.int32)
    return found


def masks(balance: Mapping[NodeType, Tensor | np.ndarray], num_nodes: Mapping[NodeType, int]) -> Owners:
    """Which nodes are balanced by themselves, ``[nodes]`` of 0 and 1.

    Raises:
        DataError: An unknown node type, or not one truth value a node.
    """
    found = {}
    for node_type, mask in balance.items():
        if node_type not in num_nodes:
            raise DataError(f"balance must name node types of the graph, {list(num_nodes)}, got {node_type!r}")
        one = torch.as_tensor(mask).cpu().numpy()
        if one.shape != (num_nodes[node_type],) or one.dtype != np.bool_:
            raise DataError(
                f"balance[{node_type!r}] must be a mask [{num_nodes[node_type]}], got {list(one.shape)} of {one.dtype}"
            )
        found[node_type] = one.astype(np.int32)
    return found
