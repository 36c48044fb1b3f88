"""What a graph means: the modality, width and unit of its types, its targets, and the part one may see."""

from mmgraph.schema.identity import Identity
from mmgraph.schema.modality import Modality
from mmgraph.schema.schema import Schema
from mmgraph.schema.spec import EdgeSpec, NodeSpec, TargetSpec
from mmgraph.schema.view import view

__all__ = ["EdgeSpec", "Identity", "Modality", "NodeSpec", "Schema", "TargetSpec", "view"]
