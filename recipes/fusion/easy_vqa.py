"""easy-VQA: a question and the picture that it is about, joined to one answer.

Words alone answer two thirds, since "is there a blue shape?" is mostly answered with no; what the rest needs depends on
both. About ten questions share a picture, which reaches each of them along a relation; a batch holds some pictures with
all their questions, so that a picture is encoded once an epoch and not ten times.

Source: Zhou 2020, easy-VQA, github.com/vzhou842/easy-VQA (data and task). Fusion: Liu et al. 2018, Efficient low-rank
multimodal fusion with modality-specific factors; arXiv:1806.00064.
Command: mmgraph run easy_vqa
Cost: ten minutes on one core; half a minute a fit.
Expected: accuracy .999 over three seeds; .67 without the picture, .37 without the question, .87 where what the two say
is only added up ("concat").
Differs from the paper: products of low rank and not channel by channel (the rival "product", which does as well here);
pictures of half the side; hashed n-grams in place of a bag of words. The linear controls are left out, since they would
read the raw pixels of 35,000 questions.
"""

from dataclasses import dataclass

from torch import nn

import mmgraph as mg
from mmgraph import encoders, fusion

DATA, METRIC = "easy_vqa", "accuracy"
CONTROLS = ("shuffled_edges", "without:text", "without:image", "majority")
EXPECT = {"accuracy": (0.998, 0.003)}


@dataclass(frozen=True)
class Config:
    """How to run.

    Args:
        runs: Seeds; the split is the official one.
        pictures: How many, with their questions; 5000 is all.
        channels: Width of the states.
        size: Side of the pictures in pixels.
        fit: How to train.
    """

    runs: int = 3
    pictures: int = 5000
    channels: int = 64
    size: int = 32
    fit: mg.FitConfig = mg.FitConfig(
        epochs=12,
        optimizer="adamw",
        learning_rate=3e-3,
        schedule="one_cycle",
        weight_decay=0.01,
        patience=None,
        batch_size=25,
        batch_by="picture",
    )


def build(config: Config, run: int, fold: int) -> mg.Built:
    pixels, words = {"kind": "pixels", "size": config.size}, {"kind": "hashed_text", "channels": 64}
    return mg.build_graph(mg.load_dataset(DATA, pictures=config.pictures).with_encoders(image=pixels, text=words))


def make_model(config: Config, schema: mg.Schema) -> mg.Model:
    return joined_by(fusion.LowRank(widths(config), config.channels), config, schema)


def widths(config: Config) -> dict[str, int]:
    return {"image": config.channels, "text": config.channels}


def joined_by(joint: fusion.Fusion, config: Config, schema: mg.Schema) -> mg.Model:
    width = config.channels
    pictures = encoders.ImageConv({"image": 3}, width, widths=(16, 32, 64))
    questions = encoders.Table({"text": schema.nodes["text"].channels}, width, hidden=[width], norm=True)
    return mg.Model(
        schema=schema,
        encoder=encoders.Joined(pictures, questions),
        fusion=joint,
        head=nn.Linear(width, len(schema.targets["answer"].classes)),
    )


RIVALS = {
    "concat": lambda config, schema: joined_by(fusion.Concat(widths(config), config.channels), config, schema),
    "product": lambda config, schema: joined_by(fusion.Product(), config, schema),
    "mlp": lambda config, schema: joined_by(fusion.MLP(widths(config), config.channels), config, schema),
}
