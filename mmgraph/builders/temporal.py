"""Sequences of several modalities as graphs: measured at the same steps, or at rates of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from mmgraph.builders.clocks import codes, one_a_row, seconds
from mmgraph.builders.joins import Joined, join_next, join_same_time
from mmgraph.errors import ConfigError, DataError
from mmgraph.functional.temporal import Clock, positions
from mmgraph.schema import EdgeSpec, Modality, NodeSpec, Schema

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


@dataclass(frozen=True)
class Track:
    """What one modality measured, at times of its own.

    Args:
        x: ``[rows, channels]``.
        time_s: ``[rows]``, seconds.
        sequence: ``[rows]``, a name or number; ``None`` if there is one sequence.
    """

    x: ArrayLike
    time_s: ArrayLike
    sequence: ArrayLike | None = None


def aligned(
    modalities: Mapping[str, ArrayLike],
    *,
    sequence: ArrayLike | None = None,
    time_s: ArrayLike | None = None,
    anchor: str = "step",
    across: bool = False,
) -> Joined:
    """Sequences of modalities that are measured at the same steps, as a graph with an anchor a step.

    Args:
        modalities: Name → ``[steps, channels]``, the steps of all sequences one below the other. A step without the
            modality is a row of NaN, and gets no node.
        sequence: ``[steps]``, the name or number of each step's sequence; ``None`` if there is one.
        time_s: ``[steps]``; by default the steps of a sequence are in order. Rows at one time keep their order.
        anchor: Name of the steps' node type.
        across: Whether ``next`` and ``previous`` also lead from each modality to each other.

    Returns:
        The graph and its schema. The steps are in the given order, and carry ``sequence`` (a number) and ``time_s``
        (or the place). They are joined by ``next`` and ``previous``, and so are the nodes of each modality: a step
        without it is passed over.

    Raises:
        DataError: Rows that do not match, a row that is NaN in part, or a time that is not finite.

    Example:
        >>> nan = float("nan")
        >>> graph, schema = aligned({"audio": [[1.0], [2.0], [3.0]], "video": [[1.0], [nan], [3.0]]})
        >>> graph["video"].num_nodes, graph["video", "next", "video"].edge_index.tolist()
        (2, [[0], [1]])
    """
    arrays = {name: _matrix(name, values) for name, values in modalities.items()}
    rows = {name: len(x) for name, x in arrays.items()}
    if not rows or len(set(rows.values())) > 1:
        raise DataError(f"aligned needs modalities with a row each step, got {rows}; use unaligned for other rates")
    steps = next(iter(rows.values()))
    number = codes({anchor: _sequence(anchor, sequence, steps)})[anchor]
    order = torch.arange(steps, dtype=torch.float64)
    graph = HeteroData()
    graph[anchor].x, graph[anchor].sequence = torch.empty(steps, 0), number
    graph[anchor].time_s = (
        positions(Clock(number, order)).double() if time_s is None else seconds(anchor, time_s, steps)
    )
    nodes = {anchor: NodeSpec(channels=0, attributes=("sequence", "time_s"))}
    for name, x in arrays.items():
        owner = _present(name, x)
        nodes[name] = _hang(graph, name, x[owner], torch.from_numpy(owner), anchor)
    graph, schema = join_next(graph, _schema(nodes, anchor), anchor)
    for source in arrays:
        for target in arrays if across else [source]:
            graph, schema = join_next(graph, schema, source, target)
    schema.check(graph)
    return graph, schema


def unaligned(
    tracks: Mapping[str, Track],
    *,
    window_s: float | None = None,
    sequences: Sequence[Any] | None = None,
    anchor: str = "sequence",
) -> Joined:
    """Sequences of modalities with rates and lengths of their own, as a graph with an anchor a sequence.

    Args:
        tracks: Modality → what it measured.
        window_s: Joins nodes of two modalities by ``same_time`` edges where they are at most so far apart; by default
            each node is joined to the nearest of each other modality.
        sequences: The names of all sequences, in the order of their anchors; by default those that have a row, sorted.
            One without rows is an anchor without nodes.
        anchor: Name of the sequences' node type.

    Returns:
        The graph and its schema. Each modality's nodes are in the given order, carry ``time_s``, and are joined by
        ``next`` and ``previous``.

    Raises:
        DataError: Rows that do not match, a sequence that is not among ``sequences``, or a time that is not finite.
        ConfigError: No modality, or a negative window.

    Example:
        >>> audio = Track([[0.0], [1.0], [2.0], [3.0]], time_s=[0.0, 0.5, 1.0, 1.5])
        >>> graph, schema = unaligned({"audio": audio, "video": Track([[7.0]], time_s=[0.6])})
        >>> graph["audio", "same_time", "video"].edge_index.tolist(), schema.modalities
        ([[1], [0]], ('audio', 'video'))
    """
    if not tracks:
        raise ConfigError("unaligned needs at least 1 modality, got none")
    x = {name: _matrix(name, track.x) for name, track in tracks.items()}
    ids = {name: _sequence(name, track.sequence, len(x[name])) for name, track in tracks.items()}
    if sequences is not None:
        ids = {anchor: one_a_row(anchor, "sequence", list(sequences)), **ids}
    numbers = codes(ids, first=None if sequences is None else anchor)
    count = max((int(number.max()) + 1 for number in numbers.values() if len(number)), default=0)
    graph = HeteroData()
    graph[anchor].x, graph[anchor].sequence = torch.empty(count, 0), torch.arange(count)
    nodes = {anchor: NodeSpec(channels=0, attributes=("sequence",))}
    for name, track in tracks.items():
        spec = _hang(graph, name, x[name], numbers[name], anchor)
        graph[name].time_s = seconds(name, track.time_s, len(x[name]))
        nodes[name] = spec.model_copy(update={"attributes": ("time_s",)})
    schema = _schema(nodes, anchor)
    for name in tracks:
        graph, schema = join_next(graph, schema, name)
    for source in tracks:
        for target in tracks:
            if source != target:
                graph, schema = join_same_time(graph, schema, source, target, window_s=window_s)
    schema.check(graph)
    return graph, schema


def _sequence(node: str, given: ArrayLike | None, rows: int) -> np.ndarray:
    return np.zeros(rows, dtype=np.int64) if given is None else one_a_row(node, "sequence", given, rows)


def _matrix(name: str, values: ArrayLike) -> np.ndarray:
    """``[rows, channels]`` of float32."""
    x = np.asarray(values.cpu() if isinstance(values, Tensor) else values, dtype=np.float32)
    if x.ndim != 2:
        raise DataError(f"Modality {name!r} must be [rows, channels], got {list(x.shape)}; reshape it")
    return x


def _present(name: str, x: np.ndarray) -> np.ndarray:
    """The rows that are there: those that are not NaN from end to end."""
    unknown = np.isnan(x)
    absent = unknown.all(axis=1) & (x.shape[1] > 0)
    if len(partly := np.flatnonzero(unknown.any(axis=1) & ~absent)):
        columns = np.flatnonzero(unknown[partly[0]]).tolist()
        raise DataError(
            f"A row of {name!r} must be numbers, or NaN from end to end where it is missing, got NaN in columns "
            f"{columns[:5]} alone in row {partly[0]}; fill them first"
        )
    return np.flatnonzero(~absent)


def _hang(graph: HeteroData, name: str, x: np.ndarray, owner: Tensor, anchor: str) -> NodeSpec:
    """Adds the nodes of a modality to the anchors that they are of."""
    graph[name].x = torch.from_numpy(x)
    graph[name, "of", anchor].edge_index = torch.stack([torch.arange(len(owner)), owner])
    return NodeSpec(modality=Modality.TABULAR, channels=x.shape[1])


def _schema(nodes: Mapping[str, NodeSpec], anchor: str) -> Schema:
    return Schema(nodes=dict(nodes), edges={(n, "of", anchor): EdgeSpec() for n in nodes if n != anchor}, anchor=anchor)
