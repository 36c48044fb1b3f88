"""The name of a character, written from its pictures: what was never seen is called by words that were heard.

Each character is seen through its pictures, in up to ten faces; a decoder attends to them and writes its name in
Unicode, piece by piece. Names are compositional, *latin small letter e with acute*, so that a character whose picture
was in no part of training can be named from its letter and its mark, sign by sign as Unicode has it. With ``--split
block`` whole blocks of Unicode are unseen, and with them the words that only they have.

Source: a picture's name written by a decoder that attends to it: Xu et al. 2015, Show, attend and tell,
arXiv:1502.03044; the decoder: Vaswani et al. 2017, Attention is all you need, arXiv:1706.03762.
Command: mmgraph run glyph_names
Cost: six minutes on one core; two a fit.
Expected: .14 exact match of some 1,470 characters, where the nearest picture's name is never the right one. Most
of the others are wrong by a mark (*caron* for *breve*), or by a letter of the same shape.
Differs from the papers: pictures by their oriented gradients, which are not trained, and five thousand characters. No
download: all is made of what Python and matplotlib bring along.
"""

from dataclasses import dataclass, replace

import mmgraph as mg
from mmgraph import decoders, encoders, objectives, tasks

DATA, METRIC = "glyphs", "exact_match"
EXPECT = {"exact_match": (0.14, 0.04)}
CONTROLS = ("no_source", "shuffled_sources", "nearest", "most_common")


@dataclass(frozen=True)
class Config:
    """How to run.

    Args:
        runs: Splits.
        split: ``character``: at random; ``block``: whole blocks are unseen.
        limit: Take the first so many characters, in the order of their code points; ``None`` for all.
        channels: Width of all states.
        dropout: Share of the pictures' features, and of the decoder's states, that is zeroed while training.
        fit: How to train.
    """

    runs: int = 1
    split: str = "character"
    limit: int | None = None
    channels: int = 128
    dropout: float = 0.1
    fit: mg.FitConfig = mg.FitConfig(
        epochs=14, optimizer="adamw", learning_rate=3e-3, schedule="one_cycle", weight_decay=0.05, patience=None,
        monitor="exact_match", batch_size=64,
    )  # fmt: skip


def build(config: Config, run: int, fold: int) -> mg.Built:
    source = mg.load_dataset(DATA, task="all", split=config.split, limit=config.limit, next_to=False, seed=run)
    declared = source.config.model_dump()
    declared["nodes"] = {"character": {**declared["nodes"]["character"], "columns": {"name": "text"}}}
    declared["nodes"]["character"]["columns"]["pictures"] = {"modality": "image", "node": "picture"}
    source = replace(source, config=mg.GraphConfig(**{**declared, "edges": []}))  # the pictures alone tell the name
    shapes = {"kind": "gradients", "size": 32, "cell": 4, "levels": 0}
    names = {"kind": "subwords", "length": 28, "vocabulary": 800}
    built = mg.build_graph(source.with_encoders(picture=shapes, name=names))
    picture, owner = built.graph["picture"], built.graph["picture", "of", "character"].edge_index[1]
    known = picture.x[built.graph["character"].train_mask[owner]]
    spread = known.std(dim=0)  # of what a mark changes little is seen, if the columns are not brought to one scale
    picture.x = (picture.x - known.mean(dim=0)) / spread.clamp_min(0.1 * spread.median())
    return built


def make_task(config: Config, schema: mg.Schema) -> tasks.TextGeneration:
    return tasks.TextGeneration(schema, "name")


def make_objective(config: Config, schema: mg.Schema) -> objectives.Translate:
    return objectives.Translate(schema, "name")


def make_model(config: Config, schema: mg.Schema) -> mg.Translator:
    width = {"picture": schema.nodes["picture"].channels}
    decoder = decoders.TransformerDecoder(
        config.channels,
        vocabulary=len(schema.nodes["name"].vocabulary),
        length=28,
        dropout=config.dropout,
    )
    encoder = encoders.Table(width, config.channels, hidden=(256,), dropout=config.dropout, norm=True)
    return mg.Translator(schema=schema, target="name", encoder=encoder, decoder=decoder)
