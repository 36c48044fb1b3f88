"""Names of emoji from their pictures: alignment teaches the encoder, and a tenth of the pairs the decoder.

An aligner first brings pictures near to their names and keywords, over all of training. Its encoder, the same object,
then feeds the decoder of a translator, which learns to write names from a tenth of the emoji. Beside it stands the same
translator from nothing, with the same tenth. What is asked for is the name of an emoji that neither has seen.

Source: pictures aligned with texts before they are told: Mokady, Hertz and Bermano 2021, ClipCap: CLIP prefix for image
captioning, arXiv:2111.09734; the aligner: Radford et al. 2021, arXiv:2103.00020.
Command: mmgraph run aligned_captioner_emoji
Cost: ten seconds a model on one core.
Expected: cider .11 over three seeds, no more than from scratch (.115); another's picture .03, the nearest's name .34.
Rivals: the translator without alignment before it ("from_scratch").
Differs from the papers: 1150 emoji, described by the orientations of their edges and by colours; a decoder that is
trained from nothing. The pieces of names are those of all of training.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch_geometric.data import HeteroData

import mmgraph as mg
from mmgraph import decoders, encoders, objectives, tasks

DATA, METRIC = "emoji", "cider"
EXPECT = {"cider": (0.11, 0.04)}
CONTROLS = ("no_source", "shuffled_sources", "nearest", "most_common")
WORDS = ("name_en", "keywords_en")
VIEWS = {"picture": ("picture",), "words": WORDS}
LENGTH = 20  # pieces of a name at most
PICTURE = {"kind": "gradients", "size": 64}


@dataclass(frozen=True)
class Config:
    """How to run.

    Args:
        runs: Seeds, each with another tenth.
        share: Of the emoji of training that the translator learns from.
        channels: Width of all states.
        dropout: Share that is zeroed while training.
        align: How to train the aligner.
        fit: How to train the translator.
    """

    runs: int = 3
    share: float = 0.1
    channels: int = 64
    dropout: float = 0.4
    align: mg.FitConfig = mg.FitConfig(
        epochs=99, optimizer="adamw", learning_rate=2e-3, weight_decay=0.5, monitor="mrr", patience=None, batch_size=384
    )
    fit: mg.FitConfig = mg.FitConfig(
        epochs=60, optimizer="adamw", learning_rate=2e-3, patience=None, monitor="cider", batch_size=32
    )


def build(config: Config, run: int, fold: int) -> tuple[HeteroData, mg.Schema]:
    built = read({"kind": "subwords", "vocabulary": 800, "length": LENGTH, "lower": True})
    train = built.graph["emoji"].train_mask
    rows = train.nonzero()[:, 0]
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(run))
    train[rows[order[round(config.share * len(rows)) :]]] = False  # these are in no part
    return built.graph, built.schema


def read(name: dict[str, Any]) -> mg.Built:
    """Pictures, names as they are to be encoded, and keywords."""
    source = mg.load_dataset(DATA)
    return mg.build_graph(source.with_encoders(picture=PICTURE, name_en=name, keywords_en="hashed_text"))


def make_task(config: Config, schema: mg.Schema) -> tasks.TextGeneration:
    return tasks.TextGeneration(schema, "name_en")


def make_objective(config: Config, schema: mg.Schema) -> objectives.Translate:
    return objectives.Translate(schema, "name_en")


class Pictures(encoders.Encoder):
    """A network with one hidden layer."""

    def __init__(self, columns: int, config: Config) -> None:
        super().__init__()
        norm, drop = nn.LayerNorm(columns, elementwise_affine=False), nn.Dropout(config.dropout)
        layers = [norm, drop, nn.Linear(columns, 256), nn.ReLU(), drop, nn.Linear(256, config.channels)]
        self.network = nn.Sequential(*layers)

    def forward(self, graph: HeteroData) -> dict[str, Tensor]:
        return {"picture": self.network(graph["picture"].x)}


def align(config: Config, pictures: encoders.Encoder) -> None:
    """Teaches an encoder of pictures what their names and keywords are near to."""
    graph, schema = (built := read({"kind": "hashed_text"})).graph, built.schema
    maps: dict[str, nn.Module] = {name: nn.Linear(schema.nodes[name].channels, config.channels) for name in WORDS}
    maps["picture"] = nn.Identity()
    aligner = mg.Aligner(
        schema=schema, encoder=encoders.Joined(pictures, encoders.Raw(WORDS)), spaces={"joint": maps}, views=VIEWS
    )
    task = mg.Retrieval(schema, [("picture", "words"), ("words", "picture")], views=VIEWS)
    mg.fit(aligner, mg.Contrast(schema, temperature=0.07), task, graph, config.align)


def make_model(config: Config, schema: mg.Schema, *, aligned: bool = True) -> mg.Translator:
    pictures = Pictures(schema.nodes["picture"].channels, config)
    if aligned:
        align(config, pictures)
    spec = schema.nodes["name_en"]
    decoder = decoders.TransformerDecoder(
        config.channels, vocabulary=len(spec.vocabulary), length=LENGTH, dropout=config.dropout, smoothing=0.1
    )
    return mg.Translator(schema=schema, target="name_en", encoder=pictures, decoder=decoder)


RIVALS = {"from_scratch": lambda config, schema: make_model(config, schema, aligned=False)}
