"""One graph as a file of named tensors (safetensors), without pickle."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from safetensors import SafetensorError
from safetensors.torch import load_file, save

from mmgraph.errors import ArtifactError
from mmgraph.files import write_bytes

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData

SEPARATOR = "|"


def save_graph(graph: HeteroData, path: Path) -> None:
    """Writes all tensors of a graph, atomically.

    Raises:
        ArtifactError: A type's name holds the separator ``|``, or an attribute is not a tensor.

    Example:
        >>> import torch
        >>> from torch_geometric.data import HeteroData
        >>> graph = HeteroData()
        >>> graph["paper"].x = torch.ones(2, 3)
        >>> path = getfixture("tmp_path") / "graph.safetensors"
        >>> save_graph(graph, path)
        >>> load_graph(path)["paper"].x.shape
        torch.Size([2, 3])
    """
    import torch

    tensors = {}
    for kind, items in (("node", graph.node_items()), ("edge", graph.edge_items())):
        for name, store in items:
            parts = (name,) if kind == "node" else name
            for key, value in store.items():
                if key == "num_nodes":
                    value = torch.tensor(value)
                if not isinstance(value, torch.Tensor) or any(SEPARATOR in part for part in parts):
                    raise ArtifactError(
                        f"Only tensors on types without {SEPARATOR!r} in their names can be written, "
                        f"got {key!r} of type {type(value).__name__} on {name!r}"
                    )
                tensors[SEPARATOR.join((kind, *parts, key))] = value.contiguous()
    write_bytes(path, save(tensors))


def load_graph(path: Path) -> HeteroData:
    """Reads a graph that :func:`save_graph` wrote.

    Raises:
        ArtifactError: The file is missing or damaged.
    """
    from torch_geometric.data import HeteroData

    try:
        tensors = load_file(path)
    except FileNotFoundError:
        raise ArtifactError(f"Graph file {str(path)!r} must exist; it does not") from None
    except SafetensorError as error:
        raise ArtifactError(f"Graph file {str(path)!r} is damaged: {error}; make it again") from None
    graph = HeteroData()
    for name, value in tensors.items():
        kind, *parts, key = name.split(SEPARATOR)
        store = graph[parts[0]] if kind == "node" else graph[tuple(parts)]
        store[key] = int(value) if key == "num_nodes" else value
    return graph
