"""PyTorch Frame: the rows of one node type as a ``TensorFrame``, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mmgraph.errors import DataError
from mmgraph.interop.rows import check_rows
from mmgraph.optional import require
from mmgraph.schema import NodeSpec, Schema, TargetSpec

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData

X = "x"
_PARTS = 7  # of a moment, as PyTorch Frame has it: year, month, day, day of the week, hour, minute, second
_MASKS = ("train_mask", "val_mask", "test_mask")
_KNOWN = ("numerical", "categorical", "embedding", "timestamp")


def to_tensor_frame(graph: HeteroData, schema: Schema, node: str, *, target: str | None = None) -> Any:
    """The rows of a node type as a ``torch_frame.TensorFrame``.

    | on the node type | in the frame |
    |---|---|
    | ``x``, whose channels have names | numerical columns of those names |
    | ``x`` without names | an embedding, the column ``x`` |
    | whole numbers ``[rows]`` | a categorical column |
    | whole numbers ``[rows, 7]`` | a timestamp |
    | floats ``[rows, channels]`` | an embedding |
    | the target | ``y`` |

    An unknown value is NaN or -1 in both. Masks are left out: they say which rows to take, ``frame[mask]``.

    Args:
        graph: The graph.
        schema: What its types mean.
        node: The node type.
        target: Name of the target; by default the only one of the type, if there is one.

    Raises:
        DataError: The type carries something that is no such column.
        SchemaError: The graph is not what the schema says, or there is no such target.
        MissingPackageError: PyTorch Frame is not installed.

    Example:
        >>> from mmgraph.testing import fake_graph
        >>> graph, schema = fake_graph()
        >>> frame = to_tensor_frame(graph, schema, "scan")
        >>> len(frame), frame.get_col_feat("x").values.shape
        (61, torch.Size([61, 3]))
        >>> to_tensor_frame(graph, schema, "subject").y[:4].tolist()
        Traceback (most recent call last):
        ...
        mmgraph.errors.DataError: 'subject' must carry a column, got none; choose another node type
    """
    torch_frame = require("torch_frame", extra="tabular")
    schema.check(graph)
    if node not in schema.nodes:
        raise DataError(f"node must be one of {list(schema.nodes)}, got {node!r}")
    own = {name: one for name, one in schema.targets.items() if one.node == node}
    if target is None and len(own) > 1:
        raise DataError(f"target must name one of {list(own)}, which {node!r} has, got None")
    asked = schema.target(target) if target is not None else next(iter(own.values()), None)
    if asked is not None and asked.node != node:
        raise DataError(f"Target {target!r} must be of {node!r}, got one of {asked.node!r}")
    apart = {"num_nodes", *_MASKS, *(one.attribute for one in own.values())}
    rows, spec = int(graph[node].num_nodes or 0), schema.nodes[node]
    found: dict[str, dict[str, Tensor]] = {kind: {} for kind in _KNOWN}
    for key, value in graph[node].items():
        if key in apart:
            continue
        tensor = check_rows(key, value, rows, node)
        if key == X and spec.names:
            found["numerical"] |= {name: tensor[:, place] for place, name in enumerate(spec.names)}
        elif tensor.shape[1:].numel():
            found[_kind(key, tensor, node)][key] = tensor
    names = {kind: list(columns) for kind, columns in found.items() if columns}
    if not names:
        raise DataError(f"{node!r} must carry a column, got none; choose another node type")
    if twice := [
        name for name in names.get("numerical", ()) if any(name in names.get(kind, ()) for kind in _KNOWN[1:])
    ]:
        raise DataError(f"Columns must have names of their own, got {twice[0]!r} twice on {node!r}; rename one")
    many = require("torch_frame.data", extra="tabular").MultiEmbeddingTensor
    feats = {
        kind: many.from_tensor_list(list(one.values()))
        if kind == "embedding"
        else torch.stack(list(one.values()), dim=1)
        for kind, one in found.items()
        if one
    }
    y = None if asked is None else graph[node].get(asked.attribute)
    return torch_frame.TensorFrame(
        {torch_frame.stype(kind): one for kind, one in feats.items()},
        {torch_frame.stype(kind): one for kind, one in names.items()},
        y=y,
    )


def from_tensor_frame(
    frame: Any, *, node: str = "row", target: str = "label", classes: tuple[str, ...] = ()
) -> tuple[HeteroData, Schema]:
    """A graph of one node type whose nodes are the rows of a ``torch_frame.TensorFrame``.

    Numerical columns become the channels of ``x``, all others tensors of their own name, as :func:`to_tensor_frame` has
    them; an embedding called ``x`` is ``x`` where there is no numerical column. ``y`` becomes the target: whole numbers
    are classes, floats a regression.

    Args:
        frame: Of PyTorch Frame.
        node: Name of the node type.
        target: Name of the target.
        classes: Names of its classes; by default their numbers.

    Raises:
        DataError: It holds columns of several categories, sequences or tokens, or names that are taken.
        MissingPackageError: PyTorch Frame is not installed.

    Example:
        >>> import torch_frame
        >>> ages = torch_frame.TensorFrame({torch_frame.numerical: torch.ones(2, 1)}, {torch_frame.numerical: ["age"]})
        >>> graph, schema = from_tensor_frame(ages)
        >>> graph["row"].x.tolist(), schema.nodes["row"].names
        ([[1.0], [1.0]], ('age',))
    """
    from torch_geometric.data import HeteroData

    torch_frame = require("torch_frame", extra="tabular")
    if not isinstance(frame, torch_frame.TensorFrame):
        raise DataError(f"from_tensor_frame takes a TensorFrame, got {type(frame).__name__}")
    if odd := [kind.value for kind in frame.stypes if kind.value not in _KNOWN]:
        raise DataError(f"Columns must be {', '.join(_KNOWN)}, got {odd[0]}; leave them out, or embed them")
    names = {kind.value: list(found) for kind, found in frame.col_names_dict.items()}
    taken = {"y", "num_nodes", *_MASKS, *([X] if "numerical" in names else [])}
    if odd := [name for kind, found in names.items() if kind != "numerical" for name in found if name in taken]:
        raise DataError(f"A column must not be called {odd[0]!r}, which a node type has for itself; rename it")
    graph = HeteroData()
    graph[node].num_nodes = frame.num_rows
    for kind, found in names.items():
        feats = frame.feat_dict[torch_frame.stype(kind)]
        if kind == "numerical":
            graph[node].x = feats
            continue
        for place, name in enumerate(found):
            graph[node][name] = feats[:, place].values if kind == "embedding" else feats[:, place]
    spec: dict[str, Any] = {"names": tuple(names.get("numerical", ()))}
    if X in graph[node] and graph[node].x.dtype.is_floating_point:
        del graph[node].num_nodes  # `x` says it
        spec |= {"channels": graph[node].x.shape[1], "allow_nan": not bool(graph[node].x.isfinite().all())}
    attributes = tuple(key for key in graph[node] if key not in ("num_nodes", *([X] if "channels" in spec else [])))
    targets = {}
    if frame.y is not None:
        graph[node].y = frame.y
        targets = {target: _target(frame.y, node, classes)}
    schema = Schema(nodes={node: NodeSpec(**spec, attributes=attributes)}, targets=targets, anchor=node)
    schema.check(graph)
    return graph, schema


def _kind(key: str, value: Tensor, node: str) -> str:
    if value.dtype.is_floating_point and value.dim() == 2:
        return "embedding"
    if value.dtype == torch.int64 and value.dim() == 1:
        return "categorical"
    if value.dtype == torch.int64 and value.shape[1:] == (_PARTS,):
        return "timestamp"
    raise DataError(
        f"{key!r} of {node!r} must be floats [rows, channels] or int64 [rows] or [rows, {_PARTS}] for PyTorch Frame, "
        f"got {list(value.shape)} of {value.dtype}; convert it, or remove it"
    )


def _target(y: Tensor, node: str, classes: tuple[str, ...]) -> TargetSpec:
    if y.dtype.is_floating_point:
        return TargetSpec(node=node, kind="regression")
    count = max(2, int(y.max()) + 1 if len(y) else 2)
    names = classes or tuple(str(one) for one in range(count))
    return TargetSpec(node=node, kind="binary" if len(names) == 2 else "multiclass", classes=names)
