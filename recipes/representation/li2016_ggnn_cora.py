"""Gated message passing on Cora, eight rounds deep, where averaging layers collapse.

What is a paper about, given what is up to eight citations away? A recurrent cell shared over the rounds keeps what
averaging loses.

Source: Li, Tarlow, Brockschmidt and Zemel 2016, Gated graph sequence neural networks; arXiv:1511.05493.
Command: mmgraph run li2016_ggnn_cora
Cost: ten minutes on one core.
Expected: gated about .77; GCN and mean aggregation of the same depth near a majority vote (.32 and less).
Differs from the paper: one output a node, no annotation; the rivals differ in the propagation alone: each model is
a linear layer with ReLU, eight rounds of width 32, and a linear layer.
"""

from dataclasses import dataclass

from torch import nn
from torch_geometric.data import HeteroData

import mmgraph as mg
from mmgraph import encoders, layers

DATA, METRIC = "cora", "accuracy"
EXPECT = {"accuracy": (0.775, 0.02)}
RELATIONS = [("paper", "cites", "paper")]


@dataclass(frozen=True)
class Config:
    """How to run.

    Args:
        runs: Seeds, on the same split.
        depth: Rounds of message passing.
        channels: Width of the states.
        dropout: Share of the words zeroed while training.
        fit: How to train.
    """

    runs: int = 10
    depth: int = 8
    channels: int = 32
    dropout: float = 0.7
    fit: mg.FitConfig = mg.FitConfig(
        epochs=200, learning_rate=0.005, weight_decay=5e-3, patience=None, monitor="accuracy"
    )


def build(config: Config, run: int, fold: int) -> tuple[HeteroData, mg.Schema]:
    return mg.load_dataset(DATA, rows="length")


def make_model(config: Config, schema: mg.Schema) -> mg.Model:
    return _model(config, schema, layers.Gated(config.channels, relations=RELATIONS, rounds=config.depth, bias=False))


def make_gcn(config: Config, schema: mg.Schema) -> mg.Model:
    rounds = [layers.GCN(config.channels, config.channels, relations=RELATIONS) for _ in range(config.depth)]
    return _model(config, schema, layers.Stack(*rounds))


def make_mean(config: Config, schema: mg.Schema) -> mg.Model:
    rounds = [layers.Mean(config.channels, config.channels, relations=RELATIONS) for _ in range(config.depth)]
    return _model(config, schema, layers.Stack(*rounds))


RIVALS = {"gcn": make_gcn, "mean": make_mean}


def _model(config: Config, schema: mg.Schema, between: layers.Layer) -> mg.Model:
    words, subjects = schema.nodes["paper"].channels, len(schema.targets["subject"].classes)
    return mg.Model(
        schema=schema,
        encoder=encoders.Table({"paper": words}, config.channels, dropout=config.dropout, final=True),
        between=between,
        head=nn.Linear(config.channels, subjects),
    )
