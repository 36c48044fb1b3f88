"""A modality made where it is absent: learned from samples that have it, judged on some that training did not see."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from mmgraph.assembly import Built
from mmgraph.completion.report import CompletionReport
from mmgraph.completion.samples import Samples, nearest, parts_of, paths_of, reached, samples_of, ways_of
from mmgraph.completion.targets import Target, parsed, target_of
from mmgraph.data import ModalityDropout, drop_modalities
from mmgraph.decoders import Generative, Translation
from mmgraph.encoders import Table
from mmgraph.encoders.frozen import digest_of_state
from mmgraph.errors import ConfigError, DataError
from mmgraph.objectives import Translate
from mmgraph.schema import EdgeSpec, Identity, NodeSpec
from mmgraph.train import FitConfig, fit
from mmgraph.translator import Translator

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData

SUFFIX = "_generated"
STEPS = 8  # of training in an epoch, at least


@dataclass(frozen=True, kw_only=True)
class CompletionConfig:
    """How a modality is made.

    Args:
        channels: Width of what is known of a sample.
        hidden: Width of the hidden layer of each source's encoder, and of the decoder.
        dropout: Share of the values that an encoder does not see while training.
        hide: Share of the samples that a source is hidden from in training, each by itself, so that any of them is
            enough later.
        pixels: Side of a picture that is made, where the graph holds none itself.
        length: Pieces of a text that is made at most, its end among them.
        payloads: Whether payloads are made (pictures, recordings, texts, rows), or features alone.
        epochs: At most so many; the best on validation counts.
        learning_rate: Of Adam, at the start.
        seed: Of the split, if the graph has none, of training, and of what is drawn.

    Raises:
        ConfigError: An option out of its range.

    Example:
        >>> CompletionConfig(hide=1.0)
        Traceback (most recent call last):
        ...
        mmgraph.errors.ConfigError: hide and dropout must be from 0 to below 1, got 1.0 and 0.1
    """

    channels: int = 64
    hidden: int = 256
    dropout: float = 0.1
    hide: float = 0.3
    pixels: int = 32
    length: int = 64
    payloads: bool = True
    epochs: int = 100
    learning_rate: float = 2e-3
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.channels, self.hidden, self.pixels, self.epochs) < 1 or self.learning_rate <= 0 or self.length < 2:
            raise ConfigError(
                "channels, hidden, pixels and epochs must be at least 1, length at least 2, and learning_rate above 0, "
                f"got {self.channels}, {self.hidden}, {self.pixels}, {self.epochs}, {self.length} and "
                f"{self.learning_rate}"
            )
        if not (0 <= self.hide < 1 and 0 <= self.dropout < 1):
            raise ConfigError(f"hide and dropout must be from 0 to below 1, got {self.hide} and {self.dropout}")


class Completed(NamedTuple):
    """A graph with what was made, and how that went."""

    built: Built
    report: CompletionReport


def complete(
    built: Built,
    modality: str,
    config: CompletionConfig | None = None,
    *,
    decoder: Callable[[int, Sequence[int]], Generative] | None = None,
    progress: bool = False,
) -> Completed:
    """Makes a modality for each sample that lacks it and has another to make it from.

    A :class:`~mmgraph.Translator` learns from the samples that have both, with sources hidden at random, so that any of
    them is enough. It sees training samples alone, stops by validation ones and is judged on those of the graph's test
    part (a random fifth, where the graph has no split), beside the mean of the training samples and what the nearest of
    them has.

    What is made are nodes of a type of their own, :func:`generated_name`, ``of`` their anchor. Their payload is a PNG
    or WAV file, a text, or JSON of a row, and their features are what the modality's encoder makes of it; or they are
    features alone. The schema says which model made them, and that type is no modality of the anchor: nothing that
    reads the modality, or all of them, can take it for data. What an earlier call made of the same is replaced.

    Args:
        built: The graph; it is left as it is.
        modality: What is to be made: a node type that is ``of`` the anchor.
        config: How.
        decoder: ``decoder(channels, hidden) -> Generative``: makes the decoder, in place of the usual one.
        progress: Show a bar.

    Returns:
        The graph with what was made, and a report.

    Raises:
        ConfigError: No such modality, or one that can't be made, or nothing to make it from.
        DataError: No sample lacks it, or too few have it.

    Example:
        >>> import pyarrow as pa
        >>> from mmgraph.assembly import GraphConfig, Source, build_graph
        >>> size = {"width": [float(n % 9) for n in range(60)], "mass": [3.0 * (n % 9) for n in range(59)] + [None]}
        >>> columns = {"width": {"modality": "numeric", "node": "a"}, "mass": {"modality": "numeric", "node": "b"}}
        >>> config = GraphConfig(nodes={"stone": {"table": "stones", "columns": columns}})
        >>> built = build_graph(Source(config, {"stones": pa.table(size)}))
        >>> filled, report = complete(built, "b", CompletionConfig(epochs=5, channels=8, hidden=8))
        >>> filled.graph["b"].num_nodes, filled.graph["b_generated"].num_nodes, filled.schema.modalities
        (59, 1, ('a', 'b'))
    """
    config = config or CompletionConfig()
    built = _without_made(built, modality)
    paths = paths_of(built, modality)
    ways = ways_of(built, paths)
    anchors = int(built.graph[built.anchor].num_nodes or 0)
    node, owner = built.graph[modality, "of", built.anchor].edge_index
    has = torch.zeros(anchors, dtype=torch.bool)
    has[owner] = True
    if bool(has.all()):
        raise DataError(f"Each of the {anchors} {built.anchor!r} has {modality!r} already; there is nothing to fill")
    parts = parts_of(built, modality, has & reached(ways, anchors), seed=config.seed)
    known = torch.zeros(int(built.graph[modality].num_nodes or 0), dtype=torch.bool)
    known[node[parts.train[owner]]] = True
    target = target_of(built, modality, known, payloads=config.payloads, size=config.pixels, length=config.length)
    samples = samples_of(built, modality, target, paths, ways, parts)
    translator = _trained(samples, modality, target, config, decoder, progress=progress)
    error, error_from = _judged(samples, modality, target, translator, config)
    absent = ~has & reached(samples.ways, anchors)
    report = CompletionReport(
        modality=modality,
        node=generated_name(modality),
        made=target.attribute,
        payloads=config.payloads,
        sources=samples.sources,
        samples=anchors,
        lacked=int((~has).sum()),
        filled=int(absent.sum()),
        measure=target.measure,
        judged=int(parts.test.sum()),
        trained=int(parts.train.sum()),
        error=error,
        error_from=error_from,
        options={name: getattr(config, name) for name in ("channels", "hidden", "hide", "epochs", "seed")},
    )
    return Completed(_filled(built, modality, target, samples, translator, absent, report, config), report)


def generated_name(modality: str) -> str:
    """The node type of what is made of a modality.

    Example:
        >>> generated_name("audio")
        'audio_generated'
    """
    return f"{modality}{SUFFIX}"


def _without_made(built: Built, modality: str) -> Built:
    """The graph without what an earlier completion made of a modality.

    Raises:
        ConfigError: There is no such modality, or what it would be called is data.
    """
    if modality not in built.schema.modalities:
        raise ConfigError(
            f"What is filled must be of {built.anchor!r}, one of {list(built.schema.modalities)}, got {modality!r}"
        )
    name = generated_name(modality)
    if name not in built.schema.nodes:
        return built
    if built.schema.nodes[name].generated is None:
        raise ConfigError(f"{name!r} must be free for what is made, but it is data; rename that node type")
    graph = copy.copy(built.graph)
    edges = {edge: spec for edge, spec in built.schema.edges.items() if name not in (edge[0], edge[2])}
    for edge in built.schema.edges.keys() - edges.keys():
        del graph[edge]
    del graph[name]
    nodes = {node: spec for node, spec in built.schema.nodes.items() if node != name}
    return replace(
        built,
        graph=graph,
        schema=built.schema.model_copy(update={"nodes": nodes, "edges": edges}),
        encoders={node: one for node, one in built.encoders.items() if node != name},
        kinds={node: one for node, one in built.kinds.items() if node != name},
        payloads={node: one for node, one in built.payloads.items() if node != name},
    )


def _trained(
    samples: Samples,
    modality: str,
    target: Target,
    config: CompletionConfig,
    decoder: Callable[[int, Sequence[int]], Generative] | None,
    *,
    progress: bool,
) -> Translator:
    """A translator at its best epoch on validation.

    Raises:
        ConfigError: The decoder that is given makes another tensor.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        makes = (decoder or target.decoder)(config.channels, [config.hidden])
        if makes.attribute != target.attribute:
            raise ConfigError(f"The decoder must make {target.attribute!r} of {modality!r}, got {makes.attribute!r}")
        widths = {name: samples.graph[name].x.shape[1] for name in samples.sources}
        encoder = Table(widths, config.channels, hidden=[config.hidden], dropout=config.dropout)
        translator = Translator(schema=samples.schema, target=modality, encoder=encoder, decoder=makes)
    hidden = [name for name in samples.sources if name in samples.schema.modalities]
    hide = (
        ModalityDropout(samples.schema, rate=dict.fromkeys(hidden, config.hide)) if len(samples.sources) > 1 else None
    )
    fitted = fit(
        translator,
        Translate(samples.schema, modality),
        target.task(samples.schema),
        samples.graph,
        FitConfig(
            epochs=config.epochs,
            learning_rate=config.learning_rate,
            schedule="cosine",
            weight_decay=1e-5,
            batch_size=max(8, min(128, int(samples.parts.train.sum()) // STEPS)),
            seed=config.seed,
        ),
        transform=hide,
        progress=progress,
    )
    assert isinstance(fitted.model, Translator)
    return fitted.model


@torch.no_grad()
def _made(translator: Translator, graph: HeteroData, rows: Tensor, seed: int) -> Translation:
    """What a translator says of some samples, by number."""
    return Translation(translator.decoder, translator.sources(graph).take(rows), seed=seed)


def _judged(
    samples: Samples, modality: str, target: Target, translator: Translator, config: CompletionConfig
) -> tuple[dict[str, float], dict[str, float]]:
    """The errors on the test part, and those from each source alone where there are several."""
    graph, parts, anchor = samples.graph, samples.parts, samples.schema.anchor
    node, owner = graph[modality, "of", anchor].edge_index
    rows, among = parts.test.nonzero().flatten(), parts.train.nonzero().flatten()
    asked = parts.test[owner]
    real = target.values[node[asked]]
    place = torch.searchsorted(rows, owner[asked])
    middle = target.typical(target.values[node[parts.train[owner]]])
    first = torch.full((len(parts.test),), -1, dtype=torch.long)
    first[owner.flip(0)] = node.flip(0)
    copied = target.values[first[nearest(samples, rows, among)]]
    error = {
        "generated": target.error(_made(translator, graph, rows, config.seed).payloads()[place], real),
        "mean": target.error(middle.expand_as(real), real),
        "nearest": target.error(copied.where(copied.isfinite(), middle)[place], real),
    }
    alone: dict[str, float] = {}
    for name in samples.sources if len(samples.sources) > 1 else ():
        if name not in samples.schema.modalities:
            continue
        others = [one for one in samples.schema.modalities if one not in (name, modality)]
        everyone = dict.fromkeys(others, torch.ones_like(parts.test))
        left = drop_modalities(graph, samples.schema, everyone)
        alone[name] = target.error(_made(translator, left, rows, config.seed).payloads()[place], real)
    return error, alone


def _filled(
    built: Built,
    modality: str,
    target: Target,
    samples: Samples,
    translator: Translator,
    absent: Tensor,
    report: CompletionReport,
    config: CompletionConfig,
) -> Built:
    """The graph with what is made of the samples that lack the modality."""
    said = _made(translator, samples.graph, absent.nonzero().flatten(), config.seed)
    files = target.payloads(said.payloads(), translator.decoder, said.sources, config.seed)
    identity = Identity(
        name="translator",
        revision=digest_of_state(translator.state_dict()),
        options={**report.options, "sources": list(report.sources), "error": dict(report.error)},
    )
    name, spec, graph = report.node, built.schema.nodes[modality], copy.copy(built.graph)
    if files is None:
        graph[name].x = said.payloads()
        kept = {"channels": spec.channels, "names": spec.names, "unit": spec.unit}
        made = NodeSpec(modality=spec.modality, generated=identity, **kept)
    else:
        encoder = built.encoder(modality)
        graph[name][encoder.attribute] = encoder(parsed(files, spec.modality))
        if encoder.attribute != "x":
            graph[name].num_nodes = len(files)
        made = spec.model_copy(update={"generated": identity})
    owner = absent.nonzero().flatten()
    of = (name, "of", built.anchor)
    graph[of].edge_index = torch.stack([torch.arange(len(owner)), owner])
    schema = built.schema.model_copy(
        update={"nodes": {**built.schema.nodes, name: made}, "edges": {**built.schema.edges, of: EdgeSpec()}}
    )
    schema.check(graph)
    if files is None:
        return replace(built, graph=graph, schema=schema)
    kinds = {name: built.kinds[modality]} if modality in built.kinds else {}
    return replace(
        built,
        graph=graph,
        schema=schema,
        encoders={**built.encoders, name: built.encoders[modality]},
        kinds={**built.kinds, **kinds},
        payloads={**built.payloads, name: lambda: files},
    )
