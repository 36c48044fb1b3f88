"""The mathematics: pure functions on tensors, each beside its formula and its source."""

from mmgraph.functional.adjacency import Adjacency
from mmgraph.functional.attention import attention, attention_weights
from mmgraph.functional.attention_blocks import Blocks, find_blocks
from mmgraph.functional.cells import Search, nearest_rows
from mmgraph.functional.chains import coupled_chains, coupled_chains_loopy, path_score
from mmgraph.functional.dense import product
from mmgraph.functional.fusion import (
    attention_parts,
    bilinear_parts,
    concat_parts,
    gated_parts,
    low_rank_parts,
    mix_parts,
    outer_parts,
    part_softmax,
    product_parts,
    signed_root,
    sum_parts,
)
from mmgraph.functional.gather import gather
from mmgraph.functional.kernels import (
    centre_kernel,
    combine_kernels,
    cosine_kernel,
    kernel_alignment,
    kernel_ridge,
    linear_kernel,
    median_distance,
    normalise_trace,
    polynomial_kernel,
    rbf_kernel,
)
from mmgraph.functional.kmeans import kmeans
from mmgraph.functional.levels import levels
from mmgraph.functional.lstm import Schedule, lstm
from mmgraph.functional.message import aggregate, edge_softmax, symmetric_norm
from mmgraph.functional.propagation import propagate_labels, propagated_labels
from mmgraph.functional.reach import pool_reached, reach
from mmgraph.functional.recurrent import gru
from mmgraph.functional.relational import Relation, relational
from mmgraph.functional.similarity import agreement, closeness, distance, nearest, rbf
from mmgraph.functional.spectrogram import deltas, log_mel, mfcc
from mmgraph.functional.stretch import stretch
from mmgraph.functional.temporal import Clock, closest, positions, preceding, within

__all__ = [
    "Adjacency",
    "Blocks",
    "Clock",
    "Relation",
    "Schedule",
    "Search",
    "aggregate",
    "agreement",
    "attention",
    "attention_parts",
    "attention_weights",
    "bilinear_parts",
    "centre_kernel",
    "closeness",
    "closest",
    "combine_kernels",
    "concat_parts",
    "cosine_kernel",
    "coupled_chains",
    "coupled_chains_loopy",
    "deltas",
    "distance",
    "edge_softmax",
    "find_blocks",
    "gated_parts",
    "gather",
    "gru",
    "kernel_alignment",
    "kernel_ridge",
    "kmeans",
    "levels",
    "linear_kernel",
    "log_mel",
    "low_rank_parts",
    "lstm",
    "median_distance",
    "mfcc",
    "mix_parts",
    "nearest",
    "nearest_rows",
    "normalise_trace",
    "outer_parts",
    "part_softmax",
    "path_score",
    "polynomial_kernel",
    "pool_reached",
    "positions",
    "preceding",
    "product",
    "product_parts",
    "propagate_labels",
    "propagated_labels",
    "rbf",
    "rbf_kernel",
    "reach",
    "relational",
    "signed_root",
    "stretch",
    "sum_parts",
    "symmetric_norm",
    "within",
]
