"""The mathematics: pure functions on tensors, each beside its formula and its source."""

from mmgraph.functional.fusion import concat_parts, gated_parts, outer_parts, product_parts, sum_parts
from mmgraph.functional.gather import gather
from mmgraph.functional.message import aggregate, symmetric_norm
from mmgraph.functional.reach import ego, pool_reached, reach
from mmgraph.functional.similarity import agreement, closeness, distance, nearest, rbf

__all__ = [
    "aggregate",
    "agreement",
    "closeness",
    "concat_parts",
    "distance",
    "ego",
    "gated_parts",
    "gather",
    "nearest",
    "outer_parts",
    "pool_reached",
    "product_parts",
    "rbf",
    "reach",
    "sum_parts",
    "symmetric_norm",
]
