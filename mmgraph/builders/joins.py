"""What follows what, what is there at the same time, and who speaks when: edges added to a graph.

| relation | leads to a node from | made by |
|---|---|---|
| ``next`` | the last nodes before it in its sequence | :func:`join_next` |
| ``previous`` | the first nodes after it | :func:`join_next` |
| ``same_time`` | those in a window around it, or the nearest in time | :func:`join_same_time` |
| ``before_same``, ``before_other`` | utterances before it, of its speaker and of others | :func:`join_dialogue` |
| ``after_same``, ``after_other`` | utterances after it | :func:`join_dialogue` |
| ``child`` | its children in a tree | :func:`join_children` |

All are made without a loop over steps, and leave the graph and the schema that they are given as they are.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch_geometric.data import HeteroData

from mmgraph.builders.clocks import Column, clocks, codes, column, one_a_row
from mmgraph.errors import ConfigError, DataError
from mmgraph.functional.levels import cycle
from mmgraph.functional.temporal import Clock, closest, positions, preceding, within
from mmgraph.schema import EdgeSpec, Schema

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

Joined: TypeAlias = tuple[HeteroData, Schema]
ROUNDING_S = 1e-9  # how far beyond the end of a window still counts as in it: 0.3 - 0.1 is not 0.2


def join_next(
    graph: HeteroData,
    schema: Schema,
    source: str,
    target: str | None = None,
    *,
    sequence: Column = "sequence",
    time_s: Column = "time_s",
    reach: int | None = 1,
) -> Joined:
    """Adds ``next`` edges, from the last node before each in its sequence, and ``previous`` ones, from the first after.

    Nodes of one type at the same time follow each other in their order; between two types, what is at the same time is
    neither before nor after. A sequence of one node gets no edge.

    Args:
        graph: The graph; it is left as it is.
        schema: What it means.
        source: Node type that the edges lead from.
        target: Node type that they lead to; by default the same.
        sequence: Name of the nodes' attribute that says in which sequence they are; or node type → ``[rows]`` of names
            or numbers. A node type without one takes that of the node that it is ``of``.
        time_s: The same for the time; any numbers that are in order will do.
        reach: From how many nodes on each side; ``None`` for all.

    Returns:
        A graph and a schema with the edges besides.

    Raises:
        ConfigError: A type that the schema does not declare, or a reach below 1.
        DataError: Edges that are there already, no sequence or time, or a time that is not finite.

    Example:
        >>> from torch_geometric.data import HeteroData
        >>> graph = HeteroData()
        >>> graph["word"].x = torch.ones(3, 1)
        >>> clock = {"sequence": {"word": ["a", "b", "a"]}, "time_s": {"word": [2, 5, 1]}}
        >>> graph, schema = join_next(graph, Schema.infer(graph, anchor="word"), "word", **clock)
        >>> graph["word", "next", "word"].edge_index.tolist()
        [[2], [0]]
    """
    if reach is not None and reach < 1:
        raise ConfigError(f"reach must be at least 1, or None for all, got {reach}")
    target = source if target is None else target
    found = clocks(graph, schema, (source, target), sequence, time_s)
    ends = found[source], found[target]
    if source == target:
        place = positions(ends[0])
        ends = (Clock(ends[0].sequence, place),) * 2
    before = preceding(*ends, reach=reach)
    after = preceding(*(Clock(one.sequence, -one.time) for one in ends), reach=reach)
    return _with(graph, schema, {(source, "next", target): before, (source, "previous", target): after})


def join_same_time(
    graph: HeteroData,
    schema: Schema,
    source: str,
    target: str,
    *,
    window_s: float | None = None,
    sequence: Column = "sequence",
    time_s: Column = "time_s",
) -> Joined:
    """Adds ``same_time`` edges into each node from those of its sequence that are there at its time.

    Args:
        graph: The graph; it is left as it is.
        schema: What it means.
        source: Node type that the edges lead from.
        target: Node type that they lead to; no node is joined to itself.
        window_s: From all that are at most so far away, either side (to a nanosecond); ``None`` for the nearest alone,
            of two the earlier.
        sequence: As in :func:`join_next`.
        time_s: As in :func:`join_next`, in seconds.

    Raises:
        ConfigError: A negative window, or none within one type (a node is the nearest to itself).
        DataError: As in :func:`join_next`.

    Example:
        >>> from torch_geometric.data import HeteroData
        >>> graph = HeteroData()
        >>> graph["audio"].x, graph["video"].x = torch.ones(3, 1), torch.ones(1, 1)
        >>> clock = {"sequence": {"audio": [0, 0, 0], "video": [0]}, "time_s": {"audio": [0, 0.5, 1], "video": [0.6]}}
        >>> graph, schema = join_same_time(graph, Schema.infer(graph), "audio", "video", window_s=0.4, **clock)
        >>> graph["audio", "same_time", "video"].edge_index.tolist()
        [[1, 2], [0, 0]]
    """
    if window_s is not None and not 0 <= window_s < float("inf"):
        raise ConfigError(f"window_s must be at least 0 and finite, or None for the nearest, got {window_s}")
    if window_s is None and source == target:
        raise ConfigError(f"same_time edges within {source!r} need a window_s, got None")
    found = clocks(graph, schema, (source, target), sequence, time_s)
    if window_s is None:
        index = closest(found[source], found[target])
    else:
        reach = window_s + ROUNDING_S
        index = within(found[source], found[target], before=reach, after=reach)
    if source == target:
        index = index[:, index[0] != index[1]]
    return _with(graph, schema, {(source, "same_time", target): index})


def join_dialogue(
    graph: HeteroData,
    schema: Schema,
    node: str = "utterance",
    *,
    speaker: Column = "speaker",
    sequence: Column = "sequence",
    time_s: Column = "time_s",
    past: int | None = 10,
    future: int | None = 10,
) -> Joined:
    """Adds the edges of a dialogue: into each utterance from those around it, typed by speaker and side.

    ``before_same`` and ``after_same`` lead from utterances of the same speaker before and after it, ``before_other``
    and ``after_other`` from those of others.

    Source: Ghosal, Majumder, Poria, Chhaya and Gelbukh 2019, DialogueGCN: a graph convolutional neural network for
    emotion recognition in conversation, section 3.3; arXiv:1908.11540. There a relation is named by the two speakers
    themselves (2 M² of them for M speakers) instead of whether they are the same, and an utterance is also joined to
    itself; here layers add each node's own state.

    Args:
        graph: The graph; it is left as it is.
        schema: What it means.
        node: Node type of the utterances.
        speaker: Name of the attribute that says who speaks, or node type → ``[rows]``, as ``sequence``.
        sequence: As in :func:`join_next`: which dialogue.
        time_s: As in :func:`join_next`: the order.
        past: From how many utterances before it; ``None`` for all.
        future: From how many after it.

    Raises:
        ConfigError: A negative number of utterances.
        DataError: As in :func:`join_next`, or an unknown speaker.

    Example:
        >>> from torch_geometric.data import HeteroData
        >>> graph = HeteroData()
        >>> graph["utterance"].x = torch.ones(3, 1)
        >>> said = {"sequence": {"utterance": [0] * 3}, "time_s": {"utterance": range(3)}}
        >>> schema = Schema.infer(graph, anchor="utterance")
        >>> graph, schema = join_dialogue(graph, schema, speaker={"utterance": ["Ann", "Bob", "Ann"]}, **said)
        >>> graph["utterance", "before_other", "utterance"].edge_index.tolist()
        [[0, 1], [1, 2]]
    """
    for name, most in (("past", past), ("future", future)):
        if most is not None and most < 0:
            raise ConfigError(f"{name} must be at least 0, or None for all, got {most}")
    clock = clocks(graph, schema, (node,), sequence, time_s)[node]
    voice = codes({node: column(graph, schema, node, speaker, "speaker")})[node]
    place = Clock(clock.sequence, positions(clock).double())
    index = within(place, place, before=past, after=future)
    source, target = index
    same = voice[source] == voice[target]
    sides = {"before": place.time[source] < place.time[target], "after": place.time[source] > place.time[target]}
    return _with(
        graph,
        schema,
        {
            (node, f"{side}_{who}", node): index[:, on_side & spoken]
            for side, on_side in sides.items()
            for who, spoken in (("same", same), ("other", ~same))
        },
    )


def join_children(
    graph: HeteroData, schema: Schema, node: str, parent: ArrayLike, *, relation: str = "child"
) -> Joined:
    """Adds an edge from each node to its parent: a tree, or several.

    Args:
        graph: The graph; it is left as it is.
        schema: What it means.
        node: Node type of the trees' nodes.
        parent: ``[rows]``, the row of each node's parent; -1 for a root.
        relation: Name of the edges.

    Raises:
        DataError: A parent that is no row, or nodes that are their own ancestors.

    Example:
        >>> from torch_geometric.data import HeteroData
        >>> graph = HeteroData()
        >>> graph["phrase"].x = torch.ones(3, 1)
        >>> graph, schema = join_children(graph, Schema.infer(graph, anchor="phrase"), "phrase", [2, 2, -1])
        >>> graph["phrase", "child", "phrase"].edge_index.tolist()
        [[0, 1], [2, 2]]
    """
    rows = int(graph[node].num_nodes)
    given = one_a_row(node, "parent", parent, rows)
    above = torch.from_numpy(given.astype(np.int64))
    if len(odd := np.flatnonzero(given != above.numpy())):
        raise DataError(f"parent of {node!r} must be whole numbers, got {given[odd[0]]} in row {odd[0]}")
    wrong = ((above < -1) | (above >= rows)).nonzero().flatten().tolist()
    if wrong:
        raise DataError(
            f"parent of {node!r} must be between -1 (a root) and {rows - 1}, "
            f"got {int(above[wrong[0]])} in row {wrong[0]}"
        )
    below = (above >= 0).nonzero().flatten()
    index = torch.stack([below, above[below]])
    if ring := cycle(index, rows):
        raise DataError(f"parent of {node!r} must lead up to a root (-1), got rows {ring} in a ring")
    return _with(graph, schema, {(node, relation, node): index})


def _with(graph: HeteroData, schema: Schema, found: Mapping[tuple[str, str, str], Tensor]) -> Joined:
    """A graph and a schema with some relations besides."""
    there = [edge for edge in found if edge in schema.edges or edge in graph.edge_types]
    if there:
        raise DataError(
            f"Graph must not have edges of type {there[0]} yet; remove the type from graph and schema first"
        )
    larger = copy.copy(graph)
    for edge, index in found.items():
        larger[edge].edge_index = index
    return larger, schema.model_copy(update={"edges": {**schema.edges, **dict.fromkeys(found, EdgeSpec())}})
