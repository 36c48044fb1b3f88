"""Estimators after scikit-learn's manner: ``fit(X, y)`` builds a population graph of the rows and a model on it.

For those whose tables go through pipelines, cross-validation and grid searches. What the graph is worth on a table says
:meth:`~mmgraph.estimators.GraphClassifier.controls`.
"""

from mmgraph.estimators.classifier import GraphClassifier
from mmgraph.estimators.regressor import GraphRegressor

__all__ = ["GraphClassifier", "GraphRegressor"]
