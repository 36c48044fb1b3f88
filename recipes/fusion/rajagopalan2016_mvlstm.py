"""Multi-view LSTMs on two sequences whose answer lies between them, and which topology can read it.

The answer at a step is whether the first view had, one step before, the sign that the second has now. Either view alone
says nothing, and neither does a sum of what each remembers of itself: one memory must hold what both have seen.

Source: Rajagopalan, Morency, Baltrušaitis and Goecke 2016, Extending long short-term memory for multi-view structured
learning, ECCV; doi:10.1007/978-3-319-46478-7_21.
Command: mmgraph run rajagopalan2016_mvlstm
Cost: two minutes on one core.
Expected: fully connected, coupled, hybrid and learned 1.00; view-specific .51 ± .04, as guessing has.
Differs from the paper: generated sequences instead of recorded behaviour, an answer a step; the two views' states are
added before a linear head, so that only the recurrence can join them. Shares of channels are the paper's; the learned
ones are not in it.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch_geometric.data import HeteroData

import mmgraph as mg
from mmgraph import encoders, fusion, layers
from mmgraph.builders import aligned

DATA, METRIC = "generated", "accuracy"
EXPECT = {"accuracy": (1.0, 0.005)}
VIEWS = ("first", "second")


@dataclass(frozen=True)
class Config:
    """How to run.

    Args:
        runs: Seeds, of the sequences and of the model.
        sequences: How many; three fifths are for training, one fifth each for validation and test.
        steps: Length of each.
        noise: Deviation of what is added to the signs.
        missing: Share of the steps at which a view is not there.
        channels: Width of each view's memory.
        fit: How to train.
    """

    runs: int = 5
    sequences: int = 300
    steps: int = 10
    noise: float = 0.1
    missing: float = 0.0
    channels: int = 12
    fit: mg.FitConfig = mg.FitConfig(epochs=80, learning_rate=0.03, weight_decay=0.0, patience=None)


def build(config: Config, run: int, fold: int) -> tuple[HeteroData, mg.Schema]:
    rng = np.random.default_rng(run)
    signs = rng.choice([-1.0, 1.0], size=(2, config.sequences, config.steps))
    seen = signs + config.noise * rng.normal(size=signs.shape)
    seen[rng.random(signs.shape) < config.missing] = np.nan
    sequence = np.arange(config.sequences).repeat(config.steps)
    graph, schema = aligned({view: x.reshape(-1, 1) for view, x in zip(VIEWS, seen, strict=True)}, sequence=sequence)
    answer = np.full(signs.shape[1:], -1)  # at the first step there is nothing before
    answer[:, 1:] = signs[0, :, :-1] == signs[1, :, 1:]
    step = graph["step"]
    step.y = torch.from_numpy(answer.ravel())
    part = torch.from_numpy(np.digitize(sequence / config.sequences, [0.6, 0.8]))
    step.train_mask, step.val_mask, step.test_mask = part == 0, part == 1, part == 2
    target = mg.TargetSpec(node="step", kind="binary", classes=("other", "same"))
    return graph, schema.model_copy(update={"targets": {"answer": target}})


def make_model(config: Config, schema: mg.Schema, alpha: float | None = 1.0, beta: float | None = 1.0) -> mg.Model:
    return mg.Model(
        schema=schema,
        encoder=encoders.Raw(VIEWS),
        within=layers.MultiViewLSTM(dict.fromkeys(VIEWS, 1), config.channels, steps="step", alpha=alpha, beta=beta),
        fusion=fusion.Sum(),
        head=nn.Linear(config.channels, 2),
    )


RIVALS = {
    "view_specific": lambda config, schema: make_model(config, schema, 1.0, 0.0),
    "coupled": lambda config, schema: make_model(config, schema, 0.0, 1.0),
    "hybrid": lambda config, schema: make_model(config, schema, 2 / 3, 1 / 3),
    "learned": lambda config, schema: make_model(config, schema, None, None),
}
