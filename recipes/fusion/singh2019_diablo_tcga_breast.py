"""TCGA breast cancer, subtypes from three omics, of which the test tumours lack one.

Train on mRNA, miRNA and proteins, answer from mRNA and miRNA: a missing modality is a node that is not there. Does
having seen proteins in training help where there are none?

Source: Singh et al. 2019, DIABLO: an integrative approach for identifying key molecular drivers from multi-omics
assays, Bioinformatics 35(17), 3055-3062 (the data, its split and the question).
Command: mmgraph run singh2019_diablo_tcga_breast
Cost: five minutes on one core.
Expected: balanced accuracy .944 ± .003 (error .056), as a linear model on all columns (.948). Trained without
proteins it gives the same classes (gain .000 in each of ten seeds, log loss better by .0008): seeing proteins in
training makes no difference that 70 tumours could show.
Differs from the paper: one linear predictor a modality, each trained for itself and together, whose logits are averaged
over what is there, instead of sparse canonical correlation; half of the training tumours lose their proteins in each
step, by chance, and those for validation all, as at the test. The test part is fixed: runs are seeds of the five inner
folds, whose models are averaged, so that intervals are over training, not over tumours.
"""

from dataclasses import dataclass, replace

import numpy as np
from torch import nn
from torch_geometric.data import HeteroData

import mmgraph as mg
from mmgraph import encoders, fusion, objectives

DATA, METRIC = "tcga_breast", "balanced_accuracy"
LACKING = "protein"  # what the test tumours do not have
PUBLISHED = ({"source": "DIABLO (Singh et al. 2019), as recalled", "metric": "balanced_accuracy", "value": 0.932},)
EXPECT = {"balanced_accuracy": (0.944, 0.012)}


@dataclass(frozen=True)
class Config:
    """How to run.

    Args:
        runs: Seeds of the folds and of training; the test part is the shipped one.
        folds: Models averaged in a run, each validated on its own part of the 150 tumours.
        dropout: Share of the values zeroed while training.
        lost: Share of the training tumours that lose their proteins in a step.
        joint: Weight of the loss of the joint answer.
        population: How features are scaled.
        fit: How to train.
    """

    runs: int = 10
    folds: int = 5
    dropout: float = 0.1
    lost: float = 0.5
    joint: float = 0.5
    population: mg.PopulationConfig = mg.PopulationConfig(k=5)
    fit: mg.FitConfig = mg.FitConfig(epochs=200, learning_rate=0.01, weight_decay=0.01, patience=25)


def build(config: Config, run: int, fold: int) -> tuple[HeteroData, mg.Schema]:
    records = mg.load_dataset(DATA)
    shipped = records.phenotypes["part"]
    pool, test = np.flatnonzero(shipped == "train"), np.flatnonzero(shipped == "test")
    split = mg.Split(train=pool[1:], val=pool[:1], test=test).fold(records.labels, fold, config.folds, seed=run)
    proteins = records.modalities[LACKING].copy()
    proteins[split.val] = np.nan  # asked as at the test
    records = replace(records, modalities={**records.modalities, LACKING: proteins})
    population = mg.Population.fit(records, split, config.population)
    for relation in population.schema.relations("subject"):
        del population.graph[relation]  # tumours are not joined
    edges = {edge: spec for edge, spec in population.schema.edges.items() if edge[1] == "of"}
    return population.graph, population.schema.model_copy(update={"edges": edges})


def make_model(config: Config, schema: mg.Schema) -> mg.Model:
    widths = {name: schema.nodes[name].channels for name in schema.modalities}
    return mg.Model(
        schema=schema,
        encoder=encoders.Table(widths, len(schema.targets["subtype"].classes), dropout=config.dropout),
        fusion=fusion.Sum(mean=True),
        head=nn.Identity(),
    )


def make_objective(config: Config, schema: mg.Schema) -> objectives.Objective:
    return objectives.Late(schema.targets["subtype"], joint=config.joint)


def make_transform(config: Config, schema: mg.Schema) -> mg.ModalityDropout:
    return mg.ModalityDropout(schema, rate={LACKING: config.lost})
