"""Models as programs for other runtimes: ``torch.export`` and ONNX, checked on graphs of two sizes.

A program reads tensors, no graph: those that a schema says a model may read, each under a name of its own
(:func:`graph_tensors`). Numbers of nodes and edges stay open. What can't be exported is refused with the operator that
stands in the way; what is exported gives the model's numbers, or is refused.
"""

from __future__ import annotations

import logging
import re
import traceback
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import torch
from torch import Tensor, nn
from torch_geometric.data import HeteroData

from mmgraph.errors import ConfigError, DataError, MMGraphError
from mmgraph.files import write_bytes
from mmgraph.optional import require
from mmgraph.schema import Schema

if TYPE_CHECKING:
    from torch.export import ExportedProgram

Call: TypeAlias = Literal["forward", "embed"]
TOLERANCE = 1e-4
LEAST = 2  # rows and edges of each type: sizes 0 and 1 would be taken for constants
_PACKAGE = str(Path(__file__).parent)
_OPERATOR = re.compile(r"\b((?:aten|prims|torch_\w+|mmgraph)[.:]{1,2}\w+(?:\.\w+)?)")


def graph_tensors(graph: HeteroData, schema: Schema) -> dict[str, Tensor]:
    """The tensors of a graph that a program reads, by name.

    Args:
        graph: The graph, of that schema.
        schema: What it means.

    Returns:
        ``x/<node>`` and other attributes of nodes; ``edge_index/<source>/<relation>/<target>``, and ``edge_weight``
        and ``edge_attr`` likewise, where the schema has them; ``rows/<node>``, any values ``[rows]``, for node types
        without a tensor: it says how many there are.

    Raises:
        DataError: A tensor that the schema declares is not there.

    Example:
        >>> from mmgraph.testing import fake_graph
        >>> [name for name in graph_tensors(*fake_graph()) if "scan" in name]
        ['x/scan', 'edge_index/scan/of/subject', 'edge_index/scan/next/scan']
    """
    found = {}
    for node, spec in schema.nodes.items():
        keys = [*(["x"] if spec.channels else []), *spec.attributes]
        for key in keys:
            found[f"{key}/{node}"] = _tensor(graph[node], key, node)
        if not keys:
            found[f"rows/{node}"] = torch.zeros(int(graph[node].num_nodes), dtype=torch.bool)
    for edge, edge_spec in schema.edges.items():
        keys = ["edge_index"]
        keys += ["edge_weight"] if edge_spec.weighted else []
        keys += ["edge_attr"] if edge_spec.channels else []
        for key in keys:
            found[f"{key}/{'/'.join(edge)}"] = _tensor(graph[edge], key, "/".join(edge))
    return found


def export_program(
    model: nn.Module, graph: HeteroData, *, call: Call = "forward", other: HeteroData | None = None
) -> ExportedProgram:
    """Exports a model with :mod:`torch.export`, numbers of nodes and edges left open.

    The program is called with one dictionary, as :func:`graph_tensors` gives it, and answers as the model does.

    Args:
        model: With a ``schema``: a :class:`~mmgraph.Model`, an :class:`~mmgraph.Aligner`, …; it is exported in
            evaluation mode.
        graph: One of its graphs, with at least 2 nodes and edges of each type.
        call: ``forward``, or ``embed`` for the states of the anchors (encoder, fusion and messages, without the head).
        other: A graph of other sizes, on which the program must give the model's numbers; by default the first, twice.

    Raises:
        ConfigError: The model has no schema, something stands in the way of an export, or the numbers differ.
        DataError: The graph is too small to be exported from.

    Example:
        >>> from mmgraph.model import classifier
        >>> from mmgraph.testing import fake_graph
        >>> graph, schema = fake_graph()
        >>> program = export_program(classifier(schema), graph)
        >>> bigger, _ = fake_graph(70, seed=1)
        >>> program.module()(graph_tensors(bigger, schema)).shape
        torch.Size([70, 2])
    """
    asked, schema = _asked(model, call), _schema(model)
    tensors = graph_tensors(graph, schema)
    sizes = _sizes(tensors)
    if small := [name for name, size in sizes.items() if size < LEAST]:
        raise DataError(
            f"The graph must have at least {LEAST} nodes and edges of each type to be exported from, got "
            f"{sizes[small[0]]} of {small[0]!r}; give one that has"
        )
    with _evaluated(model), torch.no_grad(), _told(model):
        program = torch.export.export(asked, (tensors,), dynamic_shapes=(_open(tensors),), strict=False)
        run = program.module()
        for one in (tensors, _other(tensors, other, schema)):
            _compare(_answers(run(one)), _answers(asked(one)), "The program")
    return program


def export_onnx(
    model: nn.Module, graph: HeteroData, path: str | Path, *, call: Call = "forward", other: HeteroData | None = None
) -> Path:
    """Exports a model to ONNX, for runtimes without torch, and runs it once there.

    The file's inputs are named as by :func:`graph_tensors`; one that the model does not read may be left out of it.

    Args:
        model: As of :func:`export_program`.
        graph: Likewise.
        path: The file.
        call: Likewise.
        other: Likewise.

    Returns:
        The path.

    Raises:
        ConfigError: The model can't be exported, or onnxruntime gives other numbers.
        DataError: The graph is too small to be exported from.
        MissingPackageError: onnx, onnxscript or onnxruntime is not installed.
    """
    onnxruntime = require("onnxruntime", extra="onnx")
    for package in ("onnx", "onnxscript"):
        require(package, extra="onnx")
    program = export_program(model, graph, call=call, other=other)
    schema, asked = _schema(model), _asked(model, call)
    tensors = graph_tensors(graph, schema)
    with _evaluated(model), torch.no_grad(), _told(model):
        names = list(_result(asked(tensors)))
        made = torch.onnx.export(
            program, dynamo=True, input_names=list(tensors), output_names=names, verbose=False, optimize=True
        )
        data = made.model_proto.SerializeToString()
        session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
        wanted = {one.name for one in session.get_inputs()}
        for one in (tensors, _other(tensors, other, schema)):
            found = session.run(None, {name: tensor.numpy() for name, tensor in one.items() if name in wanted})
            _compare([torch.from_numpy(value) for value in found], _answers(asked(one)), "onnxruntime")
    path = Path(path)
    write_bytes(path, data)
    return path


