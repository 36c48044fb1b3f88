"""Digits drawn from their names: the picture is a text of 49 learned signs, written sign by sign after the name.

First a picture becomes a text: an autoencoder learns an alphabet of 32 signs, each for about four by four pixels, from
the training pictures. Then the picture's node is hidden, and a causal Transformer that reads the node of the name
writes its signs, from the upper left to the lower right. A network that was trained on real pictures, and has no part
in this, judges whether a picture is the digit asked for.

Source: Ramesh et al. 2021, Zero-shot text-to-image generation, arXiv:2102.12092; its alphabet: van den Oord 2017.
Command: mmgraph run ramesh2021_dalle_digits
Cost: eight minutes on one core.
Expected: accepted .96, diversity .91 (the nearest of training, always the same one: 1 and 0); the judge reads .987 of
the real ones. Size and decoding were chosen on validation.
Differs from the paper: ten names and pictures of 28 by 28 pixels; 49 signs, not 1024; 200,000 weights, not 12 billion;
the nearest sign (VQ-VAE) in place of a relaxation; the name is a node that is attended to, not a text before the
picture; one picture is drawn, not 512 of which another model picks the best.
"""

from dataclasses import dataclass, replace
from functools import cache

import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch import nn
from torch_geometric.data import HeteroData

import mmgraph as mg
from mmgraph import decoders, encoders, fusion, objectives, tasks

DATA, METRIC = "mnist20k", "accepted"
CONTROLS = ("shuffled_sources", "nearest", "most_common")
EXPECT = {"accepted": (0.96, 0.015), "diversity": (0.91, 0.03)}


@dataclass(frozen=True)
class Config:
    """How to run.

    Args:
        runs: Seeds; the split and the alphabet are fixed.
        limit: Training takes so many pictures at most.
        pictures: Validation, and the test.
        codes: Signs of the alphabet.
        epochs: Of the autoencoder that learns them.
        channels: Width of the Transformer.
        depth: Its blocks.
        top_p: Share of the probability that signs are drawn from; chosen on validation, with the next.
        temperature: What the logits are divided by.
        judge: Epochs of the network that judges.
        fit: How to train.
    """

    runs: int = 1
    limit: int = 10_000
    pictures: int = 10_000
    codes: int = 32
    epochs: int = 15
    channels: int = 64
    depth: int = 3
    top_p: float = 0.9
    temperature: float = 1.0
    judge: int = 6
    fit: mg.FitConfig = mg.FitConfig(
        epochs=14, optimizer="adamw", learning_rate=3e-3, schedule="one_cycle", weight_decay=0.01, patience=None,
        batch_size=32,
    )  # fmt: skip


@cache
def built(config: Config, kind: str) -> mg.Built:
    """The digits with their names; the pictures as ``codes`` or as ``pixels``."""
    image = {"size": 28, "colours": 1} | ({"codes": config.codes, "epochs": config.epochs} if kind == "codes" else {})
    source = mg.load_dataset(DATA, names=True).with_encoders(image={"kind": kind, **image})
    table, sizes = source.tables["pictures"], {"train": config.limit, "val": config.pictures, "test": config.pictures}
    parts = [table.filter(pc.field("part") == part).slice(0, most) for part, most in sizes.items()]
    return mg.build_graph(replace(source, tables={"pictures": pa.concat_tables(parts)}))


def build(config: Config, run: int, fold: int) -> mg.Built:
    return built(config, "codes")


def make_model(config: Config, schema: mg.Schema) -> mg.Translator:
    encoder = encoders.Table({"text": schema.nodes["text"].channels}, config.channels)
    decoder = decoders.TransformerDecoder(
        config.channels,
        vocabulary=len(schema.nodes["image"].vocabulary),
        length=49,
        depth=config.depth,
        dropout=0.0,
        decoding=decoders.Decoding(method="nucleus", top_p=config.top_p, temperature=config.temperature),
        attribute="codes",
    )
    return mg.Translator(schema=schema, target="image", encoder=encoder, decoder=decoder)


def make_objective(config: Config, schema: mg.Schema) -> objectives.Translate:
    return objectives.Translate(schema, "image")


def make_task(config: Config, schema: mg.Schema) -> tasks.PayloadGeneration:
    def classifier(pixels: torch.Tensor) -> torch.Tensor:
        judge = trained_judge(config)
        return judge.head(judge.encoder(HeteroData(image={"pixels": pixels}))["image"]).argmax(dim=1)

    judged = {"render": built(config, "codes").encoder("image").decode, "classifier": classifier, "label": "digit"}
    return tasks.PayloadGeneration(schema, "image", attribute="codes", **judged)


@cache
def trained_judge(config: Config) -> mg.Model:
    """The network that reads digits, trained on the real pictures of the training part."""
    data = built(config, "pixels")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        encoder = encoders.ImageConv({"image": 1}, 64, dropout=0.3, shift=2)
        model = mg.Model(schema=data.schema, encoder=encoder, fusion=fusion.Sum(), head=nn.Linear(64, 10))
    fit = mg.FitConfig(epochs=config.judge, learning_rate=2e-3, schedule="cosine", patience=None, batch_size=64)
    task = mg.NodeClassification(data.schema)
    return mg.fit(model, objectives.Supervised(task.target), task, data.graph, fit).model
