"""Training, and the experiments around it: fits that can be killed, scores that stand beside their controls."""

from mmgraph.train.fit import FitConfig, Fitted, fit

__all__ = ["Cell", "FitConfig", "Fitted", "Results", "evaluate", "fit", "record"]
