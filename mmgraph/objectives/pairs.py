"""What contrastive objectives are made of: embedded anchors, what ties them together, and a learned temperature."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmgraph.errors import ConfigError, DataError
from mmgraph.functional.distributed import gather_edges, gather_rows
from mmgraph.schema import Schema
from mmgraph.typing import EdgeType, Spaces

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData

Views = TypeVar("Views")
MOST = 100.0  # the largest scale that is learned (Radford et al. 2021, section 2.5)


class Projects(Protocol):
    """What is asked of a model, as :class:`mmgraph.aligner.Aligner` has it."""

    def project(self, graph: HeteroData) -> Spaces: ...  # noqa: D102 (a protocol's signature says it)


class Embedded(NamedTuple):
    """One view of the anchors of all processes."""

    states: Tensor  # [anchors, channels], of unit length
    there: Tensor  # [anchors] of bool: is present, and counts


def anchor_of(schema: Schema, who: str) -> str:
    """The anchor of a schema.

    Raises:
        ConfigError: There is none.
    """
    if schema.anchor is None:
        raise ConfigError(f"{who} needs a schema with an anchor, got none; set Schema(anchor=...)")
    return schema.anchor


def projected(model: nn.Module, graph: HeteroData) -> Spaces:
    """What a model's views say, in each of its spaces.

    Raises:
        ConfigError: The model gives no views.
    """
    if not hasattr(model, "project"):
        raise ConfigError(
            f"The model must give its views by project(graph), as Aligner does, got {type(model).__name__}"
        )
    return cast("Projects", model).project(graph)


def embedded(model: nn.Module, graph: HeteroData, anchor: str) -> dict[str, dict[str, Embedded]]:
    """Each view in each space; where the graph says which anchors are for training, they alone are there."""
    counts = graph[anchor].get("train_mask")
    found: dict[str, dict[str, Embedded]] = {}
    for space, views in projected(model, graph).items():
        found[space] = {}
        for view, (states, present) in views.items():
            there = present if counts is None else present & counts
            found[space][view] = Embedded(gather_rows(F.normalize(states, dim=1)), gather_rows(there))
    return found


def space_of(spaces: Mapping[str, Views], name: str | None) -> Views:
    """The views of a space; by default of the last one.

    Raises:
        ConfigError: There is no such space.
    """
    if name is None:
        name = next(reversed(list(spaces)))
    if name not in spaces:
        raise ConfigError(f"space must be one of the model's, {list(spaces)}, got {name!r}")
    return spaces[name]


def check_views(views: Collection[str], asked: Collection[str]) -> None:
    """Checks that views are there.

    Raises:
        ConfigError: One is not, or none is asked for.
    """
    if odd := [name for name in asked if name not in views]:
        raise ConfigError(f"Views must be among the model's in that space, {list(views)}, got {odd[0]!r}")
    if not asked:
        raise ConfigError(f"The model must have at least 2 views to make a pair of, got {list(views)}")


def places(mask: Tensor) -> Tensor:
    """Which of the chosen each row is, ``[rows]``, -1 for those that are not.

    Example:
        >>> places(torch.tensor([False, True, True])).tolist()
        [-1, 0, 1]
    """
    return (mask.cumsum(0) - 1).masked_fill(~mask, -1)


class Ties:
    """What ties anchors together: a relation between them, in either direction, or a class that they share.

    Args:
        schema: What the graph means.
        what: An edge type between anchors, or the name of a target of the anchor with classes.

    Raises:
        ConfigError: It is neither.
        DataError: When asked, the graph has no labels of the target.
    """

    def __init__(self, schema: Schema, what: EdgeType | str) -> None:
        anchor = anchor_of(schema, "Ties")
        targets = [name for name, target in schema.targets.items() if target.node == anchor and target.classes]
        if what not in targets and what not in schema.relations(anchor):
            raise ConfigError(
                f"What ties anchors together must be one of the relations {list(schema.relations(anchor))} "
                f"or one of the targets {targets}, got {what!r}"
            )
        self.anchor, self.what = anchor, what
        self.attribute = schema.targets[what].attribute if isinstance(what, str) else None

    def edges(self, graph: HeteroData, queries: Tensor, keys: Tensor) -> Tensor:
        """The tied pairs ``[2, pairs]``, where two masks ``[anchors]`` say which anchors are queries and keys."""
        if self.attribute is not None:
            y = self._labels(graph)
            return ((y[queries][:, None] == y[keys]) & (y[queries] >= 0)[:, None]).nonzero().T
        store = graph[self.anchor]
        index = gather_edges(
            graph[self.what].edge_index, store.num_nodes, names=store.get("n_id"), counts=store.get("train_mask")
        )
        source, target = index[:, index[0] != index[1]]
        pairs = torch.stack(
            [
                torch.cat([places(queries)[source], places(queries)[target]]),
                torch.cat([places(keys)[target], places(keys)[source]]),
            ]
        )
        return pairs[:, (pairs >= 0).all(dim=0)]

    def _labels(self, graph: HeteroData) -> Tensor:
        y = graph[self.anchor].get(self.attribute)
        if y is None:
            raise DataError(
                f"The graph must have the labels {self.attribute!r} of {self.what!r} on {self.anchor!r}, got "
                f"{sorted(graph[self.anchor].keys())}; take a task that shows them in training"
            )
        return gather_rows(y)


class Scale(nn.Module):
    r"""What scores are multiplied by: :math:`1 / \tau`, learned as a logarithm and kept at 100 or below.

    (Radford et al. 2021, arXiv:2103.00020, section 2.5.)

    Args:
        temperature: :math:`\tau` at the start.
        learned: Whether it is trained.

    Raises:
        ConfigError: A temperature of 0 or below, or below .01 if it is learned.

    Example:
        >>> Scale(0.1)()
        tensor(10.)
    """

    def __init__(self, temperature: float, *, learned: bool = False) -> None:
        super().__init__()
        if not temperature > 0 or (learned and temperature * MOST < 1):
            raise ConfigError(f"temperature must be above 0, and at least {1 / MOST} if learned, got {temperature}")
        log = torch.tensor(-math.log(temperature))
        if learned:
            self.log = nn.Parameter(log)
        else:
            self.register_buffer("log", log)

    def forward(self) -> Tensor:
        """Gives the scale, a scalar."""
        if self.training and isinstance(self.log, nn.Parameter):
            with torch.no_grad():
                self.log.clamp_(max=math.log(MOST))
        return self.log.exp()
