r"""Multiple kernel learning: how much each modality's population graph counts, learned from training labels.

:math:`K = \sum_m \beta_m K_m` with :math:`\beta_m \ge 0` and :math:`\sum_m \beta_m = 1`: one weighted population graph
a modality, their edges summed with :math:`\beta`.

| function | :math:`\beta` is the one with | a convex problem, solved by |
|---|---|---|
| :func:`margin_shares` | the support vector machine of the largest soft margin | cutting planes, to a stated gap |
| :func:`aligned_shares` | the kernel most aligned with the labels | non-negative least squares, exactly |
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal, TypeAlias, get_args

import numpy as np
import torch
from scipy.optimize import linprog, nnls
from sklearn.svm import SVC

from mmgraph.builders.population import Population
from mmgraph.errors import ConfigError, DataError

How: TypeAlias = Literal["margin", "aligned", "equal"]

MOST_CUTS = 500


def margin_shares(
    kernels: Sequence[np.ndarray], labels: np.ndarray, *, cost: float = 1.0, gap: float = 1e-3
) -> np.ndarray:
    r"""The shares with which a support vector machine on the sum of kernels has the largest soft margin.

    .. math::
        \min_{\beta \in \Delta} J(\beta), \qquad J(\beta) = \sum_c \max_{0 \le a \le C,\, a \cdot y_c = 0}
        \Big( \sum_i a_i - \frac12 \sum_m \beta_m \sum_{ij} a_i a_j y_{ci} y_{cj} K_m(i, j) \Big)

    with one machine a class against the rest (one in all, for two classes). J is the largest of functions that are
    linear in :math:`\beta`, so convex; each machine gives one of them, a cut below J, and a linear programme over all
    cuts gives the next :math:`\beta` and a bound. It ends when the best J is within ``gap`` of the bound.

    Sources: Lanckriet, De Bie, Cristianini, Jordan and Noble 2004, A statistical framework for genomic data fusion,
    Bioinformatics 20(16); by cutting planes: Sonnenburg, Rätsch, Schäfer and Schölkopf 2006, Large scale multiple
    kernel learning, JMLR 7.

    Args:
        kernels: ``[rows, rows]`` each, positive semidefinite and of equal trace.
        labels: Class number of each row, ``[rows]``.
        cost: C.
        gap: Most that :math:`J` may be above its minimum, as a share of it.

    Returns:
        :math:`\beta`, ``[kernels]``.

    Raises:
        DataError: No kernels, shapes that do not fit, one class only, or the gap is not reached.
        ConfigError: ``cost`` or ``gap`` is not above 0.

    Example:
        >>> y = np.array([0, 0, 0, 1, 1, 1])
        >>> useful = np.outer(2 * y - 1, 2 * y - 1) * 0.5 + 0.5 * np.eye(6)
        >>> margin_shares([np.eye(6), useful], y).round(3)
        array([0., 1.])
    """
    stack = _stack(kernels, labels)
    if not cost > 0 or not gap > 0:
        raise ConfigError(f"cost and gap must be above 0, got cost={cost}, gap={gap}")
    classes = np.unique(labels)
    signs = [np.where(labels == one, 1.0, -1.0) for one in (classes[1:] if len(classes) == 2 else classes)]
    beta, best, chosen = np.full(len(stack), 1 / len(stack)), np.inf, np.full(len(stack), 1 / len(stack))
    cuts: list[np.ndarray] = []  # J(beta) >= cut[0] - cut[1:] @ beta
    for _ in range(MOST_CUTS):
        cuts.append(np.sum([_cut(stack, beta, sign, cost) for sign in signs], axis=0))
        value = float(cuts[-1][0] - cuts[-1][1:] @ beta)
        if value < best:
            best, chosen = value, beta
        table = np.array(cuts)  # minimise t where t >= cut[0] - cut[1:] @ beta
        found = linprog(
            [*np.zeros(len(stack)), 1.0],
            A_ub=np.column_stack([-table[:, 1:], -np.ones(len(table))]),
            b_ub=-table[:, 0],
            A_eq=[[*np.ones(len(stack)), 0.0]],
            b_eq=[1.0],
            bounds=[*[(0, None)] * len(stack), (None, None)],
        )
        if best - found.fun <= gap * abs(best):
            return chosen / chosen.sum()
        beta = np.clip(found.x[:-1], 0, None)
    raise DataError(
        f"Shares must be found within {MOST_CUTS} cuts, got a gap of {(best - found.fun) / abs(best):.2g}; "
        "allow a larger gap, or scale the kernels to equal trace"
    )


def _cut(stack: np.ndarray, beta: np.ndarray, sign: np.ndarray, cost: float) -> np.ndarray:
    """What a machine says of all shares: the sum of its multipliers, and half its weight in each kernel."""
    machine = SVC(C=cost, kernel="precomputed", tol=1e-5).fit(np.tensordot(beta, stack, 1), sign)
    rows, signed = machine.support_, machine.dual_coef_[0]  # a_i y_i
    parts = np.einsum("i,mij,j->m", signed, stack[:, rows][:, :, rows], signed) / 2
    return np.array([np.abs(signed).sum(), *parts])


def aligned_shares(kernels: Sequence[np.ndarray], labels: np.ndarray) -> np.ndarray:
    r"""The shares with which the sum of centred kernels is most aligned with the labels.

    .. math::
        \beta \propto \arg\min_{v \ge 0} v^\top M v - 2 v^\top a, \qquad
        M_{kl} = \langle K_k^c, K_l^c \rangle, \quad a_k = \langle K_k^c, Y Y^\top \rangle

    where a class is a column of Y, centred. No alignment with any kernel: equal shares.

    Source: Cortes, Mohri and Rostamizadeh 2012, Algorithms for learning kernels based on centered alignment, JMLR 13,
    proposition 9 (``alignf``).

    Args:
        kernels: ``[rows, rows]`` each.
        labels: Class number of each row, ``[rows]``.

    Returns:
        :math:`\beta`, ``[kernels]``.

    Raises:
        DataError: No kernels, shapes that do not fit, or one class only.

    Example:
        >>> y = np.array([0, 0, 0, 1, 1, 1])
        >>> aligned_shares([np.eye(6), np.outer(2 * y - 1, 2 * y - 1)], y).round(3)
        array([0., 1.])
    """
    stack = _stack(kernels, labels)
    stack = (
        stack
        - stack.mean(axis=1, keepdims=True)
        - stack.mean(axis=2, keepdims=True)
        + stack.mean((1, 2))[:, None, None]
    )
    coded = (labels[:, None] == np.unique(labels)).astype(float)
    coded -= coded.mean(axis=0)
    flat = stack.reshape(len(stack), -1)  # v'Mv - 2v'a = |flat' v - target|² less a constant
    found, _ = nnls(flat.T, (coded @ coded.T).ravel())
    return found / found.sum() if found.sum() > 0 else np.full(len(stack), 1 / len(stack))


def weigh(population: Population, how: How = "margin", *, cost: float = 1.0) -> Population:
    r"""Weighs the graphs of a population's modalities against one another, by the labels of its training subjects.

    The weight of each ``near_<modality>`` edge becomes :math:`\beta_m K_m(i, j) / \sqrt{b_i b_j}`, so that the sum over
    relations is the kernel of :func:`mmgraph.functional.combine_kernels`: :math:`\sum_m \beta_m K_m` where nothing is
    missing. ``population.shares`` says what :math:`\beta` is. Subjects who come later are joined by such edges too.
    Nothing is read of those outside training. A training subject without a modality is like nobody in it.

    Args:
        population: All pairs joined (``k=None``, ``kernel=True``), each modality by itself.
        how: ``margin`` (:func:`margin_shares`), ``aligned`` (:func:`aligned_shares`) or ``equal``.
        cost: Of the margin.

    Returns:
        Another population; this one is left as it is.

    Raises:
        ConfigError: An unknown ``how``; the population is not made of kernels between all its subjects, or has been
            weighed before.
        DataError: No labels, or one class only, in training.

    Example:
        >>> from mmgraph.builders import PopulationConfig
        >>> from mmgraph.data import Records, stratified_split
        >>> rng = np.random.default_rng(0)
        >>> y = np.arange(60) % 2
        >>> modalities = {"blood": y[:, None] + 0.3 * rng.normal(size=(60, 2)), "noise": rng.normal(size=(60, 2))}
        >>> records = Records(ids=range(60), modalities=modalities, labels=y, classes=["well", "ill"])
        >>> config = PopulationConfig(k=None, kernel=True)
        >>> weighed = weigh(Population.fit(records, stratified_split(y), config))
        >>> weighed.shares["blood"] > 0.8
        True
    """
    config, graph = population.config, population.graph
    if how not in get_args(How):
        raise ConfigError(f"how must be one of {get_args(How)}, got {how!r}")
    if config.k is not None or config.edges != "similarity" or config.level != "anchor" or population.shares:
        raise ConfigError(
            "weigh needs a population of kernels between all subjects that is not weighed yet, "
            "PopulationConfig(k=None, kernel=True), "
            f"got k={config.k}, edges={config.edges!r}, level={config.level!r}, shares={dict(population.shares)}"
        )
    store = graph[config.anchor]
    if "y" not in store:
        raise DataError("weigh needs training subjects with labels, got a population without")
    rows = (store.train_mask & (store.y >= 0)).nonzero().flatten()
    relations = {name: (config.anchor, f"near_{name}", config.anchor) for name in population.scaling}
    kernels = [_kernel(population, name, relation, rows) for name, relation in relations.items()]
    labels = store.y[rows].numpy()
    if how == "equal":
        found = np.full(len(kernels), 1 / len(kernels))
    else:
        found = margin_shares(kernels, labels, cost=cost) if how == "margin" else aligned_shares(kernels, labels)
    made = replace(population, graph=copy.copy(graph), shares=dict(zip(relations, found.tolist(), strict=True)))
    for name, relation in relations.items():
        edges = graph[relation]
        made.graph[relation].edge_weight = made.weighed(name, edges.edge_index, edges.edge_weight)
    return made


def _kernel(population: Population, name: str, relation: tuple[str, str, str], rows: torch.Tensor) -> np.ndarray:
    """The kernel of one modality among some subjects; those without it are like nobody."""
    store, count = population.graph[relation], len(population.ids)
    kernel = torch.zeros(count, count, dtype=torch.float64)
    kernel[store.edge_index[1], store.edge_index[0]] = store.edge_weight.double()
    kernel.diagonal()[population.graph[name, "of", population.config.anchor].edge_index[1]] = 1.0
    found: np.ndarray = kernel[rows][:, rows].numpy()
    return found


def _stack(kernels: Sequence[np.ndarray], labels: np.ndarray) -> np.ndarray:
    shapes = sorted({np.shape(kernel) for kernel in kernels})
    if shapes != [(len(labels), len(labels))]:
        raise DataError(f"Kernels must be [{len(labels)}, {len(labels)}], a row a label, got {shapes}")
    if len(np.unique(labels)) < 2:
        raise DataError(f"Shares need labels of at least 2 classes, got {np.unique(labels).tolist()}")
    return np.stack([np.asarray(kernel, dtype=np.float64) for kernel in kernels])
