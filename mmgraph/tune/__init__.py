"""Tuning: which settings of a recipe do best on validation. The test part is left for the one look at the end.

A trial is the full model of the recipe with other settings, trained on each of the recipe's runs and judged on the
validation part of each; the mean is its score. Trials are drawn by the tree-structured Parzen estimator of Optuna
(Bergstra et al. 2011, Algorithms for hyper-parameter optimization, NIPS), and those that are worse than half of the
others at the same epoch are stopped.
"""

from mmgraph.tune.space import Choice, Range
from mmgraph.tune.study import Tried, Tuned, tune

__all__ = ["Choice", "Range", "Tried", "Tuned", "tune"]
