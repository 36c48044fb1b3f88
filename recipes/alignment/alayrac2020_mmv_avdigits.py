"""Spoken digits find their written name, though no recording and no name were ever compared: both know the picture.

A fine space holds pictures and recordings; from it one map leads to a coarse space, where the names are. Training
brings together picture and recording in the fine space, picture and name in the coarse one, and nothing else. That a
recording then finds its name is owed to the picture that lies between. The rival ``shared`` has one space for all;
``unbridged`` goes without the pairs of picture and recording, so that recordings have no way to the names: chance.

Pairs were matched by digit, and a name is its digit: so picture and name is learning digits from labels, and what is
shown is that recordings, which have none of it, inherit them. Each name stands in the test as often as its digit, and
each view is hidden from the others.

Source: Alayrac et al. 2020, Self-supervised multimodal versatile networks, arXiv:2006.16228 (fine and coarse, FAC).
Command: mmgraph run alayrac2020_mmv_avdigits
Cost: TO FILL
Expected: TO FILL
Differs from the paper: other data and small encoders; one name goes with a picture, with which their MIL-NCE is NCE; a
vector of a name is its hashed letters.
"""

from dataclasses import dataclass

from torch import nn

import mmgraph as mg
from mmgraph import encoders, objectives

DATA, METRIC = "avdigits", "class_precision@1 audio>text"
EXPECT = {}
CONTROLS = ("noise", "cca", "chance")
PAIRS = {("image", "audio"): "fine", ("image", "text"): "coarse"}
LETTERS = 16  # channels of a name


@dataclass(frozen=True)
class Config:
    """How to run.

    """

    runs: int = 5
    channels: int = 64
    hidden: int = 64
    steps: int = 32
    scale: int = 16
    augment: float = 0.6
    dropout: float = 0.2
    temperature: float = 0.1
    weight: float = 1.0
    anew: bool = True
    parts: int = 4
    fit: mg.FitConfig = mg.FitConfig(
        epochs=30,
        optimizer="adamw",
        learning_rate=4e-3,
        schedule="one_cycle",
        weight_decay=0.05,
        patience=None,
        monitor=METRIC,
        batch_size=100,
    )


def build(config: Config, run: int, fold: int) -> mg.Built:
    kinds = {
        "image": {"kind": "pixels", "size": 14, "colours": 1},
        "audio": {"kind": "log_mel", "rate_hz": 8000, "dtype": "float32"},
        "text": {"kind": "hashed_text", "channels": LETTERS},
    }
    everything = dict.fromkeys(("train", "val", "test"), list(kinds))
    return mg.build_graph(mg.load_dataset(DATA, seed=run, names=1, modalities=everything).with_encoders(**kinds))


def make_task(config: Config, schema: mg.Schema) -> mg.Retrieval:
    return mg.Retrieval(schema, [("audio", "text"), ("image", "text"), ("image", "audio")], target="digit")


def make_model(config: Config, schema: mg.Schema, *, shared: bool = False) -> mg.Aligner:
    hidden, width, channels = config.hidden, config.scale, config.channels
    widths = (width, 2 * width, 4 * width)
    encoder = encoders.Joined(
        encoders.ImageConv({"image": 1}, hidden, widths=widths, dropout=config.dropout / 2, shift=1),
        encoders.AudioConv(
            ["audio"], hidden, steps=config.steps, widths=widths, dropout=config.dropout, augment=config.augment, parts=config.parts
        ),
        encoders.Raw(["text"]),
    )
    fine = {name: nn.Sequential(nn.ReLU(), nn.Linear(hidden, channels)) for name in ("image", "audio")}
    words = {"text": nn.Linear(LETTERS, channels)}
    down = {"fine": nn.Sequential(nn.ReLU(), nn.Linear(channels, channels))}
    spaces = {"coarse": fine | words} if shared else {"fine": fine, "coarse": down | words}
    return mg.Aligner(schema=schema, encoder=encoder, spaces=spaces)


def make_shared(config: Config, schema: mg.Schema) -> mg.Aligner:
    return make_model(config, schema, shared=True)


def make_objective(config: Config, schema: mg.Schema) -> objectives.Contrast:
    options = {"temperature": config.temperature, "weights": {("image", "text"): config.weight}}
    return objectives.Contrast(schema, pairs=list(PAIRS), space=PAIRS, **options)


def make_shared_objective(config: Config, schema: mg.Schema) -> objectives.Contrast:
    options = {"temperature": config.temperature, "weights": {("image", "text"): config.weight}}
    return objectives.Contrast(schema, pairs=list(PAIRS), space="coarse", **options)


RIVALS = {"shared": make_shared}
RIVAL_OBJECTIVES = {"shared": make_shared_objective}


def make_transform(config: Config, schema: mg.Schema):
    from mmgraph.data import NewPairs

    return NewPairs(schema, "image", by="digit") if config.anew else None
