"""Whether a scorer keeps its promises."""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Generator, Tensor

from mmgraph.scorers import Scorer
from mmgraph.testing.expect import check_registered, expect, name_of, same

QUESTIONS, ENTITIES = 5, 7
WHO = ("sources", "relations", "targets")


def check_scorer(scorer: Scorer, *, seed: int = 0) -> None:
    """Checks a scorer: all entities against single facts, with gradients; independence, few rows, starting vectors.

    The vectors are drawn; values and gradients are compared in float64.

    Args:
        scorer: What to check; in evaluation mode, and that it can train.
        seed: Of the vectors.

    Raises:
        AssertionError: A promise is broken.

    Example:
        >>> from mmgraph.scorers import ComplEx
        >>> from mmgraph.testing import check_scorer
        >>> check_scorer(ComplEx(4))
    """
    name, generator = name_of(scorer), Generator().manual_seed(seed)

    def draw(rows: int, width: int) -> Tensor:
        return torch.randn(rows, width, generator=generator, dtype=torch.float64)

    sources, entities = draw(QUESTIONS, scorer.channels), draw(ENTITIES, scorer.channels)
    relations = draw(QUESTIONS, scorer.relation_channels)
    given = [one.clone() for one in (sources, relations, entities)]
    _check_training(copy.deepcopy(scorer).train(), sources, relations, entities)
    scorer = copy.deepcopy(scorer).double().eval()
    scores = _check_against(scorer, sources, relations, entities, draw(QUESTIONS, ENTITIES))
    _check_independent(scorer, sources, relations, entities, scores)
    _check_few(scorer, sources, relations, entities, scores)
    _check_factors(scorer, sources, relations, entities[:QUESTIONS])
    kept = all(same(a, b) for a, b in zip(given, (sources, relations, entities), strict=True))
    expect(kept, f"{name} must leave the vectors that it is given as they are, got others")
    _check_start(scorer)


def _check_against(scorer: Scorer, sources: Tensor, relations: Tensor, entities: Tensor, sent: Tensor) -> Tensor:
    """All at once must be one by one, in value and gradient."""
    name = name_of(scorer)
    each, its = _gradients(scorer, _one_by_one(scorer), sources, relations, entities, sent)
    expect(each.shape == sent.shape, f"{name} must broadcast to {list(sent.shape)}, got {list(each.shape)}")
    expect(bool(each.isfinite().all()), f"{name} must give finite scores, got others")
    expect(bool((each != each[0, 0]).any()), f"{name} must tell facts apart, got {float(each[0, 0])} for all")
    scores, theirs = _gradients(scorer, scorer.against, sources, relations, entities, sent)
    expect(scores.shape == sent.shape, f"{name}.against must give {list(sent.shape)}, got {list(scores.shape)}")
    expect(_equal(scores, each), f"{name}.against must give the scores of its forward, got {_far(scores, each)} off")
    for key, gradient in its.items():
        expect(bool(gradient.isfinite().all()), f"{name} must send finite gradients, got others for {key!r}")
        expect(bool(gradient.any()), f"{name} must send a gradient to {key!r}, got none")
        expect(
            _equal(theirs[key], gradient),
            f"{name}.against must send the gradient of its forward to {key!r}, got {_far(theirs[key], gradient)} off",
        )
    return scores


def _check_independent(scorer: Scorer, sources: Tensor, relations: Tensor, entities: Tensor, scores: Tensor) -> None:
    """A score must depend on its own three vectors alone, and on each of them."""
    name, vectors = name_of(scorer), [sources, relations, entities]
    for place, who in enumerate(WHO):
        changed = [one.clone() for one in vectors]
        changed[place][0] += 1
        after = scorer.against(*changed)
        own = torch.zeros_like(scores, dtype=torch.bool)
        own[(slice(None), 0) if who == "targets" else (0, slice(None))] = True
        expect(not bool((after == scores)[own].all()), f"{name} must read its {who}, got the same scores by others")
        expect(
            _equal(after[~own], scores[~own]),
            f"{name} must score each fact by its own vectors, got other scores where another's {who} changed",
        )
    expect(
        _equal(scorer.against(sources.flip(0), relations.flip(0), entities.flip(0)), scores.flip(0, 1)),
        f"{name} must not depend on the order of questions and entities, got other scores in another order",
    )


