"""Decoders: ``decoder(states) -> [rows, *shape]``, from the states of anchors back to payloads, or to answers.

| class | gives |
|---|---|
| :class:`Dense` | a payload of fixed shape: columns, a small picture, a spectrogram |
| :class:`Heads` | an answer a target |
| :class:`Probe` | a linear answer that does not shape the states |
"""

from mmgraph.decoders.base import Decoder
from mmgraph.decoders.dense import Dense
from mmgraph.decoders.heads import Heads
from mmgraph.decoders.probe import Probe

__all__ = ["Decoder", "Dense", "Heads", "Probe"]
