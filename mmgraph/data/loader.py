"""Batches of graphs: shuffled, dealt to ranks, of bounded size, made ahead, resumable within an epoch."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch

from mmgraph.data.order import Order, whole
from mmgraph.data.prefetch import ahead
from mmgraph.errors import ArtifactError, ConfigError, DataError

if TYPE_CHECKING:
    from torch_geometric.data import Batch

    Transform = Callable[[Batch, torch.Generator], Batch]


FORMAT = 1  # of the state; another order for the same options is another format


class Samples(Protocol):
    """What a loader reads from, e.g. a :class:`Collection`."""

    @property
    def sizes(self) -> np.ndarray:
        """Nodes and edges of each sample, ``[samples]``."""

    def __len__(self) -> int: ...

    def batch(self, indices: np.ndarray) -> Batch:
        """The batch of some samples, as ``Batch.from_data_list`` makes it."""


class Loader:
    """Reads the samples of a collection in batches, each epoch in another order.

    The order and all chance are functions of ``seed`` and the number of the epoch, never of global state; without
    ``shuffle``, every epoch is the same. Iterating gives the next epoch (:meth:`set_epoch` says which), or, after
    :meth:`load_state_dict`, the rest of the one that was begun. ``len`` is the number of batches of every epoch.

    All ranks get the same number of batches, and together each sample once, also where the number of samples is no
    multiple of anything (see :meth:`Order.steps`): an evaluation loses nothing and counts nothing twice.

    Args:
        collection: Where samples come from: a :class:`Collection`, or anything with ``len``, ``sizes`` and
            ``batch(indices)``.
        indices: Which samples, in the order in which they are read without ``shuffle``; by default all. One that is
            given twice is read twice.
        batch_size: Samples in a batch of this rank, at most.
        shuffle: Read in another order each epoch.
        seed: Of the order and of what the transform draws.
        rank: Which part of each step is read here, below ``world``.
        world: Number of processes that share the samples.
        bucket: Put samples of similar size together: within windows of so many steps they are sorted by nodes +
            edges, and then the steps are shuffled. Larger windows make more even batches out of a less random order.
        most: Nodes + edges of a batch, at most; a batch that would be larger is cut. No sample may be larger. (Where
            ``world`` does not divide the samples, the last batches may hold one sample too many.)
        drop_last: Leave out the samples that do not fill a step of ``batch_size * world`` (another few each epoch).
        idle: Let the batch of some ranks in the last step be empty, where there are fewer samples than ranks; the steps
            are then those that one process has with a ``world`` times larger batch.
        prefetch: Batches that wait ready-made, while one more is made in a thread; 0 makes them when asked.
        transform: Called with each batch and a ``torch.Generator`` that is seeded by seed, epoch, number of the
            batch and rank; returns the batch to give. :class:`ModalityDropout` is one.

    Raises:
        ConfigError: An option out of its range, or one that can't hold for these samples.
        DataError: No samples, or an index that is not one of the collection's.

    Example:
        >>> from torch_geometric.data import Batch, HeteroData
        >>> class Three:
        ...     sizes = np.array([1, 2, 3])
        ...     def __len__(self):
        ...         return 3
        ...     def batch(self, indices):
        ...         return Batch.from_data_list([HeteroData(a={"x": torch.full((int(i) + 1, 1), i)}) for i in indices])
        >>> loader = Loader(Three(), batch_size=2)
        >>> [batch["a"].x.flatten().tolist() for batch in loader]
        [[0, 1, 1], [2, 2, 2]]
        >>> iterator = iter(loader)
        >>> _ = next(iterator)
        >>> later = Loader(Three(), batch_size=2)
        >>> later.load_state_dict(loader.state_dict())
        >>> [batch["a"].x.flatten().tolist() for batch in later]
        [[2, 2, 2]]
    """

    def __init__(
        self,
        collection: Samples,
        indices: Sequence[int] | np.ndarray | None = None,
        *,
        batch_size: int,
        shuffle: bool = False,
        seed: int = 0,
        rank: int = 0,
        world: int = 1,
        bucket: int | None = None,
        most: int | None = None,
        drop_last: bool = False,
        idle: bool = False,
        prefetch: int = 2,
        transform: Transform | None = None,
    ) -> None:
        self.order = Order(
            batch_size=batch_size,
            world=world,
            shuffle=shuffle,
            seed=seed,
            bucket=bucket,
            most=most,
            drop_last=drop_last,
            idle=idle,
        )
        self.rank, self.prefetch = whole("rank", rank, 0), whole("prefetch", prefetch, 0)
        if rank >= world:
            raise ConfigError(f"rank must be below world, got rank {rank} of {world}")
        self.collection, self.transform = collection, transform
        self.indices = _checked(indices, len(collection))
        sized = bucket is not None or most is not None
        self._sizes = np.asarray(collection.sizes)[self.indices] if sized else np.zeros(len(self.indices), np.int64)
        self.order.check(self._sizes, self.indices)
        self._length = self.order.length(self._sizes)
        self._next = self._at = (0, 0)  # (epoch, batch) where the next iteration begins; where the last one stands
        self._plan: tuple[int, list[np.ndarray]] = (-1, [])

    @property
    def epoch(self) -> int:
        """The epoch that the last batch was of; before any, the one that the next will be of."""
        return self._at[0]

    @property
    def batch_sampler(self) -> SimpleNamespace:
        """Where Lightning looks for a ``sampler`` whose ``set_epoch`` it calls at the start of each epoch."""
        return SimpleNamespace(sampler=self)

    def set_epoch(self, epoch: int) -> None:
        """Says which epoch comes next; does nothing if a state of that very epoch was loaded and not yet gone on with.

        Raises:
            ConfigError: The number is negative.
        """
        if self._next[0] != whole("epoch", epoch, 0):
            self._next = (epoch, 0)
        self._at = self._next

    def plan(self, epoch: int | None = None) -> list[np.ndarray]:
        """The sample numbers of each batch of this rank in an epoch, by default in the one that comes next.

        Example:
            >>> from types import SimpleNamespace
            >>> class Five(SimpleNamespace):
            ...     def __len__(self):
            ...         return 5
            >>> [rows.tolist() for rows in Loader(Five(), batch_size=2, rank=1, world=2).plan()]
            [[1], [3]]
        """
        epoch = self._next[0] if epoch is None else epoch
        epoch = epoch if self.order.shuffle else 0
        if self._plan[0] != epoch:
            steps = self.order.steps(self._sizes, epoch, self._length)
            self._plan = (epoch, [self.indices[step[self.rank :: self.order.world]] for step in steps])
        return list(self._plan[1])

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[Batch]:
        """Gives the batches of an epoch, which begins when the first is asked for."""
        epoch, begun = self._next
        self._next, self._at = (epoch + 1, 0), (epoch, begun)
        plan = self.plan(epoch)
        made = (self._made(epoch, number, plan[number]) for number in range(begun, len(plan)))
        with closing(ahead(made, self.prefetch)) as batches:
            for number, batch in enumerate(batches, start=begun + 1):
                self._at = (epoch, number)
                yield batch
        self._at = self._next

    def _made(self, epoch: int, number: int, rows: np.ndarray) -> Batch:
        batch = self.collection.batch(rows)
        if self.transform is None:
            return batch
        chance = (epoch if self.order.shuffle else 0, number, self.rank)
        seed = np.random.SeedSequence(self.order.seed, spawn_key=chance).generate_state(1, np.uint64)
        changed = self.transform(batch, torch.Generator().manual_seed(int(seed[0])))
        if changed is None:
            raise DataError(f"transform must return the batch, got None from {self.transform!r}; add a return to it")
        return changed

    def state_dict(self) -> dict[str, Any]:
        """Where the reading stands: the epoch, the batches of it that were handed out, and what they were made with.

        It holds for all ranks alike. Batches that were made ahead and not asked for do not count.
        """
        epoch, batch = self._at
        return {"epoch": epoch, "batch": batch, "made_with": self._made_with()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Takes up the reading where another loader, made with the same options, left it.

        The next iteration gives the rest of that epoch, bit for bit, and the one after it the next epoch. The
        transform is not part of the state: give the same one.

        Raises:
            ArtifactError: The state is not one of a loader, or of one made with other options or other samples.
        """
        try:
            epoch, batch = (whole(name, state.get(name), 0) for name in ("epoch", "batch"))
        except ConfigError as error:
            raise ArtifactError(f"This is no state of a loader: {error}, in {dict(state)!r}") from None
        made_with = dict(state.get("made_with") or {})
        for name, value in self._made_with().items():
            if (got := made_with.get(name)) != value:
                raise ArtifactError(
                    f"The state is of a loader with {name}={got!r}, this one has {value!r}; "
                    "make it with the same options and samples, or begin the epoch anew with set_epoch"
                )
        if batch > self._length:
            raise ArtifactError(f"An epoch has {self._length} batches, the state says that {batch} were handed out")
        self._next = self._at = (epoch, batch)

    def _made_with(self) -> dict[str, Any]:
        """What the order depends on, in values that a checkpoint can hold."""
        digest = hashlib.sha256(self.indices.tobytes())
        digest.update(self._sizes.astype(np.int64).tobytes())
        return {"format": FORMAT, **asdict(self.order), "samples": len(self.indices), "digest": digest.hexdigest()}


def _checked(indices: Sequence[int] | np.ndarray | None, count: int) -> np.ndarray:
    rows = np.arange(count) if indices is None else np.asarray(indices)
    if rows.size == 0:
        raise DataError("A loader must have at least 1 sample, got none; is the split empty?")
    if rows.ndim != 1 or rows.dtype.kind not in "iu":
        raise DataError(
            f"indices must be sample numbers, [samples] of integers, got {list(rows.shape)} of {rows.dtype}; "
            "turn a mask into numbers with np.flatnonzero"
        )
    rows = rows.astype(np.int64)
    if (wrong := rows[(rows < 0) | (rows >= count)]).size:
        raise DataError(f"indices must be between 0 and {count - 1}, got {wrong[0]}")
    rows.flags.writeable = False
    return rows
