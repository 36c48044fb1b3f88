"""Minibatches of one large graph: seeds, and around them all that a model's rounds of messages read.

Neighbourhoods are whole: what a model says of the seeds of a batch is what it says of them in the whole
graph, as long as ``hops`` is at least its rounds of messages. (One layer reads further than any neighbourhood:
:class:`~mmgraph.layers.GCN` between *two* node types divides by how many edges leave a node.)
Around questions about a knowledge graph they may be drawn (``fan_out``) while a model is trained; asked, it reads all.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from mmgraph.data import FactLoader, NeighbourLoader, NeighbourSampler, NodeSeeds
from mmgraph.data.row_loader import RowLoader
from mmgraph.decoders import Heads, Translation
from mmgraph.errors import ConfigError
from mmgraph.layers import Layer, Stack
from mmgraph.linker import Linker
from mmgraph.model import Model
from mmgraph.schema import TargetSpec
from mmgraph.tasks import Generation, LinkPrediction, Part, Task
from mmgraph.train.processes import ALONE, Place

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData

    from mmgraph.train.fit import FitConfig

PARTS: tuple[Part, ...] = ("train", "val", "test")
BOOKKEEPING = ("num_sampled_nodes", "num_sampled_edges", "input_id", "batch_size", "e_id")  # of the sampler


def alone(task: Task) -> bool:
    """Whether the rows that are asked about are joined to nothing, as questions about a knowledge graph are.

    A batch then has some of them, beside all of the graph; and answers are given at once.
    """
    return all(task.node not in (edge[0], edge[2]) for edge in task.schema.edges) and len(task.schema.nodes) > 1


def dealt(task: Task) -> bool:
    """Whether several processes deal the rows of validation out among them, and bring their answers together.

    Where all is answered at once, or payloads are made on demand, each process answers for all of them.
    """
    return not alone(task) and not isinstance(task, Generation)


def training_batches(
    task: Task, view: HeteroData, config: FitConfig, *, labelled: bool = True, place: Place = ALONE
) -> NeighbourLoader | RowLoader | FactLoader:
    """The rows of a training view in batches, in another order each epoch.

    Args:
        task: What is asked.
        view: The view of the training part.
        config: How to train.
        labelled: Leave out the rows without a label.
        place: Which of the processes that share each batch reads its part of them here.

    Raises:
        ConfigError: Labelled rows of a task without labels.
        DataError: There is no such row.
    """
    if labelled:
        target = target_of(task)
        seeds = known(view[target.node][target.attribute])
    else:
        seeds = view[task.node].train_mask
    if config.fan_out is not None:
        return FactLoader(
            view,
            task.schema,
            fan_out=config.fan_out,
            candidates=config.candidates,
            shuffle=True,
            seed=config.seed,
            **_part(config, place),
        )
    if alone(task):
        store = view[task.node]
        groups = store.source * (int(store.relation.max()) + 1) + store.relation if "relation" in store else None
        return RowLoader(view, task.node, seeds, groups=groups, shuffle=True, seed=config.seed, **_part(config, place))
    return _loader(task, view, seeds, config, place, shuffle=True)


def part_batches(task: Task, view: HeteroData, part: Part, config: FitConfig, place: Place = ALONE) -> NeighbourLoader:
    """The rows of a part in batches, in their order, or (with ``batch_by``) group by group: :func:`in_order` sorts.

    Raises:
        DataError: The part is empty.
    """
    return _loader(task, view, view[task.node][f"{part}_mask"], config, place, shuffle=False)


def in_order(answers: Sequence[Any], rows: Sequence[Tensor]) -> Any:
    """The answers for all batches of a part in the order of its rows, which :func:`asked` told of each batch.

    Example:
        >>> in_order([torch.tensor([[2.0], [0.0]]), torch.tensor([[1.0]])], [torch.tensor([7, 3]), torch.tensor([4])])
        tensor([[0.],
                [1.],
                [2.]])
    """
    order = torch.cat(list(rows)).argsort()
    if isinstance(answers[0], Translation):
        return Translation.join(answers).take(order)
    return torch.cat(list(answers))[order]


def asked(task: Task, batch: HeteroData, part: Part) -> Tensor:
    """Which rows of the whole graph a batch asks for, ``[answers]``."""
    store = batch[task.node]
    rows: Tensor = store.n_id[store[f"{part}_mask"]]
    return rows.cpu()


@torch.no_grad()
def predict(model: nn.Module, task: Task, view: HeteroData, part: Part, config: FitConfig) -> Tensor:
    """The answers for one part from its view: at once, or in batches where the config has a batch size.

    Answers that spread (``after``) are given at once: they come from further away than a batch reaches.
    """
    if config.batch_size is None or alone(task) or spreads(model):
        return task.answers(model(view), view, part)
    batches = part_batches(task, view, part, config)
    found = [(task.answers(model(batch), batch, part), asked(task, batch, part)) for batch in batches]
    return in_order(*zip(*found, strict=True))


def check_batched(model: nn.Module, view: HeteroData, config: FitConfig) -> None:
    """Checks that batches hold all that a model reads.

    Raises:
        ConfigError: The model passes more rounds of messages than ``hops``.
    """
    needed = rounds(model) if _relations(view) else 0
    if config.hops < needed:
        raise ConfigError(
            f"hops must be at least {needed}, the rounds of messages of the model, got {config.hops}; "
            "with fewer, a batch would lack nodes that the model reads"
        )


def check_drawn(model: nn.Module, task: Task, config: FitConfig) -> None:
    """Checks that neighbours can be drawn, as many hops as a model passes messages.

    Raises:
        ConfigError: ``fan_out`` for a task that is not about facts, or of fewer hops than the model's rounds over them.
    """
    if config.fan_out is None:
        return
    if not (alone(task) and isinstance(task, LinkPrediction)):
        raise ConfigError(
            f"fan_out draws what is around questions about a knowledge graph, LinkPrediction, got "
            f"{type(task).__name__}; leave it out: batches of nodes have all their neighbours within hops"
        )
    needed = rounds(model.between if isinstance(model, Linker) else model)
    if len(config.fan_out) < needed:
        raise ConfigError(
            f"fan_out must have at least {needed} hops, the rounds of messages of the model, got {config.fan_out}; "
            "with fewer, messages from further away would be lost"
        )


def rounds(module: nn.Module) -> int:
    """How many rounds of messages the layers of a model pass while it is trained, if each is called once.

    Example:
        >>> from mmgraph.layers import Gated, Mean, Stack
        >>> near = ("a", "near", "a")
        >>> rounds(Stack(Mean(4, 4, relations=[near]), Gated(4, relations=[near], rounds=3)))
        4
    """
    if isinstance(module, Heads):  # beside each other, not one after the other
        return max(rounds(module[target]) for target in module.targets)
    after = module.after if spreads(module) else None
    inside = sum(rounds(child) for child in module.children() if child is not after)
    if not isinstance(module, Layer) or isinstance(module, Stack):
        return inside
    own = getattr(module, "rounds", 1)
    return max(own if isinstance(own, int) else 1, inside)


def spreads(model: nn.Module) -> bool:
    """Whether a model's answers spread after they are made."""
    return isinstance(model, Model) and model.after is not None


