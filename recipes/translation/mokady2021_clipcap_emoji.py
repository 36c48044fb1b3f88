"""Names of emoji by a language model that stays as it is: a picture becomes vectors that it reads before the name.

Nothing but a small network from the picture to ten vectors is trained. The language model has read the names and
keywords of the training emoji, and has never seen a picture. It is of GPT-2's kind and small, as none can be fetched
where there is no network; ``language_model`` names a folder with another one. The rival ``tuned`` trains the language
model with the rest.

Source: Mokady, Hertz and Bermano 2021, ClipCap: CLIP prefix for image captioning, arXiv:2111.09734.
Command: mmgraph run mokady2021_clipcap_emoji
Cost: ten minutes on one core.
Expected: cider .09 over three seeds, .04 without a source, .11 "tuned"; the nearest's name has .64.
Differs from the paper: oriented gradients and colours in place of CLIP, 0.4 million weights in place of GPT-2, and
1,164 pictures. Emoji are dealt to the parts by a checksum of their code; runs are seeds.
"""

from dataclasses import dataclass, replace
from functools import cache
from zlib import crc32

import mmgraph as mg
from mmgraph import decoders, encoders, objectives, tasks

DATA, METRIC = "emoji", "cider"
EXPECT = {"cider": (0.09, 0.04)}
CONTROLS = ("no_source", "shuffled_sources", "nearest", "most_common")


@dataclass(frozen=True)
class Config:
    """How to run.

    Args:
        runs: Seeds; the split is fixed.
        prefix: Vectors before the name.
        channels: Width of a picture's state.
        dropout: Share of the picture's features, and of its state, zeroed while training.
        language_model: A folder with another language model of transformers.
        read: Passes of the language model over names and keywords.
        fit: How to train.
    """

    runs: int = 3
    prefix: int = 10
    channels: int = 128
    dropout: float = 0.3
    language_model: str = ""
    read: int = 12
    fit: mg.FitConfig = mg.FitConfig(
        epochs=20, optimizer="adamw", learning_rate=5e-3, schedule="one_cycle", weight_decay=0.01, patience=None,
        batch_size=64, monitor="log_loss",
    )  # fmt: skip


def part_of(code: str) -> str:
    """The part that an emoji is in: 70 % are for training, 10 % for validation."""
    place = crc32(code.encode()) % 10
    return "train" if place > 2 else "val" if place == 2 else "test"


@cache
def language_model(folder: str, epochs: int) -> str:
    """The folder of a language model, which reads the training emoji's names and keywords if there is none."""
    known = [row for row in mg.load_dataset(DATA).tables["emoji"].to_pylist() if part_of(row["code"]) == "train"]
    texts = [text for row in known for text in [*(4 * [row["name_en"]]), *row["keywords_en"]]]
    sizes = {"vocabulary": 600, "channels": 96, "depth": 2, "length": 64}
    return folder or str(decoders.train_language_model(texts, epochs=epochs, **sizes))


def build(config: Config, run: int, fold: int) -> mg.Built:
    source = mg.load_dataset(DATA)
    declared, table = source.config.model_dump(), source.tables["emoji"]
    declared["nodes"]["emoji"]["columns"] = {"picture": "image", "name_en": "text"}
    declared["split"] = {"by": "column", "column": "part"}
    parts = [part_of(code) for code in table["code"].to_pylist()]
    tables = {**source.tables, "emoji": table.append_column("part", [parts])}
    source = replace(source, config=mg.GraphConfig(**declared), tables=tables)
    pieces = {"kind": "subwords", "model": language_model(config.language_model, config.read), "length": 40}
    shapes = {"kind": "gradients", "size": 64, "cell": 8, "thumbnail": 16}
    return mg.build_graph(source.with_encoders(picture=shapes, name_en=pieces))


def make_model(config: Config, schema: mg.Schema, *, frozen: bool = True) -> mg.Translator:
    widths = {"picture": schema.nodes["picture"].channels}
    encoder = encoders.Table(widths, config.channels, dropout=config.dropout, norm=True)
    model = decoders.LanguageModel(language_model(config.language_model, config.read), frozen=frozen)
    decoder = decoders.Prefix(config.channels, model, length=40, prefix=config.prefix)
    return mg.Translator(schema=schema, target="name_en", encoder=encoder, decoder=decoder)


def make_tuned(config: Config, schema: mg.Schema) -> mg.Translator:
    return make_model(config, schema, frozen=False)


def make_objective(config: Config, schema: mg.Schema) -> objectives.Translate:
    return objectives.Translate(schema, "name_en")


def make_task(config: Config, schema: mg.Schema) -> tasks.TextGeneration:
    return tasks.TextGeneration(schema, "name_en")


RIVALS = {"tuned": make_tuned}
