"""Wikipedia's pictures and texts: networks whose outputs correlate, beside the linear analysis of the same features.

A picture is told by shares of 128 visual words, its text by shares of ten topics. Two networks, one a modality, are
trained until what they say of the same article correlates as much as can be; no category is read. What they say is
then brought into one space by canonical correlation analysis, fitted to the training articles. Two questions are asked:
which texts are of the same category as a picture (``class_map``), and which text is its own (``recall@10``, ``mrr``),
and the same from text to picture. ``cca`` is the same analysis without the networks.

Source: Andrew, Arora, Bilmes and Livescu 2013, Deep canonical correlation analysis, ICML.
Command: mmgraph run andrew2013_dcca_wikipedia
Cost: two minutes on one core.
Expected: class_map .25 over five runs (image to text .28, text to image .22) where ``cca`` gets .24 and chance is .12;
recall@10 .054 of 693, where ``cca`` gets .045 and chance is .02. Pictures say little of their articles.
Differs from the paper: other data; networks of one hidden layer, trained by AdamW on all articles at once and not
pre-trained as autoencoders; noise and dropout against overfitting. Widths, noise and ridges were chosen on validation.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch_geometric.data import HeteroData

import mmgraph as mg
from mmgraph import encoders, functional, objectives
from mmgraph.data import FeatureNoise
from mmgraph.tasks import Retrieval

DATA, METRIC = "wikipedia", "class_map"
EXPECT = {"class_map": (0.25, 0.015), "recall@10": (0.054, 0.015)}
CONTROLS = ("noise", "cca", "chance")


@dataclass(frozen=True)
class Config:
    """How to run.

    Args:
        runs: Seeds, each with another fifth of the shipped training part as validation; the test is the shipped one.
        channels: Width of the shared space.
        hidden: Width of the hidden layers.
        dropout: Share of the values zeroed while training.
        noise: Share of the features' variance that is replaced by noise while training.
        ridge: Added to variances in the loss, in mean variances.
        final: The same, in the analysis at the end.
        fit: How to train.
    """

    runs: int = 5
    channels: int = 20
    hidden: int = 64
    dropout: float = 0.3
    noise: float = 0.2
    ridge: float = 0.01
    final: float = 0.5
    fit: mg.FitConfig = mg.FitConfig(
        epochs=120, optimizer="adamw", learning_rate=3e-3, weight_decay=1e-3, patience=None, monitor="class_map"
    )


def build(config: Config, run: int, fold: int) -> mg.Population:
    records = mg.load_dataset(DATA)
    shipped = records.phenotypes["part"]
    train = np.random.default_rng(run).permutation(np.flatnonzero(shipped == "train"))
    split = mg.Split(
        train=train[len(train) // 5 :], val=train[: len(train) // 5], test=np.flatnonzero(shipped == "test")
    )
    return mg.Population.fit(records, split, mg.PopulationConfig(anchor="article"))  # whose neighbours nobody asks


class Canonical(mg.Aligner):
    """An aligner whose views are brought together by canonical correlation analysis, fitted to training articles."""

    def __init__(self, *, channels: int, ridge: float, **options: object) -> None:
        super().__init__(**options)
        self.ridge = ridge
        self.register_buffer("centres", torch.zeros(len(self.views), channels, dtype=torch.float64))
        self.register_buffer("maps", torch.zeros(len(self.views), channels, channels, dtype=torch.float64))

    def project(self, graph: HeteroData) -> dict[str, dict[str, tuple[Tensor, Tensor]]]:
        found = super().project(graph)
        if self.training:
            return found
        seen = found[self.space]
        rows, train = (
            torch.stack([one.present for one in seen.values()]).all(dim=0),
            graph[self.anchor].get("train_mask"),
        )
        if train is not None and (rows := rows & train).sum() > self.maps.shape[1]:
            xs = [one.states[rows].detach() for one in seen.values()]
            fitted = functional.cca(xs, channels=self.maps.shape[1], ridge=self.ridge)
            self.centres, self.maps = torch.stack(fitted.centres), torch.stack(fitted.maps)
        moved = {}
        for (name, one), centre, to in zip(seen.items(), self.centres, self.maps, strict=True):
            moved[name] = one._replace(states=((one.states.double() - centre) @ to).float() * one.present[:, None])
        return {**found, self.space: moved}


def make_task(config: Config, schema: mg.Schema) -> Retrieval:
    return Retrieval(schema, target="category")


def make_objective(config: Config, schema: mg.Schema) -> objectives.Correlate:
    return objectives.Correlate(schema, ridge=config.ridge)


def make_transform(config: Config, schema: mg.Schema) -> FeatureNoise:
    return FeatureNoise(dict.fromkeys(schema.modalities, config.noise))


def make_model(config: Config, schema: mg.Schema) -> Canonical:
    widths = {name: schema.nodes[name].channels for name in schema.modalities}
    networks = encoders.Table(widths, config.hidden, hidden=[], dropout=config.dropout, final=True)
    last = {
        name: nn.Sequential(nn.Dropout(config.dropout), nn.Linear(config.hidden, config.channels)) for name in widths
    }
    return Canonical(
        schema=schema, encoder=networks, spaces={"joint": last}, channels=config.channels, ridge=config.final
    )
