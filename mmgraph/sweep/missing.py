"""How a score falls as modalities go missing, and what each way of dealing with it is worth.

| strategy | in the graph | in training |
|---|---|---|
| ``leave`` | a missing modality is a node that is not there | |
| ``mean``, ``neighbours``, ``pagerank`` | made-up nodes (:func:`mmgraph.data.fill`) | the same |
| ``token`` | nodes of a learned vector (:class:`~mmgraph.encoders.LearnedToken`) | the same; see below |
| ``dropout`` | as ``leave`` | modalities are taken away at random (:class:`~mmgraph.data.ModalityDropout`) |

Nodes are made up on each part's view, after hiding. Where training is complete (``parts="test"``) no made-up node
would be there to learn a token from, so ``token`` trains with the modality dropout that ``dropout`` has.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias
from urllib.parse import quote

import numpy as np
import torch
from torch import Tensor, nn

from mmgraph.data import ModalityDropout, drop_modalities, fill
from mmgraph.data.fill import How
from mmgraph.encoders import Encoder, LearnedToken
from mmgraph.errors import ConfigError
from mmgraph.files import write_json
from mmgraph.schema import Schema
from mmgraph.sweep.results import CHANCE, EACH, Missing, Sweep, variant
from mmgraph.tasks import NodeClassification, Part, baseline
from mmgraph.train import Cell, FitConfig
from mmgraph.train.threads import limited
from mmgraph.train.trial import (
    Given,
    MakeModel,
    MakeObjective,
    MakeTransform,
    Trial,
    Ways,
    averaged,
    bar,
    kept,
    validated,
)

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData

    from mmgraph.train.module import Transform

Strategy: TypeAlias = Literal["leave", "token", "mean", "neighbours", "pagerank", "dropout"]

STRATEGIES: tuple[Strategy, ...] = ("leave", "token", "mean", "neighbours", "pagerank", "dropout")
RATES = (0.0, 0.25, 0.5, 0.75)


def sweep_missing(
    build: Callable[[int, int], Given],
    make_model: MakeModel,
    *,
    rates: Sequence[float] = RATES,
    modalities: Sequence[str] | None = None,
    how: Sequence[Strategy] = STRATEGIES,
    parts: Missing = "test",
    runs: int = 3,
    folds: int = 1,
    dropout: float = 0.5,
    config: FitConfig | None = None,
    make_objective: MakeObjective | None = None,
    target: str | None = None,
    metric: str = "accuracy",
    folder: Path | None = None,
    about: Mapping[str, Any] | None = None,
    progress: bool = False,
) -> Sweep:
    """Takes modalities away, deals with it in several ways, and judges each on the test part.

    Whoever loses a modality loses its nodes, and the relations made from them. Who does is drawn once a run and
    modality, alike for all strategies, and the losses are nested: who lacks a modality at one rate lacks it at every
    higher one. Scalers and chosen columns stay those of the complete data.

    With a folder, each cell is written down when it is finished; called again after a kill, only what is missing is
    run, and the results are the same. More rates, strategies or runs can be added later.

    Args:
        build: (run, fold) → a population, or a graph and its schema, with masks of the three parts.
        make_model: Schema → a fresh model; called with the run's seed set.
        rates: Shares of those who have a modality that lose it.
        modalities: Which to take away, one at a time, and ``all`` for each of them (an anchor keeps at least one, so
            that somewhat fewer are lost); by default each that there is, and all.
        how: The strategies.
        parts: ``test``: trained on what is complete, tested on what is not. ``all``: missing in all parts.
        runs: How many runs.
        folds: How many models a run trains and averages.
        dropout: At what rate ``dropout`` (and, for ``parts="test"``, ``token``) takes modalities away in training.
        config: How to train; the seed of a run is ``config.seed`` plus its number.
        make_objective: Schema → what training makes small; by default learning from labels.
        target: Name of the target, of the anchor; by default the only one.
        metric: What is shown.
        folder: Where cells are kept, and ``sweep.json`` goes.
        about: Further settings, as JSON, that cells depend on.
        progress: Show a bar.

    Raises:
        ConfigError: A rate, modality, strategy or metric that there is not, a target that is not the anchor's, or
            tokens for a model without an encoder.
        ArtifactError: A cell in the folder is of other data or settings.

    Example:
        >>> from mmgraph.model import classifier
        >>> from mmgraph.testing import fake_graph
        >>> sweep = sweep_missing(
        ...     lambda run, fold: fake_graph(60, seed=run), classifier, rates=(0, 0.5), how=("leave", "mean"), runs=1,
        ...     modalities=["scan"], config=FitConfig(epochs=5),
        ... )
        >>> len(sweep.cells), sweep.modalities
        (5, ('scan',))
    """  # fmt: skip
    config = config or FitConfig()
    rates = tuple(sorted({float(rate) for rate in rates}))
    _check(rates, how, parts, runs, folds, dropout)
    settings = {"config": asdict(config), "parts": parts, "dropout": dropout, "folds": folds, **(about or {})}
    shared = _Shared(make_model, config, make_objective, parts, dropout, folder)
    cells: list[Cell] = []
    with bar(shown=progress) as shown, limited(config.threads):
        step = shown.add_task("", total=None)
        for number in range(runs):
            trial = _trial(number, [build(number, fold) for fold in range(folds)], target, metric, settings)
            names = _modalities(trial.task.schema, modalities)
            points = [(EACH, 0.0)] * (0.0 in rates) + [(name, rate) for name in names for rate in rates if rate > 0]
            shown.update(step, total=runs * len(how) * len(points))
            cells.append(trial.cell(CHANCE, baseline(CHANCE, trial.folds, trial.task), {}, []))
            for one in how:
                together = [points] if parts == "test" else [[point] for point in points]
                for some in together:
                    shown.update(step, description=f"run {number + 1}/{runs}: {one}")
                    cells += _cells(trial, one, some, shared)
                    shown.advance(step, len(some))
    cells = [replace(cell, history=(), probabilities=(), labels=()) for cell in cells]
    sweep = Sweep(
        cells=cells, metric=metric, rates=rates, modalities=names, how=tuple(how), parts=parts, about=settings
    )
    if folder is not None:
        write_json(folder / "sweep.json", sweep.to_json())
    return sweep


def draw_missing(
    graph: HeteroData, schema: Schema, modality: str, rate: float, *, parts: Missing = "all", seed: int = 0
) -> dict[str, Tensor]:
    """Who loses what: modality → mask ``[anchors]``, nested over the rates.

    Args:
        graph: The whole graph, with masks of its parts.
        schema: What it means.
        modality: Which is lost, or ``all``: each of them, but an anchor keeps the one that it would lose last.
        rate: Share of those who have it that lose it, rounded up.
        parts: Who may lose it: all, or the test part.
        seed: Of the draw.

    Example:
        >>> from mmgraph.testing import fake_graph
        >>> graph, schema = fake_graph()
        >>> few, many = (draw_missing(graph, schema, "scan", rate)["scan"] for rate in (0.2, 0.6))
        >>> bool((few & ~many).any()), int(few.sum()), int(many.sum())
        (False, 6, 18)
    """
    anchor = schema.anchor or ""
    rows = int(graph[anchor].num_nodes)
    places = {}  # at what rate an anchor loses each modality
    for name in schema.modalities:
        has = torch.zeros(rows, dtype=torch.bool)
        has[graph[name, "of", anchor].edge_index[1]] = True
        may = has & graph[anchor].test_mask if parts == "test" else has
        state = np.random.SeedSequence(seed, spawn_key=tuple(hashlib.sha256(name.encode()).digest()[:8]))
        numbers = torch.rand(rows, generator=torch.Generator().manual_seed(int(state.generate_state(1)[0])))
        order = numbers.masked_fill(~may, 2.0).argsort(stable=True).argsort(stable=True)
        places[name] = (order / max(int(may.sum()), 1)).double().masked_fill(~may, torch.inf)
    if modality != EACH:
        return {modality: places[modality] < rate}
    place = torch.stack(list(places.values()), dim=1)  # [anchors, modalities]
    last = place.where(place.isfinite(), torch.tensor(-1.0).double()).argmax(dim=1, keepdim=True)
    place = place.scatter(1, last, torch.inf)
    return {name: place[:, column] < rate for column, name in enumerate(places)}


class _Filling(NodeClassification):
    """Node classification on views in which missing modalities are filled in, after hiding.

    Tokens of the training part are put in by the transform of each step, so that what is dropped is data.
    """

    def __init__(self, schema: Schema, target: str, how: How) -> None:
        super().__init__(schema, target)
        self.how = how

    def view(self, graph: HeteroData, part: Part) -> HeteroData:
        seen = super().view(graph, part)
        return seen if part == "train" and self.how == "token" else fill(seen, self.schema, self.how)


class _Shared(NamedTuple):
    """What all cells of a sweep have in common."""

    make_model: MakeModel
    config: FitConfig
    make_objective: MakeObjective | None
    parts: Missing
    dropout: float
    folder: Path | None


def _cells(trial: Trial, how: Strategy, points: Sequence[tuple[str, float]], shared: _Shared) -> list[Cell]:
    """The cells of one strategy that share their training, those that are not written down yet fitted."""
    names = [variant(how, *point) for point in points]
    paths = [
        shared.folder and shared.folder / "cells" / f"{trial.run:03d}-{quote(name, safe='')}.json" for name in names
    ]
    found = [kept(path, trial.digest) for path in paths]
    if all(found):
        return [cell for cell in found if cell is not None]
    assert isinstance(trial.task, NodeClassification)
    filling = _Filling(trial.task.schema, trial.task.name, "leave" if how == "dropout" else how)
    trial = trial._replace(task=filling)
    lacking = [_dropped(trial, *point, shared) for point in points]
    trained = trial.folds if shared.parts == "test" else lacking[0]
    fits = None if shared.folder is None else shared.folder / "fits"
    ways = Ways(shared.make_model, shared.config, shared.make_objective, _transform(how, shared))
    if how == "token":
        ways = ways._replace(make_model=_with_tokens(shared.make_model, filling.view(trained[0], "val")))
    fitted = trial.fit(trained, ways, fits and fits / f"{trial.run:03d}-{quote(names[0], safe='')}")
    val = validated(fitted, filling.metrics)
    for number, (name, path, graphs) in enumerate(zip(names, paths, lacking, strict=True)):
        if found[number] is None:
            there = [replace(one, graph=graph) for one, graph in zip(fitted, graphs, strict=True)]
            cell = trial.cell(name, averaged(there), val, fitted)
            found[number] = cell = replace(cell, history=(), probabilities=(), labels=())
            if path is not None:
                write_json(path, cell.to_json())
    if fits is not None:
        shutil.rmtree(fits, ignore_errors=True)  # one fit is under way at a time
    return [cell for cell in found if cell is not None]


def _dropped(trial: Trial, modality: str, rate: float, shared: _Shared) -> list[HeteroData]:
    """The graphs of the folds without what is missing."""
    schema, seed = trial.task.schema, shared.config.seed + trial.run
    if rate == 0:
        return trial.folds
    lost = draw_missing(trial.folds[0], schema, modality, rate, parts=shared.parts, seed=seed)
    return [drop_modalities(graph, schema, lost) for graph in trial.folds]


def _transform(how: Strategy, shared: _Shared) -> MakeTransform | None:
    if how == "dropout":
        return lambda schema: ModalityDropout(schema, rate=shared.dropout)
    if how != "token":
        return None
    if shared.parts == "all":
        return lambda schema: lambda graph, _: fill(graph, schema, "token")

    def make(schema: Schema) -> Transform:
        dropped = ModalityDropout(schema, rate=shared.dropout)
        return lambda graph, generator: fill(dropped(graph, generator), schema, "token")

    return make


def _with_tokens(make_model: MakeModel, view: HeteroData) -> MakeModel:
    """Models of which filled nodes get learned vectors, with the weights that they have without."""

    @torch.no_grad()
    def make(schema: Schema) -> nn.Module:
        model = make_model(schema)
        encoder = getattr(model, "encoder", None)
        if not isinstance(encoder, Encoder):
            raise ConfigError(
                f"token needs a model with an Encoder at .encoder, got {type(model).__name__}; leave 'token' out of how"
            )
        widths = {name: state.shape[1] for name, state in encoder.eval()(view).items() if "filled" in view[name]}
        model.encoder = LearnedToken(encoder.train(), widths)
        return model

    return make


def _trial(number: int, built: Sequence[Given], target: str | None, metric: str, settings: Mapping[str, Any]) -> Trial:
    trial = Trial.of(number, built, lambda schema: NodeClassification(schema, target))
    if metric not in trial.task.metrics:
        raise ConfigError(f"metric must be one of {list(trial.task.metrics)}, got {metric!r}")
    if trial.task.node != trial.task.schema.anchor:
        raise ConfigError(
            f"The target must be of the anchor {trial.task.schema.anchor!r}, got one of {trial.task.node!r}"
        )
    text = trial.digest + json.dumps(settings, sort_keys=True, default=str)
    return trial._replace(digest=hashlib.sha256(text.encode()).hexdigest())


def _modalities(schema: Schema, chosen: Iterable[str] | None) -> tuple[str, ...]:
    known = (*schema.modalities, EACH) if len(schema.modalities) > 1 else schema.modalities
    names = known if chosen is None else tuple(dict.fromkeys(chosen))
    if not names or (unknown := [name for name in names if name not in known]):
        raise ConfigError(f"modalities must be among {list(known)}, got {unknown if names else 'none'}")
    return names


def _check(rates: Sequence[float], how: Sequence[str], parts: str, runs: int, folds: int, dropout: float) -> None:
    if not rates or not all(0 <= rate <= 1 for rate in rates):
        raise ConfigError(f"rates must be between 0 and 1, and at least one, got {list(rates)}")
    if not how or not set(how) <= set(STRATEGIES) or len(set(how)) < len(how):
        raise ConfigError(f"how must be some of {list(STRATEGIES)}, each once, got {list(how)}")
    if parts not in ("test", "all"):
        raise ConfigError(f"parts must be 'test' or 'all', got {parts!r}")
    if runs < 1 or folds < 1:
        raise ConfigError(f"runs and folds must be at least 1, got runs={runs}, folds={folds}")
    if not 0 < dropout <= 1:
        raise ConfigError(f"dropout must be above 0 and at most 1, got {dropout}")
