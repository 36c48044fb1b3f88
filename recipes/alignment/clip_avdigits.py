"""Written and spoken digits and their names in one space, where each is sought by each.

Source: Radford et al. 2021, Learning transferable visual models from natural language supervision, arXiv:2103.00020.
Command: mmgraph run clip_avdigits
Cost: TO FILL
Expected: TO FILL
Differs from the paper: TO FILL
"""

from dataclasses import dataclass

from torch import nn

import mmgraph as mg
from mmgraph import encoders, objectives
from mmgraph.data import NewPairs

DATA, METRIC = "avdigits", "class_precision@1"
EXPECT = {}
CONTROLS = ("noise", "cca", "chance")


@dataclass(frozen=True)
class Config:
    """How to run.

    """

    runs: int = 5
    names: float = 1.0
    size: int = 14
    channels: int = 64
    hidden: int = 64
    steps: int = 24
    scale: int = 8
    augment: float = 0.6
    temperature: float = 0.1
    anew: bool = True
    positives: str = "anchor"
    dropout: float = 0.2
    fit: mg.FitConfig = mg.FitConfig(
        epochs=20,
        optimizer="adamw",
        learning_rate=6e-3,
        schedule="one_cycle",
        weight_decay=0.05,
        patience=None,
        monitor="class_precision@1",
        batch_size=250,
    )


def build(config: Config, run: int, fold: int) -> mg.Built:
    kinds = {
        "image": {"kind": "pixels", "size": config.size, "colours": 1},
        "audio": {"kind": "log_mel", "rate_hz": 8000, "dtype": "float32"},
    }
    if config.names:
        kinds["text"] = {"kind": "hashed_text", "channels": 16}
    return mg.build_graph(mg.load_dataset(DATA, seed=run, names=config.names).with_encoders(**kinds))


def make_task(config: Config, schema: mg.Schema) -> mg.Retrieval:
    return mg.Retrieval(schema, [("image", "audio"), ("audio", "image")], target="digit")


def make_objective(config: Config, schema: mg.Schema) -> objectives.Contrast:
    return objectives.Contrast(schema, temperature=config.temperature, positives=config.positives)


def make_transform(config: Config, schema: mg.Schema):
    return NewPairs(schema, "image", by="digit") if config.anew else (lambda graph, generator: graph)


def make_model(config: Config, schema: mg.Schema) -> mg.Aligner:
    hidden, w = config.hidden, config.scale
    encoder = [
        encoders.ImageConv({"image": 1}, hidden, widths=(w, 2 * w, 4 * w), dropout=config.dropout / 2, shift=1),
        encoders.AudioConv(["audio"], hidden, steps=config.steps, widths=(w, 2 * w, 4 * w), dropout=config.dropout, augment=config.augment),
    ]
    spaces = {name: nn.Sequential(nn.ReLU(), nn.Linear(hidden, config.channels)) for name in ("image", "audio")}
    if config.names:
        encoder.append(encoders.Raw(["text"]))
        spaces["text"] = nn.Linear(16, config.channels)
    return mg.Aligner(schema=schema, encoder=encoders.Joined(*encoder), spaces={"joint": spaces})
