"""What is made of a modality, by which decoder, and how it becomes a payload again."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from io import BytesIO
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmgraph.assembly import Built
from mmgraph.decoders import Dense, Generative, Mel, Regression, Tabular, TransformerDecoder, column_groups, to_sounds
from mmgraph.encoders import Columns, LogMel, Pixels, Subwords
from mmgraph.errors import ConfigError
from mmgraph.functional.captions import rouge_l, words
from mmgraph.media.audio import decode_audio, wav_bytes
from mmgraph.media.pieces import spell
from mmgraph.schema import Modality, Schema
from mmgraph.tasks import Generation, PayloadGeneration, TextGeneration
from mmgraph.typing import Sources

LONGEST_S = 10.0
HIGHEST_HZ = 16_000
HEADS, PIECES = 4, 1000  # of the decoder of texts: heads of attention, and pieces at most
JSON = (Modality.TABULAR, Modality.SERIES, Modality.POINTS)


class Target(ABC):
    """One modality's payloads as a tensor, and back.

    Args:
        built: The graph.
        node: The node type.
        known: Mask ``[rows]`` of the nodes that may be learned from.
    """

    attribute: str
    values: Tensor  # [rows, *shape]
    vocabulary: tuple[str, ...] = ()  # the piece of each number, of texts
    measure: str = "mean squared error"

    def __init__(self, built: Built, node: str, known: Tensor) -> None:
        self.built, self.node, self.known = built, node, known

    def task(self, schema: Schema) -> Generation:
        """What the translator is asked."""
        return PayloadGeneration(schema, self.node, attribute=self.attribute)

    def error(self, made: Tensor, real: Tensor) -> float:
        """How far what is made is off, both ``[rows, *shape]``; 0 is the best."""
        known = real.isfinite()
        return float((made.double() - real.double())[known].square().mean())

    def typical(self, values: Tensor) -> Tensor:
        """What to say of any row, knowing some alone: ``[rows, *shape] -> [*shape]``."""
        return values.double().nanmean(dim=0).nan_to_num(0.0)

    @abstractmethod
    def decoder(self, channels: int, hidden: Sequence[int]) -> Generative:
        """A decoder of its values."""

    @abstractmethod
    def payloads(self, made: Tensor, decoder: Generative, sources: Sources, seed: int) -> list[str | bytes] | None:
        """What was made as texts or the bytes of files, a row each; ``None`` if it is features alone."""


class Vectors(Target):
    """Features, of which no payload can be made."""

    attribute = "x"

    def __init__(self, built: Built, node: str, known: Tensor) -> None:
        super().__init__(built, node, known)
        x = built.graph[node].get("x")
        if x is None or x.dim() != 2 or not x.shape[1]:
            raise ConfigError(
                f"Features of {node!r} can be made where it has x, got {sorted(built.graph[node].keys())}; "
                "make its payloads"
            )
        self.values = x

    def decoder(self, channels: int, hidden: Sequence[int]) -> Generative:
        """The mean of the features, column by column."""
        centre, scale = _scale(self.values[self.known])
        dense = Dense(channels, self.values.shape[1:], hidden=hidden, centre=centre, scale=scale)
        return Regression(dense, dtype=self.values.dtype)

    def payloads(self, made: Tensor, decoder: Generative, sources: Sources, seed: int) -> list[str | bytes] | None:
        """None."""
        return None


class Pictures(Target):
    """Pictures, as squares of pixels."""

    attribute = "pixels"

    def __init__(self, built: Built, node: str, known: Tensor, *, size: int) -> None:
        super().__init__(built, node, known)
        own = built.graph[node].get("pixels")
        self.values = Pixels(size)(payloads_of(built, node)) if own is None else own

    def decoder(self, channels: int, hidden: Sequence[int]) -> Generative:
        """The mean of the pixels."""
        shape = self.values.shape[1:]
        dense = Dense(channels, shape, attribute="pixels", hidden=hidden, centre=127.5, scale=127.5)
        return Regression(dense, dtype=torch.uint8)

    def payloads(self, made: Tensor, decoder: Generative, sources: Sources, seed: int) -> list[str | bytes]:
        """PNG files."""
        from PIL import Image

        files: list[str | bytes] = []
        for pixels in made:
            array = pixels.permute(1, 2, 0).numpy()  # [size, size, colours]
            file = BytesIO()
            Image.fromarray(np.ascontiguousarray(array[:, :, 0] if array.shape[2] == 1 else array)).save(file, "PNG")
            files.append(file.getvalue())
        return files


class Recordings(Target):
    """Recordings, as mel bands over time."""

    attribute = "mel"

    def __init__(self, built: Built, node: str, known: Tensor) -> None:
        super().__init__(built, node, known)
        identity, own = built.schema.nodes[node].encoder, built.graph[node].get("mel")
        stated = None if identity is None else identity.options.get("rate_hz")
        rate = stated if isinstance(stated, int) else None
        if own is not None and rate is not None:
            self.rate_hz, self.values = rate, own
            return
        payloads = payloads_of(built, node)
        sounds = [
            decode_audio(payload, rate_hz=None) for payload, use in zip(payloads, known.tolist(), strict=True) if use
        ]
        self.rate_hz = min(rate or HIGHEST_HZ, max(sound.rate_hz for sound in sounds))
        longest = min(LONGEST_S, max(0.05, *(sound.duration_s for sound in sounds)))
        self.values = LogMel(rate_hz=self.rate_hz, seconds=longest)(payloads)

    def decoder(self, channels: int, hidden: Sequence[int]) -> Generative:
        """The mean of the bands, and where they end."""
        centre, scale = _scale(self.values[self.known])
        dense = Dense(channels, self.values.shape[1:], attribute="mel", hidden=hidden, centre=centre, scale=scale)
        return Mel(dense, dtype=self.values.dtype)

    def payloads(self, made: Tensor, decoder: Generative, sources: Sources, seed: int) -> list[str | bytes]:
        """WAV files."""
        ended = decoder.cut(made, sources) if isinstance(decoder, Mel) else made
        return [wav_bytes(sound) for sound in to_sounds(ended, self.rate_hz, seed=seed)]


class Rows(Target):
    """Rows of a table."""

    attribute = "x"

    def __init__(self, built: Built, node: str, known: Tensor) -> None:
        super().__init__(built, node, known)
        encoder = built.encoder(node)
        if not isinstance(encoder, Columns):
            raise ConfigError(
                f"Rows of {node!r} can be made where columns became its features, got {encoder.identity}; "
                "make its features alone"
            )
        self.encoder, self.values = encoder, built.graph[node].x

    def decoder(self, channels: int, hidden: Sequence[int]) -> Generative:
        """Each column by its likelihood; what is made is the mean of numbers, the likeliest of categories."""
        return Tabular(channels, column_groups(self.encoder.names), hidden=hidden, draw=False)

    def payloads(self, made: Tensor, decoder: Generative, sources: Sources, seed: int) -> list[str | bytes]:
        """JSON of the cells."""
        return [json.dumps(row, ensure_ascii=False) for row in cells_of(self.encoder, made)]


class Texts(Target):
    """Texts, as numbers of pieces that are learned from those that may be learned from."""

    attribute = "tokens"
    measure = "1 - ROUGE-L"

    def __init__(self, built: Built, node: str, known: Tensor, *, length: int) -> None:
        super().__init__(built, node, known)
        texts = payloads_of(built, node)
        learned = [text for text, use in zip(texts, known.tolist(), strict=True) if use]
        subwords = Subwords.fit(learned, length=length, vocabulary=PIECES)
        tokens = subwords(texts)
        longest = int((tokens[known] > 0).sum(dim=1).max()) if bool(known.any()) else 0
        self.values, self.vocabulary = tokens[:, : max(longest, 2)], subwords.pieces

    def task(self, schema: Schema) -> Generation:
        """What the translator is asked."""
        return TextGeneration(schema, self.node)

    def decoder(self, channels: int, hidden: Sequence[int]) -> Generative:
        """A causal Transformer; ``channels`` must be a multiple of its heads."""
        if channels % HEADS:
            raise ConfigError(f"channels must be a multiple of {HEADS} where texts are made, got {channels}")
        length, wide = self.values.shape[1], max(hidden)
        return TransformerDecoder(channels, vocabulary=len(self.vocabulary), length=length, heads=HEADS, hidden=wide)

    def error(self, made: Tensor, real: Tensor) -> float:
        """1 less :func:`~mmgraph.functional.captions.rouge_l`, the mean over rows."""
        said, told = ([words(text) for text in spell(self.vocabulary, tokens)] for tokens in (made, real))
        return 1 - float(rouge_l(said, [[text] for text in told]).mean())

    def typical(self, values: Tensor) -> Tensor:
        """The most common text, and of several the one that comes first."""
        rows, counts = values.unique(dim=0, return_counts=True)
        return rows[int(counts.argmax())]

    def payloads(self, made: Tensor, decoder: Generative, sources: Sources, seed: int) -> list[str | bytes]:
        """The texts."""
        return [*spell(self.vocabulary, made)]


def target_of(built: Built, node: str, known: Tensor, *, payloads: bool, size: int, length: int) -> Target:
    """What is made of a modality.

    Args:
        built: The graph.
        node: The modality.
        known: Mask ``[rows]`` of its nodes that may be learned from.
        payloads: Whether payloads are to be made, or features alone.
        size: Side of a picture, where the graph holds no pixels.
        length: Pieces of a text at most, the end among them.

    Raises:
        ConfigError: There is no way to make it.
    """
    if not payloads:
        return Vectors(built, node, known)
    modality = built.schema.nodes[node].modality
    if modality is Modality.IMAGE:
        return Pictures(built, node, known, size=size)
    if modality is Modality.AUDIO:
        return Recordings(built, node, known)
    if modality is Modality.TABULAR:
        return Rows(built, node, known)
    if modality is Modality.TEXT:
        return Texts(built, node, known, length=length)
    raise ConfigError(
        f"Payloads can be made of image, audio, text and tabular, got {node!r}, which is {modality}; "
        "make its features alone"
    )


def payloads_of(built: Built, node: str) -> list[Any]:
    """The payloads of a node type, as encoders take them."""
    if node not in built.payloads:
        raise ConfigError(f"{node!r} must have payloads, as {sorted(built.payloads)} have")
    return parsed(built.payloads[node](), built.schema.nodes[node].modality)


def parsed(payloads: Iterable[str | bytes], modality: Modality | None) -> list[Any]:
    """Stored payloads as encoders take them: JSON becomes what it says."""
    return [json.loads(payload) if modality in JSON else payload for payload in payloads]


def cells_of(encoder: Columns, x: Tensor) -> list[dict[str, Any]]:
    """The rows that an encoder of columns gives about these features; ``None`` for what is unknown, or no one value.

    Args:
        encoder: What the features are to be as if made by.
        x: ``[rows, channels]``.

    Example:
        >>> rows = [{"age": 30, "colour": "red"}, {"age": 50, "colour": "blue"}]
        >>> encoder = Columns.fit(rows, columns={"age": "numeric", "colour": "category"})
        >>> cells_of(encoder, encoder([{"age": 60, "colour": "blue"}, {"age": None, "colour": "green"}]))
        [{'age': 60.0, 'colour': 'blue'}, {'age': None, 'colour': None}]
    """
    columns: Any = encoder.identity.options["columns"]  # [[name, kind], …]
    state = encoder.state()
    rows: list[dict[str, Any]] = [{} for _ in range(len(x))]
    for place, (group, (name, kind)) in enumerate(zip(column_groups(encoder.names), columns, strict=True)):
        part = x[:, slice(*group.channels)].double()
        fitted = {key.removeprefix(f"{place}."): one for key, one in state.items() if key.startswith(f"{place}.")}
        for row, value in zip(rows, _CELLS[kind](part, fitted), strict=True):
            row[name] = value
    return rows


def _numbers(part: Tensor, fitted: Mapping[str, Tensor]) -> list[float | None]:
    if "scale" in fitted:
        found = part[:, 0].numpy() * float(fitted["scale"][1]) + float(fitted["scale"][0])
    else:
        from scipy.special import ndtr

        quantiles = fitted["quantiles"].numpy()
        found = np.interp(ndtr(part[:, 0].numpy()), np.linspace(0, 1, len(quantiles)), quantiles)
    return [None if unknown else float(value) for value, unknown in zip(found, part[:, -1] > 0.5, strict=True)]


def _categories(part: Tensor, fitted: Mapping[str, Tensor]) -> list[str | None]:
    levels = [*json.loads(fitted["levels"].numpy().tobytes()), None, None]  # others, unknown
    return [levels[place] for place in part.argmax(dim=1).tolist()]


def _moments(part: Tensor, fitted: Mapping[str, Tensor]) -> list[str | None]:
    first, last = (moment.replace(tzinfo=UTC) for moment in (datetime.min, datetime.max))
    began, unit = datetime(1970, 1, 1, tzinfo=UTC), timedelta(microseconds=1)
    low, high = (first - began) // unit, (last - began) // unit
    return [
        None if time is None else (began + min(max(round(time), low), high) * unit).isoformat()
        for time in _numbers(part, fitted)
    ]


_CELLS: Mapping[str, Callable[[Tensor, Mapping[str, Tensor]], Sequence[Any]]] = {
    "numeric": _numbers,
    "category": _categories,
    "datetime": _moments,
}


def _scale(values: Tensor) -> tuple[float, float]:
    """Mean and deviation of all values that are finite."""
    known = values[values.isfinite()].double()
    deviation = float(known.std()) if known.numel() > 1 else 0.0
    return (float(known.mean()) if known.numel() else 0.0), (deviation if deviation > 0 else 1.0)
