"""TuckER on CoDEx-S: facts about people, places and works, completed through a core tensor.

The core makes a matrix of each relation, and the matrix takes the source to where the answers should be. What relations
share is in the core, so their own vectors are narrow.

Source: Balažević, Allen and Hospedales 2019, TuckER: tensor factorization for knowledge graph completion,
arXiv:1901.09590; Safavi and Koutra 2020, CoDEx: a comprehensive knowledge graph completion benchmark, arXiv:2009.07810
(data, and settings for TuckER: entities 512 wide, all answers of 256 questions a batch, smoothed by .095).
Command: mmgraph run balazevic2019_tucker_codex_s
Cost: a quarter of an hour a seed on one core.
Expected: filtered MRR .446 (published .444), hits@1 .350 (.339), hits@10 .629 (.638); with ``--channels 512`` .433.
Differs from the paper: a softmax over all entities instead of a logistic loss, as in CoDEx, a mean over facts, smoothed
more; wider vectors of entities than in CoDEx and narrower ones of relations (with 512 channels each the core has 134
million weights, here 44 million); one dropout of a relation's matrix in a batch, for all its questions.
"""

from dataclasses import dataclass

import mmgraph as mg
from mmgraph import objectives, scorers, tasks

DATA, METRIC = "codex_s", "mrr"
SOURCE = "Safavi and Koutra 2020"
PUBLISHED = (
    {"source": SOURCE, "metric": "mrr", "value": 0.444},
    {"source": SOURCE, "metric": "hits@1", "value": 0.339},
    {"source": SOURCE, "metric": "hits@10", "value": 0.638},
)
EXPECT = {"mrr": (0.446, 0.01)}
CONTROLS = ("frequency",)


@dataclass(frozen=True)
class Config:
    """How to run.

    Args:
        runs: Seeds, on the same split.
        channels: Width of the vectors of entities.
        relation_channels: Width of the vectors of relations.
        dropouts: Of the source, of a relation's matrix and of the question.
        label_smoothing: Share of the truth that is spread over all entities.
        fit: How to train; a batch is so many questions, of about six facts each.
    """

    runs: int = 3
    channels: int = 1024
    relation_channels: int = 42
    dropouts: tuple[float, float, float] = (0.2, 0.0, 0.4)
    label_smoothing: float = 0.25
    fit: mg.FitConfig = mg.FitConfig(
        epochs=30,
        schedule="cosine",
        optimizer="adagrad",
        learning_rate=0.03,
        weight_decay=0.0,
        patience=None,
        monitor=METRIC,
        batch_size=256,
    )


def build(config: Config, run: int, fold: int) -> mg.KnowledgeGraph:
    return mg.load_dataset(DATA)


def make_task(config: Config, schema: mg.Schema) -> tasks.LinkPrediction:
    return tasks.LinkPrediction(schema)


def make_model(config: Config, schema: mg.Schema) -> mg.Linker:
    scorer = scorers.TuckER(config.channels, config.relation_channels, dropouts=config.dropouts, norm=False)
    return mg.Linker(schema=schema, scorer=scorer)


def make_objective(config: Config, schema: mg.Schema) -> objectives.Objective:
    return objectives.Links("cross_entropy", label_smoothing=config.label_smoothing)
