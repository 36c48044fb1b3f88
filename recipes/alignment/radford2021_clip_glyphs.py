"""Pictures of characters and their names in one space: an unseen character is found by what it is called, and named.

Each character is seen through its pictures, in up to ten faces, and through its name; a small network for each view
brings them together. Names are compositional, *latin small letter e with acute*, so a character that was never seen can
be found by words that were. With ``--split block`` whole blocks of Unicode are unseen.

Source: Radford et al. 2021, Learning transferable visual models from natural language supervision, arXiv:2103.00020.
Command: mmgraph run radford2021_clip_glyphs
Cost: five minutes on one core.
Expected: recall@10 .66 over three splits, among 1,470 characters; canonical correlation gives .46, noise .01. With
``--split block`` .43 among 737, and .36.
Differs from the paper: five thousand characters of Unicode, not 400 million photos; oriented gradients and hashed
n-grams of letters in place of two networks trained from nothing. No download: all is made of what Python and
matplotlib bring along.
"""

from dataclasses import dataclass

from torch import nn

import mmgraph as mg
from mmgraph import encoders, objectives

DATA, METRIC = "glyphs", "recall@10"
EXPECT = {"recall@10": (0.66, 0.03)}
CONTROLS = ("noise", "cca", "chance")


@dataclass(frozen=True)
class Config:
    """How to run.

    Args:
        runs: Splits.
        split: ``character``: at random; ``block``: whole blocks are unseen.
        hidden: Width of the hidden layer of each network.
        channels: Width of the common space.
        dropout: Share of the features, and of the hidden layer, that is zeroed while training.
        temperature: Of the cosines, at the start.
        fit: How to train.
    """

    runs: int = 3
    split: str = "character"
    hidden: int = 512
    channels: int = 128
    dropout: float = 0.1
    temperature: float = 0.07
    fit: mg.FitConfig = mg.FitConfig(
        epochs=60,
        optimizer="adamw",
        learning_rate=2e-3,
        schedule="one_cycle",
        weight_decay=0.1,
        patience=None,
        monitor="mrr",
        batch_size=512,
    )


def build(config: Config, run: int, fold: int) -> mg.Built:
    source = mg.load_dataset(DATA, task="all", split=config.split, next_to=False, seed=run)
    return mg.build_graph(source.with_encoders(picture={"kind": "gradients", "size": 32, "levels": 0}))


def make_task(config: Config, schema: mg.Schema) -> mg.Retrieval:
    return mg.Retrieval(schema, [("picture", "name"), ("name", "picture")])


def make_objective(config: Config, schema: mg.Schema) -> objectives.Contrast:
    return objectives.Contrast(schema, temperature=config.temperature)


def make_model(config: Config, schema: mg.Schema) -> mg.Aligner:
    def network(width: int) -> nn.Sequential:
        return nn.Sequential(
            nn.LayerNorm(width, elementwise_affine=False),
            nn.Dropout(config.dropout),
            nn.Linear(width, config.hidden),
            nn.ReLU(),
            nn.Dropout(config.dropout),
            nn.Linear(config.hidden, config.channels),
        )

    widths = {name: schema.nodes[name].channels for name in ("picture", "name")}
    return mg.Aligner(
        schema=schema,
        encoder=encoders.Raw(list(widths)),
        spaces={"joint": {name: network(width) for name, width in widths.items()}},
    )
