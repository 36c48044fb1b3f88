import cmath

import pytest
import torch
from torch.nn import functional as F

from mmgraph.errors import ConfigError
from mmgraph.scorers import RotatE, TransE

torch.manual_seed(0)


def draw(*shape):
    return torch.randn(*shape, dtype=torch.float64)


@pytest.mark.parametrize("norm", [1, 2])
def test_transe_is_its_formula(norm):
    h, r, t = draw(3, 4), draw(3, 4), draw(3, 4)
    expected = [
        -(sum(abs(float(h[i, c] + r[i, c] - t[i, c])) ** norm for c in range(4)) ** (1 / norm)) for i in range(3)
    ]
    assert TransE(4, norm=norm)(h, r, t).tolist() == pytest.approx(expected)


def test_transe_worked_by_hand():
    h, r, t = torch.tensor([1.0, 2.0]), torch.tensor([3.0, -1.0]), torch.tensor([1.0, 5.0])  # off by (3, -4)
    assert float(TransE(2, norm=1)(h, r, t)) == -7
    assert float(TransE(2, norm=2)(h, r, t)) == -5
    assert float(TransE(2, norm=2, margin=9.0)(h, r, t)) == 4
    assert float(TransE(2, norm=2, margin=9.0).against(h[None], r[None], t[None])) == 4


def test_transe_on_the_unit_sphere_sees_directions_alone():
    scorer, h, r, t = TransE(4, normalise=True), draw(4), draw(4), draw(4)
    assert torch.allclose(scorer(3 * h, r, 0.1 * t), scorer(h, r, t))
    assert torch.allclose(scorer(h, r, t), TransE(4)(F.normalize(h, dim=0), r, F.normalize(t, dim=0)))
    assert torch.allclose(scorer.against(h[None], r[None], t[None])[0, 0], scorer(h, r, t))
    assert not torch.allclose(scorer(h, 3 * r, t), scorer(h, r, t))


def test_moves_add_up_and_go_back():
    scorer, h, r, s = TransE(4, norm=2), draw(4), draw(4), draw(4)
    assert float(scorer(h, r + s, h + r + s)) == pytest.approx(0, abs=1e-12)  # composition
    assert torch.allclose(scorer.question(scorer.question(h, r), s), scorer.question(h, r + s))
    t = draw(4)
    assert torch.allclose(scorer(h, r, t), scorer(t, -r, h))  # inverse
    assert not torch.allclose(scorer(h, r, t), scorer(t, r, h))


def test_transe_starts_as_bordes():
    entities, relations = torch.empty(1000, 9), torch.empty(20, 9)
    TransE(9).initialise(entities, relations)
    assert 1.99 < float(entities.abs().max()) <= 2  # 6 / √9
    assert float(entities.std()) == pytest.approx(2 / 3**0.5, rel=0.03)
    assert torch.allclose(relations.norm(dim=1), torch.ones(20))


@pytest.mark.parametrize("norm", [0, 3, "moduli"])
def test_transe_has_two_norms(norm):
    with pytest.raises(ConfigError, match=f"norm of TransE must be 1 or 2, got {norm!r}"):
        TransE(4, norm=norm)


def test_rotate_is_its_formula():
    h, phases, t = draw(3, 6), draw(3, 3), draw(3, 6)

    def numbers(x):
        return [complex(float(x[c]), float(x[c + 3])) for c in range(3)]

    for i, score in enumerate(RotatE(6, margin=5.0)(h, phases, t)):
        turned = [a * cmath.exp(1j * float(p)) for a, p in zip(numbers(h[i]), phases[i], strict=True)]
        assert float(score) == pytest.approx(5 - sum(abs(a - b) for a, b in zip(turned, numbers(t[i]), strict=True)))


def test_without_a_turn_rotate_is_a_distance():
    h, t = draw(6), draw(6)
    score = RotatE(6)(h, torch.zeros(3, dtype=torch.float64), t)
    assert torch.allclose(score, -torch.complex(h[:3] - t[:3], h[3:] - t[3:]).abs().sum())


def test_patterns_of_rotate():
    scorer, h, t = RotatE(6), draw(6), draw(6)
    turns, others = draw(3), draw(3)
    half = torch.pi * torch.tensor([0.0, 1.0, -1.0], dtype=torch.float64)
    assert torch.allclose(scorer(h, half, t), scorer(t, half, h))  # symmetric
    assert not torch.allclose(scorer(h, turns, t), scorer(t, turns, h))  # otherwise not
    assert torch.allclose(scorer(h, turns, t), scorer(t, -turns, h))  # inverse
    assert torch.allclose(scorer.question(scorer.question(h, turns), others), scorer.question(h, turns + others))
    assert torch.allclose(scorer(h, turns + 2 * torch.pi, t), scorer(h, turns, t))


def test_rotate_starts_as_sun():
    entities, relations = torch.empty(1000, 20), torch.empty(500, 10)
    RotatE(20, margin=8.0).initialise(entities, relations)
    assert 0.99 < float(entities.abs().max()) <= 1  # (8 + 2) / 10
    assert 3.1 < float(relations.max()) <= torch.pi
    assert -torch.pi <= float(relations.min()) < -3.1


def test_rotate_needs_pairs():
    with pytest.raises(ConfigError, match="RotatE needs an even number of channels, half of them imaginary, got 5"):
        RotatE(5)
