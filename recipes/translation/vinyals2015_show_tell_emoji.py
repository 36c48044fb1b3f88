"""Emoji told by their pictures: an LSTM is shown a picture, and tells its name.

The picture is oriented gradients, a thumbnail and colours, not trained, and the only source: the keywords stay out. The
network learns from the names of 1150 emoji, in pieces of words, and names 329 others. Few of those names occur in
training, though a third are made of words that do: what can be had is the right family (*clock*, *arrow*, *face*), and
the name of an emoji that looks alike is a strong answer, see the control ``nearest``.

Source: Vinyals, Toshev, Bengio and Erhan 2015, Show and tell: a neural image caption generator, CVPR, arXiv:1411.4555.
Command: mmgraph run vinyals2015_show_tell_emoji
Cost: twelve minutes on one core; forty to sixty seconds a fit.
Expected: cider .30 over three seeds; "attend" .67, "transformer" .87; the nearest training picture's name has .75.
Rivals: the same that reads the picture again at each piece ("attend": Xu et al. 2015, arXiv:1502.03044); a Transformer
("transformer").
Differs from the paper: a thousand names of three words, not captions of 100,000 photos; gradients in place of a network
that was trained on ImageNet; no ensemble.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch_geometric.data import HeteroData

import mmgraph as mg
from mmgraph import decoders, encoders, objectives, tasks

DATA, METRIC, EXPECT = "emoji", "cider", {"cider": (0.30, 0.12)}
CONTROLS = ("no_source", "shuffled_sources", "nearest", "most_common")
LENGTH = 16  # pieces of a name at most


@dataclass(frozen=True)
class Config:
    """How to run.

    Args:
        runs: Seeds; the split is fixed.
        channels: Width of all states.
        hidden: Width of the LSTM's state.
        columns: How many principal components of a picture's features are read.
        loud: How large they are: the network is shown them once, before the pieces, and passes over what is faint.
        dropout: Share of what goes into and out of the network that is zeroed while training.
        beam: Names that are kept at once.
        fit: How to train.
    """

    runs: int = 3
    channels: int = 192
    hidden: int = 256
    columns: int = 384
    loud: float = 3.0
    dropout: float = 0.2
    beam: int = 3
    fit: mg.FitConfig = mg.FitConfig(
        epochs=45, optimizer="adamw", learning_rate=6e-3, schedule="one_cycle", weight_decay=0.1, patience=None,
        monitor="cider", batch_size=64,
    )  # fmt: skip


def build(config: Config, run: int, fold: int) -> tuple[HeteroData, mg.Schema]:
    source = mg.load_dataset(DATA)
    declared = source.config.model_dump()
    declared["nodes"]["emoji"]["columns"] = {"picture": "image", "name_en": "text"}
    source = replace(source, config=mg.GraphConfig(**{**declared, "targets": {}}))
    names = {"kind": "subwords", "length": LENGTH, "vocabulary": 2000, "lower": True}
    built = mg.build_graph(source.with_encoders(picture={"kind": "gradients", "size": 64}, name_en=names))
    picture, owner = built.graph["picture"], built.graph["picture", "of", "emoji"].edge_index[1]
    seen = components(picture.x, built.graph["emoji"].train_mask[owner], config.columns)
    picture.components = config.loud * seen  # beside x, by which the control "nearest" compares
    spec = built.schema.nodes["picture"].model_copy(update={"attributes": ("components",)})
    return built.graph, built.schema.model_copy(update={"nodes": {**built.schema.nodes, "picture": spec}})


def components(x: Tensor, train: Tensor, columns: int) -> Tensor:
    """Principal components of standardised columns, each divided by the root of its deviation; fitted on training."""
    spread = x[train].std(dim=0)
    x = (x - x[train].mean(dim=0)) / spread.clamp_min(0.1 * spread.median())
    _, deviation, axes = torch.linalg.svd(x[train], full_matrices=False)
    found = x @ axes[:columns].T / deviation[:columns].sqrt()
    return found / found[train].std()


class Shown(encoders.Encoder):
    """The components of the pictures, through a linear map."""

    def __init__(self, columns: int, channels: int) -> None:
        super().__init__()
        self.linear = nn.Linear(columns, channels)

    def forward(self, graph: HeteroData) -> dict[str, Tensor]:
        return {"picture": self.linear(graph["picture"].components)}


def make_task(config: Config, schema: mg.Schema) -> tasks.TextGeneration:
    return tasks.TextGeneration(schema, "name_en")


def make_objective(config: Config, schema: mg.Schema) -> objectives.Translate:
    return objectives.Translate(schema, "name_en")


def told_by(kind: str):
    """How a model is made that tells names in this way."""

    def make(config: Config, schema: mg.Schema) -> mg.Translator:
        beam = decoders.Decoding(method="beam", width=config.beam)
        options = {"vocabulary": len(schema.nodes["name_en"].vocabulary), "length": LENGTH, "decoding": beam}
        options["dropout"] = config.dropout
        if kind == "transformer":
            decoder = decoders.TransformerDecoder(config.channels, depth=1, **options)
        else:
            decoder = decoders.LSTMDecoder(config.channels, hidden=config.hidden, attend=kind == "attend", **options)
        encoder = Shown(config.columns, config.channels)
        return mg.Translator(schema=schema, target="name_en", encoder=encoder, decoder=decoder)

    return make


make_model = told_by("shown")
RIVALS = {name: told_by(name) for name in ("attend", "transformer")}
