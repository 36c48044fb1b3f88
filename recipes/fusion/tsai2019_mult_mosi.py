"""MOSI, is an opinion positive: modalities attend to each other over the utterances before and after.

The nodes of a modality attend to those of the other two at the utterances around theirs, then to their own kind: edges
across modalities and within them, under one attention layer. What is found is joined at the utterance.

Source: Tsai, Bai, Liang, Kolter, Morency and Salakhutdinov 2019, Multimodal transformer for unaligned multimodal
language sequences; arXiv:1906.00295. Split and features: Poria et al. 2017, Context-dependent sentiment analysis in
user-generated videos.
Command: mmgraph run tsai2019_mult_mosi
Cost: five minutes on one core.
Expected: accuracy .77 with attention, .76 without, .75 for the text alone.
Differs from the paper: attention over the utterances of a video instead of the words and frames of an utterance, of
which there are no features here; keys and values by relation, one layer across and one within; no positions, but a
window. The features of text and picture, which were trained on the labels of the training part, get noise there and in
validation: see zadeh2017_tfn_mosi, which says how much.
"""

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import nn
from torch_geometric.data import HeteroData

import mmgraph as mg
from mmgraph import builders, encoders, fusion, layers

DATA, METRIC = "mosi", "accuracy"
CONTROLS = ("without:text", "flat_linear", "majority")
PUBLISHED = (
    {"source": "bc-LSTM on these features, all (Poria et al. 2017)", "metric": "accuracy", "value": 0.803},
    {"source": "MulT on features of BERT, not comparable", "metric": "accuracy", "value": 0.797},
)
EXPECT = {"accuracy": (0.767, 0.015), "mae": (0.31, 0.03), "correlation": (0.575, 0.03)}


@dataclass(frozen=True)
class Config:
    """How to run.

    Args:
        runs: Seeds, on the same test part; a sixth of the other videos, another in each run, is validation.
        channels: Width of the states.
        heads: Of the attention.
        dropout: Share of the values zeroed while training.
        around: To how many utterances before and after a node attends.
        noise: Share of the training features' variance that is noise, by modality.
        fit: How to train.
    """

    runs: int = 10
    channels: int = 32
    heads: int = 4
    dropout: float = 0.3
    around: int = 10
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
    said.video = torch.from_numpy(np.unique(videos, return_inverse=True)[1])
    around = {"width": config.around, "group": "video"}
    graph, schema = builders.patterns.windowed(graph, built.schema, between="across", **around)
    return builders.patterns.windowed(graph, schema, between="within", relation="recalls", **around)


def make_transform(config: Config, schema: mg.Schema) -> mg.FeatureNoise:
    return mg.FeatureNoise(config.noise)


def make(config: Config, schema: mg.Schema, names: tuple[str, ...], *, attends: bool = True) -> mg.Model:
    channels, dropout = config.channels, config.dropout
    across, within = ([edge for edge in schema.edges if edge[1] == name] for name in ("informs", "recalls"))
    options = {"heads": config.heads, "share": "relation", "dropout": dropout}
    steps = [layers.Attention(channels, relations=edges, **options) for edges in (across, within)] if attends else []
    return mg.Model(
        schema=schema,
        encoder=encoders.Table({n: schema.nodes[n].channels for n in names}, channels, dropout=dropout),
        within=layers.Stack(*steps),
        fusion=fusion.Concat(dict.fromkeys(names, channels), channels),
        head=nn.Sequential(nn.ReLU(), nn.Dropout(dropout), nn.Linear(channels, 2)),
    )


def make_model(config: Config, schema: mg.Schema) -> mg.Model:
    return make(config, schema, schema.modalities)


def text_alone(config: Config, schema: mg.Schema) -> mg.Model:
    return make(config, schema, ("text",), attends=False)


def without_attention(config: Config, schema: mg.Schema) -> mg.Model:
    return make(config, schema, schema.modalities, attends=False)


RIVALS = {"text_alone": text_alone, "without_attention": without_attention}
