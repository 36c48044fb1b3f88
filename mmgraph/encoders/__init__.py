"""Encoders: ``encoder(graph) -> {type: [rows, channels]}``, from the payload of each node to its features.

Frozen ones are ``frozen(payloads) -> [payloads, channels]``, and are called when the graph is built.
"""

from mmgraph.encoders.base import Encoder
from mmgraph.encoders.cache import FeatureCache
from mmgraph.encoders.frozen import Encoded, Frozen
from mmgraph.encoders.raw import Raw
from mmgraph.encoders.table import Table
from mmgraph.encoders.text import Sentences

__all__ = ["Encoded", "Encoder", "FeatureCache", "Frozen", "Raw", "Sentences", "Table"]
