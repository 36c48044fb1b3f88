"""Captions of photos by a decoder that reads every round of messages: meshed, with memory, and judged by CIDEr-D.

A photo is a graph: its objects, each with its category and box, and what the whole shows. All attend to each other and
to slots of memory, in rounds; the decoder reads the states after each round, through gates. It learns from five captions
of each photo, piece by piece, and at last also from what the texts that it draws are worth.

Source: Cornia, Stefanini, Baraldi and Cucchiara 2020, Meshed-memory transformer for image captioning, CVPR,
arXiv:1912.08226; the last epochs: Rennie et al. 2017, Self-critical sequence training, arXiv:1612.00563.
Command: mmgraph run cornia2020_m2_coco_mini
Cost: COST
Expected: EXPECTED
Rivals: cross-entropy to the end ("cross_entropy"); no memory, and the last round of messages alone ("plain").
Differs from the paper: 186 photos to learn from, not 113,287; the objects are the annotators', not a detector's, and of
the pixels one vector of oriented gradients is read; no word is known beforehand.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch_geometric.data import HeteroData

import mmgraph as mg
from mmgraph import decoders, encoders, layers, objectives, tasks

DATA, METRIC = "coco_mini", "cider"
CONTROLS = ("no_source", "shuffled_sources", "nearest", "most_common")
BESIDE = [(one, "beside", other) for one, other in (("object", "object"), ("image", "object"), ("object", "image"))]
LENGTH = 24  # pieces of a caption at most


@dataclass(frozen=True)
class Config:
    """How to run.

    Args:
        runs: Seeds, each with another split.
        channels: Width of all states.
        rounds: Of messages.
        memories: Slots of memory in each round.
        dropout: Share that is zeroed while training.
        steps: Of training with cross-entropy, before the texts that are drawn count too.
        weight: How much they count then.
        fit: How to train.
    """

    runs: int = 3
    channels: int = 64
    rounds: int = 2
    memories: int = 8
    dropout: float = 0.3
    steps: int = 150
    weight: float = 0.5
    fit: mg.FitConfig = mg.FitConfig(
        epochs=35, optimizer="adamw", learning_rate=3e-3, schedule="one_cycle", weight_decay=0.1, patience=None,
        monitor="cider", batch_size=32, hops=2,
    )  # fmt: skip


def build(config: Config, run: int, fold: int) -> tuple[HeteroData, mg.Schema]:
    source = mg.load_dataset(DATA).with_split(seed=run, test=0.3, val=0.15)
    captions = {"kind": "subwords", "length": LENGTH, "vocabulary": 1000, "lower": True}
    built = mg.build_graph(source.with_encoders(caption=captions, image={"kind": "gradients", "size": 32}))
    owner = {"object": built.graph["object", "in", "photo"].edge_index[1]}
    owner["image"] = built.graph["image", "of", "photo"].edge_index[1]
    for edge in BESIDE:
        built.graph[edge].edge_index = (owner[edge[0]][:, None] == owner[edge[2]]).nonzero().T.contiguous()
    edges = {**built.schema.edges, **dict.fromkeys(BESIDE, mg.EdgeSpec())}
    return built.graph, built.schema.model_copy(update={"edges": edges})


class Scene(encoders.Encoder):
    """What each object is called and where it lies, and what the photo shows."""

    def __init__(self, schema: mg.Schema, channels: int, dropout: float) -> None:
        super().__init__()
        widths = {name: schema.nodes[name].channels for name in ("box", "image")}
        shown = encoders.Table(widths, channels, dropout=dropout, norm=True)
        self.told = encoders.Joined(encoders.SymbolEmbedding({"category": 81}, channels), shown)

    def forward(self, graph: HeteroData) -> dict[str, Tensor]:
        told = self.told(graph)
        state = told["image"].new_zeros(graph["object"].num_nodes, told["image"].shape[1])
        for name in ("category", "box"):
            node, owner = graph[name, "of", "object"].edge_index
            state = state.index_add(0, owner, told[name][node])
        return {"object": state, "image": told["image"]}


class Later(objectives.Objective):
    """One objective for some steps, then another."""

    labelled = False

    def __init__(self, first: objectives.Objective, then: objectives.Objective, steps: int) -> None:
        super().__init__()
        self.first, self.then, self.steps = first, then, steps
        self.register_buffer("done", torch.tensor(0))

    def forward(self, model: nn.Module, graph: HeteroData) -> dict[str, Tensor]:
        self.done += 1
        return (self.first if int(self.done) <= self.steps else self.then)(model, graph)


def make_task(config: Config, schema: mg.Schema) -> tasks.TextGeneration:
    return tasks.TextGeneration(schema, "caption")


def make_objective(config: Config, schema: mg.Schema) -> objectives.Objective:
    then = objectives.SelfCritical(schema, "caption", weight=config.weight)
    return Later(objectives.Translate(schema, "caption"), then, config.steps)


def make_model(config: Config, schema: mg.Schema, *, plain: bool = False) -> mg.Translator:
    width, memories = config.channels, 0 if plain else config.memories
    attend = {"relations": BESIDE, "memories": memories, "share": "type", "dropout": config.dropout}
    options = {"vocabulary": len(schema.nodes["caption"].vocabulary), "length": LENGTH, "dropout": config.dropout}
    meshed = decoders.MeshedDecoder(width, rounds=config.rounds, **options)
    return mg.Translator(
        schema=schema,
        target="caption",
        sources={"object": [("object", "in", "photo")], "image": [("image", "of", "photo")]},
        encoder=Scene(schema, width, config.dropout),
        within=layers.Stack(*(layers.MemoryAttention(width, **attend) for _ in range(config.rounds))),
        decoder=decoders.TransformerDecoder(width, **options) if plain else meshed,
    )


RIVALS = {"plain": lambda config, schema: make_model(config, schema, plain=True)}
RIVAL_OBJECTIVES = {"cross_entropy": lambda config, schema: objectives.Translate(schema, "caption")}
