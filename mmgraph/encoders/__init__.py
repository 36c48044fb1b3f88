"""Encoders: ``encoder(graph) -> {type: [rows, channels]}``, from the payload of each node to its features."""

from mmgraph.encoders.base import Encoder
from mmgraph.encoders.raw import Raw
from mmgraph.encoders.table import Table

__all__ = ["Encoder", "Raw", "Table"]
