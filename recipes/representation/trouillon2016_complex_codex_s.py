"""ComplEx on CoDEx-S: facts about people, places and works, completed by complex vectors.

Who plays the instrument, where does the band come from? Each entity and each relation has a complex vector, and a fact
is as true as the real part of their product. Every question is answered against all entities at once.

Source: Trouillon et al. 2016, Complex embeddings for simple link prediction, arXiv:1606.06357; Safavi and Koutra 2020,
CoDEx: a comprehensive knowledge graph completion benchmark, arXiv:2009.07810 (data, and settings for ComplEx: 512
channels, against all entities, inverses with vectors of their own, Adam at .00034 with 1,024 facts a batch).
Command: mmgraph run trouillon2016_complex_codex_s
Cost: three minutes a seed on one core.
Expected: filtered MRR .46 (published .465); with ``--symmetric`` .47, and no less with ``--types``.
Differs from the paper: a softmax over all entities instead of sampled false facts, as in CoDEx; the penalty N3 of
Lacroix et al. 2018 (arXiv:1806.07297) and Adagrad, wider vectors; a batch holds questions, with all their answers.
"""

from dataclasses import dataclass

import mmgraph as mg
from mmgraph import objectives, scorers, tasks

DATA, METRIC = "codex_s", "mrr"
SOURCE = "Safavi and Koutra 2020"
PUBLISHED = (
    {"source": SOURCE, "metric": "mrr", "value": 0.465},
    {"source": SOURCE, "metric": "hits@1", "value": 0.372},
    {"source": SOURCE, "metric": "hits@10", "value": 0.646},
)
EXPECT = {"mrr": (0.46, 0.01)}
CONTROLS = ("frequency",)


@dataclass(frozen=True)
class Config:
    """How to run.

    Args:
        runs: Seeds, on the same split.
        symmetric: Mark as symmetric the relations whose training facts mostly stand both ways round: each of their
            facts is then learned in both directions.
        types: Learn of which types the entities are, as facts of one relation more; the types are candidates, too.
        channels: Width of the vectors, half of it imaginary parts.
        std: Of the vectors at the start.
        dropout: Share of the values of sources and relations zeroed while training.
        penalty: Of the cubes of the moduli (N3).
        fit: How to train; a batch is so many questions, of about six facts each.
    """

    runs: int = 3
    symmetric: bool = False
    types: bool = False
    channels: int = 1000
    std: float = 0.001
    dropout: float = 0.0
    penalty: float = 0.01
    fit: mg.FitConfig = mg.FitConfig(
        epochs=12,
        schedule="cosine",
        optimizer="adagrad",
        learning_rate=0.1,
        weight_decay=0.0,
        patience=None,
        monitor=METRIC,
        batch_size=256,
    )


def build(config: Config, run: int, fold: int) -> mg.KnowledgeGraph:
    return mg.load_dataset(DATA, symmetric=config.symmetric, types="facts" if config.types else False)


def make_task(config: Config, schema: mg.Schema) -> tasks.LinkPrediction:
    return tasks.LinkPrediction(schema)


def make_model(config: Config, schema: mg.Schema) -> mg.Linker:
    return mg.Linker(schema=schema, scorer=scorers.ComplEx(config.channels, std=config.std), dropout=config.dropout)


def make_objective(config: Config, schema: mg.Schema) -> objectives.Objective:
    return objectives.Links("cross_entropy", penalty=config.penalty)