class _Asked(nn.Module):
    """A model that reads tensors by name."""

    def __init__(self, model: nn.Module, call: Call) -> None:
        super().__init__()
        self.model, self.call = model, call

    def forward(self, tensors: Mapping[str, Tensor]) -> Any:
        graph = HeteroData()
        for name, tensor in tensors.items():
            key, *kind = name.split("/")
            store = graph[kind[0] if len(kind) == 1 else tuple(kind)]
            if key == "rows":
                store.num_nodes = tensor.shape[0]
            else:
                store[key] = tensor
        return getattr(self.model, self.call)(graph)


def _asked(model: nn.Module, call: Call) -> _Asked:
    if not callable(getattr(model, call, None)):
        raise ConfigError(f"call must be forward or embed, and the model must have it, got {call!r}")
    return _Asked(model, call)


def _schema(model: nn.Module) -> Schema:
    schema = getattr(model, "schema", None)
    if not isinstance(schema, Schema):
        raise ConfigError(
            f"A model must have the schema of its graphs to be exported, got a {type(model).__name__} without; put "
            "it into a Model"
        )
    return schema


def _tensor(store: Any, key: str, name: str) -> Tensor:
    value = store.get(key)
    if not isinstance(value, Tensor):
        raise DataError(f"The graph must have {key} of {name!r}, as the schema says, got none; see Schema.check")
    return value


def _sizes(tensors: Mapping[str, Tensor]) -> dict[str, int]:
    """How many rows or edges each type has."""
    return {_kind(name): tensor.shape[_axis(name)] for name, tensor in tensors.items()}


def _kind(name: str) -> str:
    return name.partition("/")[2]


def _axis(name: str) -> int:
    return 1 if name.startswith("edge_index/") else 0


def _open(tensors: Mapping[str, Tensor]) -> dict[str, dict[int, Any]]:
    """Which sizes stay open: one a type."""
    kinds = {kind: torch.export.Dim(f"size_{number}", min=0) for number, kind in enumerate(_sizes(tensors))}
    return {name: {_axis(name): kinds[_kind(name)]} for name in tensors}


def _other(tensors: Mapping[str, Tensor], other: HeteroData | None, schema: Schema) -> dict[str, Tensor]:
    """A graph of other sizes: the one given, or the first twice over."""
    if other is not None:
        return graph_tensors(other, schema)
    sizes = _sizes(tensors)
    twice = {}
    for name, tensor in tensors.items():
        moved = tensor
        if name.startswith("edge_index/"):
            source, *_, target = _kind(name).split("/")
            moved = tensor + torch.tensor([[sizes[source]], [sizes[target]]])
        twice[name] = torch.cat([tensor, moved], dim=_axis(name))
    return twice


def _result(given: Any) -> dict[str, Tensor]:
    """The tensors of an answer, by name."""
    if isinstance(given, Tensor):
        return {"answers": given}
    if isinstance(given, Mapping) and all(isinstance(one, Tensor) for one in given.values()):
        return {f"answers/{name}": one for name, one in given.items()}
    raise ConfigError(
        f"A model must answer with a tensor or with tensors by name to be exported, got a {type(given).__name__}; ask "
        "for call='embed'"
    )


def _answers(given: Any) -> list[Tensor]:
    return list(_result(given).values())


def _compare(found: Sequence[Tensor], wanted: Sequence[Tensor], who: str) -> None:
    for one, other in zip(found, wanted, strict=True):
        if one.shape != other.shape or not torch.allclose(one, other, rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True):
            apart = "" if one.shape != other.shape else f", {float((one - other).abs().nan_to_num().max()):.3g} apart"
            raise ConfigError(
                f"{who} must give the model's numbers, to {TOLERANCE}, also on a graph of other sizes, got "
                f"{list(one.shape)} for {list(other.shape)}{apart}; something in the model depends on this one graph "
                "(other= may be one that it knows)"
            )


@contextmanager
def _evaluated(model: nn.Module) -> Iterator[None]:
    """The model as in evaluation, and then as it was."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes.items():
            module.training = mode


@contextmanager
def _told(model: nn.Module) -> Iterator[None]:
    """Errors of an exporter as ours, with the operator that they are about; its warnings are for its makers."""
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except MMGraphError:
        raise
    except Exception as error:  # exporters raise what they like
        raise ConfigError(f"{type(model).__name__} can't be exported: {_obstacle(error)}") from error
    finally:
        logging.disable(disabled)


def _obstacle(error: BaseException) -> str:
    """Which operator, and where in mmgraph it is asked for."""
    while error.__cause__ is not None:
        error = error.__cause__
    text = " ".join(str(error).split())
    named = _OPERATOR.search(text)
    places = [frame for frame in traceback.extract_tb(error.__traceback__) if _PACKAGE in frame.filename]
    inside = [frame for frame in places if frame.filename != __file__]
    where = f" at {inside[-1].line!r} in {Path(inside[-1].filename).name}" if inside else ""
    operator = f"the operator {named[1]}" if named else "an operator"
    return f"{operator}{where} stands in the way ({type(error).__name__}: {text[:300]})"
