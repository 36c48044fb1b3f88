"""What a paper is about, read by a linear probe off states that were learned without labels.

Half of the papers are hidden, and a graph convolutional network guesses, from those that cite them, what its own slow
copy, which sees all papers, makes of the hidden ones. No label shapes the network: the probe, through which no gradient
flows, learns the subjects of 140 papers from its states.

Source: Baevski, Hsu, Xu, Babu, Gu and Auli 2022, data2vec: a general framework for self-supervised learning in speech,
vision and language; arXiv:2202.03555. Beside it: Kipf and Welling 2017, with labels; arXiv:1609.02907.
Command: mmgraph run baevski2022_data2vec_graph
Cost: five minutes on one core.
Expected: accuracy .80 over five seeds; .74 off an encoder that was never trained, .79 from the same network by labels.
Rivals: the same network untrained, and trained with the labels in place of the teacher.
Differs from the paper: a graph in place of pictures, sounds and words, so that papers are hidden and not patches or
spans; two graph convolutions in place of a Transformer; the encoder of the payloads is averaged too; each channel is
normalised over the papers, as the paper does for speech. Width, learning rate and epochs were chosen on validation.
"""

from dataclasses import dataclass

import torch
from torch import nn
from torch_geometric.data import HeteroData

import mmgraph as mg
from mmgraph import decoders, encoders, layers, objectives

DATA, METRIC = "cora", "accuracy"
PUBLISHED = (
    {"source": "Kipf and Welling 2017, with labels", "metric": "accuracy", "value": 0.815},
    {"source": "Velickovic et al. 2019 (DGI, linear probe)", "metric": "accuracy", "value": 0.823},
)
EXPECT = {"accuracy": (0.80, 0.02)}
RELATIONS = [("paper", "cites", "paper")]


@dataclass(frozen=True)
class Config:
    """How to run.

    Args:
        runs: Seeds, on the same split.
        channels: Width of the states.
        mask: Share of the papers that are hidden from the student.
        dropout: Share of the values zeroed before each layer of the student.
        fit: How to train.
    """

    runs: int = 5
    channels: int = 256
    mask: float = 0.5
    dropout: float = 0.2
    probe_dropout: float = 0.5
    fit: mg.FitConfig = mg.FitConfig(
        epochs=80, optimizer="adamw", learning_rate=3e-3, weight_decay=1e-4, patience=None, monitor="accuracy"
    )


def build(config: Config, run: int, fold: int) -> tuple[HeteroData, mg.Schema]:
    return mg.load_dataset(DATA, rows="length")


def make_model(config: Config, schema: mg.Schema) -> mg.Model:
    words, subjects, width = schema.nodes["paper"].channels, len(schema.targets["subject"].classes), config.channels
    return mg.Model(
        schema=schema,
        encoder=encoders.Raw(["paper"]),
        between=layers.Stack(
            layers.GCN(words, width, relations=RELATIONS, activation=nn.functional.elu),
            layers.GCN(width, width, relations=RELATIONS, activation=None),
            dropout=config.dropout,
        ),
        head=nn.Sequential(
            nn.BatchNorm1d(width, affine=False), nn.Dropout(config.probe_dropout), decoders.Probe(width, subjects)
        ),
    )


def make_objective(config: Config, schema: mg.Schema) -> objectives.Objective:
    teacher = make_model(config, schema)
    latent = objectives.Latent(
        schema,
        teacher,
        config.channels,
        mask=config.mask,
        layers=2,
        decay=(0.99, 0.999),
        decay_steps=50,
        norm="instance",
        unlabelled=True,
    )
    return objectives.Weighted({"probe": labels(config, schema), "latent": latent})


def labels(config: Config, schema: mg.Schema) -> objectives.Objective:
    return objectives.Supervised(schema.targets["subject"])


def make_supervised(config: Config, schema: mg.Schema) -> mg.Model:
    """As Kipf and Welling: the gradient of the labels goes through all layers."""
    words, subjects = schema.nodes["paper"].channels, len(schema.targets["subject"].classes)
    hidden = layers.GCN(words, 16, relations=RELATIONS, activation=torch.relu)
    last = layers.GCN(16, subjects, relations=RELATIONS, activation=None)
    between = layers.Stack(hidden, last, dropout=0.5)
    return mg.Model(schema=schema, encoder=encoders.Raw(["paper"]), between=between, head=nn.Identity())


RIVALS = {"untrained_encoder": make_model, "supervised": make_supervised}
RIVAL_OBJECTIVES = {"untrained_encoder": labels, "supervised": labels}
