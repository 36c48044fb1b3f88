"""What a page is made of, checked once, when it is put together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from mmgraph.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

    from mmgraph.explain import Cases
    from mmgraph.train.results import Results

PointPart: TypeAlias = Literal["train", "val", "test", ""]

PARTS: dict[str, str] = {"train": "training", "val": "validation", "test": "test", "": "no part"}


@dataclass(frozen=True, kw_only=True)
class Neighbourhood:
    """One subject and those it is joined to.

    Args:
        centre: Id of the subject; one of ``ids``.
        ids: The subject and its neighbours.
        labels: Their labels, in the order of the ids; ``()`` where there are none.
        edges: Position, position, relation.
        similarity: How like the centre each of them is, in the order of the ids; larger is nearer. What
            stands at the centre's own place does not matter. ``()`` draws all at one distance.

    Raises:
        DataError: The centre is not among the ids, lengths differ, or an edge leads nowhere.

    Example:
        >>> Neighbourhood(centre="a", ids=["a", "b"], edges=[(0, 2, "near")])
        Traceback (most recent call last):
        ...
        mmgraph.errors.DataError: Edges of a neighbourhood must join positions 0 to 1, got (0, 2, 'near')
    """

    centre: str
    ids: Sequence[str]
    labels: Sequence[str] = ()
    edges: Sequence[tuple[int, int, str]] = ()
    similarity: Sequence[float] = ()

    def __post_init__(self) -> None:
        if self.centre not in self.ids:
            raise DataError(
                f"The centre of a neighbourhood must be one of its {len(self.ids)} ids, got {self.centre!r}"
            )
        for name in ("labels", "similarity"):
            _check_length(name, len(getattr(self, name)), len(self.ids), "ids of the neighbourhood")
        for edge in self.edges:
            if not all(0 <= end < len(self.ids) for end in edge[:2]):
                raise DataError(
                    f"Edges of a neighbourhood must join positions 0 to {len(self.ids) - 1}, got {tuple(edge)}"
                )
        others = [value for place, value in enumerate(self.similarity) if place != self.position]
        if not np.isfinite(others).all():
            raise DataError(f"similarity must be finite numbers, got {list(self.similarity)}")

    @property
    def position(self) -> int:
        """Where the centre stands among the ids."""
        return list(self.ids).index(self.centre)

    @property
    def distances(self) -> np.ndarray:
        """How far from the centre each is drawn, ``[ids]``: 0 for the centre, up to 1 for the least similar."""
        far = np.ones(len(self.ids))
        others = np.arange(len(self.ids)) != self.position
        if len(self.similarity) and others.any():
            values = np.asarray(self.similarity, dtype=float)[others]  # [neighbours]
            spread = values.max() - values.min()
            far[others] = 0.45 + 0.55 * (values.max() - values) / spread if spread > 0 else 1.0
        far[self.position] = 0.0
        return far


@dataclass(frozen=True, kw_only=True, eq=False)
class Story:
    """All a page is made of.

    Args:
        title: What the run was.
        lead: What was asked, in a sentence or two.
        results: The full model, its controls and rivals.
        published: Numbers from elsewhere, each ``{"source": …, "metric": …, "value": …}``; they are shown as
            coming from another split, and nothing is tested against them.
        config: How the run was set up; may be nested.
        record: What the run was: versions, machine, commit, command, seconds; may be nested.
        points: Embeddings of the subjects, ``[rows, channels]``.
        point_ids: Their ids, or ``()``.
        point_labels: Their labels, or ``()``.
        point_parts: ``train``, ``val``, ``test`` or ``""`` for each, or ``()``.
        neighbourhood: One subject with those it is joined to.
        explained: Some predictions, taken apart.
        made: Files with some of what was made: PNG, tables (``.tsv``), texts (``.txt``).
        left_out: What else is not on the page, and why: a sentence each.

    Raises:
        DataError: No score of the full model, a published number without its source, or points, ids, labels
            and parts that do not fit together.

    Example:
        >>> from mmgraph.train import Cell, Results
        >>> cell = Cell(
        ...     run=0,
        ...     variant="full",
        ...     metrics={"accuracy": 0.8},
        ...     val_metrics={},
        ...     seconds=1.0,
        ...     data_sha256="",
        ...     parts=(6, 2, 2),
        ...     test_sha256="",
        ... )
        >>> results = Results([cell], metric="accuracy")
        >>> Story(title="A", lead="B", results=results, config={}, record={}, points=np.ones((3, 2)), point_ids=["s1"])
        Traceback (most recent call last):
        ...
        mmgraph.errors.DataError: point_ids must be as many as the rows of points, 3, got 1
    """

    title: str
    lead: str
    results: Results
    published: Sequence[Mapping[str, Any]] = ()
    config: Mapping[str, Any]
    record: Mapping[str, Any]
    points: np.ndarray | None = None
    point_ids: Sequence[str] = ()
    point_labels: Sequence[str] = ()
    point_parts: Sequence[str] = ()
    neighbourhood: Neighbourhood | None = None
    explained: Cases | None = None
    made: Sequence[Path] = ()
    left_out: Sequence[str] = ()

    def __post_init__(self) -> None:
        self._check_results()
        self._check_points()
        for one in self.published:
            if missing := [key for key in ("source", "metric", "value") if key not in one]:
                raise DataError(
                    f"A published number must have source, metric and value, got {dict(one)} without {missing}"
                )

    def _check_results(self) -> None:
        full = self.results.variants[0]
        if not any(cell.variant == full for cell in self.results.cells):
            raise DataError(
                f"Results of a story must have cells of the variant {full!r}, got {len(self.results.cells)} others"
            )
        if self.results.metric not in self.results.metrics:
            raise DataError(f"The metric of a story must be one of {self.results.metrics}, got {self.results.metric!r}")

    def _check_points(self) -> None:
        rows = 0
        if self.points is not None:
            if self.points.ndim != 2:
                raise DataError(f"points must have the shape [rows, channels], got {list(self.points.shape)}")
            rows = len(self.points)
            if bad := np.flatnonzero(~np.isfinite(self.points).all(axis=1)).tolist():
                raise DataError(
                    f"points must be finite numbers, got others in {len(bad)} of {rows} rows, first row {bad[0]}"
                )
        for name in ("point_ids", "point_labels", "point_parts"):
            _check_length(name, len(getattr(self, name)), rows, "rows of points")
        if unknown := [part for part in self.point_parts if part not in PARTS]:
            raise DataError(f"point_parts must be among {list(PARTS)}, got {unknown[0]!r}")


def _check_length(name: str, got: int, expected: int, what: str) -> None:
    if got and got != expected:
        raise DataError(f"{name} must be as many as the {what}, {expected}, got {got}")
