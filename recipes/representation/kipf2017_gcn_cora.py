"""Two-layer graph convolutional network on Cora, public split.

What is a paper about, given its words, its citations, and the subjects of 140 others?

Source: Kipf and Welling 2017, Semi-supervised classification with graph convolutional networks; arXiv:1609.02907.
Command: mmgraph run kipf2017_gcn_cora
Cost: two minutes on one core.
Expected: accuracy about .82; without the graph near .57.
Differs from the paper: the best epoch is chosen by accuracy on validation among at most 200 (the paper stops when
the validation loss has not fallen for ten); weight decay acts on both layers' matrices.
"""

from dataclasses import dataclass

import torch
from torch import nn
from torch_geometric.data import HeteroData

import mmgraph as mg
from mmgraph import encoders, layers

DATA, METRIC = "cora", "accuracy"
PUBLISHED = ({"source": "Kipf and Welling 2017", "metric": "accuracy", "value": 0.815},)
EXPECT = {"accuracy": (0.818, 0.01)}
RELATIONS = [("paper", "cites", "paper")]


@dataclass(frozen=True)
class Config:
    """How to run.

    Args:
        runs: Seeds, on the same split.
        channels: Width of the hidden layer.
        dropout: Share of the values zeroed before each layer while training.
        fit: How to train.
    """

    runs: int = 10
    channels: int = 16
    dropout: float = 0.5
    fit: mg.FitConfig = mg.FitConfig(
        epochs=200, learning_rate=0.01, weight_decay=5e-4, patience=None, monitor="accuracy"
    )


def build(config: Config, run: int, fold: int) -> tuple[HeteroData, mg.Schema]:
    return mg.load_dataset(DATA)


def make_model(config: Config, schema: mg.Schema) -> mg.Model:
    words, subjects = schema.nodes["paper"].channels, len(schema.targets["subject"].classes)
    return mg.Model(
        schema=schema,
        encoder=encoders.Raw(["paper"]),
        between=layers.Stack(
            layers.GCN(words, config.channels, relations=RELATIONS, activation=torch.relu),
            layers.GCN(config.channels, subjects, relations=RELATIONS, activation=None),
            dropout=config.dropout,
        ),
        head=nn.Identity(),
    )
