"""Any function as a frozen encoder."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmgraph.encoders.frozen import Frozen
from mmgraph.errors import ConfigError, DataError
from mmgraph.media.files import read_file
from mmgraph.schema import Identity, Modality


class Function(Frozen[Any, Any]):
    """A function of several payloads as a frozen encoder: what it gives is checked, and cached like that of others.

    It is called with a list of payloads that all differ, in the thread that asked. A function is not written to a
    file: keep it in a module of your own, and make the encoder anew.

    Args:
        function: Payloads to ``[payloads, channels]``, a tensor, an array, or a list of rows; the same numbers each
            time.
        name: Of the encoder, for whoever asks who made a feature.
        revision: Change it whenever the function changes: a cache knows its features by it.
        modality: What kind of payload it takes.
        channels: Width of the vectors.
        content: The bytes that tell a payload from others. By default those of a text, of ``bytes``, of a file, of an
            array or a tensor, and the JSON of what else can be written so.

    Raises:
        ConfigError: ``function`` can't be called, there is no such modality, or ``channels`` is below 1.

    Example:
        >>> lengths = Function(
        ...     lambda texts: [[len(text)] for text in texts], name="length", revision="1", modality="text", channels=1
        ... )
        >>> lengths(["owl", "horse"])
        tensor([[3.],
                [5.]])
    """

    def __init__(
        self,
        function: Callable[[list[Any]], Any],
        *,
        name: str,
        revision: str,
        modality: Modality | str,
        channels: int,
        content: Callable[[Any], bytes] | None = None,
    ) -> None:
        if not all([callable(function), modality in list(Modality), channels >= 1]):
            raise ConfigError(
                f"Function needs something to call, a modality of {[one.value for one in Modality]} and channels of at "
                f"least 1, got {function!r}, {modality!r} and {channels!r}"
            )
        self._function, self._content = function, content or _content
        self.modality = Modality(modality)
        self.shape = (channels,)
        self.identity = Identity(name=name, revision=revision, options={"channels": channels})

    def content(self, payload: Any) -> bytes:
        """The bytes that tell a payload from others."""
        return self._content(payload)

    def encode(self, prepared: list[Any]) -> Tensor:
        """What the function gives: ``[payloads, channels]``.

        Raises:
            DataError: It gives something else, or numbers that are not finite.
        """
        made = self._function(prepared)
        try:
            found = made if isinstance(made, Tensor) else torch.from_numpy(np.asarray(made, dtype=np.float32))
        except (TypeError, ValueError) as error:
            raise DataError(f"{self.identity} must give rows of numbers, got {type(made).__name__}: {error}") from None
        if len(bad := (~found.isfinite()).nonzero()):
            raise DataError(
                f"{self.identity} must give finite numbers, got {found[tuple(bad[0])]} at {bad[0].tolist()}"
            )
        return found


def _content(payload: Any) -> bytes:
    """A kind, and the bytes of that kind."""
    match payload:
        case bytes():
            return b"bytes:" + payload
        case Path():
            return b"file:" + read_file(payload)
        case np.ndarray() | Tensor():
            array = np.ascontiguousarray(payload)
            if array.dtype.hasobject:
                raise DataError("an array must hold numbers, got objects")
            return f"array:{array.dtype.str}{array.shape}:".encode() + array.tobytes()
    try:
        return b"json:" + json.dumps(payload, sort_keys=isinstance(payload, Mapping)).encode()
    except (TypeError, ValueError) as error:
        raise DataError(
            f"a {type(payload).__name__} has no bytes that tell it from others ({error}); give Function its content"
        ) from None
