"""From records to graphs: the relations that are not in the table."""

from mmgraph.builders import patterns
from mmgraph.builders.config import PopulationConfig
from mmgraph.builders.held_out import hold_out
from mmgraph.builders.joins import join_children, join_dialogue, join_next, join_same_time
from mmgraph.builders.kernels import aligned_shares, margin_shares, weigh
from mmgraph.builders.knowledge import KnowledgeGraph
from mmgraph.builders.knowledge_align import align, match_names, merge
from mmgraph.builders.knowledge_marks import Mark
from mmgraph.builders.knowledge_pair import pair
from mmgraph.builders.knowledge_report import KnowledgeReport
from mmgraph.builders.metapaths import add_metapaths
from mmgraph.builders.pieces import split_pieces
from mmgraph.builders.population import Population
from mmgraph.builders.temporal import Track, aligned, unaligned
from mmgraph.builders.unseen import hold_out_entities

__all__ = [
    "KnowledgeGraph",
    "KnowledgeReport",
    "Mark",
    "Population",
    "PopulationConfig",
    "Track",
    "add_metapaths",
    "align",
    "aligned",
    "aligned_shares",
    "hold_out",
    "hold_out_entities",
    "join_children",
    "join_dialogue",
    "join_next",
    "join_same_time",
    "margin_shares",
    "match_names",
    "merge",
    "pair",
    "patterns",
    "split_pieces",
    "unaligned",
    "weigh",
]