def _check_few(scorer: Scorer, sources: Tensor, relations: Tensor, entities: Tensor, scores: Tensor) -> None:
    for questions, others in ((0, ENTITIES), (1, ENTITIES), (QUESTIONS, 0), (QUESTIONS, 1)):
        few = scorer.against(sources[:questions], relations[:questions], entities[:others])
        expected = scores[:questions, :others]
        expect(
            few.shape == expected.shape and _equal(few, expected),
            f"{name_of(scorer)}.against must give {questions} question(s) and {others} entities what they get among "
            f"others, {list(expected.shape)}, got {list(few.shape)}",
        )


def _check_factors(scorer: Scorer, sources: Tensor, relations: Tensor, targets: Tensor) -> None:
    name = name_of(scorer)
    found = scorer.factors(sources, relations, targets)
    expect(isinstance(found, tuple), f"{name}.factors must give a tuple, got {name_of(found)}")
    for place, factor in enumerate(found):
        expect(
            factor.dim() == 2 and len(factor) == len(sources) and bool((factor >= 0).all()),
            f"{name}.factors must give moduli, at least 0, a row a fact, [{len(sources)}, numbers]; "
            f"factor {place} is {list(factor.shape)}, from {float(factor.min())}",
        )


def _check_start(scorer: Scorer) -> None:
    name = name_of(scorer)
    vectors = torch.full((ENTITIES, scorer.channels), torch.nan, requires_grad=True)
    relations = torch.full((3, scorer.relation_channels), torch.nan, requires_grad=True)
    scorer.initialise(vectors, relations)
    for who, rows in (("entities", vectors.detach()), ("relations", relations.detach())):
        expect(
            bool(rows.isfinite().all()), f"{name}.initialise must draw all {who} in place, got some left as they were"
        )
        expect(
            len(rows.unique(dim=0)) == len(rows), f"{name}.initialise must draw different {who}, got some that are one"
        )


def _check_training(scorer: Scorer, sources: Tensor, relations: Tensor, entities: Tensor) -> None:
    """In training mode one question must do, and whatever it learns must be registered."""
    name = name_of(scorer)
    dtype = next((parameter.dtype for parameter in scorer.parameters()), torch.get_default_dtype())
    sources, relations, entities = sources.to(dtype), relations.to(dtype), entities.to(dtype)
    one = scorer.against(sources[:1], relations[:1], entities)
    expect(bool(one.isfinite().all()), f"{name} must give one question in training finite scores, got others")
    check_registered(scorer, scorer.against(sources, relations, entities))


def _one_by_one(scorer: Scorer) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    return lambda sources, relations, entities: scorer(sources[:, None], relations[:, None], entities[None])


def _gradients(
    scorer: Scorer, score: Callable[[Tensor, Tensor, Tensor], Tensor], *vectors_and_sent: Tensor
) -> tuple[Tensor, dict[str, Tensor]]:
    """The scores, and what flows back to all vectors and parameters."""
    *vectors, sent = vectors_and_sent
    leaves = [one.clone().requires_grad_() for one in vectors]
    scores = score(*leaves)
    named = {**dict(zip(WHO, leaves, strict=True)), **dict(scorer.named_parameters())}
    if scores.shape != sent.shape:
        return scores.detach(), {}
    found = torch.autograd.grad(scores, list(named.values()), sent, allow_unused=True, materialize_grads=True)
    return scores.detach(), dict(zip(named, found, strict=True))


def _equal(a: Tensor, b: Tensor) -> bool:
    return torch.allclose(a, b, rtol=1e-8, atol=1e-10)


def _far(a: Tensor, b: Tensor) -> str:
    return f"{float((a - b).abs().max()):.2g}"
