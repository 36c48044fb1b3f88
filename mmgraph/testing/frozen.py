"""Whether a frozen encoder keeps its promises."""

from __future__ import annotations

import json
import os
import random
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmgraph.encoders import KINDS, FeatureCache, Frozen, frozen_class, load_frozen, save_frozen
from mmgraph.errors import DataError
from mmgraph.schema import Identity, Modality
from mmgraph.testing.expect import expect, name_of, same


def check_frozen(
    encoder: Frozen,
    payloads: Sequence[Any],
    bad: Sequence[Any] = (),
    *,
    options: Mapping[str, Any] | None = MappingProxyType({}),
) -> None:
    """Checks a frozen encoder: rows, shapes, bits, what it refuses, and that it is the same when kept and taken back.

    Args:
        encoder: What to check.
        payloads: At least two that can be encoded, all different.
        bad: What it must refuse with a ``DataError``.
        options: What it was made with, for the way to a file and back; ``None`` for one that is not kept in files.

    Raises:
        AssertionError: A promise is broken.

    Example:
        >>> from mmgraph.encoders import HashedText
        >>> check_frozen(HashedText.fit(["an owl", "a cat"], channels=4), ["a cat", "no cat"], [None, 1.0, b"cat"],
        ...              options={"channels": 4})
    """
    name = name_of(encoder)
    expect(len(payloads) > 1, f"{name} must be checked on at least 2 payloads, got {len(payloads)}")
    _check_attributes(encoder)
    before = [encoder.content(payload) for payload in payloads]
    expect(len(set(before)) == len(before), f"{name} must tell payloads apart by their content, got equal ones")
    with _unchanged(name):
        features = encoder(payloads)
    _check_features(encoder, features, payloads)
    _check_rows(encoder, features, payloads)
    _check_cache(encoder, features, payloads)
    for one in bad:
        _check_refused(encoder, one, payloads, features)
    if options is not None:
        _check_kept(encoder, features, payloads, options)
    after = [encoder.content(payload) for payload in payloads]
    expect(before == after, f"{name} must leave payloads as they are, got other content of {_first(before, after)}")


def _check_attributes(encoder: Frozen) -> None:
    name, identity = name_of(encoder), encoder.identity
    expect(isinstance(identity, Identity), f"{name} must have an Identity, got {identity!r}")
    try:
        back = Identity(**json.loads(json.dumps(identity.model_dump(), allow_nan=False)))
    except ValueError as error:
        raise AssertionError(f"{name} must have an identity that JSON keeps, got {identity!r}: {error}") from None
    expect(back == identity, f"{name} must have an identity that JSON keeps, got {back!r} of {identity!r}")
    expect(isinstance(encoder.modality, Modality), f"{name} must have a Modality, got {encoder.modality!r}")
    shape: Any = encoder.shape
    good = isinstance(shape, tuple) and all(isinstance(size, int) and size > 0 for size in shape)
    expect(good, f"{name} must have a shape of sizes above 0, got {shape!r}")
    expect(
        encoder.attribute != "x" or len(encoder.shape) == 1,
        f"{name} must give vectors as 'x', got rows of shape {encoder.shape!r}; name another attribute",
    )


def _check_features(encoder: Frozen, features: Tensor, payloads: Sequence[Any]) -> None:
    name = name_of(encoder)
    for found, rows in ((features, len(payloads)), (encoder([]), 0)):
        wanted = (rows, *encoder.shape)
        expect(
            found.shape == wanted and found.dtype == encoder.dtype and found.device.type == "cpu",
            f"{name} must give {list(wanted)} of {encoder.dtype}, got {list(found.shape)} of {found.dtype}",
        )
    expect(not features.requires_grad, f"{name} must give features without gradient")
    if encoder.attribute == "x":
        broken = (~features.isfinite()).any(dim=1).nonzero().flatten().tolist()
        expect(not broken, f"{name} must give finite features, got NaN or infinity in rows {broken}")
    expect(
        any(not same(row, features[0]) for row in features[1:]),
        f"{name} must read its payloads, got equal rows of all {len(payloads)}",
    )


