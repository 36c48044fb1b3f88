"""Decoders: from the states of anchors back to payloads, or to answers.

A :class:`Decoder` gives a payload of fixed shape from one state, ``decoder(states) -> [rows, *shape]``. A
:class:`Generative` one makes the payload of a hidden node from all nodes around it, and says how likely one is; a
:class:`TextDecoder` does it piece by piece.

| class | gives |
|---|---|
| :class:`Dense` | a payload of fixed shape: columns, a small picture, a spectrogram |
| :class:`Heads` | an answer a target |
| :class:`Probe` | a linear answer that does not shape the states |
| :class:`Regression` | by squared error: any of the above, from all sources of a hidden node |
| :class:`Diffusion` | pictures, made from noise in a few steps: sharp, and another one at each draw |
| :class:`Variational` | pictures or numbers from a short code that is drawn, in one pass: blurred |
| :class:`Mel` | a recording: its mel bands and where they end |
| :class:`Tabular` | rows of a table: numbers with their spread, categories with their shares |
| :class:`TransformerDecoder` | a text: each piece attends to those before it and to the sources |
| :class:`MeshedDecoder` | a text, likewise, from the sources after every round of messages |
| :class:`LSTMDecoder` | a text: the mean of the sources is the head of the chain |
| :class:`Prefix` | a text by a language model that reads the sources as vectors before it |
| :class:`Flamingo` | a text by a frozen language model whose blocks look at the picture before each word |
"""

from mmgraph.decoders.base import Decoder
from mmgraph.decoders.decoding import Decoding
from mmgraph.decoders.dense import Dense
from mmgraph.decoders.diffusion import Diffusion
from mmgraph.decoders.flamingo import Flamingo
from mmgraph.decoders.generative import Generative
from mmgraph.decoders.heads import Heads
from mmgraph.decoders.language_model import LanguageModel
from mmgraph.decoders.language_training import train_language_model
from mmgraph.decoders.meshed import MeshedDecoder
from mmgraph.decoders.prefix import Prefix
from mmgraph.decoders.probe import Probe
from mmgraph.decoders.recurrent import LSTMDecoder
from mmgraph.decoders.regression import Regression
from mmgraph.decoders.resampler import Resampler
from mmgraph.decoders.sound import Mel, to_sounds
from mmgraph.decoders.tabular import Tabular, column_groups
from mmgraph.decoders.text import TextDecoder
from mmgraph.decoders.transformer import TransformerDecoder
from mmgraph.decoders.translation import Translation
from mmgraph.decoders.variational import Variational

__all__ = [
    "Decoder",
    "Decoding",
    "Dense",
    "Diffusion",
    "Flamingo",
    "Generative",
    "Heads",
    "LSTMDecoder",
    "LanguageModel",
    "Mel",
    "MeshedDecoder",
    "Prefix",
    "Probe",
    "Regression",
    "Resampler",
    "Tabular",
    "TextDecoder",
    "TransformerDecoder",
    "Translation",
    "Variational",
    "column_groups",
    "to_sounds",
    "train_language_model",
]
