"""Subgraph search: payloads of any modalities in, typed subgraphs out, with what they stand for and why."""

from mmgraph.engine.around import Step
from mmgraph.engine.engine import Engine
from mmgraph.engine.hit import Hit, Node, Reason
from mmgraph.engine.kept import Kind
from mmgraph.engine.neighbours import Neighbour, Neighbourhood
from mmgraph.engine.searched import Level

__all__ = ["Engine", "Hit", "Kind", "Level", "Neighbour", "Neighbourhood", "Node", "Reason", "Step"]
