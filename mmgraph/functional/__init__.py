"""The mathematics: pure functions on tensors, each beside its formula and its source."""

from mmgraph.functional.adjacency import Adjacency
from mmgraph.functional.assignment import marginal, sinkhorn, transport, transported
from mmgraph.functional.attention import attention, attention_weights
from mmgraph.functional.attention_blocks import Blocks, find_blocks
from mmgraph.functional.captions import (
    CiderReferences,
    bleu,
    cider,
    cider_between,
    cider_d,
    exact_match,
    meteor,
    rouge_l,
    words,
)
from mmgraph.functional.cells import Search, nearest_rows
from mmgraph.functional.chains import coupled_chains, coupled_chains_loopy, path_score
from mmgraph.functional.contrastive import edge_nce, masked_nce, mined_pairs, sigmoid_nce, transformed_pairs
from mmgraph.functional.correlation import CCA, cca, correlation_loss
from mmgraph.functional.decoding import beam, greedy, nucleus
from mmgraph.functional.dense import product
from mmgraph.functional.distributed import gather_edges, gather_rows, share_mean, sum_over
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
from mmgraph.functional.griffin_lim import griffin_lim, mel_sound
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
from mmgraph.functional.margin import (
    affinity,
    bidirectional_ranking,
    cosine_alignment,
    devise,
    hinge_ranking,
    perceptual_correlation,
    ranking_terms,
    structure_ranking,
)
from mmgraph.functional.message import aggregate, edge_softmax, symmetric_norm
from mmgraph.functional.propagation import propagate_labels, propagated_labels
from mmgraph.functional.reach import pool_reached, reach
from mmgraph.functional.readout import part_of, random_features, readout, subgraphs
from mmgraph.functional.recurrent import gru
from mmgraph.functional.relational import Relation, relational
from mmgraph.functional.similarity import agreement, closeness, distance, nearest, rbf
from mmgraph.functional.spectrogram import deltas, log_mel, mfcc
from mmgraph.functional.stretch import stretch
from mmgraph.functional.temporal import Clock, closest, positions, preceding, within
from mmgraph.functional.triples import linearise, read_triples, triple_counts, triple_scores
from mmgraph.functional.warping import Warp, dtw, soft_dtw, warp

__all__ = [
    "CCA",
    "Adjacency",
    "Blocks",
    "CiderReferences",
    "Clock",
    "Relation",
    "Schedule",
    "Search",
    "Warp",
    "affinity",
    "aggregate",
    "agreement",
    "attention",
    "attention_parts",
    "attention_weights",
    "beam",
    "bidirectional_ranking",
    "bilinear_parts",
    "bleu",
    "cca",
    "centre_kernel",
    "cider",
    "cider_between",
    "cider_d",
    "closeness",
    "closest",
    "combine_kernels",
    "concat_parts",
    "correlation_loss",
    "cosine_alignment",
    "cosine_kernel",
    "coupled_chains",
    "coupled_chains_loopy",
    "deltas",
    "devise",
    "distance",
    "dtw",
    "edge_nce",
    "edge_softmax",
    "exact_match",
    "find_blocks",
    "gated_parts",
    "gather",
    "gather_edges",
    "gather_rows",
    "greedy",
    "griffin_lim",
    "gru",
    "hinge_ranking",
    "kernel_alignment",
    "kernel_ridge",
    "kmeans",
    "levels",
    "linear_kernel",
    "linearise",
    "log_mel",
    "low_rank_parts",
    "lstm",
    "marginal",
    "masked_nce",
    "median_distance",
    "mel_sound",
    "meteor",
    "mfcc",
    "mined_pairs",
    "mix_parts",
    "nearest",
    "nearest_rows",
    "normalise_trace",
    "nucleus",
    "outer_parts",
    "part_of",
    "part_softmax",
    "path_score",
    "perceptual_correlation",
    "polynomial_kernel",
    "pool_reached",
    "positions",
    "preceding",
    "product",
    "product_parts",
    "propagate_labels",
    "propagated_labels",
    "random_features",
    "ranking_terms",
    "rbf",
    "rbf_kernel",
    "reach",
    "read_triples",
    "readout",
    "relational",
    "rouge_l",
    "share_mean",
    "sigmoid_nce",
    "signed_root",
    "sinkhorn",
    "soft_dtw",
    "stretch",
    "structure_ranking",
    "subgraphs",
    "sum_over",
    "sum_parts",
    "symmetric_norm",
    "transformed_pairs",
    "transport",
    "transported",
    "triple_counts",
    "triple_scores",
    "warp",
    "within",
    "words",
]
