"""Glyphs: the script of a character from its pictures, its properties and its relations, its name hidden.

A character hangs together with those it decomposes into and with its other case. Do their pictures help to tell the
script of one, whose own pictures may be those of another script's letter (A is Latin, Greek and Cyrillic)?

Source: Hamilton, Ying and Leskovec 2017, Inductive Representation Learning on Large Graphs; arXiv:1706.02216 (mean
aggregator, typed by relation).
Command: mmgraph run hamilton2017_sage_glyphs
Cost: five minutes on one core.
Expected: accuracy .88 over three splits, thirteen points above the same model without relations.
Differs from the paper: one weight a relation, several modalities a node, whole neighbourhoods instead of samples.
"""

from dataclasses import dataclass

from torch import nn

import mmgraph as mg
from mmgraph import encoders, fusion, layers

DATA, METRIC = "glyphs", "accuracy"
EXPECT = {"accuracy": (0.88, 0.02)}


@dataclass(frozen=True)
class Config:
    """How to run.

    Args:
        runs: Splits, 70 / 10 / 20 % of the characters, stratified by script.
        channels: Width of the states.
        rounds: Rounds of messages between characters.
        dropout: Share of the values zeroed while training.
        fit: How to train.
    """

    runs: int = 3
    channels: int = 64
    rounds: int = 2
    dropout: float = 0.1
    fit: mg.FitConfig = mg.FitConfig(
        epochs=12, learning_rate=0.01, schedule="cosine", weight_decay=1e-5, patience=None, batch_size=128, hops=2
    )


def build(config: Config, run: int, fold: int) -> mg.Built:
    return mg.build_graph(mg.load_dataset(DATA).with_split(seed=run))


def make_model(config: Config, schema: mg.Schema) -> mg.Model:
    widths = {name: schema.nodes[name].channels for name in schema.modalities}
    relations, width = schema.relations(schema.anchor), config.channels
    return mg.Model(
        schema=schema,
        encoder=encoders.Table(widths, width, dropout=config.dropout, final=True, norm=True),
        fusion=fusion.Concat(dict.fromkeys(widths, width), width),
        between=layers.Stack(*[layers.Mean(width, width, relations=relations) for _ in range(config.rounds)]),
        head=nn.Linear(width, len(schema.targets["script"].classes)),
    )
