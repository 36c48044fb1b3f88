"""What a completion learns from: each sample's sources as numbers, and which samples are for what."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from mmgraph.assembly import Built
from mmgraph.completion.targets import Target, payloads_of
from mmgraph.encoders import DEFAULTS, make_frozen
from mmgraph.errors import ConfigError, DataError
from mmgraph.functional.packing import follow
from mmgraph.schema import EdgeSpec, NodeSpec, Schema

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData

TEST, VAL = 0.2, 0.1  # shares, where the graph has no split
FEWEST = 8


@dataclass(frozen=True)
class Parts:
    """Which samples are for what, masks ``[anchors]``; all have the target and a source."""

    train: Tensor
    val: Tensor
    test: Tensor


@dataclass(frozen=True)
class Samples:
    """The samples as a graph of their own, on which a translator is trained.

    Args:
        graph: Anchors, sources with standardised ``x``, and the target with what is made of it.
        schema: What they mean.
        sources: Names of the sources.
        ways: Source → which of its rows reaches which anchor, ``[2, ways]``.
        parts: Which samples are for what.
    """

    graph: HeteroData
    schema: Schema
    sources: tuple[str, ...]
    ways: Mapping[str, Tensor]
    parts: Parts


def paths_of(built: Built, modality: str) -> dict[str, tuple[tuple[str, str, str], ...]]:
    """What a modality can be made from: the node types that reach the anchor, and how; the anchor, if it has numbers.

    Raises:
        ConfigError: There is nothing else.
    """
    schema = built.schema
    paths = {name: path for name, path in schema.paths.items() if name != modality}
    if schema.nodes[built.anchor].channels:
        paths[built.anchor] = ()
    if not paths:
        raise ConfigError(f"{modality!r} is all that a {built.anchor!r} has; there is nothing to make it from")
    return paths


def ways_of(built: Built, paths: Mapping[str, tuple[tuple[str, str, str], ...]]) -> dict[str, Tensor]:
    """Source → which of its rows reaches which anchor, ``[2, ways]``."""
    everyone = torch.arange(int(built.graph[built.anchor].num_nodes or 0))
    return {
        name: follow([built.graph[edge].edge_index for edge in path]) if path else torch.stack([everyone, everyone])
        for name, path in paths.items()
    }


def reached(ways: Mapping[str, Tensor], anchors: int) -> Tensor:
    """Mask ``[anchors]`` of those that have any source."""
    there = torch.zeros(anchors, dtype=torch.bool)
    for way in ways.values():
        there[way[1]] = True
    return there


def parts_of(built: Built, modality: str, usable: Tensor, *, seed: int) -> Parts:
    """The graph's own split of the samples that can be learned from, or one at random.

    Where the graph's test part, or its validation part, has none of them, a share of training takes its place.

    Raises:
        DataError: There are too few.
    """
    store = built.graph[built.anchor]
    masks = [store.get(f"{name}_mask") for name in ("train", "val", "test")]
    train, val, test = (usable if mask is None else mask & usable for mask in masks)
    generator = torch.Generator().manual_seed(seed)
    if masks[2] is None or not bool(test.any()):
        test = _drawn(train, TEST, generator)
    train = train & ~test
    if masks[1] is None or not bool(val.any()):
        val = _drawn(train, VAL, generator)
    train, val = train & ~val, val & ~test
    if int(train.sum()) < FEWEST or not bool(val.any()) or not bool(test.any()):
        counts = f"{int(train.sum())} for training, {int(val.sum())} for validation and {int(test.sum())} for the test"
        raise DataError(
            f"At least {FEWEST} of {built.anchor!r} must be left for training, and some to judge by, that have "
            f"{modality!r} and something to make it from, got {counts}"
        )
    return Parts(train, val, test)


def samples_of(
    built: Built,
    modality: str,
    target: Target,
    paths: Mapping[str, tuple[tuple[str, str, str], ...]],
    ways: Mapping[str, Tensor],
    parts: Parts,
) -> Samples:
    """Puts the sources, as numbers, and what is made of the target on a graph.

    Raises:
        ConfigError: No source can be read.
    """
    from torch_geometric.data import HeteroData

    graph, nodes, edges = HeteroData(), {}, {}
    names = {built.anchor, *(end for path in paths.values() for edge in path for end in (edge[0], edge[2]))}
    for name in sorted(names):
        x = _features(built, name, ways.get(name), parts.train)
        if name in ways and x is None:
            continue
        rows = int(built.graph[name].num_nodes or 0)
        graph[name].x = torch.empty(rows, 0) if x is None else x
        nodes[name] = NodeSpec(channels=graph[name].x.shape[1])
    found = tuple(name for name in paths if name in nodes)
    if not found:
        raise ConfigError(
            f"No source of {modality!r} can be read, of {list(paths)}; build the graph with their payloads"
        )
    of = (modality, "of", built.anchor)
    for edge in [of, *(edge for name in found for edge in paths[name])]:
        graph[edge].edge_index = built.graph[edge].edge_index
        edges[edge] = EdgeSpec(multiple=True)
    graph[modality][target.attribute] = target.values
    if target.attribute == "x":
        nodes[modality] = NodeSpec(channels=target.values.shape[1], allow_nan=True)
    else:
        graph[modality].num_nodes = len(target.values)
        nodes[modality] = NodeSpec(attributes=(target.attribute,), vocabulary=target.vocabulary)
    for name, mask in (("train", parts.train), ("val", parts.val), ("test", parts.test)):
        graph[built.anchor][f"{name}_mask"] = mask
    schema = Schema(nodes=nodes, edges=edges, anchor=built.anchor)
    return Samples(graph, schema, found, {name: ways[name] for name in found}, parts)


def nearest(samples: Samples, rows: Tensor, among: Tensor) -> Tensor:
    r"""Which samples have the most alike sources, ``[rows]``.

    The mean cosine over the sources that a row has; of a source that the other lacks it is 0.

    Args:
        samples: The samples.
        rows: The samples to find others for, by number.
        among: The samples to find, by number.
    """
    anchors = int(samples.graph[samples.schema.anchor].num_nodes or 0)
    alike = torch.zeros(len(rows), len(among))
    for name, (row, anchor) in samples.ways.items():
        x = samples.graph[name].x[row]
        mean = torch.zeros(anchors, x.shape[1]).index_add(0, anchor, x)  # cosines do not see by how many it is divided
        unit = F.normalize(mean, dim=1)
        alike += unit[rows] @ unit[among].T
    return among[alike.argmax(dim=1)]


def _features(built: Built, name: str, way: Tensor | None, train: Tensor) -> Tensor | None:
    """Numbers of a source, centred on training and of deviation 1 there in all columns together; NaN becomes 0."""
    if way is None:
        return None
    x, modality = built.graph[name].get("x"), built.schema.nodes[name].modality
    known = way[0][train[way[1]]].unique()
    if x is None or not x.shape[1]:
        if modality is None or modality not in DEFAULTS or name not in built.payloads:
            return None
        payloads = payloads_of(built, name)
        x = make_frozen(DEFAULTS[modality], [payloads[row] for row in known.tolist()])(payloads)
    x = x.float()
    centred = x - x[known].nanmean(dim=0).nan_to_num(0.0)
    there = centred[known][centred[known].isfinite()]
    scale = float(there.std()) if there.numel() > 1 else 1.0
    return (centred / (scale or 1.0)).nan_to_num(0.0, 0.0, 0.0)


def _drawn(mask: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """A share of the rows of a mask, at least one, as a mask."""
    rows = mask.nonzero().flatten()
    chosen = rows[torch.randperm(len(rows), generator=generator)[: max(1, round(share * len(rows)))]]
    return torch.zeros_like(mask).index_fill(0, chosen, value=True)
