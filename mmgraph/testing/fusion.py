"""Whether a fusion keeps its promises."""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from mmgraph.fusion import Fusion
from mmgraph.testing.expect import check_registered, close, expect, name_of, same
from mmgraph.typing import Parts, Present

INTRUDERS = (7.0, float("nan"), float("inf"), float("-inf"))  # what is put where nothing may be read


def check_fusion(fusion: Fusion, parts: Parts, present: Present, *, seed: int = 0) -> None:
    """Checks a fusion: the order of keys, absent parts, anchors without any, few anchors, and that it learns.

    Args:
        fusion: What to check; it is checked in evaluation mode.
        parts: Modality → ``[anchors, channels]``.
        present: Modality → mask ``[anchors]``; of each part, some anchor must lack it and some have it.
        seed: Of the gradients that are sent back.

    Raises:
        AssertionError: A promise is broken, or no anchor lacks (or has) a part.

    Example:
        >>> from mmgraph.fusion import Concat
        >>> from mmgraph.testing import check_fusion, fake_parts
        >>> check_fusion(Concat({"scan": 3, "text": 5}, 4), *fake_parts())
    """
    fusion, name = copy.deepcopy(fusion).eval(), name_of(fusion)
    for part, mask in present.items():
        expect(bool(mask.any()) and not bool(mask.all()), f"Some anchors must have {part!r} and some not, got {mask}")
    out = fusion(parts, present)
    anchors = len(next(iter(parts.values())))
    expect(
        out.dim() == 2 and len(out) == anchors,
        f"{name} must give a row an anchor, [{anchors}, channels], got {list(out.shape)}",
    )
    expect(bool(out.isfinite().all()), f"{name} must give finite vectors, got others")
    turned = fusion({part: parts[part] for part in reversed(list(parts))}, present)
    expect(same(turned, out), f"{name} must not depend on the order of the keys, got another result where it is turned")
    sent = torch.randn(out.shape, generator=torch.Generator().manual_seed(seed)).to(out.dtype)
    for part in parts:
        _check_absent(fusion, parts, present, part, sent)
        _check_lacking(fusion, parts, present, part, sent)
    _check_nothing(fusion, parts, present)
    _check_few(fusion, parts, present)
    _check_learns(fusion, parts, present, sent)


def _check_absent(fusion: Fusion, parts: Parts, present: Present, part: str, sent: Tensor) -> None:
    """What stands in the absent rows of a part must change neither the result nor any gradient."""
    name, gone = name_of(fusion), ~present[part][:, None]
    out, gradients = _gradients(fusion, parts, present, sent)
    for key, gradient in gradients.items():
        expect(bool(gradient.isfinite().all()), f"{name} must send finite gradients, got others for {key}")
    for value in INTRUDERS:
        filled = {**parts, part: parts[part].masked_fill(gone, value)}
        after, new = _gradients(fusion, filled, present, sent)
        expect(same(after, out), f"{name} must not read {part!r} where it is absent, got another result by {value}")
        for key, gradient in new.items():
            expect(
                same(gradient, gradients[key]),
                f"{name} must not read {part!r} where it is absent, got another gradient of {key} by {value}; "
                "mask before you project, not after",
            )
        own = new[f"part {part!r}"]
        expect(bool(own.any()), f"{name} must send a gradient to {part!r} where it is present, got none")
        expect(bool((own.masked_fill(~gone, 0) == 0).all()), f"{name} must send no gradient to absent rows of {part!r}")


def _check_lacking(fusion: Fusion, parts: Parts, present: Present, part: str, sent: Tensor) -> None:
    """A part that no anchor has must leave all finite, and get no gradient, whatever stands in its rows."""
    name = name_of(fusion)
    nobody = {**present, part: torch.zeros_like(present[part])}
    for value in INTRUDERS:
        filled = {**parts, part: torch.full_like(parts[part], value)}
        out, gradients = _gradients(fusion, filled, nobody, sent)
        bad = [key for key, gradient in {"the result": out, **gradients}.items() if not bool(gradient.isfinite().all())]
        expect(not bad, f"{name} must stay finite where nobody has {part!r}, got others by {value} in {bad}")
        own = gradients[f"part {part!r}"]
        expect(not bool(own.any()), f"{name} must send no gradient to {part!r} where nobody has it, got some")


def _check_few(fusion: Fusion, parts: Parts, present: Present) -> None:
    """Each anchor alone must get what it gets among others, and no anchors an empty result."""
    name, all_of_them = name_of(fusion), fusion(parts, present)
    for rows in (slice(0, 0), slice(0, 1), slice(1, 2)):
        few = fusion({key: x[rows] for key, x in parts.items()}, {key: mask[rows] for key, mask in present.items()})
        expected = all_of_them[rows]
        expect(
            few.shape == expected.shape and close(few, expected),
            f"{name} must give {len(expected)} anchor(s) what they get among others, got {few} and {expected}",
        )


def _check_nothing(fusion: Fusion, parts: Parts, present: Present) -> None:
    nothing = {part: torch.zeros_like(mask) for part, mask in present.items()}
    out = fusion(parts, nothing)
    expect(bool((out == 0).all()), f"{name_of(fusion)} must give zeros where all parts are absent, got {out[0]}")


def _check_learns(fusion: Fusion, parts: Parts, present: Present, sent: Tensor) -> None:
    name = name_of(fusion)
    everyone = {part: torch.ones_like(mask) for part, mask in present.items()}
    out = fusion({part: x + 1 for part, x in parts.items()}, everyone)
    check_registered(fusion, out)
    trained = list(fusion.parameters())
    if not trained:
        return
    before = {key: parameter.detach().clone() for key, parameter in fusion.named_parameters()}
    optimiser = torch.optim.SGD(trained, lr=1.0)
    optimiser.zero_grad()
    (out * sent).sum().backward()
    optimiser.step()
    saved = fusion.state_dict()
    for key, parameter in fusion.named_parameters():
        expect(parameter.grad is not None, f"{name} must send a gradient to {key!r}, got None")
        expect(bool(saved[key].isfinite().all()), f"{name} must stay finite by one step, got others in {key!r}")
        expect(not same(saved[key], before[key]), f"{name} must learn {key!r}, got no change by one step")


def _gradients(fusion: Fusion, parts: Parts, present: Present, sent: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """The result, and what flows back to every parameter and part."""
    leaves = {name: part.detach().clone().requires_grad_() for name, part in parts.items()}
    out = fusion(leaves, present)
    named = {f"part {name!r}": leaf for name, leaf in leaves.items()} | dict(fusion.named_parameters())
    found = torch.autograd.grad(out, list(named.values()), sent, allow_unused=True, materialize_grads=True)
    return out.detach(), dict(zip(named, found, strict=True))
