"""From what scikit-learn passes around to one matrix a modality."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from scipy.sparse import issparse
from sklearn.base import BaseEstimator
from sklearn.utils import check_array, check_consistent_length
from sklearn.utils.validation import check_is_fitted, validate_data

from mmgraph.data.records import Records
from mmgraph.errors import ConfigError, DataError

ALL = "table"  # the modality of a table that nobody divides
LEAST = 3  # rows: two to join, one to stop early by

Columns: TypeAlias = "slice | Sequence[int] | Sequence[str]"
Matrices: TypeAlias = dict[str, np.ndarray]


def fit_columns(estimator: BaseEstimator, X: Any, modalities: Mapping[str, Columns] | None) -> Matrices:
    """One matrix ``[rows, channels]`` a modality of what is fitted on; the estimator remembers how many columns.

    Raises:
        ConfigError: Columns that are not there, or are named both by the mapping that X is and by ``modalities``.
        ValueError: X is no table of numbers, is infinite somewhere, or has fewer than 3 rows.
    """
    if _divided(X):
        if modalities is not None:
            raise ConfigError(
                f"modalities divide the columns of one table, but X is a mapping of {sorted(X)}; leave modalities out"
            )
        found = _mapping(X, least=LEAST)
        estimator.modalities_ = {name: matrix.shape[1] for name, matrix in found.items()}
        estimator.n_features_in_ = sum(estimator.modalities_.values())
        for left in ("columns_", "feature_names_in_"):  # by an earlier fit on a table
            if hasattr(estimator, left):
                delattr(estimator, left)
        return found
    table = validate_data(estimator, X, dtype=np.float64, ensure_all_finite="allow-nan", ensure_min_samples=LEAST)
    estimator.columns_ = {
        name: _numbers(name, columns, table.shape[1], getattr(estimator, "feature_names_in_", None))
        for name, columns in (modalities or {ALL: slice(None)}).items()
    }
    estimator.modalities_ = {name: len(columns) for name, columns in estimator.columns_.items()}
    return {name: table[:, columns] for name, columns in estimator.columns_.items()}


def new_columns(estimator: BaseEstimator, X: Any) -> Matrices:
    """The same of new rows.

    Raises:
        DataError: Other modalities or widths than those that were fitted on.
        ValueError: X is no table like the one that was fitted on.
    """
    check_is_fitted(estimator)
    if not _divided(X):
        if not hasattr(estimator, "columns_"):
            raise DataError(
                f"X must be a mapping of {sorted(estimator.modalities_)}, as in fit, got {type(X).__name__}"
            )
        table = validate_data(estimator, X, dtype=np.float64, ensure_all_finite="allow-nan", reset=False)
        return {name: table[:, columns] for name, columns in estimator.columns_.items()}
    if set(X) != set(estimator.modalities_):
        raise DataError(
            f"X must have the modalities {sorted(estimator.modalities_)}, as in fit, got {sorted(X)}; "
            "a modality that no row has is a matrix of NaN"
        )
    found = _mapping(X, least=1)
    for name, channels in estimator.modalities_.items():
        if found[name].shape[1] != channels:
            raise DataError(f"X[{name!r}] must have {channels} columns, as in fit, got {found[name].shape[1]}")
    return {name: found[name] for name in estimator.modalities_}


def rows_of(matrices: Matrices, rows: Sequence[int] | np.ndarray) -> Matrices:
    """Some rows of every matrix."""
    return {name: matrix[rows] for name, matrix in matrices.items()}


def means_of(matrices: Matrices) -> dict[str, np.ndarray]:
    """The mean of each column over the rows where it is known, 0 where it is nowhere.

    Example:
        >>> means_of({"blood": np.array([[1.0, np.nan], [2.0, np.nan]])})
        {'blood': array([1.5, 0. ])}
    """
    known = {name: ~np.isnan(matrix) for name, matrix in matrices.items()}
    return {
        name: np.where(known[name], matrix, 0.0).sum(axis=0) / np.maximum(known[name].sum(axis=0), 1)
        for name, matrix in matrices.items()
    }


def filled(matrices: Matrices, means: Mapping[str, np.ndarray]) -> Matrices:
    """The matrices with single unknown values filled; a row of which nothing is known stays so: it lacks the modality.

    Example:
        >>> filled({"blood": np.array([[1.0, np.nan], [np.nan, np.nan]])}, {"blood": np.array([5.0, 6.0])})["blood"]
        array([[ 1.,  6.],
               [nan, nan]])
    """
    found = {}
    for name, matrix in matrices.items():
        unknown = np.isnan(matrix)
        found[name] = np.where(unknown & ~unknown.all(axis=1, keepdims=True), means[name], matrix)
    return found


def as_records(matrices: Matrices, prefix: str) -> Records:
    """The rows as subjects, named by a prefix and their number."""
    rows = len(next(iter(matrices.values())))
    return Records(ids=[f"{prefix} {row}" for row in range(rows)], modalities=matrices)


def _divided(X: Any) -> bool:
    return isinstance(X, Mapping) and not issparse(X)  # one of scipy's sparse matrices is a dictionary


def _mapping(X: Mapping[str, Any], *, least: int) -> Matrices:
    if not X:
        raise DataError("X must hold at least 1 modality, got an empty mapping")
    found = {
        str(name): check_array(
            value, dtype=np.float64, ensure_all_finite="allow-nan", ensure_min_samples=least, input_name=f"X[{name!r}]"
        )
        for name, value in X.items()
    }
    check_consistent_length(*found.values())
    return found


def _numbers(name: str, columns: Columns, width: int, names: np.ndarray | None) -> np.ndarray:
    """The numbers of a modality's columns."""
    if isinstance(columns, slice):
        numbers = np.arange(width)[columns]
    elif not isinstance(columns, str) and all(isinstance(one, str) for one in columns):
        known = {} if names is None else {one: number for number, one in enumerate(names.tolist())}
        if unknown := [one for one in columns if one not in known]:
            raise ConfigError(
                f"modalities[{name!r}] must name columns of X, {list(known) or 'which have no names'}, "
                f"got {unknown[0]!r}; give their numbers, or a table with named columns"
            )
        numbers = np.array([known[one] for one in columns], dtype=int)
    else:
        numbers = np.asarray(columns)
    if numbers.ndim != 1 or not len(numbers) or numbers.dtype.kind not in "iu":
        raise ConfigError(
            f"modalities[{name!r}] must be a slice, or a list of columns' numbers or names, at least 1 of the {width}, "
            f"got {columns!r}"
        )
    wrong = numbers[(numbers < 0) | (numbers >= width)]
    if len(wrong):
        raise ConfigError(f"modalities[{name!r}] must be columns between 0 and {width - 1}, got {wrong[0]}")
    return numbers
