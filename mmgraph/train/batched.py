"""Minibatches of one large graph: seeds, and around them all that a model's rounds of messages read.

Neighbourhoods are whole, never drawn: what a model says of the seeds of a batch is what it says of them in the whole
graph, as long as ``hops`` is at least its rounds of messages. (One layer reads further than any neighbourhood:
:class:`~mmgraph.layers.GCN` between *two* node types divides by how many edges leave a node.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from mmgraph.data import NeighbourLoader, NeighbourSampler, NodeSeeds
from mmgraph.errors import ConfigError
from mmgraph.layers import Layer, Stack
from mmgraph.schema import TargetSpec
from mmgraph.tasks import Part, Task

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData

    from mmgraph.train.fit import FitConfig

PARTS: tuple[Part, ...] = ("train", "val", "test")
BOOKKEEPING = ("num_sampled_nodes", "num_sampled_edges", "input_id", "batch_size", "e_id")  # of the sampler


def training_batches(task: Task, view: HeteroData, config: FitConfig) -> NeighbourLoader:
    """The labelled rows of a training view in batches, in another order each epoch.

    Raises:
        ConfigError: The task is not about the nodes of a type.
        DataError: No row has a label.
    """
    target = target_of(task)
    seeds = known(view[target.node][target.attribute])
    return _loader(view, target, seeds, config, shuffle=True)


def part_batches(task: Task, view: HeteroData, part: Part, config: FitConfig) -> NeighbourLoader:
    """The rows of a part in batches, in their order.

    Raises:
        ConfigError: The task is not about the nodes of a type.
        DataError: The part is empty.
    """
    target = target_of(task)
    return _loader(view, target, view[target.node][f"{part}_mask"], config, shuffle=False)


@torch.no_grad()
def predict(model: nn.Module, task: Task, view: HeteroData, part: Part, config: FitConfig) -> Tensor:
    """The answers for one part from its view: at once, or in batches where the config has a batch size."""
    if config.batch_size is None:
        return task.answers(model(view), view, part)
    batches = part_batches(task, view, part, config)
    return torch.cat([task.answers(model(batch), batch, part) for batch in batches])


def check_batched(model: nn.Module, task: Task, view: HeteroData, config: FitConfig) -> None:
    """Checks that batches hold all that a model reads.

    Raises:
        ConfigError: The model passes more rounds of messages than ``hops``, or the task is not about nodes.
    """
    target_of(task)
    needed = rounds(model) if _relations(view) else 0
    if config.hops < needed:
        raise ConfigError(
            f"hops must be at least {needed}, the rounds of messages of the model, got {config.hops}; "
            "with fewer, a batch would lack nodes that the model reads"
        )


def rounds(module: nn.Module) -> int:
    """How many rounds of messages the layers of a model pass, if each is called once.

    Example:
        >>> from mmgraph.layers import Gated, Mean, Stack
        >>> near = ("a", "near", "a")
        >>> rounds(Stack(Mean(4, 4, relations=[near]), Gated(4, relations=[near], rounds=3)))
        4
    """
    inside = sum(rounds(child) for child in module.children())
    if not isinstance(module, Layer) or isinstance(module, Stack):
        return inside
    own = getattr(module, "rounds", 1)
    return max(own if isinstance(own, int) else 1, inside)


def target_of(task: Task) -> TargetSpec:
    """What a task asks of the nodes of a type.

    Raises:
        ConfigError: It asks something else.
    """
    target = getattr(task, "target", None)
    if not isinstance(target, TargetSpec):
        raise ConfigError(
            f"batch_size needs a task about the nodes of a type, e.g. NodeClassification, got {type(task).__name__}; "
            "train on the whole graph with batch_size=None"
        )
    return target


def known(labels: Tensor) -> Tensor:
    """Which rows have a label, ``[rows]``.

    Example:
        >>> known(torch.tensor([0, -1])).tolist(), known(torch.tensor([float("nan"), -1.0])).tolist()
        ([True, False], [False, True])
    """
    return labels.isfinite() if labels.dtype.is_floating_point else labels >= 0


def _loader(
    view: HeteroData, target: TargetSpec, seeds: Tensor, config: FitConfig, *, shuffle: bool
) -> NeighbourLoader:
    assert config.batch_size is not None
    relations = _relations(view)
    inner = any(relation[2] != target.node for relation in relations)  # their sources must have all their edges, too
    hops = config.hops + 1 + int(inner and config.hops > 0)  # the last one leads to the modality nodes
    fan_out = {edge: [0 if edge in relations and config.hops == 0 else -1] * hops for edge in view.edge_types}
    return NeighbourLoader(
        NeighbourSampler(view, fan_out),
        NodeSeeds(target.node, seeds),
        batch_size=config.batch_size,
        shuffle=shuffle,
        seed=config.seed,
        transform=_OfSeedsAlone(target),
    )


def _relations(view: HeteroData) -> list[tuple[str, str, str]]:
    return [edge for edge in view.edge_types if edge[1] != "of"]


class _OfSeedsAlone:
    """Leaves labels and parts to the seeds of a batch: its other rows are there to be read, not to be asked for."""

    def __init__(self, target: TargetSpec) -> None:
        self.target = target

    def __call__(self, batch: HeteroData, _: torch.Generator) -> HeteroData:
        store = batch[self.target.node]
        others = torch.arange(store.num_nodes) >= store.batch_size
        for part in PARTS:
            if f"{part}_mask" in store:
                store[f"{part}_mask"] = store[f"{part}_mask"] & ~others
        labels = store.get(self.target.attribute)
        if labels is not None:
            unknown = float("nan") if labels.dtype.is_floating_point else -1
            store[self.target.attribute] = labels.masked_fill(others, unknown)
        for one in batch.stores:
            for name in BOOKKEEPING:
                one.pop(name, None)
        return batch
