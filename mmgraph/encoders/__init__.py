"""Encoders: ``encoder(graph) -> {type: [rows, channels]}``, from the payload of each node to its features.

Frozen ones are ``frozen(payloads) -> [payloads, channels]``, and are called when the graph is built.
"""

from mmgraph.encoders.base import Encoder
from mmgraph.encoders.cache import FeatureCache
from mmgraph.encoders.columns import Columns
from mmgraph.encoders.frozen import Encoded, Frozen
from mmgraph.encoders.function import Function
from mmgraph.encoders.hashed import HashedText
from mmgraph.encoders.image import Gradients, ImageConv, Pictures, Pixels
from mmgraph.encoders.mixed import Mixed, encode
from mmgraph.encoders.raw import Raw
from mmgraph.encoders.registry import DEFAULTS, KINDS, frozen_class, load_frozen, make_frozen, save_frozen
from mmgraph.encoders.table import Table
from mmgraph.encoders.text import Sentences
from mmgraph.encoders.token import LearnedToken
from mmgraph.encoders.tokens import TokenEncoder, Tokens

__all__ = [
    "DEFAULTS",
    "KINDS",
    "Columns",
    "Encoded",
    "Encoder",
    "FeatureCache",
    "Frozen",
    "Function",
    "Gradients",
    "HashedText",
    "ImageConv",
    "LearnedToken",
    "Mixed",
    "Pictures",
    "Pixels",
    "Raw",
    "Sentences",
    "Table",
    "TokenEncoder",
    "Tokens",
    "encode",
    "frozen_class",
    "load_frozen",
    "make_frozen",
    "save_frozen",
]
