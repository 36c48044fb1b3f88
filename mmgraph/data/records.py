"""Records: a table of subjects with one matrix a modality, checked once, when it is made."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from mmgraph.errors import DataError


@dataclass(frozen=True, kw_only=True)
class Records:
    """Subjects (patients, products, documents), a row each in every modality.

    Args:
        ids: A unique name for each subject.
        modalities: Modality → matrix ``[subjects, channels]``. A subject without the modality has a row of NaN
            alone: it gets no node.
        labels: Class number of each subject, -1 where it is not known; ``None`` if there is nothing to predict.
        classes: Names of the classes, in the order of their numbers.
        phenotypes: Name → one value a subject: what is known besides the modalities (age, site, sex). Numbers
            or strings; NaN or ``None`` where unknown.
        names: Modality → names of its channels.
        target: What the labels are called.

    Raises:
        DataError: No subjects, an id given twice, rows that don't match, a value that is not finite, a label
            without a class.

    Example:
        >>> records = Records(
        ...     ids=["ann", "bob"],
        ...     modalities={"blood": [[1.0, 2.0], [3.0, 4.0]], "scan": [[0.5], [float("nan")]]},
        ...     labels=[0, 1],
        ...     classes=["healthy", "ill"],
        ... )
        >>> len(records), records.present("scan").tolist()
        (2, [True, False])
    """

    ids: Sequence[str]
    modalities: Mapping[str, np.ndarray]
    labels: np.ndarray | None = None
    classes: Sequence[str] = ()
    phenotypes: Mapping[str, np.ndarray] = field(default_factory=dict)
    names: Mapping[str, Sequence[str]] = field(default_factory=dict)
    target: str = "label"

    def __post_init__(self) -> None:
        ids = tuple(str(one) for one in self.ids)
        if not ids:
            raise DataError("Records must hold at least 1 subject, got none; is the table empty?")
        _check_unique(ids)
        if not self.modalities:
            raise DataError("Records must hold at least 1 modality, got none")
        modalities = {name: _matrix(name, value, ids) for name, value in self.modalities.items()}
        set_ = object.__setattr__  # the one place where a frozen record is filled
        set_(self, "ids", ids)
        set_(self, "modalities", modalities)
        set_(self, "classes", tuple(self.classes))
        set_(self, "names", {name: tuple(value) for name, value in self.names.items()})
        set_(self, "phenotypes", {name: _values(value) for name, value in self.phenotypes.items()})
        if self.labels is not None:
            set_(self, "labels", _check_labels(np.asarray(self.labels), ids, self.classes))
        for name, values in self.phenotypes.items():
            if values.shape != (len(ids),):
                raise DataError(f"Phenotype {name!r} must be one value a subject, [{len(ids)}], got {values.shape}")
        for name, names in self.names.items():
            if name not in modalities or len(names) != modalities[name].shape[1]:
                raise DataError(f"names[{name!r}] must be one a channel of a modality, got {len(names)} names")

    def __len__(self) -> int:
        return len(self.ids)

    def present(self, modality: str) -> np.ndarray:
        """Mask ``[subjects]`` of those who have a modality."""
        present: np.ndarray = ~np.isnan(self.modalities[modality]).any(axis=1)
        return present

    def take(self, rows: Sequence[int] | np.ndarray) -> Records:
        """The records of some subjects, in the order given.

        Example:
            >>> records = Records(ids=["a", "b"], modalities={"m": [[1.0], [2.0]]})
            >>> records.take([1]).ids
            ('b',)
        """
        rows = np.asarray(rows, dtype=int)
        return replace(
            self,
            ids=[self.ids[row] for row in rows],
            modalities={name: value[rows] for name, value in self.modalities.items()},
            labels=None if self.labels is None else self.labels[rows],
            phenotypes={name: value[rows] for name, value in self.phenotypes.items()},
        )

    def without_labels(self) -> Records:
        """The records with every label unknown."""
        return self if self.labels is None else replace(self, labels=np.full(len(self), -1))

    @property
    def sha256(self) -> str:
        """A digest of all that the records hold; equal for equal records."""
        digest = hashlib.sha256(repr((self.ids, self.classes, sorted(self.names.items()), self.target)).encode())
        for name, value in sorted(self.modalities.items()):
            digest.update(name.encode() + np.ascontiguousarray(value).tobytes())
        for name, value in sorted(self.phenotypes.items()):
            digest.update(repr((name, value.tolist())).encode())
        if self.labels is not None:
            digest.update(self.labels.tobytes())
        return digest.hexdigest()


def _check_unique(ids: tuple[str, ...]) -> None:
    first: dict[str, int] = {}
    for row, one in enumerate(ids):
        if one in first:
            raise DataError(f"Ids must be unique, got {one!r} in rows {first[one]} and {row}; drop one or rename it")
        first[one] = row


def _matrix(name: str, value: object, ids: tuple[str, ...]) -> np.ndarray:
    try:
        with np.errstate(over="ignore"):  # what is too large becomes infinite, and is named below
            matrix = np.asarray(value, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise DataError(f"Modality {name!r} must be a matrix of numbers, but {error}") from None
    if matrix.ndim != 2 or matrix.shape[0] != len(ids) or matrix.shape[1] == 0:
        raise DataError(f"Modality {name!r} must be [{len(ids)} subjects, channels], got {list(matrix.shape)}")
    absent = np.asarray(np.isnan(matrix).all(axis=1))
    wrong = np.argwhere(~np.isfinite(matrix) & ~absent[:, None])
    if len(wrong):
        row, column = wrong[0]
        raise DataError(
            f"Modality {name!r} must be finite, got {matrix[row, column]} for subject {ids[row]!r} in column {column}; "
            "fill the value, or set the whole row to NaN if the subject does not have the modality"
        )
    return matrix


def _values(value: object) -> np.ndarray:
    """One value a subject; among strings an unknown value stays NaN or ``None`` instead of becoming a string."""
    values = np.asarray(value)
    return np.asarray(value, dtype=object) if values.dtype.kind in "US" else values


def _check_labels(labels: np.ndarray, ids: tuple[str, ...], classes: Sequence[str]) -> np.ndarray:
    if labels.shape != (len(ids),):
        raise DataError(f"Labels must be one a subject, [{len(ids)}], got {list(labels.shape)}")
    if labels.dtype.kind not in "iub":
        found = [value if isinstance(value, (int, float, np.number)) else np.nan for value in labels.tolist()]
        numbers = np.array(found, dtype=float)
        wrong = np.flatnonzero(~np.isfinite(numbers) | (numbers != np.round(numbers)))
        if len(wrong):
            raise DataError(
                f"Labels must be class numbers, got {labels[wrong[0]]!s} for subject {ids[wrong[0]]!r}; "
                "number the classes from 0, and write -1 where the label is not known"
            )
    labels = labels.astype(np.int64)
    wrong = np.flatnonzero((labels < -1) | (labels >= len(classes)))
    if len(wrong):
        raise DataError(
            f"Labels must be between -1 (unknown) and {len(classes) - 1} (the classes are {list(classes)}), "
            f"got {labels[wrong[0]]} for subject {ids[wrong[0]]!r}"
        )
    return labels
