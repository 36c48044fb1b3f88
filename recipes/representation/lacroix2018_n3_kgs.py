"""Nations, Kinship, UMLS and Countries, completed by ComplEx with the nuclear 3-norm penalty.

Small knowledge graphs whose facts are asked for in both directions: who answers ``(h, r, ?)`` and ``(?, r, t)``?

Source: Lacroix, Usunier and Obozinski 2018, Canonical tensor decomposition for knowledge base completion,
arXiv:1806.07297; the graphs: Kok and Domingos 2007, Statistical predicate invention, ICML.
Command: mmgraph run lacroix2018_n3_kgs --graph umls
Cost: a minute on one core.
Expected: filtered MRR .949 on UMLS, .88 on Kinship and .82 on Nations; by how often an entity answers a relation in
training .67, .11 and .57.
Differs from the paper: dropout on what is asked; the paper has other graphs.
"""

from dataclasses import dataclass
from typing import Literal

import mmgraph as mg
from mmgraph import objectives, scorers
from mmgraph.tasks import LinkPrediction

DATA, METRIC, CONTROLS = "kgs", "mrr", ("frequency",)
EXPECT = {"mrr": (0.95, 0.02)}


@dataclass(frozen=True)
class Config:
    """How to run.

    Args:
        runs: Seeds, on the same split.
        graph: Which knowledge graph.
        channels: Width of the vectors, twice the complex numbers.
        penalty: Weight of the penalty.
        dropout: Share of what is asked that training hides.
        fit: How to train; a batch is so many questions.
    """

    runs: int = 3
    graph: Literal["umls", "kinship", "nations", "countries_s1", "countries_s2", "countries_s3"] = "umls"
    channels: int = 800
    penalty: float = 0.004
    dropout: float = 0.3
    fit: mg.FitConfig = mg.FitConfig(
        epochs=60,
        schedule="cosine",
        optimizer="adagrad",
        learning_rate=0.1,
        weight_decay=0.0,
        batch_size=64,
        patience=None,
        monitor=METRIC,
    )


def build(config: Config, run: int, fold: int) -> mg.KnowledgeGraph:
    return mg.load_dataset(DATA, graph=config.graph)


def make_task(config: Config, schema: mg.Schema) -> LinkPrediction:
    return LinkPrediction(schema)


def make_model(config: Config, schema: mg.Schema) -> mg.Linker:
    return mg.Linker(schema=schema, scorer=scorers.ComplEx(config.channels), dropout=config.dropout)


def make_objective(config: Config, schema: mg.Schema) -> objectives.Objective:
    return objectives.Links(penalty=config.penalty)
