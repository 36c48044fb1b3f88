"""What the encoders of ready-made models share: loading one, and saying which one it was."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Literal, get_args

from mmgraph.encoders.frozen import digest_of_folder
from mmgraph.errors import ConfigError
from mmgraph.optional import no_bars, require
from mmgraph.schema import Identity

Precision = Literal["float32", "bfloat16"]


def load(
    model: str | Path, revision: str | None, device: str | None, *, kind: Literal["text", "image", "audio"]
) -> Any:
    """A ``SentenceTransformer`` in evaluation mode that knows a kind of payload; no code of the model is run.

    Args:
        model: A folder with a model, or a name on the hub (from its local cache where ``HF_HUB_OFFLINE=1``).
        revision: Commit, branch or tag on the hub; ``None`` for the newest. A folder has none.
        device: Where the model runs; ``None`` for the GPU if there is one.
        kind: What it must know; also the extra that is named if a package is missing.

    Raises:
        MissingPackageError: sentence-transformers is not installed.
        ConfigError: There is no such model, or it doesn't know the kind.
    """
    package = require("sentence_transformers", extra=kind)
    try:
        with no_bars() if Path(model).is_dir() else nullcontext():  # what is downloaded may show one
            loaded = package.SentenceTransformer(str(model), revision=revision, device=device, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"model must be a folder with a sentence model or a name on the hub, got {str(model)!r} "
            f"(revision {revision}): {error}"
        ) from error
    if not loaded.supports(kind):
        raise ConfigError(f"model must know {kind}, got {str(model)!r}, which knows {loaded.modalities}")
    return loaded.eval()


def identity_of(model: str | Path, revision: str | None, options: Mapping[str, Any]) -> Identity:
    """Which model it is: a folder by its name and the digest of its files, one of the hub by name and commit."""
    if Path(model).is_dir():
        return Identity(name=Path(model).name, revision=digest_of_folder(Path(model)), options=dict(options))
    return Identity(name=str(model), revision=commit_of(str(model), revision), options=dict(options))


def commit_of(name: str, revision: str | None) -> str:
    """The commit that the local cache of the hub holds under a revision; the revision itself if it holds none."""
    cached = require("huggingface_hub", extra="text").try_to_load_from_cache(name, "config.json", revision=revision)
    return Path(cached).parent.name if isinstance(cached, str) else revision or "main"


def check_precision(precision: str) -> None:
    """Refuses a precision that there is not.

    Raises:
        ConfigError: It is none of those.
    """
    if precision not in get_args(Precision):
        raise ConfigError(f"precision must be one of {get_args(Precision)}, got {precision!r}")
