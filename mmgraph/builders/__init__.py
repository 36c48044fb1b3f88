"""From records to graphs: the relations that are not in the table."""

from mmgraph.builders import patterns
from mmgraph.builders.config import PopulationConfig
from mmgraph.builders.joins import join_children, join_dialogue, join_next, join_same_time
from mmgraph.builders.kernels import aligned_shares, margin_shares, weigh
from mmgraph.builders.population import Population
from mmgraph.builders.temporal import Track, aligned, unaligned

__all__ = [
    "Population",
    "PopulationConfig",
    "Track",
    "aligned",
    "aligned_shares",
    "join_children",
    "join_dialogue",
    "join_next",
    "join_same_time",
    "margin_shares",
    "patterns",
    "unaligned",
    "weigh",
]
