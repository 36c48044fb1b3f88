"""A knowledge graph of characters, completed for those it has never seen: from their pictures and their names.

What a character decomposes to, what its lower and upper case are, which block and script it is of: a tenth of the
characters are in no fact of training, and a fifth are the test. With ``--split block`` whole blocks are unseen.

Source: Daza, Cochez and Groth 2021, Inductive entity representations from text via link prediction, arXiv:2010.03496;
Xie et al. 2017, Image-embodied knowledge representation learning, arXiv:1609.07028.
Command: mmgraph run glyphs_graph
Cost: three quarters of an hour on one core, two to five minutes a fit.
Expected: filtered MRR .46 over three splits; with the pictures of other characters .43, with their names .17, by
frequency alone .09.
Differs from the papers: pictures and names are there for the same entities, and the encoders are frozen. No download:
all is made of what Python and matplotlib bring along.
"""

from dataclasses import dataclass

import torch
from torch_geometric.data import HeteroData

import mmgraph as mg
from mmgraph import encoders, fusion, objectives, scorers
from mmgraph.builders import hold_out_entities
from mmgraph.tasks import LinkPrediction

DATA, METRIC = "glyphs", "mrr"
PAYLOADS = ("picture", "name")
CONTROLS = ("frequency", *(f"shuffled:{name}" for name in PAYLOADS))
EXPECT = {"mrr": (0.46, 0.03)}
CASES = ("decomposes_to", "lower", "upper")


@dataclass(frozen=True)
class Config:
    """How to run.

    Args:
        runs: Splits.
        split: ``character``: at random; ``block``: whole blocks are unseen.
        limit: Take the first so many characters; by default all.
        channels: Width of the vectors.
        hidden: Width of the hidden layer over each payload.
        dropout: Share of the payloads' features and hidden values that training sets to zero.
        forget: Share of the entities that a step knows by their payloads alone.
        std: Of the vectors at the start.
        penalty: Weight of the penalty on the vectors of facts.
        fit: How to train; a batch is so many questions.
    """

    runs: int = 3
    split: str = "character"
    limit: int | None = None
    channels: int = 256
    hidden: int = 512
    dropout: float = 0.3
    forget: float = 0.5
    std: float = 0.1
    penalty: float = 0.0
    fit: mg.FitConfig = mg.FitConfig(
        epochs=10, learning_rate=5e-3, weight_decay=0.0, batch_size=512, patience=None, monitor=METRIC
    )


def build(config: Config, run: int, fold: int) -> tuple[HeteroData, mg.Schema]:
    source = mg.load_dataset(DATA, task="all", split=config.split, limit=config.limit, next_to=False, seed=run)
    tables, declared = source.tables, source.config
    bare = declared.model_copy(update={"edges": (), "nodes": {"character": declared.nodes["character"]}})
    bare = mg.Source(bare, {"characters": tables["characters"]})
    built = mg.build_graph(bare.with_encoders(picture={"kind": "gradients", "size": 32, "levels": 0}))
    facts = [(row["source"], name, row["target"]) for name in CASES for row in tables[name].to_pylist()]
    for row in tables["characters"].select(["code", "block", "script"]).to_pylist():
        facts += [(row["code"], f"in_{kind}", f"{kind} {row[kind]}") for kind in ("block", "script") if row[kind]]
    known = mg.KnowledgeGraph.fit(mg.Triples(*zip(*facts, strict=True)), payloads=built)
    store, masks = built.graph["character"], torch.zeros(2, len(known.entities), dtype=torch.bool)
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
