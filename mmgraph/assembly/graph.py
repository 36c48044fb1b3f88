"""A graph, built from its declaration: nodes, targets, splits, features, relations; what is bad is set aside."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch_geometric.data import HeteroData

from mmgraph.assembly.built import Built
from mmgraph.assembly.cells import Cell
from mmgraph.assembly.config import GraphConfig
from mmgraph.assembly.features import Made, Reader, check_modality, choice, make_features, reread
from mmgraph.assembly.nodes import Nodes, read_nodes
from mmgraph.assembly.rejected import Rejected
from mmgraph.assembly.relations import read_edges, value_nodes
from mmgraph.assembly.source import Source
from mmgraph.assembly.targets import read_split, read_target
from mmgraph.cluster.workers import open_workers
from mmgraph.data.manifest import dataset_names, load_dataset
from mmgraph.encoders import FeatureCache, Frozen
from mmgraph.errors import ConfigError
from mmgraph.schema import EdgeSpec, Modality, NodeSpec, Schema, TargetSpec
from mmgraph.typing import EdgeSet


def build_graph(
    source: Source | str | Path,
    *,
    encoders: Mapping[str, Frozen] | None = None,
    cache: FeatureCache | None = None,
    strict: bool = False,
    progress: bool = False,
    engine: str = "local",
    workers: int = 1,
    address: str | None = None,
    shared: bool = False,
) -> Built:
    """Builds a graph from tables, pictures, recordings and texts.

    Each row of a node table is a node. Each payload in a modality column is a node that hangs on its row's by an
    ``of`` edge; an empty cell is no node. What can't be read is set aside, counted and listed in
    :attr:`Built.rejected`. What is learnt from the data (scales, vocabularies) is learnt from the training part of the
    anchors alone; other node types have no parts, and all their rows are learnt from. Features are kept by the content
    of their payload: a killed build goes on where it stopped, and gives the same bits.

    Args:
        source: A :class:`Source`, the path of a declaration (``graph.toml``), or the name of a dataset that gives one.
        encoders: Modality node type → its encoder, in place of the declared one.
        cache: Where features are kept; by default the user's cache.
        strict: Raise at the first cell that can't be read, instead of setting it aside.
        progress: Show bars on the standard error output, with rate and time left.
        engine: Who encodes: ``local``, this machine, or ``ray``, a Ray cluster. The graph has the same bits whoever it
            is; see ``docs/cluster.md``.
        workers: How many processes encode; one of the local engine is this one. A script that asks for more must call
            this below ``if __name__ == "__main__":``.
        address: Of a running Ray cluster; without one, one of this machine that ends with the build. A process that is
            connected to a cluster stays with it.
        shared: Workers read pictures and recordings themselves: all machines see the root under the same path.

    Raises:
        ConfigError: The declaration contradicts itself, or names an encoder that there is not; workers can't make it,
            can't see a file, have other versions, or not enough memory.
        MissingPackageError: Ray is not installed.
        DataError: A table or a column is missing.
        TooManyRejectedError: More was set aside than the declaration allows.

    Example:
        >>> import pyarrow as pa
        >>> from mmgraph.assembly import GraphConfig
        >>> plots = ["A dog runs.", None, "A cat."]
        >>> films = pa.table({"id": ["a", "b", "c"], "plot": plots, "sequel": ["b", None, None]})
        >>> config = GraphConfig(
        ...     nodes={"film": {"table": "films", "key": "id", "columns": {"plot": "text"}}},
        ...     edges=[{"type": ("film", "continued_by", "film"), "column": "sequel"}],
        ... )
        >>> graph = build_graph(Source(config, {"films": films}), cache=FeatureCache(getfixture("tmp_path"))).graph
        >>> graph["plot", "of", "film"].edge_index.tolist(), graph["film", "continued_by", "film"].edge_index.tolist()
        ([[0, 1], [0, 2]], [[0], [1]])
    """
    source = _source(source)
    config, cache, given = source.config, cache or FeatureCache(), dict(encoders or {})
    _check_encoders(config, given, sent=workers > 1 or engine != "local")
    rejected = Rejected(strict=strict)
    with _bars(progress) as bars, open_workers(engine, workers, address=address) as crew:
        nodes = {name: read_nodes(source, name, rejected.part()) for name in config.nodes}
        nodes |= value_nodes(config, nodes)
        answers = {name: read_target(config, name, nodes, rejected.part()) for name in config.targets}
        masks = read_split(config, nodes, answers, rejected.part())
        made: dict[str, Made] = {}
        for node in config.modality_nodes:
            reader = Reader(source, node, nodes[config.modality_nodes[node][0]])
            training = masks.get("train") if reader.owner_type == config.anchor else None
            with bars(f"{node} ({reader.modality})", len(reader.nodes)) as step:
                options: Any = {"given": given.get(node), "cache": cache, "workers": crew, "shared": shared}
                made[node] = make_features(reader, rejected.part(), training=training, progress=step, **options)
        found = {node: (one.features, one.owner) for node, one in made.items()}
        edges = {edge.type: read_edges(source, edge, nodes, found, rejected.part()) for edge in config.edges}
        inverse = {
            (t, edge.inverse, s): edges[edge.type] for edge in config.edges if edge.inverse for s, _, t in [edge.type]
        }
    edges |= {kind: EdgeSet(one.index.flip(0), one.weight) for kind, one in inverse.items()}
    rejected.check(config.limits.rejected)
    graph, schema = _assemble(source, nodes, made, edges, answers, masks)
    schema.check(graph)
    built = Built(
        config=config,
        graph=graph,
        schema=schema,
        keys={name: members.keys for name, members in nodes.items()},
        notes={(name, column): notes for name in config.nodes for column, notes in _notes(config, name, nodes[name])},
        encoders={node: _same(one.encoder) for node, one in made.items()},
        kinds={node: (one.kind, one.options) for node, one in made.items() if one.kind},
        payloads={
            node: partial(reread, Reader(source, node, nodes[one.owner_type]), one) for node, one in made.items()
        },
        rejected=rejected.items,
    )
    return source.finish(built)


def _check_encoders(config: GraphConfig, given: Mapping[str, Frozen], *, sent: bool) -> None:
    if given and sent:
        raise ConfigError(
            f"Workers make encoders from their declaration, got objects for {sorted(given)}; declare them in "
            "[encoders], or build with engine 'local' and 1 worker"
        )
    if unknown := sorted(given.keys() - config.modality_nodes.keys()):
        raise ConfigError(f"encoders must be of {sorted(config.modality_nodes)}, got {unknown[0]!r}")
    for node in config.modality_nodes:
        if node in given:
            check_modality(node, config.modality(node), given[node].modality, given[node].identity)
        else:
            choice(config, node)


def _same(encoder: Frozen) -> Callable[[], Frozen]:
    return lambda: encoder


def _notes(config: GraphConfig, name: str, nodes: Nodes) -> Iterator[tuple[str, list[str | None]]]:
    for column, one in config.nodes[name].columns.items():
        if one.modality == "keep":
            yield column, [None if cell is None else _note(cell) for cell in nodes.columns[column]]


def _note(cell: Cell) -> str:
    """A cell as a string that a file can hold."""
    text = cell.decode(errors="replace") if isinstance(cell, bytes) else str(cell)
    return text.encode(errors="replace").decode()


def _source(source: Source | str | Path) -> Source:
    if isinstance(source, Source):
        return source
    if isinstance(source, str) and source in dataset_names():
        return dataset_source(source)
    return Source.read(source)


def dataset_source(name: str, **options: Any) -> Source:
    """What a dataset's graph is built from.

    Args:
        name: Of the dataset.
        options: Of the dataset.

    Raises:
        DataError: There is no such dataset, or its files are not there.
        ConfigError: It is not made of payloads.
    """
    found = load_dataset(name, **options)
    if not isinstance(found, Source):
        raise ConfigError(f"Dataset {name!r} is not made of payloads: load it with load_dataset({name!r})")
    return found


def _assemble(
    source: Source,
    nodes: Mapping[str, Nodes],
    made: Mapping[str, Made],
    edges: Mapping[tuple[str, str, str], EdgeSet],
    answers: Mapping[str, tuple[TargetSpec, torch.Tensor]],
    masks: Mapping[str, np.ndarray],
) -> tuple[HeteroData, Schema]:
    graph = HeteroData()
    specs: dict[str, NodeSpec] = {}
    kinds: dict[tuple[str, str, str], EdgeSpec] = {}
    for name, members in nodes.items():
        graph[name].x = torch.empty(len(members), 0)
        specs[name] = NodeSpec(channels=0)
    for name, one in made.items():
        graph[name][one.encoder.attribute] = one.features
        if one.encoder.attribute != "x":
            graph[name].num_nodes = len(one.features)
        specs[name] = _spec(one)
        rows = torch.arange(len(one.owner))
        graph[name, "of", one.owner_type].edge_index = torch.stack([rows, one.owner])
        kinds[name, "of", one.owner_type] = EdgeSpec()
        if one.modality is Modality.VIDEO:
            after = one.follows.nonzero().flatten()
            graph[name, "next", name].edge_index = torch.stack([after - 1, after])
            kinds[name, "next", name] = EdgeSpec()
    for kind, edge_set in edges.items():
        graph[kind].edge_index = edge_set.index
        if edge_set.weight is not None:
            graph[kind].edge_weight = edge_set.weight
        kinds[kind] = EdgeSpec(weighted=edge_set.weight is not None)
    for spec, values in answers.values():
        graph[spec.node][spec.attribute] = values
    for part, mask in masks.items():
        graph[source.config.anchor][f"{part}_mask"] = torch.from_numpy(mask)
    targets = {name: spec for name, (spec, _) in answers.items()}
    return graph, Schema(nodes=specs, edges=kinds, targets=targets, anchor=source.config.anchor)


def _spec(made: Made) -> NodeSpec:
    encoder = made.encoder
    if encoder.attribute == "x":
        names = tuple(getattr(encoder, "names", ()))
        return NodeSpec(modality=made.modality, channels=encoder.channels, names=names, encoder=encoder.identity)
    pieces = tuple(getattr(encoder, "pieces", ()))
    read = (encoder.attribute,)
    return NodeSpec(modality=made.modality, attributes=read, encoder=encoder.identity, vocabulary=pieces)


@contextmanager
def _bars(show: bool) -> Iterator[Callable]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), disable=not show) as bars:

        @contextmanager
        def one(what: str, total: int) -> Iterator[Callable[[int], None]]:
            task = bars.add_task(what, total=total, rate="")

            def step(count: int) -> None:
                bars.advance(task, count)
                speed = bars.tasks[task].speed
                bars.update(task, rate=f"{speed:,.0f}/s" if speed else "")

            yield step

        yield one
