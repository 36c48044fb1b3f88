"""The kinds of payload that a node can carry."""

from enum import StrEnum


class Modality(StrEnum):
    """The kind of payload on a node type.

    Example:
        >>> Modality("image").value
        'image'
    """

    IMAGE = "image"
    TEXT = "text"
    AUDIO = "audio"
    TABULAR = "tabular"
    SERIES = "series"
    VIDEO = "video"
    POINTS = "points"
    SYMBOL = "symbol"
