"""Classes as nodes beside those that are asked about: anchors that are described, and nothing else."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from mmgraph.errors import SchemaError
from mmgraph.schema import Schema, TargetSpec

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData


def check_classes(classes: Mapping[str, Tensor], schema: Schema, target: TargetSpec | None) -> None:
    """Checks the features of class nodes.

    Raises:
        SchemaError: No target, a node type that does not hang on the anchor, or features of another shape.
    """
    if target is None:
        raise SchemaError(f"classes need a target whose classes they are, got none for {sorted(classes)}")
    direct = [node for node in schema.paths if (node, "of", schema.anchor) in schema.edges]
    for node, x in classes.items():
        if node not in direct:
            raise SchemaError(f"classes must be described by nodes of the anchor, {direct}, got {node!r}")
        wanted = (len(target.classes), schema.nodes[node].channels)
        if x.shape != wanted:
            raise SchemaError(f"classes must be {list(wanted)} of {node!r}, a row a class, got {list(x.shape)}")


def with_classes(graph: HeteroData, schema: Schema, classes: Mapping[str, Tensor]) -> HeteroData:
    """A graph with an anchor for each class beside the others, the last ones; the graph given is left as it is.

    A class anchor has one node of each type that describes it, no other node, no relation and no label. It is in the
    parts for validation and test, so that it is asked about as they are, and not in that for training.

    Args:
        graph: A graph, or a view of one.
        schema: What it means.
        classes: Modality node type → features, ``[classes, channels]``.

    Example:
        >>> from mmgraph.testing import fake_graph
        >>> graph, schema = fake_graph()
        >>> joined = with_classes(graph, schema, {"text": torch.eye(5)[:2]})
        >>> joined["subject"].num_nodes - graph["subject"].num_nodes, joined["subject"].train_mask[-2:].tolist()
        (2, [False, False])
        >>> joined["text", "of", "subject"].edge_index[1, -2:].tolist()
        [40, 41]
    """
    assert schema.anchor is not None
    joined = copy.copy(graph)
    rows = len(next(iter(classes.values())))
    own = torch.arange(rows)
    for node, x in classes.items():
        ends = torch.stack([own + graph[node].num_nodes, own + graph[schema.anchor].num_nodes])
        store = joined[node, "of", schema.anchor]
        store.edge_index = torch.cat([store.edge_index, ends.to(store.edge_index)], dim=1)
        _lengthen(joined, node, {"x": x}, rows)
    _lengthen(joined, schema.anchor, {"val_mask": torch.ones(rows).bool(), "test_mask": torch.ones(rows).bool()}, rows)
    labels = [target.attribute for target in schema.targets.values() if target.node == schema.anchor]
    for name in [name for name in labels if name in joined[schema.anchor]]:
        values = joined[schema.anchor][name]
        values[-rows:] = float("nan") if values.dtype.is_floating_point else -1
    return joined


def _lengthen(graph: HeteroData, node: str, known: Mapping[str, Tensor], rows: int) -> None:
    """Adds rows to a node type: of what is known of them, of numbers of their own, and else of zeros."""
    store = graph[node]
    before = store.num_nodes
    for name, value in list(store.items()):
        if name == "num_nodes" or not isinstance(value, Tensor):
            continue
        new = known.get(name, value.new_zeros(rows, *value.shape[1:]))
        if name == "n_id":
            new = torch.arange(rows) + (int(value.max()) + 1 if len(value) else 0)
        store[name] = torch.cat([value, new.to(value)])
    if "num_nodes" in store:
        store.num_nodes = before + rows
