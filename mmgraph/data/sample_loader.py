"""Batches around nodes or edges of one large graph: shuffled, dealt to ranks, made ahead, resumable."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from mmgraph.data.loader import Loader
from mmgraph.data.sampler import NeighbourSampler
from mmgraph.data.sampling.seeds import LinkDraws, LinkSeeds, NodeDraws, NodeSeeds
from mmgraph.errors import DataError

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData

    Transform = Callable[[HeteroData, torch.Generator], HeteroData]


class NeighbourLoader(Loader):
    """Reads one large graph in batches around its seeds: a `Loader` whose samples are the surroundings of each seed.

    What is drawn is a function of ``seed``, the epoch, the number of the batch and the rank: a run that was resumed
    gives the batches of one that was not interrupted, whatever ``prefetch`` is. Without ``shuffle``, every epoch is the
    same, the drawn neighbours included.

    Args:
        sampler: Draws the neighbours.
        seeds: What to draw them for.
        batch_size: Seeds (or groups of them) in a batch of this rank, at most.
        shuffle: Read in another order each epoch.
        seed: Of the order and of all draws.
        rank: Which part of each step is read here, below ``world``.
        world: Number of processes that share the seeds.
        drop_last: Leave out the seeds that do not fill a step of ``batch_size * world``.
        idle: Let the batch of some ranks in the last step be empty, see :class:`Loader`.
        prefetch: Batches that wait ready-made, while one more is made in a thread; 0 makes them when asked.
        groups: ``[seeds]`` of integers: seeds of equal number are always in one batch, and count as one. By default
            each is on its own.
        transform: Called with each batch and a seeded ``torch.Generator``; returns the batch to give.

    Raises:
        ConfigError: An option out of its range, or seeds with times for a sampler without (or the reverse).
        DataError: No seeds, seeds that are not in the graph, or groups that are not one integer a seed.

    Example:
        >>> from torch_geometric.data import HeteroData
        >>> graph = HeteroData()
        >>> graph["paper"].x = torch.arange(4.0)[:, None]
        >>> graph["paper", "cites", "paper"].edge_index = torch.tensor([[1, 2, 3], [0, 1, 2]])
        >>> sampler = NeighbourSampler(graph, fan_out=[5])
        >>> for batch in NeighbourLoader(sampler, NodeSeeds("paper"), batch_size=2):
        ...     batch["paper"].n_id.tolist(), batch["paper"].batch_size
        ([0, 1, 2], 2)
        ([2, 3], 2)
    """

    def __init__(
        self,
        sampler: NeighbourSampler,
        seeds: NodeSeeds | LinkSeeds,
        *,
        batch_size: int,
        shuffle: bool = False,
        seed: int = 0,
        rank: int = 0,
        world: int = 1,
        drop_last: bool = False,
        idle: bool = False,
        prefetch: int = 2,
        groups: Tensor | None = None,
        transform: Transform | None = None,
    ) -> None:
        self.draws = seeds.on(sampler)
        self._groups = None if groups is None else _Groups(groups, len(self.draws))
        super().__init__(
            _Numbers(len(self.draws) if self._groups is None else len(self._groups)),
            batch_size=batch_size,
            shuffle=shuffle,
            seed=seed,
            rank=rank,
            world=world,
            drop_last=drop_last,
            idle=idle,
            prefetch=prefetch,
            transform=_Drawn(self.draws, self._groups, transform),
        )

    def _made_with(self) -> dict[str, Any]:
        """What the batches depend on besides the order."""
        digest = hashlib.sha256()
        for part in [*self.draws.parts, *([] if self._groups is None else self._groups.parts)]:
            digest.update(np.ascontiguousarray(part).tobytes())
        sampler = self.draws.sampler
        options = {"fan_out": repr(sampler.fan_out), "replace": sampler.replace, "disjoint": sampler.disjoint}
        return {**super()._made_with(), **options, "time": repr(sampler.time), "seeds": digest.hexdigest()}


class _Numbers:
    """The seeds as samples: what is read of them is their number, and the rest is drawn."""

    def __init__(self, count: int) -> None:
        self._count = count

    def __len__(self) -> int:
        return self._count

    @property
    def sizes(self) -> np.ndarray:
        return np.ones(self._count, dtype=np.int64)

    def batch(self, indices: np.ndarray) -> Any:
        return indices


class _Groups:
    """Seeds that go together: the n-th group is the n-th sample."""

    def __init__(self, groups: Tensor, seeds: int) -> None:
        if groups.shape != (seeds,) or groups.dtype.is_floating_point:
            raise DataError(f"groups must be one integer a seed, [{seeds}], got {list(groups.shape)} of {groups.dtype}")
        number = np.unique(groups.cpu().numpy(), return_inverse=True)[1]  # [seeds]
        self._seeds = np.argsort(number, kind="stable")
        self._stop = np.bincount(number).cumsum()

    def __len__(self) -> int:
        return len(self._stop)

    @property
    def parts(self) -> list[np.ndarray]:
        """All that says which groups these are."""
        return [self._seeds, self._stop]

    def seeds(self, numbers: np.ndarray) -> np.ndarray:
        """The numbers of the seeds of some groups, group by group."""
        start = np.concatenate([[0], self._stop])
        found = [self._seeds[start[number] : self._stop[number]] for number in numbers]
        return np.concatenate([self._seeds[:0], *found])


class _Drawn:
    """Turns numbers of seeds, or of groups of them, into the batch around them."""

    def __init__(self, draws: NodeDraws | LinkDraws, groups: _Groups | None, transform: Transform | None) -> None:
        self._draws, self._groups = draws, groups
        self._transform = transform

    def __call__(self, numbers: Any, generator: torch.Generator) -> Any:
        numbers = numbers if self._groups is None else self._groups.seeds(numbers)
        batch = self._draws.draw(numbers, generator.initial_seed())
        return batch if self._transform is None else self._transform(batch, generator)
