"""How subjects are joined: the settings of a population graph, checked once, when they are made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from mmgraph.errors import ConfigError
from mmgraph.functional.similarity import Metric
from mmgraph.schema.schema import Regime


@dataclass(frozen=True, kw_only=True)
class PopulationConfig:
    r"""How subjects are joined.

    Args:
        k: How many neighbours; ``None`` for all pairs of positive weight.
        metric: Distance :math:`\rho` between subjects in one modality.
        edges: ``similarity``: the ``k`` nearest; ``agreement``: those with most phenotypes in common
            (which of several equal ones are among the ``k`` is arbitrary: prefer ``k=None``);
            ``product``: the ``k`` largest weights
            :math:`W_{ij} = \exp(-\rho_{ij}^2 / 2\sigma^2) \sum_h \gamma(M_h(i), M_h(j))` (Parisot et al., eq. 2).
        kernel: Weight the edges of ``similarity`` by :math:`\exp(-\rho^2 / 2\sigma^2)`, with :math:`\sigma` the
            mean distance in the fitted cohort; otherwise they weigh 1.
        phenotypes: Phenotype → threshold :math:`\theta` within which two numbers agree, or ``None`` for a category.
        level: ``anchor`` joins subjects; ``modality`` joins the modality nodes themselves, by ``near`` edges.
        scale: ``standard`` (mean 0, deviation 1) or ``rank`` (normal quantiles of the ranks).
        select: How many columns a modality keeps, by analysis of variance on training labels; ``None`` for all.
        drop_constant: Leave constant columns out instead of refusing them.
        recall: The least share of the ``k`` nearest that must be found, e.g. .98; ``None`` for all. From some 5,000
            subjects on a share is found in a fraction of the time (:func:`mmgraph.functional.nearest_rows`); where
            nothing can be saved all are found. What was reached stands in :attr:`Population.recall`. The width of
            the kernel is a mean over all pairs nevertheless.
        regime: What may be seen of the subjects outside training.
        anchor: Name of the subjects' node type.

    Raises:
        ConfigError: An option, or a combination of options, that can't work.

    Example:
        >>> PopulationConfig(k=0)
        Traceback (most recent call last):
        ...
        mmgraph.errors.ConfigError: k must be at least 1, or None for all pairs, got 0
    """

    k: int | None = 10
    metric: Metric = "euclidean"
    edges: Literal["similarity", "agreement", "product"] = "similarity"
    kernel: bool = False
    phenotypes: Mapping[str, float | None] = field(default_factory=dict)
    level: Literal["anchor", "modality"] = "anchor"
    scale: Literal["standard", "rank"] = "standard"
    select: int | None = None
    drop_constant: bool = False
    recall: float | None = None
    regime: Regime = "cohort_hidden"
    anchor: str = "subject"

    def __post_init__(self) -> None:
        choices = {
            "metric": ("euclidean", "cosine", "correlation"),
            "edges": ("similarity", "agreement", "product"),
            "level": ("anchor", "modality"),
            "scale": ("standard", "rank"),
            "regime": ("transductive", "cohort_hidden", "single_query"),
        }
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise ConfigError(f"{name} must be one of {allowed}, got {getattr(self, name)!r}")
        if self.k is not None and self.k < 1:
            raise ConfigError(f"k must be at least 1, or None for all pairs, got {self.k}")
        if self.k is None and not self.weighted:
            raise ConfigError("k=None joins all pairs by their weights; set kernel=True or use phenotypes, or give k")
        if self.edges != "similarity" and not self.phenotypes:
            raise ConfigError(f"edges={self.edges!r} needs phenotypes, e.g. phenotypes={{'age': 2.0, 'site': None}}")
        if self.edges == "similarity" and self.phenotypes:
            raise ConfigError("phenotypes need edges='agreement' or 'product', got 'similarity'")
        for name, threshold in self.phenotypes.items():
            if threshold is not None and not threshold > 0:
                raise ConfigError(
                    f"phenotypes[{name!r}] must be a positive threshold, or None for a category, got {threshold}"
                )
        if self.recall is not None and not 0 < self.recall < 1:
            raise ConfigError(f"recall must be above 0 and below 1, or None to find all, got {self.recall}")
        if self.recall is not None and (self.k is None or self.edges != "similarity"):
            raise ConfigError(
                f"recall={self.recall} needs the k nearest by similarity, got k={self.k} and edges={self.edges!r}; "
                "leave recall out"
            )
        if self.edges == "agreement" and self.level == "modality":
            raise ConfigError("edges='agreement' joins subjects; level must be 'anchor', got 'modality'")

    @property
    def weighted(self) -> bool:
        """Whether the edges carry weights."""
        return self.kernel or self.edges != "similarity"
