"""Vectors from random walks on Cora: which papers cite each other, told by citations alone.

A tenth of the citations is taken out, both directions together, and must be told from as many pairs of papers that
do not cite each other, by the dot product of their vectors. No word of a paper is read.

Source: Grover and Leskovec 2016, node2vec: scalable feature learning for networks; arXiv:1607.00653.
Command: mmgraph run grover2016_node2vec_cora
Cost:
Expected:
Differs from the paper:
"""

from dataclasses import dataclass, replace

from torch import nn
from torch_geometric.data import HeteroData

import mmgraph as mg
from mmgraph import builders, encoders, layers, objectives, tasks

DATA, METRIC = "cora", "auroc"
EXPECT = {"auroc": (0.9, 0.02)}
CITES = ("paper", "cites", "paper")
PAPERS = 2708


@dataclass(frozen=True)
class Config:
    """How to run.

    Args:
        runs: Seeds; each takes other edges out.
        channels: Width of the vectors.
        length: Steps of a walk.
        window: How far apart two papers of a walk may be.
        negatives: How many a place has.
        p: Return parameter.
        q: In-out parameter.
        fit: How to train; a step takes a walk from each paper.
    """

    runs: int = 3
    channels: int = 64
    length: int = 20
    window: int = 20
    negatives: int = 2
    p: float = 1.0
    q: float = 0.5
    fit: mg.FitConfig = mg.FitConfig(epochs=80, learning_rate=0.02, weight_decay=0.0, patience=None, monitor="auroc")


def build(config: Config, run: int, fold: int) -> tuple[HeteroData, mg.Schema]:
    graph, schema = mg.load_dataset(DATA, rows="length")
    return builders.hold_out(graph, schema, CITES, val=0.05, test=0.1, seed=run)


def make_task(config: Config, schema: mg.Schema) -> tasks.EdgePrediction:
    return tasks.EdgePrediction(schema, CITES)


def make_model(config: Config, schema: mg.Schema) -> mg.Model:
    return mg.Model(schema=schema, encoder=encoders.Nodes({"paper": PAPERS}, config.channels), head=nn.Identity())


def make_objective(config: Config, schema: mg.Schema) -> objectives.SkipGram:
    return objectives.SkipGram(
        schema, length=config.length, window=config.window, negatives=config.negatives, p=config.p, q=config.q
    )


def make_sage(config: Config, schema: mg.Schema) -> mg.Model:
    """Words, and two rounds of averaging, in place of a vector a paper."""
    words = schema.nodes["paper"].channels
    return mg.Model(
        schema=schema,
        encoder=encoders.Raw(["paper"]),
        between=layers.Stack(
            layers.Mean(words, config.channels, relations=[CITES]),
            layers.Mean(config.channels, config.channels, relations=[CITES], activation=None),
        ),
        head=nn.Identity(),
    )


def make_deepwalk(config: Config, schema: mg.Schema) -> objectives.SkipGram:
    return make_objective(replace(config, p=1.0, q=1.0), schema)


RIVALS = {"words and walks": make_sage}
RIVAL_OBJECTIVES = {"deepwalk": make_deepwalk}
