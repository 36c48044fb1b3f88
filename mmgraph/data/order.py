"""In which order samples are read: shuffled, sorted by size within windows, cut into steps, dealt to ranks."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from mmgraph.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Order:
    """The order of the samples of an epoch: a pure function of the options, the sizes and the epoch.

    A *step* is what all ranks read at the same time: up to ``batch_size * world`` samples. They are dealt like
    cards: ``step[rank::world]`` is the batch of a rank. So the batches of all ranks together are the batch that one
    process with ``world`` times the batch size reads, and each rank's is of about the same size.

    Args:
        batch_size: Samples in a batch of one rank, at most.
        world: Number of ranks.
        shuffle: Draw another order each epoch; without it, every epoch is the same.
        seed: Of the order.
        bucket: Sort by size within windows of so many steps, then shuffle the steps; ``None`` sorts nothing.
        most: Size of a batch, at most; a step is cut where a rank's batch would be larger.
        drop_last: Leave out the samples that do not fill a step.
        idle: Whether the last step may have no sample for some ranks, so that the steps are those of one process;
            without it, every rank has at least one in every step.

    Raises:
        ConfigError: An option out of its range.

    Example:
        >>> order = Order(batch_size=2, world=2)
        >>> [step.tolist() for step in order.steps(np.ones(7), epoch=0)]
        [[0, 1, 2, 3], [4, 5, 6]]
        >>> [step.tolist() for step in Order(batch_size=4, bucket=1, most=9).steps(np.array([1, 7, 2, 6]), epoch=0)]
        [[0, 2, 3], [1]]
    """

    batch_size: int
    world: int = 1
    shuffle: bool = False
    seed: int = 0
    bucket: int | None = None
    most: int | None = None
    drop_last: bool = False
    idle: bool = False

    def __post_init__(self) -> None:
        for name, least in (("batch_size", 1), ("world", 1), ("seed", 0), ("bucket", 1), ("most", 1)):
            if (value := getattr(self, name)) is not None or name not in ("bucket", "most"):
                object.__setattr__(self, name, whole(name, value, least))

    def check(self, sizes: np.ndarray, numbers: np.ndarray) -> None:
        """Checks that samples of these sizes can be dealt.

        Args:
            sizes: Nodes + edges of each sample, ``[samples]``.
            numbers: What to call each sample in a message, ``[samples]``.

        Raises:
            ConfigError: There are fewer samples than ranks, none would be left, or one is larger than ``most``.
        """
        count, full = len(sizes), self.batch_size * self.world
        if count < self.world and not self.idle:
            raise ConfigError(f"There must be at least one sample for each of {self.world} ranks, got {count} samples")
        if self.drop_last and count < full:
            raise ConfigError(
                f"drop_last needs at least one full step of {self.world} × {self.batch_size} samples, got {count} "
                "samples: nothing would be left; set drop_last=False, or a smaller batch_size"
            )
        if self.most is not None and sizes[largest := int(sizes.argmax())] > self.most:
            raise ConfigError(
                f"most must be at least the size of each sample, got {self.most}, but sample {numbers[largest]} has "
                f"{sizes[largest]} nodes and edges; raise most, or leave the sample out"
            )

    def length(self, sizes: np.ndarray) -> int:
        """How many steps every epoch has.

        With ``most`` and ``shuffle``, one order makes more steps than another. The largest number of a few trials is
        then that of all epochs: an order that makes more is drawn anew, and of one that makes fewer steps are halved.
        """
        trials = 3 if self.shuffle and self.most is not None else 1
        return max(len(self._cut(sizes, self._bits(trial, 0))) for trial in range(trials))

    def steps(self, sizes: np.ndarray, epoch: int, length: int | None = None) -> list[np.ndarray]:
        """Gives the sample numbers of each step of an epoch.

        Every sample is in one step (with ``drop_last``, fewer than fill a step are in none), and every step has a
        sample for each rank. Where the number of samples is no multiple of ``world``, the batches of two ranks differ
        by one sample in one step. If the last step would have none for some rank, it gets some of the step before, or
        its samples join a step that has room; only if none has (``batch_size=1``, or a very tight ``most``), they join
        one that has not, whose batches then hold one sample more than was asked. With ``idle`` it is left as it is.

        Only the raw bits of numpy's PCG64 are used, whose stream is the same in every version of numpy.

        Args:
            sizes: Nodes + edges of each sample, ``[samples]``.
            epoch: Which order.
            length: What :meth:`length` says, if it is known.
        """
        length = self.length(sizes) if length is None else length
        bits = self._bits(epoch if self.shuffle else 0)
        while len(steps := self._cut(sizes, bits)) > length:
            pass
        while len(steps) < length:
            longest = max(range(len(steps)), key=lambda number: len(steps[number]))
            half = len(steps[longest]) // self.world // 2 * self.world
            steps[longest : longest + 1] = [steps[longest][:half], steps[longest][half:]]
        if self.shuffle and self.bucket is not None:
            steps = [steps[number] for number in _permutation(bits, len(steps))]
        return steps

    def _bits(self, *key: int) -> np.random.PCG64:
        return np.random.PCG64(np.random.SeedSequence(self.seed, spawn_key=key))

    def _cut(self, sizes: np.ndarray, bits: np.random.PCG64) -> list[np.ndarray]:
        """The steps of one order, in its order."""
        count, full = len(sizes), self.batch_size * self.world
        order = _permutation(bits, count) if self.shuffle else np.arange(count)
        if self.drop_last:
            order = order[: count // full * full]
        if self.bucket is not None:
            order = self._sorted(order, sizes)
        cuts = self._cuts(sizes[order])
        steps = [order[start * self.world : stop * self.world] for start, stop in pairwise(cuts)]
        return steps if self.idle or len(steps[-1]) >= self.world else self._joined(steps[:-1], steps[-1], sizes)

    def _sorted(self, order: np.ndarray, sizes: np.ndarray) -> np.ndarray:
        """Sorts each window, every other one downwards, so that neighbours across a border are of similar size."""
        window = (self.bucket or 1) * self.batch_size * self.world
        parts = []
        for number, start in enumerate(range(0, len(order), window)):
            part = order[start : start + window]
            part = part[np.argsort(sizes[part], kind="stable")]
            parts.append(part if number % 2 == 0 else part[::-1])
        order = np.concatenate(parts)
        dealt = order[: len(order) // self.world * self.world].reshape(-1, self.world)  # a row has one for each rank
        dealt[1::2] = dealt[1::2, ::-1].copy()  # there and back again: no rank always gets the larger
        return order

    def _cuts(self, sizes: np.ndarray) -> list[int]:
        """The rows at which steps begin, and their end; a row has one sample for each rank, but perhaps the last."""
        rows = -(-len(sizes) // self.world)
        if self.most is None:
            return [*range(0, rows, self.batch_size), rows]
        load = np.zeros((rows + 1, self.world), dtype=np.int64)  # what each sample adds to the batch of its rank
        load[1:].reshape(-1)[: len(sizes)] = sizes
        total = load.cumsum(axis=0)  # before each row, and in all
        cuts = [0]
        while (start := cuts[-1]) < rows:
            batches = total[start + 1 : start + 1 + self.batch_size] - total[start]  # [≤ batch_size, world], rising
            cuts.append(start + int((batches.max(axis=1) <= self.most).sum()))
        return cuts

    def _joined(self, steps: list[np.ndarray], rest: np.ndarray, sizes: np.ndarray) -> list[np.ndarray]:
        """The steps with the samples of a last one that has fewer than ranks: ``rest[rank]`` goes to ``rank``."""
        held = [step.reshape(-1, self.world) for step in steps]
        most = np.inf if self.most is None else self.most

        def over(rows: np.ndarray) -> float:
            return max(0, (sizes[rows[:, : len(rest)]].sum(axis=0) + sizes[rest]).max() - most)

        if len(held[-1]) > 1 and not over(held[-1][-1:]):
            return [*steps[:-1], steps[-1][: -self.world], np.concatenate([held[-1][-1], rest])]
        best = min(range(len(held)), key=lambda one: (over(held[one]), len(held[one]) >= self.batch_size, -one))
        return [*steps[:best], np.concatenate([steps[best], rest]), *steps[best + 1 :]]


def _permutation(bits: np.random.PCG64, count: int) -> np.ndarray:
    return np.argsort(bits.random_raw(count), kind="stable")


def whole(name: str, value: object, least: int) -> int:
    """Returns an option that must be a whole number.

    Raises:
        ConfigError: It is none, or too small.
    """
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise ConfigError(f"{name} must be a whole number of at least {least}, got {value!r}")
    return int(value)
