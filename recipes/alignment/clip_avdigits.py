"""Written and spoken digits and their names in one space: a picture finds recordings, and a recording pictures.

Each sample is a picture and a recording of the same digit, a third of those for training with its name ("seven"). Two
small networks and a linear map of the names are trained from nothing so that what belongs together lies together. Asked
is from pictures for recordings and from recordings for pictures, of hands and a voice that are in no other part: is
the nearest of the same digit?

**Labels are in the pairs.** Pictures and recordings were paired by digit, and each step deals the pictures of training
out anew among the samples of the same digit, so no pair is learned by heart (``--anew false`` leaves them as they
are). For the same reason samples of the same digit are no negatives of each other; for the rival ``plain`` they are,
as in CLIP. A name says its digit. The rival ``no_names`` has pictures and recordings alone; ``same_digit`` takes each
sample of the same digit for a positive (Khosla et al. 2020, arXiv:2004.11362).

Source: Radford et al. 2021, Learning transferable visual models from natural language supervision, arXiv:2103.00020.
Command: mmgraph run clip_avdigits
Cost: a quarter of an hour on one core.
Expected: class_precision@1 .91 over five speakers (.93 from pictures, .89 from recordings), mean average precision .92;
CCA gives .48 and .42.
Differs from the paper: 2000 samples, not 400 million pairs; three modalities; pairs say no more than a class. Size,
augmentation and epochs were chosen on validation speakers, who are test speakers in other runs.
"""

from dataclasses import dataclass

from torch import nn

import mmgraph as mg
from mmgraph import encoders, objectives
from mmgraph.data import NewPairs

DATA, METRIC = "avdigits", "class_precision@1"
EXPECT = {"class_precision@1": (0.91, 0.05), "class_map": (0.915, 0.05)}
CONTROLS = ("noise", "cca", "chance")
LETTERS = 16  # channels of a name, which is its hashed letters
WIDTHS = (16, 32, 64)  # of the blocks of both networks


@dataclass(frozen=True)
class Config:
    """How to run.

    Args:
        runs: Seeds, each with another speaker as the test and other pairs.
        names: Share of the training samples that have their name, above 0.
        anew: Whether pictures are dealt out anew at each step.
        channels: Width of the features, and of the common space.
        augment: How much recordings are changed while training.
        temperature: Of the cosines, at the start.
        fit: How to train.
    """

    runs: int = 5
    names: float = 1 / 3
    anew: bool = True
    channels: int = 64
    augment: float = 0.6
    temperature: float = 0.1
    fit: mg.FitConfig = mg.FitConfig(
        epochs=30,
        optimizer="adamw",
        learning_rate=4e-3,
        schedule="one_cycle",
        weight_decay=0.05,
        patience=None,
        monitor="class_precision@1",
        batch_size=100,
    )


def build(config: Config, run: int, fold: int) -> mg.Built:
    source = mg.load_dataset(DATA, seed=run, names=config.names)
    return mg.build_graph(
        source.with_encoders(
            image={"kind": "pixels", "size": 14, "colours": 1},
            audio={"kind": "log_mel", "rate_hz": 8000, "dtype": "float32"},
            text={"kind": "hashed_text", "channels": LETTERS},
        )
    )


def make_task(config: Config, schema: mg.Schema) -> mg.Retrieval:
    return mg.Retrieval(schema, [("image", "audio"), ("audio", "image")], target="digit")


def make_transform(config: Config, schema: mg.Schema) -> NewPairs | None:
    return NewPairs(schema, "image", by="digit") if config.anew else None


def make_objective(config: Config, schema: mg.Schema) -> objectives.Contrast:
    return objectives.Contrast(schema, temperature=config.temperature, ignore="digit")


def make_plain(config: Config, schema: mg.Schema, *, positives: str = "anchor") -> objectives.Contrast:
    return objectives.Contrast(schema, temperature=config.temperature, positives=positives)


def make_same_digit(config: Config, schema: mg.Schema) -> objectives.Contrast:
    return make_plain(config, schema, positives="digit")


def make_model(config: Config, schema: mg.Schema, *, names: bool = True) -> mg.Aligner:
    width = config.channels
    space: dict[str, nn.Module] = {n: nn.Sequential(nn.ReLU(), nn.Linear(width, width)) for n in ("image", "audio")}
    encoder = encoders.Joined(
        encoders.ImageConv({"image": 1}, width, widths=WIDTHS, dropout=0.1, shift=1),
        encoders.AudioConv(["audio"], width, steps=32, widths=WIDTHS, dropout=0.2, augment=config.augment),
        encoders.Raw(["text"]),
    )
    if names:
        space["text"] = nn.Linear(LETTERS, width)
    return mg.Aligner(schema=schema, encoder=encoder, spaces={"joint": space})


def make_without_names(config: Config, schema: mg.Schema) -> mg.Aligner:
    return make_model(config, schema, names=False)


RIVALS = {"no_names": make_without_names}
RIVAL_OBJECTIVES = {"plain": make_plain, "same_digit": make_same_digit}
