"""What a run was: versions, machine, commit, hashes."""

from __future__ import annotations

import hashlib
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData

PACKAGES = ("mmgraph", "torch", "torch-geometric", "lightning", "torchmetrics", "scikit-learn", "numpy", "scipy")


def record() -> dict[str, Any]:
    """Versions, machine and commit, as JSON.

    Example:
        >>> sorted(record())
        ['commit', 'machine', 'python', 'threads', 'versions']
    """
    return {
        "versions": {name: metadata.version(name) for name in PACKAGES},
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
        "threads": torch.get_num_threads(),
        "commit": commit(),
    }


def commit() -> str | None:
    """The commit of the checkout that mmgraph runs from, with ``+`` if files have changed since; or ``None``."""
    here = Path(__file__).parent
    try:
        found = subprocess.run(
            ["git", "describe", "--always", "--dirty=+", "--exclude=*"],
            cwd=here,
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip() or None


def graph_sha256(graph: HeteroData) -> str:
    """A digest of all tensors of a graph.

    Example:
        >>> from torch_geometric.data import HeteroData
        >>> graph = HeteroData()
        >>> graph["a"].x = torch.zeros(1, 1)
        >>> len(graph_sha256(graph))
        64
    """
    digest = hashlib.sha256()
    for name, store in sorted([*graph.node_items(), *graph.edge_items()], key=lambda item: str(item[0])):
        for key, value in sorted(store.items()):
            tensor = torch.as_tensor(value).contiguous()
            digest.update(f"{name} {key} {tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()


def rows_sha256(mask: torch.Tensor) -> str:
    """A digest of which rows a mask names."""
    return hashlib.sha256(mask.numpy().tobytes()).hexdigest()
