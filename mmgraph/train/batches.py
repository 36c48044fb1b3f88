"""The splits of a collection as the batches of a Lightning fit, which goes on in the middle of an epoch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import lightning.pytorch as pl

from mmgraph.data import Loader
from mmgraph.data.order import Order
from mmgraph.errors import DataError

if TYPE_CHECKING:
    from mmgraph.data import Collection
    from mmgraph.data.loader import Transform


class Batches(pl.LightningDataModule):
    """Gives the ``train``, ``val`` and ``test`` splits of a collection to a Lightning trainer.

    Training is shuffled and transformed; validation and testing read their split in its order, as it is, each sample
    once on whichever rank. Rank and number of ranks are the trainer's; Lightning's own sampler is never put in between
    (``use_distributed_sampler`` may be on or off). A checkpoint holds where the training loader stands, also in the
    middle of an epoch: a fit that goes on from it reads exactly the batches that it had not read.

    Args:
        collection: What to read, with its splits. Without a ``val`` split, nothing is validated.
        batch_size: Samples in a batch of one rank, at most.
        seed: Of the order and of what the transform draws.
        bucket: Steps whose samples are sorted by size in training; see :class:`mmgraph.data.Loader`.
        most: Nodes + edges of a batch, at most, in all splits.
        drop_last: Leave out the training samples that do not fill a step.
        prefetch: Batches that wait ready-made.
        transform: Called with each training batch and a generator, e.g. :class:`mmgraph.data.ModalityDropout`.

    Raises:
        ConfigError: An option out of its range, or one that can't hold for a split; the latter is said when it is read.
        DataError: There is no such split.

    Example:
        >>> from mmgraph.data import Collection, CollectionWriter
        >>> from mmgraph.testing import fake_graph
        >>> graph, schema = fake_graph(4)
        >>> with CollectionWriter(getfixture("tmp_path") / "c", schema) as writer:
        ...     writer.extend([graph] * 6, split="train")
        ...     writer.extend([graph] * 2, split="test")
        >>> batches = Batches(Collection(getfixture("tmp_path") / "c"), batch_size=4)
        >>> [batch.num_graphs for batch in batches.train_dataloader()], batches.val_dataloader()
        ([4, 2], [])
    """

    def __init__(
        self,
        collection: Collection,
        *,
        batch_size: int,
        seed: int = 0,
        bucket: int | None = None,
        most: int | None = None,
        drop_last: bool = False,
        prefetch: int = 2,
        transform: Transform | None = None,
    ) -> None:
        super().__init__()
        Order(batch_size=batch_size, seed=seed, bucket=bucket, most=most)  # refuses what is out of range
        self.collection, self.batch_size, self.seed = collection, batch_size, seed
        self.bucket, self.most, self.drop_last = bucket, most, drop_last
        self.prefetch, self.transform = prefetch, transform

    def train_dataloader(self) -> Loader:
        """The training split, shuffled (unless the trainer is told to overfit) and transformed."""
        return self._loader(
            "train",
            shuffle=self.trainer is None or self.trainer.overfit_batches == 0,
            bucket=self.bucket,
            drop_last=self.drop_last,
            transform=self.transform,
        )

    def val_dataloader(self) -> Loader | list[Loader]:
        """The validation split; an empty list, which Lightning takes for no validation, if there is none."""
        return self._loader("val") if "val" in self.collection.splits else []

    def test_dataloader(self) -> Loader:
        """The test split."""
        return self._loader("test")

    def _loader(
        self,
        split: str,
        *,
        shuffle: bool = False,
        bucket: int | None = None,
        drop_last: bool = False,
        transform: Transform | None = None,
    ) -> Loader:
        if split not in (splits := self.collection.splits):
            raise DataError(
                f"The collection must have a split {split!r}, got {sorted(splits)}; "
                f"name it when samples are written, with split={split!r}"
            )
        return Loader(
            self.collection,
            splits[split],
            batch_size=self.batch_size,
            shuffle=shuffle,
            seed=self.seed,
            rank=self.trainer.global_rank if self.trainer is not None else 0,
            world=self.trainer.world_size if self.trainer is not None else 1,
            bucket=bucket,
            most=self.most,
            drop_last=drop_last,
            prefetch=self.prefetch,
            transform=transform,
        )
