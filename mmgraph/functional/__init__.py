"""The mathematics: pure functions on tensors, each beside its formula and its source."""

from mmgraph.functional.adjacency import Adjacency
from mmgraph.functional.cells import Search, nearest_rows
from mmgraph.functional.dense import product
from mmgraph.functional.fusion import concat_parts, gated_parts, outer_parts, product_parts, sum_parts
from mmgraph.functional.gather import gather
from mmgraph.functional.kmeans import kmeans
from mmgraph.functional.message import aggregate, edge_softmax, symmetric_norm
from mmgraph.functional.reach import pool_reached, reach
from mmgraph.functional.recurrent import gru
from mmgraph.functional.relational import Relation, relational
from mmgraph.functional.similarity import agreement, closeness, distance, nearest, rbf
from mmgraph.functional.spectrogram import deltas, log_mel, mfcc
from mmgraph.functional.stretch import stretch

__all__ = [
    "Adjacency",
    "Relation",
    "Search",
    "aggregate",
    "agreement",
    "closeness",
    "concat_parts",
    "deltas",
    "distance",
    "edge_softmax",
    "gated_parts",
    "gather",
    "gru",
    "kmeans",
    "log_mel",
    "mfcc",
    "nearest",
    "nearest_rows",
    "outer_parts",
    "pool_reached",
    "product",
    "product_parts",
    "rbf",
    "reach",
    "relational",
    "stretch",
    "sum_parts",
    "symmetric_norm",
]
