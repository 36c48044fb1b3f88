"""A population graph of 569 patients, classified benign or malignant, beside its controls.

Three modalities of each patient are joined into one state, which is averaged over the patients most like it in each
modality. Does the graph help to tell malignant from benign?

Source: Parisot et al. 2018 (arXiv:1806.01738) for the population graph; Hamilton et al. 2017 (arXiv:1706.02216)
for the layer; Wolberg et al. 1993 for the data, which is embedded in scikit-learn: no download.
Command: mmgraph run population_wdbc
Cost: half a minute on one core.
Expected: accuracy about .96; a linear model does as well, and the graph makes no difference: the data is easy.
Differs from the papers: no phenotypes; mean aggregation instead of Chebyshev filters; patients who are not in
training are hidden from it, and arrive together.
"""

from dataclasses import dataclass

from torch import nn

import mmgraph as mg
from mmgraph import encoders, fusion, layers

DATA, METRIC = "wdbc", "auroc"
EXPECT = {"accuracy": (0.963, 0.015), "auroc": (0.992, 0.005)}


@dataclass(frozen=True)
class Config:
    """How to run.

    Args:
        runs: Resplits, each stratified: 56 % training, 14 % validation, 30 % test.
        channels: Width of a patient's state.
        dropout: Share of the values zeroed while training.
        population: How patients are joined.
        fit: How to train.
    """

    runs: int = 10
    channels: int = 16
    dropout: float = 0.1
    population: mg.PopulationConfig = mg.PopulationConfig(k=10)
    fit: mg.FitConfig = mg.FitConfig(epochs=200, learning_rate=0.01, weight_decay=5e-3, patience=20)


def build(config: Config, run: int, fold: int) -> mg.Population:
    records = mg.load_dataset(DATA)
    split = mg.stratified_split(records.labels, test=0.3, val=0.2, seed=run)
    return mg.Population.fit(records, split, config.population)


def make_model(config: Config, schema: mg.Schema) -> mg.Model:
    widths = {name: schema.nodes[name].channels for name in schema.modalities}
    relations = schema.relations(schema.anchor)
    return mg.Model(
        schema=schema,
        encoder=encoders.Table(widths, config.channels, dropout=config.dropout),
        fusion=fusion.Concat(dict.fromkeys(widths, config.channels), config.channels),
        between=layers.Mean(config.channels, config.channels, relations=relations),
        head=nn.Linear(config.channels, len(schema.targets["diagnosis"].classes)),
    )
