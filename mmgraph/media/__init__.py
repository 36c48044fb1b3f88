"""Media: bytes to decoded pictures, recordings, texts and frames; what is damaged or hostile is a ``DataError``."""

from mmgraph.media.audio import Sound, decode_audio, wav_bytes
from mmgraph.media.files import read_payload, sniff
from mmgraph.media.image import decode_image
from mmgraph.media.text import decode_text
from mmgraph.media.video import decode_video

__all__ = [
    "Sound",
    "decode_audio",
    "decode_image",
    "decode_text",
    "decode_video",
    "read_payload",
    "sniff",
    "wav_bytes",
]
