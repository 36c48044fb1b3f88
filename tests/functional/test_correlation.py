import numpy as np
import pytest
import scipy.linalg
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import cross_decomposition

from mmgraph.functional import cca, correlation_loss


def views(rows=60, widths=(4, 3), *, shared=2, noise=0.5, seed=0):
    """Views that are linear in the same hidden rows, each with noise."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    hidden = draw(rows, shared) * torch.linspace(1, 0.5, shared, dtype=torch.float64)
    return [hidden @ draw(shared, width) + noise * draw(rows, width) + 5 for width in widths]


def covariances(xs, ridge):
    """All covariances of numpy arrays, by loops, and those within views with the ridge on their diagonal."""
    centred = [x - x.mean(0) for x in xs]
    across = [[np.zeros((u.shape[1], v.shape[1])) for v in xs] for u in xs]
    for a, u in enumerate(centred):
        for b, v in enumerate(centred):
            for i in range(u.shape[1]):
                for j in range(v.shape[1]):
                    across[a][b][i, j] = sum(u[:, i] * v[:, j]) / len(u)
    within = [across[v][v] + ridge * np.trace(across[v][v]) / x.shape[1] * np.eye(x.shape[1]) for v, x in enumerate(xs)]
    return across, within


def root(matrix):
    return np.linalg.inv(scipy.linalg.sqrtm(matrix).real)


def up_to_sign(found, expected):
    sign = np.sign((found * expected).sum(0))
    np.testing.assert_allclose(found * sign, expected, atol=1e-8)
    return sign


@pytest.mark.parametrize("ridge", [0.0, 0.3])
def test_two_views_are_classical_regularised_cca(ridge):
    xs = views()
    found = cca(xs, channels=3, ridge=ridge)
    across, within = covariances([x.numpy() for x in xs], ridge)
    u, s, v = np.linalg.svd(root(within[0]) @ across[0][1] @ root(within[1]))
    np.testing.assert_allclose(found.correlations, s[:3], atol=1e-10)
    signs = [
        up_to_sign(found.maps[0].numpy(), root(within[0]) @ u[:, :3] * s[:3]),
        up_to_sign(found.maps[1].numpy(), root(within[1]) @ v.T[:, :3] * s[:3]),
    ]
    np.testing.assert_array_equal(*signs)  # the views point the same way


def test_without_ridge_equals_scikit_learn():
    x, y = views(200, seed=3)
    other = cross_decomposition.CCA(n_components=2, scale=False, max_iter=5000, tol=1e-14).fit(x.numpy(), y.numpy())
    found = cca([x, y], channels=2, ridge=0.0)
    for view, theirs in enumerate(other.transform(x.numpy(), y.numpy())):
        ours = found.project((x, y)[view], view).numpy()
        for channel in range(2):
            assert abs(np.corrcoef(ours[:, channel], theirs[:, channel])[0, 1]) == pytest.approx(1, abs=1e-6)
    for channel in range(2):
        pair = [found.project(view, at)[:, channel].numpy() for at, view in enumerate((x, y))]
        assert np.corrcoef(*pair)[0, 1] == pytest.approx(float(found.correlations[channel]), abs=1e-10)


@pytest.mark.parametrize("ridge", [0.0, 0.2])
def test_three_views_solve_kettenrings_eigenproblem(ridge):
    xs = views(80, (4, 3, 5), seed=1)
    found = cca(xs, channels=4, ridge=ridge)
    across, within = covariances([x.numpy() for x in xs], ridge)
    whole = np.block([[within[u] if u == v else across[u][v] for v in range(3)] for u in range(3)])
    values, vectors = scipy.linalg.eigh(whole, scipy.linalg.block_diag(*within))  # w' D w = 1
    values, vectors = values[::-1][:4], vectors[:, ::-1][:, :4]
    np.testing.assert_allclose(found.correlations, (values - 1) / 2, atol=1e-10)
    expected = vectors * (values - 1) / 2 * 3**0.5
    up_to_sign(torch.cat(found.maps).numpy(), expected)


def test_without_ridge_the_first_direction_has_the_greatest_variance_explained():
    """MAXVAR: the leading eigenvector of the sum of the projections on the views (Kettenring 1971)."""
    xs = views(40, (4, 3, 5), seed=2)
    total = np.zeros((40, 40))
    for x in xs:
        centred = x.numpy() - x.numpy().mean(0)
        total += centred @ np.linalg.pinv(centred)
    found = cca(xs, channels=1, ridge=0.0)
    assert float(found.correlations) == pytest.approx((np.linalg.eigvalsh(total)[-1] - 1) / 2, abs=1e-10)
    shared = sum(found.project(x, at) for at, x in enumerate(xs)).numpy()[:, 0]
    leading = np.linalg.eigh(total)[1][:, -1]
    assert abs(shared @ leading) / np.linalg.norm(shared) == pytest.approx(1, abs=1e-10)


def test_a_direction_that_agrees_by_chance_hardly_counts():
    x, y = views(400, (20, 20), shared=3, noise=1.0, seed=4)
    found = cca([x[:200], y[:200]], channels=20, ridge=0.1)
    weighted = [found.project(view[200:], at) for at, view in enumerate((x, y))]
    plain = [view / found.correlations for view in weighted]

    def mrr(a, b):
        score = torch.nn.functional.normalize(a) @ torch.nn.functional.normalize(b).T
        return float((1 / (score >= score.diagonal()[:, None]).sum(1)).mean())

    assert mrr(*weighted) > mrr(*plain) + 0.02
    assert found.project(x, 0).square().mean(0)[-1] < 0.1 * found.project(x, 0).square().mean(0)[0]


def test_the_unit_and_the_origin_of_a_view_change_nothing():
    x, y = views()
    found, moved = cca([x, y], channels=2, ridge=0.1), cca([100 * x + 7, y], channels=2, ridge=0.1)
    torch.testing.assert_close(found.correlations, moved.correlations)
    up_to_sign(moved.project(100 * x + 7, 0).numpy(), found.project(x, 0).numpy())


@given(
    st.lists(st.integers(1, 9), min_size=2, max_size=4), st.integers(2, 7), st.integers(1, 12), st.floats(0, 1),
    st.integers(0, 99),
)  # fmt: skip
@settings(max_examples=60)
def test_any_shapes_give_finite_maps(widths, rows, channels, ridge, seed):
    xs = views(rows, widths, seed=seed)
    xs[0][:, 0] = 3.0  # constant
    xs[-1] = torch.cat([xs[-1], 2 * xs[-1]], dim=1)  # of deficient rank
    found = cca(xs, channels=channels, ridge=ridge)
    assert found.correlations.shape == (channels,)
    assert (found.correlations >= 0).all()
    assert (found.correlations <= 1).all()
    assert (found.correlations.diff() <= 1e-12).all()
    for at, x in enumerate(xs):
        projected = found.project(x, at)
        assert projected.shape == (rows, channels)
        assert projected.isfinite().all()
        torch.testing.assert_close(projected.mean(0), torch.zeros(channels).double(), atol=1e-6, rtol=0)


def test_columns_that_repeat_or_do_not_vary_change_no_direction():
    x, y = views()
    more = torch.cat([x, torch.full((60, 1), 9.0), x[:, :2]], dim=1)
    expected, found = cca([x, y], channels=3, ridge=0.0), cca([more, y], channels=3, ridge=0.0)
    torch.testing.assert_close(found.correlations, expected.correlations)
    up_to_sign(found.project(more, 0).numpy(), expected.project(x, 0).numpy())


def test_more_columns_than_rows_correlate_wholly_without_a_ridge_alone():
    x, y = views(8, (20, 30), seed=5)
    assert cca([x, y], channels=1, ridge=0.0).correlations.item() == pytest.approx(1)
    assert cca([x, y], channels=1, ridge=1.0).correlations.item() < 0.99


def test_projections_have_the_type_of_what_is_projected():
    x, y = views()
    found = cca([x.float(), (100 * y).to(torch.uint8)], channels=2, ridge=0.1)
    assert found.correlations.dtype == torch.float64
    assert found.project(x.float(), 0).dtype == torch.float32
    assert found.project((100 * y).to(torch.uint8), 1).dtype == torch.float32
    assert found.project(x[:0], 0).shape == (0, 2)


@pytest.mark.parametrize("ridge", [1e-9, 0.3])
@pytest.mark.parametrize("channels", [None, 2])
def test_the_loss_is_minus_the_sum_of_the_correlations(ridge, channels):
    x, y = views()
    expected = cca([x, y], channels=channels or 3, ridge=ridge).correlations.sum()
    assert correlation_loss(x, y, ridge=ridge, channels=channels).item() == pytest.approx(-expected.item(), abs=1e-7)


@pytest.mark.parametrize("channels", [None, 2])
def test_the_gradient_of_the_loss_equals_finite_differences(channels):
    x, y = (view.requires_grad_() for view in views(10))
    assert torch.autograd.gradcheck(
        lambda a, b: correlation_loss(a, b, ridge=0.1, channels=channels), (x, y), atol=1e-6
    )


@pytest.mark.parametrize(
    "batch",
    [
        lambda x, y: (x * 0 + 3, y),
        lambda x, y: (x, y * 0),
        lambda x, y: (x[:1], y[:1]),
        lambda x, y: (x[:0], y[:0]),
        lambda x, y: (x[:2], y[:2]),
        lambda x, y: (x[:, :1].expand(-1, 4), y),
        lambda x, y: (x, x),
        lambda x, y: (torch.eye(60, 4).double(), torch.eye(60, 4).double()),
        lambda x, y: (x.float(), y.float()),
    ],
)
def test_a_degenerate_batch_has_a_finite_gradient(batch):
    x, y = (view.detach().requires_grad_() for view in batch(*views()))
    loss = correlation_loss(x, y, ridge=1e-4)
    loss.backward()
    assert loss.dtype == x.dtype
    assert loss.isfinite()
    assert x.grad.isfinite().all()
    assert y.grad.isfinite().all()


def test_descent_finds_the_correlations():
    x, y = views()
    torch.manual_seed(0)
    a, b = torch.randn(4, 2).double().requires_grad_(), torch.randn(3, 2).double().requires_grad_()
    optimizer = torch.optim.Adam([a, b], lr=0.05)
    for _ in range(300):
        optimizer.zero_grad()
        loss = correlation_loss(x @ a, y @ b, ridge=1e-9)
        loss.backward()
        optimizer.step()
    assert -loss.item() == pytest.approx(cca([x, y], channels=2, ridge=0.0).correlations.sum().item(), abs=1e-4)


def test_what_can_not_be_correlated_is_refused():
    x, y = views()
    for xs, got in [([x], r"\[\[60, 4\]\]"), ([x, y[:7]], r"\[\[60, 4\], \[7, 3\]\]"), ([x[:1], y[:1]], r"\[1, 3\]")]:
        with pytest.raises(ValueError, match=f"at least 2 views.*got.*{got}"):
            cca(xs, channels=1, ridge=0.1)
    with pytest.raises(ValueError, match=r"got channels=0, ridge=0\.1"):
        cca([x, y], channels=0, ridge=0.1)
    with pytest.raises(ValueError, match="got channels=1, ridge=-1"):
        cca([x, y], channels=1, ridge=-1)
    with pytest.raises(ValueError, match="got 3 values of view 1"):
        cca([x, y.index_fill(0, torch.tensor([4]), torch.nan)], channels=1, ridge=0.1)
    found = cca([x, y], channels=1, ridge=0.1)
    with pytest.raises(ValueError, match="from 0 to 1, got 2"):
        found.project(x, 2)
    with pytest.raises(ValueError, match=r"View 1 must be \[rows, 3\], got \[60, 4\]"):
        found.project(x, 1)
    with pytest.raises(ValueError, match=r"got \[60, 4\] and \[7, 3\]"):
        correlation_loss(x, y[:7], ridge=0.1)
    with pytest.raises(ValueError, match="got ridge=0, channels=None"):
        correlation_loss(x, y, ridge=0)
    with pytest.raises(ValueError, match=r"got ridge=0\.1, channels=0"):
        correlation_loss(x, y, ridge=0.1, channels=0)
