"""Population graphs: subjects joined to those who resemble them.

Source: Parisot et al. 2018, Disease prediction using graph convolutional networks: application to autism
spectrum disorder and Alzheimer's disease, Medical Image Analysis 48; arXiv:1806.01738.

A subject is an anchor; its measurements of each modality hang on it as a node, by an ``of`` edge. Subjects are
joined by ``near_<modality>`` edges to the ``k`` nearest in that modality, or by ``agrees`` edges to those with
the same phenotypes. Edges point from the neighbour to the subject whose state it informs.

What a computation may see of a subject outside training is the *regime*:

| regime | scalers, widths and edges are fitted on | a test subject's neighbours |
|---|---|---|
| ``transductive`` | the features of all (labels of training only) | all |
| ``cohort_hidden`` | training | training, and those who arrive with it |
| ``single_query`` | training | training alone |

In the last two, edges lead only *into* a subject that arrives later, so nothing known before changes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors.numpy import load_file, save
from torch import Tensor

from mmgraph.builders.assemble import append, check_phenotypes, codes, nodes
from mmgraph.builders.config import PopulationConfig
from mmgraph.builders.near import Group, Rule, join, mean_distance
from mmgraph.builders.scaling import Scaling
from mmgraph.data.graph_file import load_graph, save_graph
from mmgraph.data.records import Records
from mmgraph.data.split import Split
from mmgraph.errors import ArtifactError, ConfigError, DataError
from mmgraph.files import check_seal, new_folder, read_json, seal, write_bytes, write_json
from mmgraph.schema import EdgeSpec, NodeSpec, Schema, TargetSpec
from mmgraph.schema.schema import Regime

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData

FORMAT = "mmgraph.population/1"


@dataclass(frozen=True, kw_only=True)
class Population:
    """A population graph, and all that is needed to attach further subjects to it.

    Made by :meth:`fit`. ``graph`` holds, on the anchors, ``train_mask``, ``val_mask``, ``test_mask`` and ``y``;
    which part of it a step of training or testing may see is cut out by the task's view.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> records = Records(
        ...     ids=[f"s{i}" for i in range(40)],
        ...     modalities={"blood": rng.normal(size=(40, 5)), "scan": rng.normal(size=(40, 3))},
        ...     labels=[0, 1] * 20,
        ...     classes=["healthy", "ill"],
        ... )
        >>> from mmgraph.data import stratified_split
        >>> population = Population.fit(records, stratified_split(records.labels), PopulationConfig(k=3))
        >>> population.schema.relations("subject")
        (('subject', 'near_blood', 'subject'), ('subject', 'near_scan', 'subject'))
        >>> more = population.attach(Records(ids=["new"], modalities={"blood": [[0.0] * 5], "scan": [[0.0] * 3]}))
        >>> more.graph["subject", "near_scan", "subject"].edge_index[1].eq(40).sum()
        tensor(3)
    """

    graph: HeteroData
    schema: Schema
    ids: tuple[str, ...]
    config: PopulationConfig
    scaling: Mapping[str, Scaling]
    widths: Mapping[str, float]
    phenotypes: Mapping[str, np.ndarray]
    reference: Tensor  # [subjects], whom those to come may be joined to
    recall: Mapping[str, float] = field(default_factory=dict)
    """Modality → share (estimated) of the nearest that its edges hold, where recall was asked for."""
    shares: Mapping[str, float] = field(default_factory=dict)
    """Modality → its share in the sum of kernels, where :func:`~mmgraph.builders.weigh` has weighed them."""

    @classmethod
    def fit(cls, records: Records, split: Split | None = None, config: PopulationConfig | None = None) -> Population:
        """Builds the graph of a population.

        Args:
            records: The subjects.
            split: Which are for training, validation and test; ``None`` if all may be seen (for search).
            config: How subjects are joined.

        Raises:
            DataError: One subject, constant columns, a modality that nobody has, phenotypes that are not there.
            ConfigError: ``k`` is not below the number of subjects that have a modality.
        """
        config = config or PopulationConfig()
        _check_fit(records, split, config)
        rows = np.arange(len(records))
        groups = _groups(len(records), split, config.regime)
        reference = groups[0].targets
        train = reference if split is None else split.train
        scaling, x = {}, {}
        for name, values in records.modalities.items():
            present = records.present(name)
            labelled = train[present[train]]
            if records.labels is not None:
                labelled = labelled[records.labels[labelled] >= 0]
            scaling[name] = Scaling.fit(
                name,
                values[reference[present[reference]]],
                labelled=values[labelled],
                labels=None if records.labels is None else records.labels[labelled],
                select=config.select,
                drop_constant=config.drop_constant,
                by_rank=config.scale == "rank",
                names=records.names.get(name, ()),
            )
            x[name] = scaling[name](values[present])
        graph = nodes(records, split, x, config.anchor)
        widths = {}
        if config.weighted and config.edges != "agreement":
            for name in x:
                known = x[name][np.isin(rows[records.present(name)], reference)]
                widths[name] = mean_distance(torch.from_numpy(known), metric=config.metric)
        seen = torch.zeros(len(records), dtype=torch.bool)
        seen[torch.from_numpy(reference)] = True
        population = cls(
            graph=graph,
            schema=describe(records, scaling, config),
            ids=tuple(records.ids),
            config=config,
            scaling=scaling,
            widths=widths,
            phenotypes={name: records.phenotypes[name] for name in config.phenotypes},
            reference=seen,
        )
        population = population._join(groups)
        population.schema.check(graph)
        return population

    def attach(self, records: Records, *, together: bool = False) -> Population:
        """Joins new subjects to the population, by edges that lead only into them.

        Args:
            records: The new subjects, with the same modalities. Their labels, if any, come along.
            together: Whether they may also be joined to each other; otherwise each is attached alone.

        Returns:
            The larger population; this one is left as it is.

        Raises:
            DataError: Another set of modalities or widths, or an id that is already there.
        """
        self._check_new(records)
        first, total = len(self.ids), len(self.ids) + len(records)
        x = {name: self.scaling[name](records.modalities[name][records.present(name)]) for name in self.scaling}
        graph = append(self.graph, nodes(records, None, x, self.config.anchor), self.schema)
        targets, sources = np.arange(first, total), np.flatnonzero(self.reference.numpy())
        if together:
            sources = np.concatenate([sources, targets])
        larger = replace(
            self,
            graph=graph,
            ids=self.ids + tuple(records.ids),
            phenotypes={
                name: np.concatenate([values.astype(object), records.phenotypes[name].astype(object)])
                for name, values in self.phenotypes.items()
            },
            reference=torch.cat([self.reference, torch.zeros(len(records), dtype=torch.bool)]),
        )
        larger = larger._join([Group(targets, sources, mutual=False)])
        self.schema.check(graph)
        return larger

    @cached_property
    def rows(self) -> Mapping[str, int]:
        """Id → row of the anchor."""
        return {one: row for row, one in enumerate(self.ids)}

    def _join(self, groups: list[Group]) -> Population:
        """Adds the edges of some groups to the graph, in place, and says what share of the nearest they are."""
        anchor = self.config.anchor
        phenotypes, thresholds = codes(self.phenotypes), list(self.config.phenotypes.values())
        recall = dict(self.recall)
        for edge_type in self.schema.edges:
            source, relation, target = edge_type
            if relation == "of" or source != target:
                continue
            name = source if source != anchor else relation.removeprefix("near_")
            rule = Rule(
                metric=None if relation == "agrees" else self.config.metric,
                width=self.widths.get(name),
                thresholds=thresholds,
                k=self.config.k,
                what=f"modality {name!r}" if relation != "agrees" else "the population",
                recall=self.config.recall,
            )
            if relation == "agrees":
                x, owner = None, torch.arange(len(self.ids))
            else:
                x, owner = self.graph[name].x, self.graph[name, "of", anchor].edge_index[1]
            index, weight, share = join(x, owner, groups, rule, phenotypes)
            if rule.recall is not None:
                recall[name] = min(share, recall.get(name, 1.0))
            if source == anchor and relation != "agrees":
                index = owner[index]  # from modality rows to their anchors
            store = self.graph[edge_type]
            old = store.get("edge_index", torch.empty(2, 0, dtype=torch.long))
            store.edge_index = torch.cat([old, index], dim=1)
            if self.config.weighted:
                weight = self.weighed(name, index, weight)
                store.edge_weight = torch.cat([store.get("edge_weight", torch.empty(0)), weight])
        return replace(self, recall=recall)

    def weighed(self, name: str, index: Tensor, weight: Tensor) -> Tensor:
        r"""Weights ``[edges]`` of a modality as they count in the sum of all, :math:`\beta_m w / \sqrt{b_i b_j}`.

        :math:`b_i` is the sum of the shares of what subject i has (:func:`mmgraph.functional.combine_kernels`). They
        stay as they are in a population that is not weighed.
        """
        if not self.shares:
            return weight
        mass = torch.zeros(len(self.ids))
        for modality, share in self.shares.items():
            mass[self.graph[modality, "of", self.config.anchor].edge_index[1]] += share
        scale = torch.where(mass > 0, mass, torch.ones_like(mass)).rsqrt()
        return weight * self.shares[name] * scale[index[0]] * scale[index[1]]

    def _check_new(self, records: Records) -> None:
        if set(records.modalities) != set(self.scaling):
            raise DataError(
                f"New subjects must have the modalities {sorted(self.scaling)}, got {sorted(records.modalities)}; "
                "a modality that none of them has is a matrix of NaN"
            )
        for name, scaling in self.scaling.items():
            if (got := records.modalities[name].shape[1]) != scaling.channels:
                raise DataError(f"Modality {name!r} of new subjects must have {scaling.channels} channels, got {got}")
        if taken := [one for one in records.ids if one in self.rows]:
            raise DataError(f"Ids of new subjects must be new, got {taken[0]!r}, which is in the population")
        check_phenotypes(records, self.config.phenotypes)
        known = {target.classes for target in self.schema.targets.values()}
        if records.labels is not None and known and records.classes not in known:
            raise DataError(f"Labelled new subjects must have the classes {known.pop()}, got {records.classes}")

    def save(self, folder: Path) -> None:
        """Writes the population to a folder, whole or not at all, without pickle."""
        with new_folder(folder) as draft:
            save_graph(self.graph, draft / "graph.safetensors")
            arrays = {"reference": self.reference.numpy()}
            for name, scaling in self.scaling.items():
                for key in ("columns", "mean", "scale", "sorted"):  # safetensors writes the bytes as they lie
                    arrays[f"{name}|{key}"] = np.ascontiguousarray(getattr(scaling, key))
            write_bytes(draft / "scaling.safetensors", save(arrays))
            write_json(
                draft / "population.json",
                {
                    "format": FORMAT,
                    "config": asdict(self.config),
                    "schema": json.loads(self.schema.to_json()),
                    "ids": self.ids,
                    "channels": {name: scaling.channels for name, scaling in self.scaling.items()},
                    "widths": dict(self.widths),
                    "recall": dict(self.recall),
                    "shares": dict(self.shares),
                    "phenotypes": {name: _plain(values) for name, values in self.phenotypes.items()},
                },
            )
            seal(draft)

    @classmethod
    def load(cls, folder: Path) -> Population:
        """Reads a population that :meth:`save` wrote.

        Raises:
            ArtifactError: A file is missing or damaged, or a newer version wrote it.
        """
        check_seal(folder)
        meta = read_json(folder / "population.json")
        if meta.get("format") != FORMAT:
            raise ArtifactError(
                f"{str(folder)!r} must have the format {FORMAT!r}, got {meta.get('format')!r}; "
                "it was written by another version of mmgraph: fit the population again"
            )
        arrays = load_file(folder / "scaling.safetensors")
        scaling = {
            name: Scaling(
                columns=arrays[f"{name}|columns"],
                mean=arrays[f"{name}|mean"],
                scale=arrays[f"{name}|scale"],
                sorted=arrays[f"{name}|sorted"],
                channels=channels,
            )
            for name, channels in meta["channels"].items()
        }
        return cls(
            graph=load_graph(folder / "graph.safetensors"),
            schema=Schema.from_json(json.dumps(meta["schema"])),
            ids=tuple(meta["ids"]),
            config=PopulationConfig(**meta["config"]),
            scaling=scaling,
            widths=meta["widths"],
            recall=meta.get("recall", {}),
            shares=meta.get("shares", {}),
            phenotypes={name: np.array(values, dtype=object) for name, values in meta["phenotypes"].items()},
            reference=torch.from_numpy(arrays["reference"]),
        )


def describe(records: Records, scaling: Mapping[str, Scaling], config: PopulationConfig) -> Schema:
    """The schema of a population."""
    anchor = config.anchor
    specs = {anchor: NodeSpec(channels=0)}
    edges = {(name, "of", anchor): EdgeSpec() for name in scaling}
    joined = EdgeSpec(weighted=config.weighted)
    for name, fitted in scaling.items():
        names = tuple(records.names[name][column] for column in fitted.columns) if name in records.names else ()
        specs[name] = NodeSpec(modality="tabular", channels=len(fitted.columns), names=names, unit="z-score")
        if config.edges != "agreement":
            joins = (name, "near", name) if config.level == "modality" else (anchor, f"near_{name}", anchor)
            edges[joins] = joined
    if config.edges == "agreement":
        edges[anchor, "agrees", anchor] = joined
    targets = {}
    if records.labels is not None:
        kind = "binary" if len(records.classes) == 2 else "multiclass"
        targets[records.target] = TargetSpec(node=anchor, kind=kind, classes=tuple(records.classes))
    return Schema(nodes=specs, edges=edges, targets=targets, anchor=anchor, regime=config.regime)


def _groups(rows: int, split: Split | None, regime: Regime) -> list[Group]:
    """Who may have whom as a neighbour; the first group is the fitted cohort."""
    everyone = np.arange(rows)
    if split is None or regime == "transductive":
        return [Group(everyone, everyone, mutual=True)]
    known = np.setdiff1d(everyone, np.concatenate([split.val, split.test]))
    groups = [Group(known, known, mutual=True)]
    for later in (split.val, split.test):
        sources = known if regime == "single_query" else np.concatenate([known, later])
        groups.append(Group(later, sources, mutual=False))
    return groups


def _check_fit(records: Records, split: Split | None, config: PopulationConfig) -> None:
    if len(records) < 2:
        raise DataError(f"A population needs at least 2 subjects, got {len(records)}")
    if split is not None:
        split.check(len(records))
    check_phenotypes(records, config.phenotypes)
    if config.anchor in records.modalities:
        raise ConfigError(f"anchor must not be the name of a modality, got {config.anchor!r}")


def _plain(values: np.ndarray) -> list[Any]:
    plain = [value.item() if isinstance(value, np.generic) else value for value in values.tolist()]
    return [None if isinstance(value, float) and np.isnan(value) else value for value in plain]
