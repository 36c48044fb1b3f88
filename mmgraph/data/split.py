"""Which subjects are for training, for validation and for the one look at the test."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.model_selection import StratifiedKFold, train_test_split

from mmgraph.errors import ConfigError, DataError


@dataclass(frozen=True)
class Split:
    """Row numbers of the three parts; rows in none of them are seen without a label.

    Raises:
        DataError: A part is empty, or a row is in two parts.

    Example:
        >>> Split(train=[0, 1], val=[2], test=[3]).train
        array([0, 1])
    """

    train: np.ndarray
    val: np.ndarray
    test: np.ndarray

    def __post_init__(self) -> None:
        seen: dict[int, str] = {}
        for part in ("train", "val", "test"):
            rows = np.asarray(getattr(self, part), dtype=np.int64)
            object.__setattr__(self, part, rows)
            if rows.ndim != 1 or not len(rows):
                raise DataError(f"Split.{part} must hold at least 1 row, got {rows.tolist()}")
            for row in rows.tolist():
                if row in seen:
                    raise DataError(f"Split must have each row once, got row {row} in {seen[row]} and {part}")
                seen[row] = part

    def fold(self, labels: np.ndarray | None, number: int, folds: int, *, seed: int = 0) -> Split:
        """Deals training and validation out anew, for inner cross-validation; the test part stays.

        Args:
            labels: Class number of each row.
            number: Which fold is for validation, from 0.
            folds: How many there are; 1 leaves the split as it is.
            seed: Of the dealing.

        Raises:
            ConfigError: ``number`` is not below ``folds``.
            DataError: No labels, or a class with fewer rows than folds.

        Example:
            >>> split = Split(train=[0, 1, 2, 3], val=[4, 5], test=[6])
            >>> split.fold(np.array([0, 1, 0, 1, 0, 1, 0]), 0, 3).val
            array([3, 4])
        """
        if not 0 <= number < folds:
            raise ConfigError(f"number must be between 0 and {folds - 1}, got {number}")
        if folds == 1:
            return self
        if labels is None:
            raise DataError("Folds need labels, got None")
        pool = np.sort(np.concatenate([self.train, self.val]))
        if (rare := np.unique(labels[pool], return_counts=True)[1].min()) < folds:
            raise DataError(f"Each class must have at least {folds} rows, one a fold, got {rare}")
        dealer = StratifiedKFold(folds, shuffle=True, random_state=seed)
        train, val = list(dealer.split(pool, labels[pool]))[number]
        return Split(pool[train], pool[val], self.test)

    def check(self, rows: int) -> None:
        """Checks that no row is outside a table.

        Raises:
            DataError: A row is negative, or not below ``rows``.
        """
        for part in ("train", "val", "test"):
            values = getattr(self, part)
            wrong = values[(values < 0) | (values >= rows)]
            if len(wrong):
                raise DataError(f"Split.{part} must be rows between 0 and {rows - 1}, got {wrong[0]}")


def stratified_split(
    labels: Sequence[int] | np.ndarray | None,
    *,
    test: float = 0.3,
    val: float = 0.2,
    seed: int = 0,
) -> Split:
    """Splits the labelled rows so that each part has about the same share of each class.

    Args:
        labels: Class number of each row; rows of -1 are in no part.
        test: Share of the labelled rows for the test.
        val: Share of the remaining rows for validation.
        seed: Each seed gives another split, always the same one.

    Raises:
        DataError: No labels, one class only, or a class too small to be in each part.
        ConfigError: A share that is not between 0 and 1.

    Example:
        >>> split = stratified_split([0, 1] * 20, test=0.25, val=0.2, seed=0)
        >>> len(split.train), len(split.val), len(split.test)
        (24, 6, 10)
    """
    if labels is None:
        raise DataError("A stratified split needs labels, got None")
    for name, share in (("test", test), ("val", val)):
        if not 0 < share < 1:
            raise ConfigError(f"{name} must be a share between 0 and 1, got {share}")
    labels = np.asarray(labels)
    rows = np.flatnonzero(labels >= 0)
    classes, counts = np.unique(labels[rows], return_counts=True)
    if len(classes) < 2:
        raise DataError(f"Labels must hold at least 2 classes, got {classes.tolist()} in {len(rows)} labelled rows")
    rare = counts.argmin()
    if counts[rare] < 3:
        raise DataError(
            f"Each class must have at least 3 rows, one a part, got {counts[rare]} of class {classes[rare]}; "
            "merge it with another class, or leave it out"
        )
    try:
        rest, test_rows = train_test_split(rows, test_size=test, stratify=labels[rows], random_state=seed)
        train, val_rows = train_test_split(rest, test_size=val, stratify=labels[rest], random_state=seed)
    except ValueError as error:
        raise DataError(
            f"{len(rows)} labelled rows of {len(classes)} classes can't be split with test={test}, val={val}: {error}"
        ) from None
    split = Split(np.sort(train), np.sort(val_rows), np.sort(test_rows))
    for part in ("train", "val", "test"):
        if missing := sorted(set(classes.tolist()) - set(labels[getattr(split, part)].tolist())):
            raise DataError(
                f"Each class must be in each part, got class {missing[0]} ({(labels == missing[0]).sum()} rows) with "
                f"none in {part}; give {part} a larger share, merge the class with another, or leave it out"
            )
    return split
