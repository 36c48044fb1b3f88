"""The scores of a sweep: a number for each strategy, modality and rate, beside chance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

import numpy as np
from rich import box
from rich.table import Table

from mmgraph.errors import ArtifactError, DataError
from mmgraph.train import Cell

Missing: TypeAlias = Literal["test", "all"]

EACH = "all"  # the name of a sweep in which each modality is lost
CHANCE = "majority"
FORMAT = "mmgraph.sweep/1"


@dataclass(frozen=True, kw_only=True)
class Sweep:
    """The scores of a sweep.

    Args:
        cells: One a strategy, modality, rate and run (at rate 0, one for all modalities), and one of chance a run.
        metric: What is shown.
        rates: Shares of the anchors that lose a modality.
        modalities: Which was lost; ``all`` for each of them.
        how: The strategies.
        parts: Where it was lost: in all parts, or in the test part alone.
        about: How the sweep was set up.

    Example:
        >>> cell = dict(val_metrics={}, seconds=0.0, data_sha256="", parts=(6, 2, 2), test_sha256="")
        >>> scores = {"leave||0": 0.9, "leave|scan|0.5": 0.7, "majority": 0.5}
        >>> cells = [Cell(run=0, variant=name, metrics={"auroc": one}, **cell) for name, one in scores.items()]
        >>> sweep = Sweep(
        ...     cells=cells, metric="auroc", rates=(0.0, 0.5), modalities=("scan",), how=("leave",), parts="test"
        ... )
        >>> sweep.mean("scan", 0.5, "leave"), sweep.mean("scan", 0.0, "leave"), sweep.chance
        (0.7, 0.9, 0.5)
    """

    cells: Sequence[Cell]
    metric: str
    rates: Sequence[float]
    modalities: Sequence[str]
    how: Sequence[str]
    parts: Missing
    about: Mapping[str, Any] = field(default_factory=dict)

    @property
    def runs(self) -> int:
        """How many runs there are."""
        return len({cell.run for cell in self.cells})

    @property
    def chance(self) -> float:
        """The score of the shares of the classes in training, its mean over the runs."""
        return float(self._values(CHANCE).mean())

    def values(self, modality: str, rate: float, how: str) -> np.ndarray:
        """The scores, run by run.

        Raises:
            DataError: There are none.
        """
        return self._values(variant(how, modality, rate))

    def mean(self, modality: str, rate: float, how: str) -> float:
        """Mean over the runs."""
        return float(self.values(modality, rate, how).mean())

    def std(self, modality: str, rate: float, how: str) -> float:
        """Standard deviation over the runs (of the sample; 0 for one run)."""
        values = self.values(modality, rate, how)
        return float(values.std(ddof=1)) if len(values) > 1 else 0.0

    def _values(self, name: str) -> np.ndarray:
        cells = sorted((cell for cell in self.cells if cell.variant == name), key=lambda cell: cell.run)
        if not cells or self.metric not in cells[0].metrics:
            known = sorted({cell.variant for cell in self.cells})
            raise DataError(f"A sweep must be asked for one of {known}, and has {self.metric!r}; got {name!r}")
        return np.array([cell.metrics[self.metric] for cell in cells])

    def rows(self) -> list[dict[str, Any]]:
        """One entry a modality, strategy and rate, with mean and spread."""
        return [
            {
                "modality": modality,
                "how": how,
                "rate": rate,
                "mean": self.mean(modality, rate, how),
                "std": self.std(modality, rate, how),
            }
            for modality in self.modalities
            for how in self.how
            for rate in self.rates
        ]

    def table(self, *, title: str = "") -> Table:
        """The table for a terminal: a row a modality and strategy, a column a rate."""
        where = "test alone" if self.parts == "test" else "all parts"
        runs = f"{self.runs} run{'' if self.runs == 1 else 's'}"
        caption = f"{self.metric}, mean ± std over {runs}; missing in {where}; chance {self.chance:.3f}"
        table = Table(title=title, caption=caption, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
        for name in ("missing", "strategy"):
            table.add_column(name, no_wrap=True)
        for rate in self.rates:
            table.add_column(f"{rate:.0%}", justify="right", no_wrap=True)
        for modality in self.modalities:
            for number, how in enumerate(self.how):
                scores = [f"{self.mean(modality, r, how):.3f}±{self.std(modality, r, how):.3f}" for r in self.rates]
                last = number == len(self.how) - 1
                table.add_row("" if number else modality, how, *scores, end_section=last)
        return table

    def to_json(self) -> dict[str, Any]:
        """Gives what :meth:`from_json` reads."""
        told = {name: list(getattr(self, name)) for name in ("rates", "modalities", "how")}
        cells = [cell.to_json() for cell in self.cells]
        return {
            "format": FORMAT, "metric": self.metric, "parts": self.parts, **told, "about": dict(self.about),
            "cells": cells,
        }  # fmt: skip

    @classmethod
    def from_json(cls, value: Any) -> Sweep:
        """Reads a sweep.

        Raises:
            ArtifactError: The value is not a sweep.
        """
        try:
            if value["format"] != FORMAT:
                raise ArtifactError(f"A sweep must have the format {FORMAT!r}, got {value['format']!r}; run it again")
            return cls(
                cells=[Cell.from_json(cell) for cell in value["cells"]],
                metric=value["metric"],
                rates=tuple(value["rates"]),
                modalities=tuple(value["modalities"]),
                how=tuple(value["how"]),
                parts=value["parts"],
                about=value["about"],
            )
        except (TypeError, KeyError) as error:
            raise ArtifactError(f"A sweep must have cells, rates and modalities: {error}; run it again") from None


def variant(how: str, modality: str, rate: float) -> str:
    """The name of a cell; at rate 0 it is one for all modalities.

    Example:
        >>> variant("mean", "scan", 0.25), variant("mean", "scan", 0)
        ('mean|scan|0.25', 'mean||0')
    """
    return f"{how}|{modality if rate > 0 else ''}|{rate:g}"
