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
        ArtifactError: A name holds the separator ``|``, an attribute is not a tensor, or it is on no type.

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

    if loose := list(graph.stores[0]):
        raise ArtifactError(f"Only tensors on types can be written, got {loose[0]!r} on the graph itself; remove it")
    tensors = {}
    for kind, items in (("node", graph.node_items()), ("edge", graph.edge_items())):
        for name, store in items:
            parts = (name,) if kind == "node" else name
            for key, value in store.items():
                if key == "num_nodes":
                    value = torch.tensor(value)
                if not isinstance(value, torch.Tensor) or any(SEPARATOR in part for part in (*parts, key)):
                    raise ArtifactError(
                        f"Only tensors without {SEPARATOR!r} in their names can be written, "
                        f"got {key!r} of type {type(value).__name__} on {name!r}"
                    )
                own = value.clone(memory_format=torch.contiguous_format)  # no memory shared with another
                tensors[SEPARATOR.join((kind, *parts, key))] = own
    write_bytes(path, save(tensors))


def load_graph(path: Path) -> HeteroData:
    """Reads a graph that :func:`save_graph` wrote.

    Raises:
        ArtifactError: The file is missing, damaged, or of something else.
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
        match name.split(SEPARATOR):
            case ["node", node, key]:
                graph.get_node_store(node)[key] = int(value) if key == "num_nodes" else value
            case ["edge", source, relation, target, key]:
                graph[source, relation, target][key] = value
            case _:
                raise ArtifactError(f"{str(path)!r} must be a graph file, got a tensor {name!r}; make it again")
    return graph
