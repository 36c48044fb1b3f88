"""Captions of photos that are not seen: from the scene graph alone, what there is, where, and how it lies.

A photo is a graph of objects. Each hears its category and its box, then the objects that it is left of, above, inside
or near; a decoder attends to the objects and writes a caption, piece by piece. Each photo has five captions, and all
five are learned from.

Source: a decoder that attends to what is in a picture: Xu et al. 2015, Show, attend and tell, arXiv:1502.03044; by way
of its scene graph: Yang, Tang, Zhang and Cai 2019, Auto-encoding scene graphs for image captioning, arXiv:1812.02378.
Command: mmgraph run caption_coco_mini
Cost: 90 seconds a model on one core.
Expected: cider .23, of at most 10, and retrieval@10 .28 among 230 captions (one run, validation).
Rivals: objects that do not hear each other ("alone").
Differs from the papers: 186 photos to learn from, not a hundred thousand, and no language model: what the captions say
beyond the categories is mostly what they say of all photos. The objects are the annotators', and no pixel is read.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch_geometric.data import HeteroData

import mmgraph as mg
from mmgraph import decoders, encoders, layers, objectives, tasks

DATA, METRIC = "coco_mini", "cider"
EXPECT = {"cider": (0.22, 0.1)}
CONTROLS = ("no_source", "shuffled_sources", "without:category", "without:box", "nearest", "most_common")
TOLD = [(name, "of", "object") for name in ("category", "box")]
SPATIAL = [("object", name, "object") for name in ("left_of", "above", "inside", "near")]
LENGTH = 96  # pieces of a caption at most


@dataclass(frozen=True)
class Config:
    """How to run.

    Args:
        runs: Seeds, each with another split.
        channels: Width of all states.
        dropout: Share that is zeroed while training.
        fit: How to train.
    """

    runs: int = 3
    channels: int = 64
    dropout: float = 0.3
    fit: mg.FitConfig = mg.FitConfig(
        epochs=60,
        optimizer="adamw",
        learning_rate=3e-3,
        schedule="one_cycle",
        weight_decay=0.1,
        patience=None,
        monitor="cider",
        batch_size=32,
        hops=2,
    )


def build(config: Config, run: int, fold: int) -> mg.Built:
    source = mg.load_dataset(DATA).with_split(seed=run, test=0.3, val=0.15)
    captions = {"kind": "subwords", "length": LENGTH, "vocabulary": 1000, "lower": True}
    return mg.build_graph(source.with_encoders(caption=captions, image={"kind": "gradients", "size": 32}))


class Objects(encoders.Encoder):
    """What is told of the objects; they are nothing before they have heard it."""

    def __init__(self, categories: int, columns: int, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.told = encoders.Joined(
            encoders.SymbolEmbedding({"category": categories}, channels), encoders.Table({"box": columns}, channels)
        )

    def forward(self, graph: HeteroData) -> dict[str, Tensor]:
        return {**self.told(graph), "object": torch.zeros(graph["object"].num_nodes, self.channels)}


def make_task(config: Config, schema: mg.Schema) -> tasks.TextGeneration:
    return tasks.TextGeneration(schema, "caption")


def make_objective(config: Config, schema: mg.Schema) -> objectives.Translate:
    return objectives.Translate(schema, "caption")


def make_model(config: Config, schema: mg.Schema, *, alone: bool = False) -> mg.Translator:
    width = config.channels
    heard = [layers.Mean(width, width, relations=some) for some in ([TOLD] if alone else [TOLD, SPATIAL])]
    return mg.Translator(
        schema=schema,
        target="caption",
        sources={"object": [("object", "in", "photo")]},
        encoder=Objects(90, schema.nodes["box"].channels, width),
        within=layers.Stack(*heard),
        decoder=decoders.TransformerDecoder(
            width,
            vocabulary=len(schema.nodes["caption"].vocabulary),
            length=LENGTH,
            dropout=config.dropout,
            smoothing=0.1,
            decoding=decoders.Decoding(method="beam", width=3),
        ),
    )


RIVALS = {"alone": lambda config, schema: make_model(config, schema, alone=True)}
