"""What a picture is called, told by a few examples: a frozen language model looks the name up in what it has read.

An episode has k pictures each of five digits, with made-up names, and one more picture, whose name is asked for. Names
are dealt anew in each: no weight knows the answer. The language model has read how names go with numbers, "7dax31mop",
and the encoder of pictures was aligned with recordings of their digits; both stay as they are.

Source: Alayrac et al. 2022, Flamingo: a visual language model for few-shot learning, arXiv:2204.14198.
Command: mmgraph run alayrac2022_flamingo_avdigits
Cost: four minutes on one core.
Expected: exact match .08 without an example, by chance .06; .94 with one each, .95 with two or four.
Differs from the paper: small models, made here; a name is one vector; one of three blocks looks, its gate half open.
"""

import random
from copy import deepcopy
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor, nn
from torch_geometric.data import HeteroData

import mmgraph as mg
from mmgraph import decoders, encoders, layers, objectives, tasks

DATA, METRIC = "avdigits", "exact_match 4 shots"
EXPECT = {f"exact_match {k} shots": (0.95, 0.03) for k in (4, 2, 1)} | {"exact_match 0 shots": (0.07, 0.04)}
CONTROLS = ("no_source", "shuffled_sources", "most_common")
SIDE = 64  # channels of the language model, and of a picture's state
NAMES = ("dax", "mop", "zub", "fen", "kil", "gor", "pim", "tav", "lud", "bez", "sif", "rok", "vun", "nad", "gip", "tel")
SAYS, SHAPES = ("word", "names", "image"), {"kind": "gradients", "size": 32, "thumbnail": 0, "levels": 0}
ADAMW = {"optimizer": "adamw", "patience": None}


@dataclass(frozen=True)
class Config:
    """How to run.

    Args:
        runs: Seeds, each with other pictures and episodes.
        pictures: Episodes of training.
        limit: Texts that the language model reads.
        align: How to train the aligner.
        fit: How to train the rest.
    """

    runs: int = 3
    pictures: int = 2000
    limit: int = 18000
    align: mg.FitConfig = mg.FitConfig(epochs=10, learning_rate=2e-3, batch_size=200, monitor="class_map", **ADAMW)
    fit: mg.FitConfig = mg.FitConfig(epochs=6, learning_rate=3e-3, schedule="one_cycle", batch_size=20, hops=1, **ADAMW)


@cache
def language_model(count: int) -> str:
    """The folder of a language model that has read which name numbers have, in texts that all deal them anew."""
    rng, texts = random.Random(0), []
    for _ in range(count):
        some = rng.randint(1, 5)
        pairs = list(zip(rng.sample(range(50), some), rng.sample(NAMES, some), strict=True))
        texts.append("".join(f"{number}{name}" for number, name in rng.choices(pairs, k=22)))
    how = {"channels": SIDE, "depth": 3, "heads": 1, "length": 48, "vocabulary": 500, "epochs": 1, "looks_up": True}
    return str(decoders.train_language_model(texts, learning_rate=2e-3, warm_up=0.2, dropout=0.0, **how))


def build(config: Config, run: int, fold: int) -> tuple[HeteroData, mg.Schema]:
    source = mg.load_dataset(DATA, seed=run, names=0, episodes=config.pictures)
    drawn, pieces = source.tables["episodes"].to_pydict(), {"model": language_model(config.limit), "length": 2}
    built = mg.build_graph(source.with_encoders(image=SHAPES, name={"kind": "subwords", **pieces}))
    graph, schema = built.graph, built.schema
    graph["name"].tokens = graph["name"].tokens[:, :1].clone()  # a name is one piece, and its end is not asked for
    graph["episode"].shots = torch.tensor(drawn["shots"])
    graph["word"].x = decoders.LanguageModel(pieces["model"]).embed(encoders.Subwords.fit([], **pieces)(NAMES)[:, 0])
    told = [(NAMES.index(name), n + 1 < len(said)) for said in drawn["said"] for n, name in enumerate(said)]
    word, given = torch.tensor(told).T  # the last one's name is not given
    graph[SAYS].edge_index = torch.stack([word, torch.arange(len(word))])[:, given.bool()]
    nodes = {**schema.nodes, "word": mg.NodeSpec(channels=SIDE)}
    return graph, schema.model_copy(update={"nodes": nodes, "edges": {**schema.edges, SAYS: mg.EdgeSpec()}})


class Told(layers.Layer):
    """Beside the state of each picture the vector of its name; zeros, where none is told."""

    def forward(self, features: dict[str, Tensor], edges: dict) -> dict[str, Tensor]:
        (word, image), _ = edges[SAYS]
        told = features["word"].new_zeros(len(features["image"]), SIDE).index_add(0, image, features["word"][word])
        return {**features, "image": torch.cat([features["image"], told], dim=1)}


@cache
def aligned(fit: mg.FitConfig) -> encoders.Encoder:
    """An encoder of pictures that are near to recordings of the same digit."""
    source = mg.load_dataset(DATA, names=0).with_encoders(image=SHAPES, audio={"kind": "spectra", "rate_hz": 8000})
    schema = (built := mg.build_graph(source)).schema
    with torch.random.fork_rng():
        torch.manual_seed(0)
        widths = {name: schema.nodes[name].channels for name in ("image", "audio")}
        both = [encoders.Table({name: width}, SIDE, hidden=[128], norm=True) for name, width in widths.items()]
        spaces = {"joint": {name: nn.Linear(SIDE, SIDE) for name in widths}}
        aligner = mg.Aligner(schema=schema, encoder=encoders.Joined(*both), spaces=spaces)
    task = mg.Retrieval(schema, [("image", "audio"), ("audio", "image")], target="digit")
    mg.fit(aligner, mg.Contrast(schema, temperature=0.1, positives="digit"), task, built.graph, fit)
    return both[0].requires_grad_(False)


def make_model(config: Config, schema: mg.Schema) -> mg.Translator:
    encoder = encoders.Joined(deepcopy(aligned(config.align)), encoders.Raw(["word"]))
    model = decoders.LanguageModel(language_model(config.limit))
    decoder = decoders.Flamingo(2 * SIDE, model, length=1, latents=1, every=3, nodes=1, context=SIDE)
    nn.init.constant_(decoder.crosses[0].attention_gate, 0.5)
    nn.init.normal_(decoder.resampler.latents, std=0.02)  # at the start it is pictures that differ
    return mg.Translator(schema=schema, target="name", encoder=encoder, decoder=decoder, within=Told())


def make_objective(config: Config, schema: mg.Schema) -> objectives.Translate:
    return objectives.Translate(schema, "name")


def make_task(config: Config, schema: mg.Schema) -> tasks.TextGeneration:
    return tasks.TextGeneration(schema, "name", groups={"shots": (0, 1, 2, 4)})
