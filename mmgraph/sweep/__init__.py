"""Sweeps: how a score falls as something is taken away, strategy beside strategy, chance beside them."""

from mmgraph.sweep.missing import RATES, STRATEGIES, Strategy, draw_missing, sweep_missing
from mmgraph.sweep.results import Missing, Sweep, variant

__all__ = ["RATES", "STRATEGIES", "Missing", "Strategy", "Sweep", "draw_missing", "sweep_missing", "variant"]
