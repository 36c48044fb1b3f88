"""DBP15K zh-en: which Chinese entity is which English one, by the facts around them and 4,050 known pairs.

Known pairs have random vectors, the same in both graphs, that travel along facts; what facts weigh is learned for each
relation and hop by telling hidden pairs from the others. At the end each entity also says which relation leads to what.
Pairs that are each other's nearest join the known ones, and offsets hold hubs back. Names are read with ``--names``.

Source: Wang et al. 2018, Cross-lingual knowledge graph alignment via graph convolutional networks, EMNLP, D18-1032
(the rival ``gcn_align``); Mao et al. 2022, LightEA, arXiv:2210.10436 (random vectors of pairs that travel).
Command: mmgraph run wang2018_gcn_align_dbp15k
Cost: an hour on one core; a run of the full model six minutes.
Expected: recall@1 .73 and recall@10 .885, the mean of both directions; published for GCN-Align .413 and .744.
Differs from the paper: no attributes; the rival learns as the full model does, not by a margin with five negatives.
"""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F
from torch_geometric.data import HeteroData

import mmgraph as mg
from mmgraph import encoders, objectives
from mmgraph.functional import Adjacency, aggregate, symmetric_norm

DATA, METRIC = "dbp15k_zh_en", "recall@1"
EXPECT = {"recall@1": (0.73, 0.04), "recall@10": (0.885, 0.02)}
PUBLISHED = (
    {"source": "Wang et al. 2018, GCN-Align, zh to en", "metric": "recall@1", "value": 0.413},
    {"source": "Wang et al. 2018, GCN-Align, zh to en", "metric": "recall@10", "value": 0.744},
)
CONTROLS = ("no_graph", "shuffled_edges", "chance")
ENTITIES, RELATIONS = {"zh": 19388, "en": 19572}, {"zh": 1701, "en": 1323}


@dataclass(frozen=True)
class Config:
    """How to run.

    Args:
        runs: Seeds; each deals out anew which 4,500 links are known, 450 of them for validation.
        names: Whether entities are told by their names, too.
        joins: Steps at which pairs that are each other's nearest join the known ones.
        temperature: How sharply pairs are told apart, at the start.
        channels: Width of the rival's vectors.
        fit: How to train.
    """

    runs: int = 3
    names: bool = False
    joins: tuple[int, ...] = (21, 24, 27, 30)
    temperature: float = 0.07
    channels: int = 200
    fit: mg.FitConfig = mg.FitConfig(epochs=30, learning_rate=0.1, weight_decay=0.0, patience=None, monitor="mrr")


def build(config: Config, run: int, fold: int) -> tuple[HeteroData, mg.Schema]:
    return mg.load_dataset(DATA, seed=run, names=config.names)


def make_task(config: Config, schema: mg.Schema) -> mg.Retrieval:
    return mg.Retrieval(schema)


def make_objective(config: Config, schema: mg.Schema) -> objectives.Contrast:
    return objectives.Contrast(schema, temperature=config.temperature)


def make_model(config: Config, schema: mg.Schema, **options: object) -> mg.EntityAligner:
    options = {"joins": config.joins, **options}
    return mg.EntityAligner(schema=schema, entities=ENTITIES, relations=RELATIONS, **options)


class GCNAlign(mg.Aligner):
    """Two rounds of messages among learned entities; what a fact weighs is how nearly its relation is a function."""

    def __init__(self, config: Config, schema: mg.Schema) -> None:
        super().__init__(
            schema=schema, encoder=encoders.Raw([]), spaces={"joint": {n: nn.Identity() for n in ENTITIES}}
        )
        self.entities = nn.ParameterDict({n: torch.randn(count, config.channels) for n, count in ENTITIES.items()})

    def project(self, graph: HeteroData) -> dict[str, dict[str, mg.Seen]]:
        found = {}
        for side, x in self.entities.items():
            seen = self.hidden(graph, side)
            facts, count = seen[side, "fact", side], seen[side].num_nodes
            (subject, thing), relation = facts.edge_index, facts.edge_attr[:, 0].long()
            distinct = [(relation * count + end).unique() // count for end in (thing, subject)]
            ways = [(one.bincount(minlength=1) / relation.bincount())[relation] for one in distinct]
            index = torch.cat([facts.edge_index.flip(0), facts.edge_index], dim=1)
            index, weight = symmetric_norm(index, count, count, weight=torch.cat(ways), self_loops=True)
            edges = Adjacency(index, count, count)
            x = aggregate(F.relu(aggregate(x[:count], edges, weight=weight)), edges, weight=weight)
            entity, link = seen[side, "of", "link"].edge_index
            states = torch.zeros(len(link), x.shape[1]).index_put((link,), x[entity])
            found[side] = mg.Seen(states, torch.ones(len(link), dtype=torch.bool))
        return {"joint": found}


RIVALS = {
    "cosines, no joins": lambda config, schema: make_model(config, schema, offsets=None, joins=()),
    "propagation": lambda config, schema: make_model(config, schema, offsets=None, joins=(), learned=False, bound=0),
    "gcn_align": GCNAlign,
}
