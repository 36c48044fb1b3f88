import pytest
import torch
from torch.nn import functional as F

from mmgraph.errors import ConfigError
from mmgraph.functional.contrastive import masked_nce
from mmgraph.scorers import ComplEx, DistMult

torch.manual_seed(0)


def draw(*shape):
    return torch.randn(*shape, dtype=torch.float64)


def numbers(x):
    return [complex(float(a), float(b)) for a, b in zip(*x.chunk(2), strict=True)]


def test_distmult_is_its_formula():
    h, r, t = draw(4), draw(4), draw(4)
    assert float(DistMult(4)(h, r, t)) == pytest.approx(sum(float(h[c] * r[c] * t[c]) for c in range(4)))


def test_distmult_is_symmetric():
    h, r, t = draw(4), draw(4), draw(4)
    assert torch.allclose(DistMult(4)(h, r, t), DistMult(4)(t, r, h))


def test_distmult_with_a_temperature_is_clip():
    """Text and pictures of unit length, and 1/τ in every channel of the relation: the similarities of CLIP."""
    text, image, tau = F.normalize(draw(5, 8), dim=1), F.normalize(draw(5, 8), dim=1), 0.07
    relation = torch.full((5, 8), 1 / tau, dtype=torch.float64)
    scores = DistMult(8).against(text, relation, image)
    cosine = F.cosine_similarity(text[:, None], image[None], dim=2) / tau
    assert torch.allclose(scores, cosine)
    both = (
        F.cross_entropy(scores, torch.arange(5)),
        F.cross_entropy(DistMult(8).against(image, relation, text), torch.arange(5)),
    )
    symmetric = [masked_nce(s, torch.eye(5, dtype=torch.bool)) for s in (cosine, cosine.T)]
    assert torch.allclose(sum(both), sum(symmetric))


def test_complex_is_the_trilinear_product_with_the_conjugate():
    h, r, t = draw(6), draw(6), draw(6)
    three = zip(numbers(h), numbers(r), numbers(t), strict=True)
    assert float(ComplEx(6)(h, r, t)) == pytest.approx(sum(a * b * c.conjugate() for a, b, c in three).real)


def test_complex_worked_by_hand():
    """Trouillon 2016, eq. 11: Re r Re h Re t + Re r Im h Im t + Im r Re h Im t - Im r Im h Re t."""
    h, r, t = torch.tensor([1.0, 2.0]), torch.tensor([3.0, 5.0]), torch.tensor([7.0, 11.0])
    assert float(ComplEx(2)(h, r, t)) == 3 * 1 * 7 + 3 * 2 * 11 + 5 * 1 * 11 - 5 * 2 * 7


def test_complex_without_imaginary_parts_is_distmult():
    h, r, t = draw(3), draw(3), draw(3)
    nothing = torch.zeros(3, dtype=torch.float64)
    whole = [torch.cat([one, nothing]) for one in (h, r, t)]
    assert torch.allclose(ComplEx(6)(*whole), DistMult(3)(h, r, t))


def test_patterns_of_complex():
    scorer, h, t = ComplEx(6), draw(6), draw(6)
    real, imaginary = torch.cat([draw(3), torch.zeros(3, dtype=torch.float64)]), torch.cat([torch.zeros(3), draw(3)])
    conjugate = torch.tensor([1, 1, 1, -1, -1, -1])
    assert torch.allclose(scorer(h, real, t), scorer(t, real, h))  # symmetric
    assert torch.allclose(scorer(h, imaginary, t), -scorer(t, imaginary, h))  # antisymmetric
    mixed = real + imaginary
    assert not torch.allclose(scorer(h, mixed, t), scorer(t, mixed, h))
    assert torch.allclose(scorer(h, mixed, t), scorer(t, mixed * conjugate, h))  # inverse


def test_factors_are_what_lacroix_penalises():
    h, r, t = draw(2, 6), draw(2, 6), draw(2, 6)
    for factor, vector in zip(ComplEx(6).factors(h, r, t), (h, r, t), strict=True):
        assert torch.allclose(factor, torch.complex(vector[:, :3], vector[:, 3:]).abs())
        n3 = (vector[:, :3].square() + vector[:, 3:].square()).sqrt().pow(3).sum()
        assert torch.allclose(factor.pow(3).sum(), n3)
    for factor, vector in zip(DistMult(6).factors(h, r, t), (h, r, t), strict=True):
        assert torch.equal(factor, vector.abs())


def test_the_start_is_that_of_the_sources():
    entities, relations = torch.empty(400, 50), torch.empty(200, 50)
    ComplEx(50).initialise(entities, relations)
    assert float(entities.std()) == pytest.approx(1e-3, rel=0.05)
    assert float(relations.std()) == pytest.approx(1e-3, rel=0.05)
    ComplEx(50, std=0.1).initialise(entities, relations)
    assert float(entities.std()) == pytest.approx(0.1, rel=0.05)
    DistMult(50).initialise(entities, relations)
    assert float(entities.std()) == pytest.approx((2 / 450) ** 0.5, rel=0.05)
    assert float(relations.std()) == pytest.approx((2 / 250) ** 0.5, rel=0.05)


def test_complex_needs_pairs():
    with pytest.raises(ConfigError, match="ComplEx needs an even number of channels, half of them imaginary, got 7"):
        ComplEx(7)
