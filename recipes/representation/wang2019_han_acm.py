"""Heterogeneous graph attention on ACM: the field of a paper, from 20 labelled papers a field.

Papers of one author and papers of one subject are neighbours along two meta-paths; attention weighs the neighbours of
each, and then the meta-paths.

Source: Wang, Ji, Shi, Wang, Cui, Yu and Ye 2019, Heterogeneous graph attention network; arXiv:1903.07293. Data, splits
and published scores: Wang, Liu, Han and Shi 2021, HeCo, table 2; arXiv:2105.09111.
Command: mmgraph run wang2019_han_acm
Cost: five minutes on one core.
Expected: macro F1 .907 with 20 labels a field (HeCo: .886); the words alone .745. Without the graph nothing joins a
paper to itself either, so that this control is a majority vote: read flat_linear, the words alone, beside it.
Differs from the paper: another selection of papers than its own; words weigh by how rare they are; a paper has itself
and at most 31 others of its subject, drawn at random, as neighbours there (all would be 4.3 million pairs).
"""

from dataclasses import dataclass
from typing import Literal

from torch import nn
from torch_geometric.data import HeteroData

import mmgraph as mg
from mmgraph import builders, encoders, layers

DATA, METRIC = "acm", "f1_macro"
PUBLISHED = ({"source": "HeCo (Wang et al. 2021), 20 labels", "metric": "f1_macro", "value": 0.886},)
EXPECT = {"f1_macro": (0.90, 0.02)}
PATHS = {
    "PAP": [("paper", "by", "author"), ("author", "^by", "paper")],
    "PSP": [("paper", "about", "subject"), ("subject", "^about", "paper")],
}
RELATIONS = [("paper", name, "paper") for name in PATHS]


@dataclass(frozen=True)
class Config:
    """How to run.

    Args:
        runs: Seeds, on the same split; each draws neighbours within subjects anew.
        labels: Labelled papers a field.
        most: Neighbours of a paper within its subject.
        channels: Width of the states.
        heads: Of the attention to neighbours.
        dropout: Share of words and states zeroed while training.
        fit: How to train.
    """

    runs: int = 3
    labels: Literal[20, 40, 60] = 20
    most: int = 32
    channels: int = 64
    heads: int = 8
    dropout: float = 0.5
    fit: mg.FitConfig = mg.FitConfig(
        epochs=100, learning_rate=0.005, weight_decay=1e-3, patience=30, monitor="f1_macro"
    )


def build(config: Config, run: int, fold: int) -> tuple[HeteroData, mg.Schema]:
    graph, schema = mg.load_dataset(DATA, labels=config.labels, words="tfidf")
    graph, schema = builders.add_metapaths(graph, schema, {"PAP": PATHS["PAP"]})
    return builders.add_metapaths(graph, schema, {"PSP": PATHS["PSP"]}, most=config.most, seed=run)


def make_model(config: Config, schema: mg.Schema) -> mg.Model:
    words, fields, width = schema.nodes["paper"].channels, len(schema.targets["field"].classes), config.channels
    return mg.Model(
        schema=schema,
        encoder=encoders.Table({"paper": words}, width, dropout=config.dropout, final=True),
        between=layers.Stack(layers.HAN(width, width, relations=RELATIONS, heads=config.heads), dropout=config.dropout),
        head=nn.Linear(width, fields),
    )