def target_of(task: Task) -> TargetSpec:
    """The target whose labels are learned.

    Raises:
        ConfigError: The task has none.
    """
    target = getattr(task, "target", None)
    if not isinstance(target, TargetSpec):
        raise ConfigError(
            f"Learning from labels needs a task with a target, e.g. NodeClassification, got {type(task).__name__}; "
            "give an objective that needs none"
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
    task: Task, view: HeteroData, seeds: Tensor, config: FitConfig, place: Place, *, shuffle: bool
) -> NeighbourLoader:
    relations, paths = _relations(view), _paths(task, view)
    inner = any(relation[2] != task.node for relation in relations)  # their sources must have all their edges, too
    last = max([1, *map(len, paths)])  # hops to the modality nodes
    hops = config.hops + max(last, 1 + int(inner and config.hops > 0))
    followed = {edge for path in paths for edge in path}
    skipped = {edge for edge in relations if config.hops == 0 and edge not in followed}
    return NeighbourLoader(
        NeighbourSampler(view, {edge: [0 if edge in skipped else -1] * hops for edge in view.edge_types}),
        NodeSeeds(task.node, seeds),
        groups=None if config.batch_by is None else _groups(view, task.node, config.batch_by)[seeds],
        shuffle=shuffle,
        seed=config.seed,
        transform=_OfSeedsAlone(task.node, _labels(task)),
        **_part(config, place),
    )


def _part(config: FitConfig, place: Place) -> dict[str, Any]:
    """Which part of each batch a loader reads."""
    assert config.batch_size is not None
    return {"batch_size": config.batch_size // place.world, "rank": place.rank, "world": place.world, "idle": True}


def _paths(task: Task, view: HeteroData) -> list[tuple[tuple[str, str, str], ...]]:
    """The ways from modality nodes to the anchor that a view has."""
    return [path for path in task.schema.paths.values() if all(edge in view.edge_types for edge in path)]


def _groups(view: HeteroData, node: str, by: str) -> Tensor:
    """Which row of another type each row hangs on, ``[rows]``; one that hangs on none has a number of its own."""
    joins = [edge for edge in view.edge_types if (edge[0], edge[2]) == (by, node)]
    if len(joins) != 1 or by == node:
        raise ConfigError(
            f"batch_by must be a node type that one edge type joins to {node!r}, got {by!r} with {joins}; "
            f"edge types are {view.edge_types}"
        )
    source, target = view[joins[0]].edge_index
    alone = view[by].num_nodes + torch.arange(view[node].num_nodes)
    return alone.scatter_reduce(0, target, source, "amin")


def _labels(task: Task) -> list[str]:
    """The tensors of the labels that are in a task's views: of its target, and of those beside it."""
    target = getattr(task, "target", None)
    own = [target.attribute] if isinstance(target, TargetSpec) else []
    return [*own, *(task.schema.target(name).attribute for name in getattr(task, "beside", ()))]


def _relations(view: HeteroData) -> list[tuple[str, str, str]]:
    return [edge for edge in view.edge_types if edge[1] != "of"]


class _OfSeedsAlone:
    """Leaves labels and parts to the seeds of a batch: its other rows are there to be read, not to be asked for."""

    def __init__(self, node: str, labels: Sequence[str]) -> None:
        self.node, self.labels = node, labels

    def __call__(self, batch: HeteroData, _: torch.Generator) -> HeteroData:
        store = batch[self.node]
        others = torch.arange(store.num_nodes) >= store.batch_size
        for part in PARTS:
            if f"{part}_mask" in store:
                store[f"{part}_mask"] = store[f"{part}_mask"] & ~others
        for name in self.labels:
            if name in store:
                unknown = float("nan") if store[name].dtype.is_floating_point else -1
                store[name] = store[name].masked_fill(others, unknown)
        for one in batch.stores:
            for name in BOOKKEEPING:
                one.pop(name, None)
        return batch
