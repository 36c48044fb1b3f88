"""Frozen encoders by name, for what is written in files: made with options, kept in a folder and taken from it."""

from __future__ import annotations

import importlib
import inspect
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from mmgraph.encoders.frozen import Frozen
from mmgraph.errors import ArtifactError, ConfigError, SchemaError
from mmgraph.files import check_seal, new_folder, read_json, seal, write_json
from mmgraph.schema import Identity, Modality

KINDS: Mapping[str, str] = MappingProxyType(
    {
        "sentences": "mmgraph.encoders.text:Sentences",
        "hashed_text": "mmgraph.encoders.hashed:HashedText",
        "tokens": "mmgraph.encoders.tokens:Tokens",
        "subwords": "mmgraph.encoders.subwords:Subwords",
        "columns": "mmgraph.encoders.columns:Columns",
        "gradients": "mmgraph.encoders.image:Gradients",
        "pixels": "mmgraph.encoders.image:Pixels",
        "pictures": "mmgraph.encoders.image:Pictures",
        "codes": "mmgraph.encoders.codes:Codes",
        "spectra": "mmgraph.encoders.audio:Spectra",
        "log_mel": "mmgraph.encoders.audio:LogMel",
        "recordings": "mmgraph.encoders.audio:Recordings",
        "series": "mmgraph.encoders.series:Series",
        "series_summary": "mmgraph.encoders.series:SeriesSummary",
        "cloud": "mmgraph.encoders.points:Cloud",
        "cloud_summary": "mmgraph.encoders.points:CloudSummary",
        "symbols": "mmgraph.encoders.symbol:Symbols",
        "function": "mmgraph.encoders.function:Function",
    }
)
"""Name → module and class; a class is imported when it is asked for."""

DEFAULTS: Mapping[Modality, str] = MappingProxyType(
    {
        Modality.TEXT: "hashed_text",
        Modality.IMAGE: "gradients",
        Modality.AUDIO: "spectra",
        Modality.VIDEO: "gradients",  # a video is a chain of pictures
        Modality.SERIES: "series_summary",
        Modality.POINTS: "cloud_summary",
        Modality.SYMBOL: "symbols",
    }
)
"""Modality → the kind that needs no model and no further option; there is none for tables."""


def frozen_class(kind: str) -> type[Frozen]:
    """The class of a kind.

    Raises:
        ConfigError: There is no such kind.

    Example:
        >>> frozen_class("hashed_text").__name__
        'HashedText'
        >>> frozen_class("tf_idf")
        Traceback (most recent call last):
        ...
        mmgraph.errors.ConfigError: A kind of frozen encoder must be one of ['sentences', 'hashed_text', ...
    """
    if kind not in KINDS:
        raise ConfigError(f"A kind of frozen encoder must be one of {list(KINDS)}, got {kind!r}")
    module, name = KINDS[kind].split(":")
    found: type[Frozen] = getattr(importlib.import_module(module), name)
    return found


def make_frozen(kind: str, payloads: Iterable[Any] = (), **options: Any) -> Frozen:
    """Makes an encoder, and fits it where the kind is fitted.

    Args:
        kind: One of :data:`KINDS`.
        payloads: What to fit it on: those of the training samples alone. Kinds that are not fitted leave them unread.
        options: Of its ``fit``, or of its constructor if it has none.

    Raises:
        ConfigError: There is no such kind or option, or an option is missing or out of range.
        DataError: The payloads can't be fitted on.

    Example:
        >>> encoder = make_frozen("hashed_text", ["a cat", "a dog", "income tax"], channels=8)
        >>> encoder(["a cat", "a horse"]).shape
        torch.Size([2, 8])
        >>> make_frozen("hashed_text", ["a cat"], width=8)
        Traceback (most recent call last):
        ...
        mmgraph.errors.ConfigError: An option of 'hashed_text' must be one of ['channels', ...
    """
    cls = frozen_class(kind)
    fit: Callable[..., Frozen] | None = getattr(cls, "fit", None)
    _check_options(kind, fit or cls, options, skip=1 if fit else 0)
    return fit(payloads, **options) if fit else cls(**options)


def save_frozen(kind: str, options: Mapping[str, Any], encoder: Frozen, folder: Path) -> None:
    """Keeps an encoder in a folder: how it was made, who it is, and what was fitted. All of it is written, or nothing.

    Args:
        kind: One of :data:`KINDS`: what :func:`make_frozen` made it of.
        options: What it was made with.
        encoder: The encoder.
        folder: A folder of its own; what was there before is replaced.

    Raises:
        ConfigError: The encoder is not of this kind, or an option can't be written as JSON.

    Example:
        >>> folder = getfixture("tmp_path") / "text"
        >>> encoder = make_frozen("hashed_text", ["a cat", "a dog"], channels=8)
        >>> save_frozen("hashed_text", {"channels": 8}, encoder, folder)
        >>> bool((load_frozen(folder)(["a cat"]) == encoder(["a cat"])).all())
        True
    """
    from safetensors.torch import save_file

    if type(encoder) is not (cls := frozen_class(kind)):
        raise ConfigError(f"A {kind!r} must be a {cls.__name__}, got a {type(encoder).__name__}")
    plain = {key: str(value) if isinstance(value, Path) else value for key, value in options.items()}
    for key, value in plain.items():
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise ConfigError(f"Option {key!r} of {kind!r} must be written as JSON, got {value!r}: {error}") from None
    with new_folder(folder) as draft:
        write_json(
            draft / "encoder.json",
            {"kind": kind, "options": plain, "identity": encoder.identity.model_dump(mode="json")},
        )
        save_file({key: value.contiguous() for key, value in encoder.state().items()}, draft / "state.safetensors")
        seal(draft)


def load_frozen(folder: Path) -> Frozen:
    """Takes an encoder from the folder that :func:`save_frozen` wrote.

    Raises:
        ArtifactError: A file is missing or damaged, or the model has changed since.
        ConfigError: What the encoder was made of (a model, say) is not there any more.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    check_seal(folder)
    file = folder / "encoder.json"
    try:
        made = read_json(file)
        kind, options, identity = made["kind"], dict(made["options"]), Identity(**made["identity"])
        state = load_file(folder / "state.safetensors")
        cls = frozen_class(kind)
    except (KeyError, TypeError, SchemaError, OSError, SafetensorError) as error:
        raise ArtifactError(f"Folder {str(folder)!r} must hold a frozen encoder, but {error!r}; fit it anew") from None
    try:
        encoder = cls.restore(options, state)
    except (KeyError, TypeError) as error:
        raise ArtifactError(f"File {str(file)!r} must say how a {kind!r} is made, but {error!r}; fit it anew") from None
    if encoder.identity != identity:
        raise ArtifactError(
            f"The encoder in {str(folder)!r} must be {_full(identity)}, got {_full(encoder.identity)}: the model has "
            "changed since; restore it, or fit and encode anew"
        )
    return encoder


def _check_options(kind: str, make: Callable[..., Frozen], options: Mapping[str, Any], *, skip: int) -> None:
    known = list(inspect.signature(make).parameters.values())[skip:]
    names = [one.name for one in known]
    for key in options:
        if key not in names:
            raise ConfigError(f"An option of {kind!r} must be one of {names}, got {key!r}")
    for one in known:
        if one.default is one.empty and one.name not in options:
            raise ConfigError(f"{kind!r} must be given the option {one.name!r}, got {sorted(options)}")


def _full(identity: Identity) -> str:
    return f"{identity.name}@{identity.revision} {identity.options}"
