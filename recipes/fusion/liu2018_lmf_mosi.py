"""MOSI, is an opinion positive: the tensor fusion of three modalities at a fraction of its weights.

An utterance is a star of three nodes, joined by factors of a low rank instead of all products of their channels. Is
anything lost, and what does the rank do?

Source: Liu, Shen, Lakshminarasimhan, Liang, Zadeh and Morency 2018, Efficient low-rank multimodal fusion with
modality-specific factors; arXiv:1806.00064. Split and features: Poria et al. 2017, Context-dependent sentiment analysis
in user-generated videos.
Command: mmgraph run liu2018_lmf_mosi
Cost: four minutes on one core.
Expected: accuracy .75 at every rank, as tensor fusion, and .76 for the text alone.
Differs from the paper: one vector of classic features a modality instead of sequences; two classes; the rivals are
ranks. The features of text and picture, which were trained on the labels of the training part, get noise there and in
validation: see zadeh2017_tfn_mosi, which says how much.
"""

from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch
from torch import nn
from torch_geometric.data import HeteroData

import mmgraph as mg
from mmgraph import encoders, fusion

DATA, METRIC = "mosi", "accuracy"
CONTROLS = ("without:text", "flat_linear", "late_linear", "majority")
PUBLISHED = (
    {"source": "SVM on these features, text (Poria et al. 2017)", "metric": "accuracy", "value": 0.755},
    {"source": "LMF on features of BERT, not comparable", "metric": "accuracy", "value": 0.779},
)
EXPECT = {"accuracy": (0.75, 0.015), "mae": (0.345, 0.03), "correlation": (0.565, 0.03)}


@dataclass(frozen=True)
class Config:
    """How to run.

    Args:
        runs: Seeds, on the same test part; a sixth of the other videos, another in each run, is validation.
        channels: Width of what each modality says.
        dropout: Share of the values zeroed while training.
        noise: Share of the training features' variance that is noise, by modality.
        fit: How to train.
    """

    runs: int = 10
    channels: int = 16
    dropout: float = 0.3
    noise: dict[str, float] = field(default_factory=lambda: {"text": 0.65, "video": 1.0})
    fit: mg.FitConfig = mg.FitConfig(epochs=60, learning_rate=0.003, weight_decay=1e-3, patience=None)


def build(config: Config, run: int, fold: int) -> tuple[HeteroData, mg.Schema]:
    built = mg.build_graph(mg.load_dataset(DATA))
    graph, said = built.graph, built.graph["utterance"]
    videos = [key.rsplit("_", 1)[0] for key in built.keys["utterance"]]
    known = sorted({video for video, test in zip(videos, said.test_mask.tolist(), strict=True) if not test})
    held_out = {known[place] for place in np.random.default_rng(run).permutation(len(known))[::6]}
    said.val_mask = torch.tensor([video in held_out for video in videos])
    said.train_mask = ~said.test_mask & ~said.val_mask
    noisy = mg.FeatureNoise(config.noise)(graph, torch.Generator().manual_seed(run))
    for name in config.noise:  # a modality's rows are those of the utterances
        graph[name].x = noisy[name].x.where(said.val_mask[:, None], graph[name].x)
    return graph, built.schema


def make_transform(config: Config, schema: mg.Schema) -> mg.FeatureNoise:
    return mg.FeatureNoise(config.noise)


def make_model(config: Config, schema: mg.Schema, *, rank: int = 4) -> mg.Model:
    widths = dict.fromkeys(schema.modalities, config.channels)
    return make(config, schema, fusion.LowRank(widths, config.channels, rank=rank), *widths)


def make(config: Config, schema: mg.Schema, joined: fusion.Fusion, *names: str) -> mg.Model:
    channels = config.channels
    return mg.Model(
        schema=schema,
        encoder=encoders.Table({n: schema.nodes[n].channels for n in names}, channels, dropout=config.dropout),
        fusion=joined,
        head=nn.Sequential(nn.ReLU(), nn.Dropout(config.dropout), nn.Linear(channels, 2)),
    )


def text_alone(config: Config, schema: mg.Schema) -> mg.Model:
    return make(config, schema, fusion.Concat({"text": config.channels}, config.channels), "text")


def tensor(config: Config, schema: mg.Schema) -> mg.Model:
    widths = dict.fromkeys(schema.modalities, config.channels)
    return make(config, schema, fusion.Tensor(widths, config.channels), *widths)


RANKS = {f"rank_{rank}": partial(make_model, rank=rank) for rank in (1, 16)}
RIVALS = {"text_alone": text_alone, "tensor": tensor, **RANKS}
