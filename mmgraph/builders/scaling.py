"""Scaling and selection of a modality's columns, fitted on some subjects and kept for the ones to come."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import norm
from sklearn.feature_selection import f_classif

from mmgraph.errors import ConfigError, DataError

MOST_DEVIATIONS = 2.5  # where ranks are cut off


@dataclass(frozen=True)
class Scaling:
    r"""Which columns of a modality are used, and how each is scaled.

    ``standard``: :math:`(x - \mu) / \sigma`. ``rank``: each value becomes the normal quantile of its rank among the
    fitted rows, :math:`\Phi^{-1}(F(x))`, within ±2.5, and then as before: robust to outliers and skew.

    Args:
        columns: ``[kept]``: numbers of the columns that are used.
        mean: ``[kept]``.
        scale: ``[kept]``.
        channels: How many columns the modality has before selection.
        sorted: ``[rows, kept]``: the fitted values of each column in order, for ``rank``; no rows for ``standard``.
    """

    columns: np.ndarray
    mean: np.ndarray
    scale: np.ndarray
    channels: int
    sorted: np.ndarray

    @classmethod
    def fit(
        cls,
        name: str,
        x: np.ndarray,
        *,
        labelled: np.ndarray,
        labels: np.ndarray | None,
        select: int | None,
        drop_constant: bool,
        by_rank: bool = False,
        names: Sequence[str] = (),
    ) -> Scaling:
        """Fits on the rows that the regime allows.

        Args:
            name: The modality, for messages.
            x: ``[rows, channels]``, the rows whose features may be seen.
            labelled: ``[labelled, channels]``, the rows whose labels may be seen too.
            labels: ``[labelled]``.
            select: How many columns to keep, by the F statistic of an analysis of variance; ``None`` for all.
            drop_constant: Leave constant columns out instead of refusing them.
            by_rank: Scale by rank, not by mean and deviation alone.
            names: Names of the columns, for messages.

        Raises:
            DataError: Constant columns (unless they may be dropped), or nothing left.
            ConfigError: ``select`` without labels, or beyond the columns there are.
        """
        if not len(x):
            raise DataError(f"Modality {name!r} must be present in at least 1 subject of the fitted cohort, got none")
        constant = np.ptp(x, axis=0) == 0
        if constant.any() and (not drop_constant or constant.all()):
            shown = [names[c] if len(names) else int(c) for c in np.flatnonzero(constant)[:5]]
            raise DataError(
                f"Modality {name!r} must vary among the {len(x)} fitted subjects, got {constant.sum()} constant "
                f"columns of {x.shape[1]}, e.g. {shown}; drop them, or set drop_constant=True"
            )
        columns = np.flatnonzero(~constant)
        if select is not None:
            columns = columns[_best(name, labelled[:, columns], labels, select)]
        kept = x[:, columns].astype(np.float64)
        ordered = np.sort(kept, axis=0) if by_rank else kept[:0]
        ranked = _normal_ranks(kept, ordered)
        return cls(columns, ranked.mean(axis=0), ranked.std(axis=0), x.shape[1], ordered)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Scales rows ``[rows, channels]`` to ``[rows, kept]``."""
        ranked = _normal_ranks(x[:, self.columns].astype(np.float64), self.sorted)
        return ((ranked - self.mean) / self.scale).astype(np.float32)


def _normal_ranks(x: np.ndarray, ordered: np.ndarray) -> np.ndarray:
    """Normal quantiles of the ranks of ``x [rows, kept]`` among fitted values, equal ones at their middle rank."""
    if not len(ordered):
        return x
    ranks = np.empty_like(x)
    for column in range(x.shape[1]):
        low = np.searchsorted(ordered[:, column], x[:, column], side="left")
        high = np.searchsorted(ordered[:, column], x[:, column], side="right")
        ranks[:, column] = (low + high) / (2 * len(ordered))  # share of the fitted values below, ties half
    edge = norm.cdf(MOST_DEVIATIONS)
    quantiles: np.ndarray = norm.ppf(np.clip(ranks, 1 - edge, edge))
    return quantiles


def _best(name: str, x: np.ndarray, labels: np.ndarray | None, select: int) -> np.ndarray:
    if labels is None or len(np.unique(labels)) < 2:
        raise ConfigError(f"select={select} needs training labels of at least 2 classes for modality {name!r}")
    if not 1 <= select <= x.shape[1]:
        raise ConfigError(f"select must be between 1 and the {x.shape[1]} columns of {name!r}, got {select}")
    varies = np.ptp(x, axis=0) > 0
    scores = np.full(x.shape[1], -np.inf)
    with np.errstate(divide="ignore"):  # a column that tells the classes apart exactly has infinite F
        scores[varies] = f_classif(x[:, varies].astype(np.float64), labels)[0]
    return np.sort(np.argsort(-scores, kind="stable")[:select])
