"""TransE on CoDEx-S: facts about people, places and works, completed by moves from entity to entity.

A relation is a move: where the source's vector and the relation's add up to, the answer should be. The nearest entities
answer.

Source: Bordes et al. 2013, Translating embeddings for modeling multi-relational data, NeurIPS 26; Safavi and Koutra
2020, CoDEx: a comprehensive knowledge graph completion benchmark, arXiv:2009.07810 (data, and settings for TransE: 512
channels, Euclidean distance, a softmax over the answer and 56 drawn entities, Adagrad at .041).
Command: mmgraph run bordes2013_transe_codex_s
Cost: two minutes a seed on one core.
Expected: filtered MRR .354 (published .354), hits@1 .220 (.219).
Differs from the paper: a softmax instead of a margin, and inverses with vectors of their own, as in CoDEx; entities are
not kept at unit length; by default the softmax is over all entities, which a Euclidean distance gives for the price of
a matrix product (``--negatives 56`` draws as CoDEx did).
"""

from dataclasses import dataclass

from torch import nn

import mmgraph as mg
from mmgraph import objectives, scorers, tasks

DATA, METRIC = "codex_s", "mrr"
SOURCE = "Safavi and Koutra 2020"
PUBLISHED = (
    {"source": SOURCE, "metric": "mrr", "value": 0.354},
    {"source": SOURCE, "metric": "hits@1", "value": 0.219},
    {"source": SOURCE, "metric": "hits@10", "value": 0.634},
)
EXPECT = {"mrr": (0.354, 0.005)}
CONTROLS = ("frequency",)


@dataclass(frozen=True)
class Config:
    """How to run.

    Args:
        runs: Seeds, on the same split.
        channels: Width of the vectors.
        norm: Of the distance: 2, or 1, which costs ten times as much.
        std: Of the vectors at the start.
        dropout: Share of the values of sources and relations zeroed while training.
        negatives: Entities drawn a fact; ``None`` for all.
        fit: How to train; a batch is so many questions, of about six facts each.
    """

    runs: int = 3
    channels: int = 1024
    norm: int = 2
    std: float = 0.05
    dropout: float = 0.05
    negatives: int | None = None
    fit: mg.FitConfig = mg.FitConfig(
        epochs=40,
        schedule="cosine",
        learning_rate=0.003,
        weight_decay=0.0,
        patience=8,
        monitor=METRIC,
        batch_size=256,
    )


def build(config: Config, run: int, fold: int) -> mg.KnowledgeGraph:
    return mg.load_dataset(DATA)


def make_task(config: Config, schema: mg.Schema) -> tasks.LinkPrediction:
    return tasks.LinkPrediction(schema)


def make_model(config: Config, schema: mg.Schema) -> mg.Linker:
    scorer = scorers.TransE(config.channels, norm=config.norm)
    linker = mg.Linker(schema=schema, scorer=scorer, dropout=config.dropout)
    for vectors in (linker.entities, linker.relations):
        nn.init.normal_(vectors, std=config.std)
    return linker


def make_objective(config: Config, schema: mg.Schema) -> objectives.Objective:
    return objectives.Links("cross_entropy", negatives=config.negatives)
