import pytest
import torch

from mmgraph.scorers import ComplEx, DistMult, TuckER


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_it_is_its_formula():
    scorer, h, r, t = TuckER(3, 2, norm=False).double(), draw(3), draw(2, seed=1), draw(3, seed=2)
    expected = sum(
        (scorer.core[k, i, j] * r[k] * h[i] * t[j]).item() for k in range(2) for i in range(3) for j in range(3)
    )
    assert scorer(h, r, t).item() == pytest.approx(expected)


def published(scorer, h, r, t):
    """The authors' forward pass, line by line, on vectors that were looked up."""
    norms = scorer.norms
    x = torch.nn.functional.batch_norm(h, None, None, norms[0].weight, norms[0].bias, training=True)
    x = x.view(-1, 1, h.shape[1])
    matrix = torch.mm(r, scorer.core.view(r.shape[1], -1)).view(-1, h.shape[1], h.shape[1])
    x = torch.bmm(x, matrix).view(-1, h.shape[1])
    x = torch.nn.functional.batch_norm(x, None, None, norms[1].weight, norms[1].bias, training=True)
    return torch.mm(x, t.transpose(1, 0))


def test_it_is_the_authors_code():
    scorer = TuckER(4, 3).double().train()
    torch.nn.init.normal_(scorer.norms[0].weight)
    torch.nn.init.normal_(scorer.norms[1].bias)
    h, r, t = draw(7, 4), draw(3, 3, seed=1)[[0, 1, 0, 2, 2, 0, 1]], draw(5, 4, seed=2)
    assert torch.allclose(scorer.against(h, r, t), published(scorer, h, r, t))


def test_distmult_is_the_superdiagonal_core():
    scorer = TuckER(4, 4, norm=False).double()
    scorer.core.data = torch.einsum("kij,i->kij", torch.zeros(4, 4, 4), torch.ones(4)).double()
    for c in range(4):
        scorer.core.data[c, c, c] = 1
    h, r, t = draw(6, 4), draw(6, 4, seed=1), draw(5, 4, seed=2)
    assert torch.allclose(scorer.against(h, r, t), DistMult(4).against(h, r, t))


def test_complex_is_a_core_of_ones():
    core = torch.zeros(6, 6, 6, dtype=torch.float64)
    for c in range(3):
        real, imaginary = c, c + 3
        core[real, real, real] = core[real, imaginary, imaginary] = core[imaginary, real, imaginary] = 1
        core[imaginary, imaginary, real] = -1
    scorer = TuckER(6, 6, norm=False).double()
    scorer.core.data = core
    h, r, t = draw(6, 6), draw(6, 6, seed=1), draw(5, 6, seed=2)
    assert torch.allclose(scorer.against(h, r, t), ComplEx(6).against(h, r, t))


def test_patterns_follow_the_matrix():
    scorer, h, t = TuckER(4, 1, norm=False).double(), draw(4), draw(4, seed=1)
    one, core = torch.ones(1, dtype=torch.float64), scorer.core.data
    scorer.core.data = core + core.transpose(1, 2)
    assert torch.allclose(scorer(h, one, t), scorer(t, one, h))
    scorer.core.data = core - core.transpose(1, 2)
    assert torch.allclose(scorer(h, one, t), -scorer(t, one, h))


def test_dropouts_stand_where_the_authors_have_them():
    """Each alone, nearly total: of the source, of the matrix, or of the question nearly nothing is left."""
    h, r, t = torch.ones(4, 50), torch.ones(4, 2), torch.eye(50)
    for place in range(3):
        dropouts = [0.0, 0.0, 0.0]
        dropouts[place] = 0.99
        scorer = TuckER(50, 2, dropouts=tuple(dropouts), norm=False)
        scorer.core.data = torch.ones(2, 50, 50)
        torch.manual_seed(0)
        question = scorer.train().against(h, r, t)
        alive = (question != 0).float().mean(dim=1)
        if place == 0:  # a source with any channel left moves every channel of its question
            assert set(alive.tolist()) <= {0.0, 1.0}
            assert not bool((question == 100).any())
        if place == 1:  # the matrix is dropped once a relation, so equal questions stay equal
            assert bool((question == question[0]).all())
            assert 0 < float(alive[0]) < 1
        if place == 2:
            assert not bool((question == question[0]).all())
            assert float(alive.mean()) < 0.1
        assert torch.allclose(scorer.eval().against(h, r, t), torch.full((4, 50), 100.0))


def test_the_core_starts_uniform():
    core = TuckER(20, 10).core.detach()
    assert 0.99 < float(core.max()) <= 1
    assert float(core.std()) == pytest.approx(3**-0.5, rel=0.05)
