"""Search among the subgraphs of Cora: papers and what is around them, found by what is around another.

Each paper stands for its 2-hop subgraph. Are the ten nearest, among the test papers, of its subject? Nobody is told a
subject: what subgraphs are told apart by is learned from two corruptions of each.

Source: Zhu et al. 2020, Deep graph contrastive representation learning, arXiv:2006.04131 (two corruptions of a graph);
Hamilton et al. 2017, Inductive representation learning on large graphs, arXiv:1706.02216 (neighbours are positives).
Command: mmgraph run subgraph_search_cora
Cost: ten minutes on one core.
Expected: precision@10 .787; the walk alone .746, the mean of the subgraph .723, without the centre .715, the paper's
own words .430. Noise in place of the words still has .635, as subgraphs share papers; chance .184.
Differs from the papers: one linear map, read out over the subgraph; papers that cite each other are positives too.
"""

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn
from torch_geometric.data import HeteroData

import mmgraph as mg
from mmgraph import layers, objectives
from mmgraph.data import Corrupt
from mmgraph.encoders import Raw
from mmgraph.tasks import Retrieval

DATA, METRIC = "cora", "class_precision@10"
EXPECT = {"class_precision@10": (0.787, 0.015)}
CITES = ("paper", "cites", "paper")


@dataclass(frozen=True)
class Config:
    """How to run.

    Args:
        runs: Seeds, on the same split.
        channels: Width of the vectors.
        hops: Radius of a subgraph.
        words: Share of the words that a corruption hides.
        citations: Share of the citations that it takes away.
        temperature: How sharply subgraphs are told apart.
        fit: How to train.
    """

    runs: int = 3
    channels: int = 256
    hops: int = 2
    words: float = 0.5
    citations: float = 0.5
    temperature: float = 1.0
    fit: mg.FitConfig = mg.FitConfig(epochs=80, learning_rate=0.01, patience=None, monitor=METRIC)


def build(config: Config, run: int, fold: int) -> tuple[HeteroData, mg.Schema]:
    graph, schema = mg.load_dataset(DATA)
    paper = graph["paper"]
    holds = (paper.x > 0).float()
    rarity = (len(holds) / holds.sum(dim=0).clamp_min(1)).log()
    paper.x = nn.functional.normalize(holds * rarity, dim=1)  # TF-IDF
    paper.train_mask = ~(paper.val_mask | paper.test_mask)  # no label is asked for
    return graph, schema


def make_task(config: Config, schema: mg.Schema) -> Retrieval:
    return Retrieval(schema, pairs=[("paper", "paper")], target="subject")


def make_model(config: Config, schema: mg.Schema) -> mg.Aligner:
    words = schema.nodes["paper"].channels
    return _model(schema, nn.Linear(words, config.channels), hops=config.hops)


def make_objective(config: Config, schema: mg.Schema) -> objectives.Objective:
    corrupt = Corrupt(channels={"paper": config.words}, edges={CITES: config.citations})
    return objectives.TwoViews(schema, corrupt, positives=CITES, temperature=config.temperature)


def _model(schema: mg.Schema, projection: nn.Module, **options: object) -> mg.Aligner:
    return mg.Aligner(
        schema=schema,
        encoder=Raw(["paper"]),
        spaces={"subgraph": {"paper": projection}},
        between=layers.Readout(relations=[CITES], **options),
    )


def _untrained(**options: object) -> Callable[[Config, mg.Schema], mg.Aligner]:
    return lambda config, schema: _model(schema, nn.Identity(), **{"hops": config.hops, **options})


def _nothing(config: Config, schema: mg.Schema) -> objectives.Objective:
    return objectives.TwoViews(schema, learned=True)  # whose temperature is all there is to learn


RIVALS = {
    "walk readout, untrained": _untrained(),
    "mean readout, untrained": _untrained(weights="mean"),
    "mean readout, centre removed": _untrained(weights="mean", centre=False),
    "centre text alone": _untrained(hops=0),
}
RIVAL_OBJECTIVES = dict.fromkeys(RIVALS, _nothing)
