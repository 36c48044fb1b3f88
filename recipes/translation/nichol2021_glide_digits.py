"""Digits drawn from their names: the picture's node is hidden, and made from noise towards what the name says.

A sample is a digit with its name and its picture. In training the name of some digits is hidden too, so that the
network knows digits as such; what is made follows the name further than the network does (classifier-free guidance).
A network that was trained on the real pictures, and has no part in this, judges whether a picture is the digit asked
for.

Source: Nichol et al. 2021, GLIDE: Towards photorealistic image generation and editing with text-guided diffusion
models, arXiv:2112.10741.
Command: mmgraph run nichol2021_glide_digits
Cost: nine minutes on one core, and as much again for the control that is trained.
Expected: the judge, right for .985 of the 10,000 real test digits, accepts .998 of what is made; two of a digit are .91
as far apart as two real ones. On validation guidance 1, 2 and 3 give .94, 1.00 and 1.00 accepted, diversity .94, .91
and .91, and Fréchet distances of 2.3, 1.5 and 2.4: it is 2.
Differs from the paper: pictures of 16 by 16 pixels of ten names, 0.75 million weights, not 3.5 billion; no second
network that enlarges pictures.
"""

from dataclasses import dataclass
from functools import cache

import torch
from torch import nn
from torch_geometric.data import HeteroData

import mmgraph as mg
from mmgraph import decoders, encoders, fusion, objectives, tasks

DATA, METRIC = "mnist20k", "accepted"
CONTROLS = ("shuffled_sources", "nearest", "mean")
EXPECT = {"accepted": (0.99, 0.01)}


@dataclass(frozen=True)
class Config:
    """How to run.

    Args:
        runs: Seeds; the split is fixed.
        pictures: Of the validation and of the test, how many are made, spread over the part.
        limit: Training takes so many pictures at most.
        size: Side of a picture in pixels.
        channels: Width of the name's vector.
        widths: Channels of the two levels of the network.
        drop: Share of the names that are hidden in training.
        guidance: How far a picture follows its name; chosen on validation among 1, 2 and 3.
        rounds: Steps in which a picture is made.
        judge: Epochs of the network that judges.
        fit: How to train.
    """

    runs: int = 1
    pictures: int = 1000
    limit: int = 10_000
    size: int = 16
    channels: int = 32
    widths: tuple[int, int] = (48, 96)
    drop: float = 0.1
    guidance: float = 2.0
    rounds: int = 25
    judge: int = 8
    fit: mg.FitConfig = mg.FitConfig(
        epochs=60, optimizer="adamw", learning_rate=2e-3, schedule="one_cycle", weight_decay=0.01, patience=None,
        monitor="log_loss", batch_size=64,
    )  # fmt: skip


def build(config: Config, run: int, fold: int) -> mg.Built:
    pixels = {"kind": "pixels", "size": config.size, "colours": 1}
    built = mg.build_graph(mg.load_dataset(DATA, names=True).with_encoders(image=pixels))
    store = built.graph["picture"]
    for part, most in (("train", config.limit), ("val", config.pictures), ("test", config.pictures)):
        rows = store[f"{part}_mask"].nonzero()[:, 0]
        some = rows[torch.linspace(0, len(rows) - 1, min(most, len(rows))).long()]
        store[f"{part}_mask"] = torch.zeros_like(store[f"{part}_mask"]).index_fill(0, some, True)
    return built


def make_model(config: Config, schema: mg.Schema) -> mg.Translator:
    encoder = encoders.Table({"text": schema.nodes["text"].channels}, config.channels)
    given = {"widths": config.widths, "drop": config.drop, "guidance": config.guidance, "rounds": config.rounds}
    decoder = decoders.Diffusion(config.channels, (1, config.size, config.size), looks=4, **given)
    return mg.Translator(schema=schema, target="image", encoder=encoder, decoder=decoder)


def make_objective(config: Config, schema: mg.Schema) -> objectives.Translate:
    return objectives.Translate(schema, "image")


def make_task(config: Config, schema: mg.Schema) -> tasks.PayloadGeneration:
    def features(pixels: torch.Tensor) -> torch.Tensor:
        graph = HeteroData()
        graph["image"].pixels = pixels
        return trained_judge(config).encoder(graph)["image"]

    def classifier(pixels: torch.Tensor) -> torch.Tensor:
        return trained_judge(config).head(features(pixels)).argmax(dim=1)

    return tasks.PayloadGeneration(schema, "image", label="digit", classifier=classifier, features=features)


@cache
def trained_judge(config: Config) -> mg.Model:
    """The network that reads digits, trained on the real pictures that training has."""
    built = build(config, 0, 0)
    model = mg.Model(
        schema=built.schema,
        encoder=encoders.ImageConv({"image": 1}, 64, dropout=0.3, shift=1),
        fusion=fusion.Sum(),
        head=nn.Linear(64, 10),
    )
    fit = mg.FitConfig(
        epochs=config.judge, learning_rate=2e-3, schedule="cosine", weight_decay=1e-4, patience=None, batch_size=64
    )
    task = mg.NodeClassification(built.schema)
    return mg.fit(model, objectives.Supervised(task.target), task, built.graph, fit).model