def _check_rows(encoder: Frozen, features: Tensor, payloads: Sequence[Any]) -> None:
    name = name_of(encoder)
    expect(same(encoder(payloads), features), f"{name} must give equal bits each time, got others the second time")
    alone = torch.cat([encoder([payload]) for payload in payloads])
    off = [row for row in range(len(payloads)) if not _near(alone[row], features[row])]
    expect(not off, f"{name} must encode a payload alone as among others, got other rows of {off}")
    back = encoder([*payloads][::-1]).flip(0)
    off = [row for row in range(len(payloads)) if not _near(back[row], features[row])]
    expect(not off, f"{name} must keep the order of payloads, got other rows of {off} where it is reversed")
    twice = encoder([*payloads, *payloads])
    expect(same(twice[: len(payloads)], twice[len(payloads) :]), f"{name} must give equal bits for equal payloads")


def _check_cache(encoder: Frozen, features: Tensor, payloads: Sequence[Any]) -> None:
    name = name_of(encoder)
    with tempfile.TemporaryDirectory() as folder:
        cache = FeatureCache(folder)
        made = encoder.attempt(payloads, cache=cache)
        again = encoder.attempt(payloads, cache=cache)
    expect(
        (made.made, again.cached, again.made) == (len(payloads), len(payloads), 0),
        f"{name} must encode nothing that the cache holds, got {again.made} of {len(payloads)} made again",
    )
    expect(
        same(made.features, features) and same(again.features, features),
        f"{name} must give equal bits with a cache, got others",
    )


def _check_refused(encoder: Frozen, bad: Any, payloads: Sequence[Any], features: Tensor) -> None:
    name, what = name_of(encoder), repr(bad) if len(repr(bad)) < 80 else f"{repr(bad)[:77]}..."
    try:
        encoder([bad])
    except DataError:
        pass
    except Exception as error:
        raise AssertionError(f"{name} must refuse {what} with a DataError, got {error!r}") from error
    else:
        expect(False, f"{name} must refuse {what} with a DataError, got features")
    done = encoder.attempt([payloads[0], bad, payloads[1]])
    expect(
        list(done.rejected) == [1] and done.rows.tolist() == [0, 2] and bool(done.rejected[1]),
        f"{name} must set {what} aside, got {done.rejected} and rows {done.rows.tolist()}",
    )
    expect(_near(done.features, features[:2]), f"{name} must encode others as if {what} had not been there")


def _check_kept(encoder: Frozen, features: Tensor, payloads: Sequence[Any], options: Mapping[str, Any]) -> None:
    from safetensors.torch import load, save

    named = [kind for kind, path in KINDS.items() if path.endswith(f":{type(encoder).__name__}")]
    kind = next((kind for kind in named if frozen_class(kind) is type(encoder)), None)
    if kind is not None:
        with tempfile.TemporaryDirectory() as folder:
            save_frozen(kind, options, encoder, Path(folder) / kind)
            back = load_frozen(Path(folder) / kind)
    else:
        state = load(save({key: value.contiguous() for key, value in encoder.state().items()}))
        back = type(encoder).restore(json.loads(json.dumps(dict(options))), state)
    name = name_of(encoder)
    expect(
        back.identity == encoder.identity,
        f"{name} must be who it was when it is kept and taken back, got {back.identity!r} of {encoder.identity!r}",
    )
    expect(same(back(payloads), features), f"{name} must give equal bits when it is kept and taken back, got others")


@contextmanager
def _unchanged(name: str) -> Iterator[None]:
    """Expects that nothing that all share is another afterwards."""
    before = _shared()
    yield
    after = _shared()
    changed = [what for what in before if before[what] != after[what]]
    expect(not changed, f"{name} must leave as it is what all share, got a change of {', '.join(changed)}")


def _shared() -> dict[str, Any]:
    return {
        "the random state of torch": torch.get_rng_state().numpy().tobytes(),
        "the random state of numpy": [np.asarray(part).tobytes() for part in np.random.get_state()],
        "the random state of Python": random.getstate(),
        "torch's default type": torch.get_default_dtype(),
        "torch's number of threads": torch.get_num_threads(),
        "torch's recording of gradients": torch.is_grad_enabled(),
        "torch's determinism": torch.are_deterministic_algorithms_enabled(),
        "the environment": dict(os.environ),
        "the folder": str(Path.cwd()),
    }


def _near(a: Tensor, b: Tensor) -> bool:
    return torch.allclose(a.double(), b.double(), rtol=1e-4, atol=1e-4, equal_nan=True)


def _first(before: Sequence[bytes], after: Sequence[bytes]) -> str:
    pairs = enumerate(zip(before, after, strict=True))
    return next((f"payload {row}" for row, (one, other) in pairs if one != other), "")
