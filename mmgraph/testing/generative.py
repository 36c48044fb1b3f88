"""Whether a decoder of hidden nodes keeps its promises."""

from __future__ import annotations

import copy

import torch
from torch import Generator, Tensor

from mmgraph.decoders import Generative, TextDecoder
from mmgraph.testing.expect import expect, name_of
from mmgraph.typing import Sources


def check_generative(
    decoder: Generative, payload: Tensor, *, nodes: int = 3, seed: int = 0, atol: float = 1e-5
) -> None:
    """Checks a decoder: rows by themselves, absent nodes without influence, chance from the generator, a gradient.

    A decoder of texts is also checked to say the same of each piece step by step as at once, and to look at no piece
    that comes later.

    Args:
        decoder: What to check; it is checked in evaluation mode.
        payload: Some payloads that it could make, ``[rows, *shape]``; at least 3.
        nodes: How many nodes a row of sources has at most.
        seed: Of the sources.
        atol: How far two equal numbers may be apart.

    Raises:
        AssertionError: A promise is broken.

    Example:
        >>> from mmgraph.decoders import Dense, Regression
        >>> check_generative(Regression(Dense(4, (2,))), torch.randn(5, 2))
    """
    decoder = copy.deepcopy(decoder).eval()
    name, rows = name_of(decoder), len(payload)
    generator = Generator().manual_seed(seed)
    present = torch.rand(rows, nodes, generator=generator) < 0.6
    present[0], present[1], present[2] = False, True, torch.arange(nodes) == 0
    states = torch.randn(rows, nodes, decoder.channels, generator=generator) * present[:, :, None]
    sources = Sources(states, present)
    losses = decoder.losses(sources, payload)
    _check_losses(name, decoder, losses, payload)
    alone = [decoder.losses(sources.take(slice(i, i + 1)), payload[i : i + 1])["total"] for i in range(3)]
    _same(name, torch.cat(alone), losses["total"][:3], atol, "say the same of a row by itself as among others")
    noise = Sources(torch.where(present[:, :, None], states, torch.full_like(states, 9.0)), present)
    _same(name, decoder.losses(noise, payload)["total"], losses["total"], atol, "not read nodes that are absent")
    nothing = decoder.losses(sources.nothing(), payload)["total"]
    none = Sources(states[:, :0], present[:, :0])
    _same(name, decoder.losses(none, payload)["total"], nothing, atol, "read no nodes as nothing present")
    _check_generated(name, decoder, sources, payload)
    if isinstance(decoder, TextDecoder):
        _check_steps(name, decoder, sources, payload, atol)


def _check_losses(name: str, decoder: Generative, losses: dict[str, Tensor], payload: Tensor) -> None:
    expect("total" in losses, f"{name} must give 'total', got {sorted(losses)}")
    for part, loss in losses.items():
        expect(
            loss.shape == (len(payload),), f"{name} must give {part!r} a row, [{len(payload)}], got {list(loss.shape)}"
        )
        expect(bool(loss.isfinite().all()), f"{name} must give finite losses, got others in {part!r}")
    counts = decoder.counts(payload)
    expect(counts.shape == (len(payload),), f"{name} must count values a row, got {list(counts.shape)}")
    weights = [weight for weight in decoder.parameters() if weight.requires_grad]
    gradients = torch.autograd.grad(losses["total"].sum(), weights, allow_unused=True, retain_graph=True)
    moved = [gradient for gradient in gradients if gradient is not None]
    expect(all(bool(one.isfinite().all()) for one in moved), f"{name} must give finite gradients, got others")
    expect(any(bool((one != 0).any()) for one in moved), f"{name} must learn, got a gradient of 0 everywhere")


def _check_generated(name: str, decoder: Generative, sources: Sources, payload: Tensor) -> None:
    made = [decoder.generate(sources, generator=Generator().manual_seed(1)) for _ in range(2)]
    expect(torch.equal(*made), f"{name} must make the same payloads from equal generators, got others")
    expect(made[0].dtype == payload.dtype, f"{name} must make {payload.dtype}, got {made[0].dtype}")
    expect(len(made[0]) == len(payload), f"{name} must make a payload a row, {len(payload)}, got {len(made[0])}")
    expect(not made[0].requires_grad, f"{name} must make payloads without a gradient, got one")
    if isinstance(decoder, TextDecoder):
        expect(made[0].shape[1] <= decoder.length, f"{name} must end at {decoder.length}, got {made[0].shape[1]}")
        decoder.check(made[0])
    else:
        expect(made[0].shape == payload.shape, f"{name} must make {list(payload.shape)}, got {list(made[0].shape)}")
        expect(bool(made[0].float().isfinite().all()), f"{name} must make finite payloads, got others")
    empty = decoder.generate(sources.take(slice(0, 0)), generator=Generator().manual_seed(1))
    expect(len(empty) == 0, f"{name} must make nothing of no row, got {len(empty)}")


@torch.no_grad()
def _check_steps(name: str, decoder: TextDecoder, sources: Sources, tokens: Tensor, atol: float) -> None:
    said = decoder(sources, tokens)
    state, read, steps = decoder.begin(sources), tokens.new_zeros(len(tokens)), []
    for place in range(tokens.shape[1]):
        logits, state = decoder.step(state, read)
        steps.append(logits)
        read = tokens[:, place]
    _same(name, torch.stack(steps, dim=1), said, atol, "say the same step by step as at once")
    changed = tokens.clone()
    changed[:, -1] = (changed[:, -1] + 1) % decoder.vocabulary
    _same(name, decoder(sources, changed), said, atol, "look at no piece that comes later")
    state = decoder.begin(sources)
    _, state = decoder.step(state, tokens.new_zeros(len(tokens)))
    turned = torch.arange(len(tokens)).flip(0)
    logits, _ = decoder.step(decoder.reorder(state, turned), tokens[:, 0][turned])
    _same(
        name, logits, steps[1][turned] if len(steps) > 1 else logits, atol, "keep the state of rows that are reordered"
    )


def _same(name: str, found: Tensor, wanted: Tensor, atol: float, what: str) -> None:
    apart = float((found - wanted).detach().abs().max()) if found.numel() else 0.0
    expect(apart <= atol, f"{name} must {what}, got {apart:.3g} apart")
