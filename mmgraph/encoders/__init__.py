"""Encoders: ``encoder(graph) -> {type: [rows, channels]}``, from the payload of each node to its features.

Frozen ones are ``frozen(payloads) -> [payloads, channels]``, and are called when the graph is built.
"""

from mmgraph.encoders.audio import LogMel, Recordings, Spectra
from mmgraph.encoders.audio_conv import AudioConv
from mmgraph.encoders.base import Encoder
from mmgraph.encoders.cache import FeatureCache
from mmgraph.encoders.chunked import Chunked
from mmgraph.encoders.codes import Codes
from mmgraph.encoders.columns import Columns
from mmgraph.encoders.frozen import Encoded, Frozen
from mmgraph.encoders.function import Function
from mmgraph.encoders.hashed import HashedText
from mmgraph.encoders.image import Gradients, ImageConv, Pictures, Pixels
from mmgraph.encoders.joined import Joined
from mmgraph.encoders.labels import Labels
from mmgraph.encoders.mixed import Mixed, encode
from mmgraph.encoders.nodes import Nodes
from mmgraph.encoders.points import Cloud, CloudSummary, PointNet
from mmgraph.encoders.position import Positions
from mmgraph.encoders.raw import Raw
from mmgraph.encoders.registry import DEFAULTS, KINDS, frozen_class, load_frozen, make_frozen, save_frozen
from mmgraph.encoders.sequence import SeriesConv, SeriesGRU
from mmgraph.encoders.series import Series, SeriesSummary
from mmgraph.encoders.subwords import Subwords
from mmgraph.encoders.symbol import SymbolEmbedding, Symbols
from mmgraph.encoders.table import Table
from mmgraph.encoders.text import Sentences
from mmgraph.encoders.token import LearnedToken
from mmgraph.encoders.tokens import TokenEncoder, Tokens
from mmgraph.media.pieces import spell

__all__ = [
    "DEFAULTS",
    "KINDS",
    "AudioConv",
    "Chunked",
    "Cloud",
    "CloudSummary",
    "Codes",
    "Columns",
    "Encoded",
    "Encoder",
    "FeatureCache",
    "Frozen",
    "Function",
    "Gradients",
    "HashedText",
    "ImageConv",
    "Joined",
    "Labels",
    "LearnedToken",
    "LogMel",
    "Mixed",
    "Nodes",
    "Pictures",
    "Pixels",
    "PointNet",
    "Positions",
    "Raw",
    "Recordings",
    "Sentences",
    "Series",
    "SeriesConv",
    "SeriesGRU",
    "SeriesSummary",
    "Spectra",
    "Subwords",
    "SymbolEmbedding",
    "Symbols",
    "Table",
    "TokenEncoder",
    "Tokens",
    "encode",
    "frozen_class",
    "load_frozen",
    "make_frozen",
    "save_frozen",
    "spell",
]
