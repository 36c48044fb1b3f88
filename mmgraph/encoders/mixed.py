"""Payloads of several modalities in one call, in any order."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmgraph.encoders.cache import FeatureCache
from mmgraph.encoders.frozen import Frozen
from mmgraph.errors import ConfigError, DataError
from mmgraph.media.audio import Sound
from mmgraph.media.files import describe, read_file, sniff
from mmgraph.media.text import decode_text
from mmgraph.schema import Modality

_HEAD = 8192  # bytes of a file that are looked at


@dataclass(frozen=True)
class Mixed:
    """What became of payloads of several modalities.

    Args:
        vectors: A vector for each payload, in their order; ``None`` for those that could not be encoded.
        modalities: The modality of each; ``None`` where it could not be told.
        rejected: Payload → why it could not be encoded.
    """

    vectors: Sequence[Tensor | None]
    modalities: Sequence[Modality | None]
    rejected: Mapping[int, str]

    def matrix(self) -> Tensor:
        """All vectors, those of rejected payloads left out: ``[payloads, channels]``.

        Equal widths alone don't make vectors of two modalities comparable: encoders of one model do.

        Raises:
            DataError: The widths differ, or there is no vector.
        """
        found = [vector for vector in self.vectors if vector is not None]
        shapes = {
            f"{modality}: {list(vector.shape)}": vector.shape
            for vector, modality in zip(self.vectors, self.modalities, strict=True)
            if vector is not None
        }
        if not found:
            raise DataError(f"There must be a vector, got none of {len(self.vectors)} payloads")
        if len(set(shapes.values())) > 1 or found[0].dim() != 1:
            raise DataError(
                f"All vectors must have one width, got {', '.join(shapes)}; encode each modality by itself, or with "
                "encoders of one width"
            )
        return torch.stack(found)


def encode(
    payloads: Iterable[Any],
    encoders: Mapping[Modality, Frozen] | Mapping[str, Frozen],
    *,
    cache: FeatureCache | None = None,
) -> Mixed:
    """Encodes payloads of several modalities, each by the encoder of its modality, in one batch a modality.

    | payload | is |
    |---|---|
    | ``(modality, payload)`` | what it says |
    | ``str`` | a text, also if it reads like a path |
    | ``bytes``, ``pathlib.Path`` | told by the first bytes, whatever the name of the file says |
    | a picture of Pillow, an array ``[height, width, 3]`` of uint8 | an image |
    | :class:`mmgraph.media.audio.Sound` | audio |
    | a mapping | the row of a table |

    Args:
        payloads: What to encode.
        encoders: Modality → its encoder.
        cache: Where features are looked up and kept; ``None`` for nowhere.

    Raises:
        ConfigError: There is no encoder for a modality, or one is of another modality.
        DataError: One payload in place of several.
        ArtifactError: The cache is damaged.

    Example:
        >>> from mmgraph.encoders import Columns, HashedText
        >>> encoders = {
        ...     "text": HashedText.fit(["owl", "cat"], channels=2),
        ...     "tabular": Columns.fit([{"age": 1}, {"age": 3}], columns={"age": "numeric"}),
        ... }
        >>> found = encode([{"age": 3}, "owl", {"age": None}, b"cat"], encoders)
        >>> [modality and modality.value for modality in found.modalities]
        ['tabular', 'text', 'tabular', 'text']
        >>> found.vectors[0]
        tensor([1., 0.])
    """
    if isinstance(payloads, str | bytes | Mapping):
        raise DataError(f"payloads must be a sequence of payloads, got one {type(payloads).__name__}; wrap it in []")
    known = _check_encoders(encoders)
    modalities: list[Modality | None] = []
    rejected: dict[int, str] = {}
    parts: dict[Modality, dict[int, Any]] = {}
    for place, payload in enumerate(payloads):
        try:
            modality, inner = _told(payload)
        except DataError as error:
            modalities.append(None)
            rejected[place] = str(error)
            continue
        if modality not in known:
            raise ConfigError(
                f"There must be an encoder for {modality.value!r}, which payload {place} is, got encoders for "
                f"{[one.value for one in known]}"
            )
        modalities.append(modality)
        parts.setdefault(modality, {})[place] = inner
    vectors: list[Tensor | None] = [None] * len(modalities)
    for modality, part in parts.items():
        done = known[modality].attempt(part.values(), cache=cache)
        places = list(part)
        for row, vector in zip(done.rows.tolist(), done.features, strict=True):
            vectors[places[row]] = vector
        rejected |= {places[row]: reason for row, reason in done.rejected.items()}
    return Mixed(vectors, modalities, dict(sorted(rejected.items())))


def _check_encoders(encoders: Mapping[Modality, Frozen] | Mapping[str, Frozen]) -> dict[Modality, Frozen]:
    known: dict[Modality, Frozen] = {}
    for name, encoder in encoders.items():
        if name not in list(Modality):
            raise ConfigError(f"encoders must be by modality, one of {[one.value for one in Modality]}, got {name!r}")
        if encoder.modality != name:
            raise ConfigError(
                f"The encoder for {str(name)!r} must encode it, got {encoder.identity}, which encodes "
                f"{encoder.modality.value!r}"
            )
        known[Modality(name)] = encoder
    return known


def _told(payload: Any) -> tuple[Modality, Any]:
    """The modality of a payload, and what its encoder is given."""
    if isinstance(payload, str):
        return Modality.TEXT, payload
    if isinstance(payload, bytes | bytearray | Path):
        return _sniffed(bytes(payload) if isinstance(payload, bytearray) else payload)
    if isinstance(payload, tuple) and len(payload) == 2 and isinstance(payload[0], str):
        if payload[0] not in list(Modality):
            raise DataError(f"a pair must begin with one of {[one.value for one in Modality]}, got {payload[0]!r}")
        inner = payload[1]
        is_file = payload[0] == Modality.TEXT and isinstance(inner, bytes | Path)
        return Modality(payload[0]), _text(inner) if is_file else inner
    if isinstance(payload, Sound):
        return Modality.AUDIO, payload
    if isinstance(payload, Mapping):
        return Modality.TABULAR, payload
    if isinstance(payload, np.ndarray) and payload.dtype == np.uint8 and payload.ndim == 3 and payload.shape[2] == 3:
        return Modality.IMAGE, payload
    from PIL import Image

    if isinstance(payload, Image.Image):
        return Modality.IMAGE, payload
    what = type(payload).__name__
    if isinstance(payload, np.ndarray):
        what += f" {list(payload.shape)} of {payload.dtype}"
    raise DataError(f"the modality of this can't be told: {what}; pass (modality, payload)")


def _sniffed(payload: bytes | Path) -> tuple[Modality, Any]:
    head = payload[:_HEAD] if isinstance(payload, bytes) else _head(payload)
    modality = sniff(head)
    if modality is None:
        raise DataError(f"the modality of this can't be told: {describe(head)}; pass (modality, payload)")
    if modality is Modality.TEXT:
        return modality, _text(payload)
    return modality, payload


def _text(payload: bytes | Path) -> str:
    return decode_text(read_file(payload) if isinstance(payload, Path) else payload)


def _head(path: Path) -> bytes:
    if not path.is_file():  # nor a pipe, which would wait
        raise DataError(f"{str(path)!r} must be a file, got {'another thing' if path.exists() else 'nothing'}")
    try:
        with path.open("rb") as file:
            return file.read(_HEAD)
    except OSError as error:
        raise DataError(f"File {str(path)!r} must be readable, but {error.strerror}") from None
