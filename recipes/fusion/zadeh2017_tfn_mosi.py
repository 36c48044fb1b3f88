"""MOSI, is an opinion positive: what is said, how it sounds and how it looks, joined in every way there is.

An utterance is a star of three nodes. The full model joins them by tensor fusion; the rivals differ in the fusion
alone, and one of them reads the text alone. Do the other two modalities add anything?

Source: Zadeh, Chen, Poria, Cambria and Morency 2017, Tensor fusion network for multimodal sentiment analysis;
arXiv:1707.07250. Split and features: Poria et al. 2017, Context-dependent sentiment analysis in user-generated videos.
Command: mmgraph run zadeh2017_tfn_mosi
Cost: ten minutes on one core.
Expected: accuracy .75 for nearly every fusion and .76 for the text alone: sound and picture add nothing. The plain
product of the three, of which one says nothing, often learns nothing.
Differs from the paper: one vector of classic features a modality instead of sequences; two classes. The source trained
its features of text and picture on the labels of the training part: a linear model on the text is right in 99 % of it.
So they get noise there (and in validation, which else would say nothing): the text so much that the scores along its
first principal component are as broad, against the distance of its classes, as the shape of the test part's says (a
mixture of two normals by its second and fourth moment, without labels); the picture, whose shape there has one centre,
is noise from end to end.
"""

from dataclasses import dataclass, field

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
    {"source": "TFN on features of BERT, not comparable", "metric": "accuracy", "value": 0.78},
)
EXPECT = {"accuracy": (0.75, 0.015), "mae": (0.35, 0.03), "correlation": (0.555, 0.03)}


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


def make(config: Config, schema: mg.Schema, names: tuple[str, ...], joined: str) -> mg.Model:
    wide, channels = {name: schema.nodes[name].channels for name in names}, config.channels
    widths = dict.fromkeys(names, channels)
    fusions = {
        "concat": lambda: fusion.Concat(widths, channels),
        "sum": lambda: fusion.Sum(),
        "product": lambda: fusion.Product(),
        "gated": lambda: fusion.Gated(widths, channels),
        "mlp": lambda: fusion.MLP(widths, channels, dropout=config.dropout),
        "bilinear": lambda: fusion.Bilinear(widths, channels),
        "tensor": lambda: fusion.Tensor(widths, channels),
        "low_rank": lambda: fusion.LowRank(widths, channels),
        "attention": lambda: fusion.Attention(widths, channels),
        "experts": lambda: fusion.Experts(widths, channels),
        "late": lambda: fusion.Late(widths, channels),
        "hybrid": lambda: fusion.Hybrid(fusion.Concat(widths, channels), fusion.Late(widths, channels)),
    }
    return mg.Model(
        schema=schema,
        encoder=encoders.Table(wide, channels, dropout=config.dropout),
        fusion=fusions[joined](),
        head=nn.Sequential(nn.ReLU(), nn.Dropout(config.dropout), nn.Linear(channels, 2)),
    )


def make_model(config: Config, schema: mg.Schema) -> mg.Model:
    return make(config, schema, schema.modalities, "tensor")


def rival(joined: str, *names: str):
    return lambda config, schema: make(config, schema, names or schema.modalities, joined)


JOINED = ("concat", "sum", "product", "gated", "mlp", "bilinear", "low_rank", "attention", "experts", "late", "hybrid")
RIVALS = {"text_alone": rival("concat", "text"), **{name: rival(name) for name in JOINED}}
