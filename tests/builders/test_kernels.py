import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from sklearn.svm import SVC

from mmgraph.builders import Population, PopulationConfig, aligned_shares, margin_shares, weigh
from mmgraph.data import Records, Split, stratified_split
from mmgraph.errors import ConfigError, DataError
from mmgraph.functional import combine_kernels, kernel_alignment, linear_kernel, rbf_kernel

ALL_PAIRS = PopulationConfig(k=None, kernel=True)


def toy(count=48, *, classes=2, seed=0):
    """Three modalities: much, some and nothing about the classes."""
    rng = np.random.default_rng(seed)
    y = np.arange(count) % classes
    centres = rng.normal(size=(classes, 3))
    views = [strength * centres[y] + rng.normal(size=(count, 3)) for strength in (1.5, 0.7, 0.0)]
    return views, y


def kernels_of(views):
    return [rbf_kernel(torch.from_numpy(view)).numpy() for view in views]


def objective(kernels, y, beta, cost):
    """J(beta) from the machines' own dual solutions."""
    kernel = np.tensordot(beta, np.stack(kernels), 1)
    classes = np.unique(y)
    total = 0.0
    for one in classes[1:] if len(classes) == 2 else classes:
        sign = np.where(y == one, 1.0, -1.0)
        machine = SVC(C=cost, kernel="precomputed", tol=1e-8).fit(kernel, sign)
        a = np.zeros(len(y))
        a[machine.support_] = machine.dual_coef_[0]
        total += np.abs(a).sum() - 0.5 * a @ kernel @ a
    return total


@pytest.mark.parametrize(("classes", "cost"), [(2, 1.0), (2, 10.0), (3, 0.3)])
def test_margin_shares_are_the_minimum_over_a_grid(classes, cost):
    views, y = toy(classes=classes)
    kernels = kernels_of(views)
    found = margin_shares(kernels, y, cost=cost, gap=1e-4)
    assert found.sum() == pytest.approx(1)
    assert found.min() >= 0
    steps = np.linspace(0, 1, 11)
    grid = [objective(kernels, y, np.array([a, b, 1 - a - b]), cost) for a in steps for b in steps if a + b <= 1]
    assert objective(kernels, y, found, cost) <= min(grid) * (1 + 1e-4)


@pytest.mark.parametrize("classes", [2, 3])
def test_aligned_shares_are_the_most_aligned(classes):
    views, y = toy(classes=classes)
    kernels = [torch.from_numpy(kernel) for kernel in kernels_of(views)]
    target = linear_kernel(torch.eye(classes).double()[torch.from_numpy(y)])

    def alignment(beta):
        return float(kernel_alignment(combine_kernels(kernels, torch.from_numpy(np.asarray(beta))), target))

    found = aligned_shares([kernel.numpy() for kernel in kernels], y)
    assert found.sum() == pytest.approx(1)
    best = min(
        minimize(lambda v: -alignment(np.abs(v) + 1e-12), start, method="Nelder-Mead", options={"maxiter": 2000}).fun
        for start in np.eye(3) + 0.1
    )
    assert alignment(found) == pytest.approx(-best, abs=1e-4)


@pytest.mark.parametrize("learn", [margin_shares, aligned_shares])
def test_the_share_of_a_permuted_modality_drops(learn):
    (first, second, _), y = toy()
    shuffled = first[np.random.default_rng(1).permutation(len(y))]
    before = learn(kernels_of([first, second]), y)
    after = learn(kernels_of([shuffled, second]), y)
    assert before[0] > 0.5
    assert after[0] < before[0] / 2


def test_one_kernel_has_it_all_and_kernels_that_say_nothing_share():
    views, y = toy()
    (kernel,) = kernels_of(views[:1])
    assert margin_shares([kernel], y).tolist() == aligned_shares([kernel], y).tolist() == [1.0]
    against = np.eye(len(y)) - np.outer(2 * y - 1, 2 * y - 1) / len(y)  # aligned with anything but the labels
    assert aligned_shares([against - np.eye(len(y))] * 2, y).tolist() == [0.5, 0.5]


@pytest.mark.parametrize("learn", [margin_shares, aligned_shares])
def test_kernels_and_labels_that_do_not_fit_are_refused(learn):
    y = np.array([0, 1, 0])
    with pytest.raises(DataError, match=r"must be \[3, 3\], a row a label, got \[\(2, 2\), \(3, 3\)\]"):
        learn([np.eye(3), np.eye(2)], y)
    with pytest.raises(DataError, match=r"a row a label, got \[\]"):
        learn([], y)
    with pytest.raises(DataError, match=r"at least 2 classes, got \[1\]"):
        learn([np.eye(3)], np.ones(3, dtype=int))


@pytest.mark.parametrize("options", [{"cost": 0.0}, {"gap": -1.0}])
def test_options_out_of_range_are_refused(options):
    with pytest.raises(ConfigError, match=f"got .*{next(iter(options.values()))}"):
        margin_shares([np.eye(2)], np.array([0, 1]), **options)


def records(views, y, **lost):
    modalities = {name: view.astype(np.float32).copy() for name, view in zip("abc", views, strict=True)}
    for name, rows in lost.items():
        modalities[name][rows] = np.nan
    return Records(ids=[f"s{i}" for i in range(len(y))], modalities=modalities, labels=y, classes=["no", "yes"])


def dense(population, *, rows=None):
    """The sum of the relations' edges and the loops."""
    count = len(population.ids)
    total = torch.eye(count, dtype=torch.float64)
    for relation in population.schema.relations("subject"):
        store = population.graph[relation]
        total.index_put_((store.edge_index[1], store.edge_index[0]), store.edge_weight.double(), accumulate=True)
    return total if rows is None else total[rows][:, rows]


def kernel_of(population, name):
    """The kernel of one modality, with what the population was fitted on."""
    kernel = torch.zeros(len(population.ids), len(population.ids), dtype=torch.float64)
    owner = population.graph[name, "of", "subject"].edge_index[1]
    x = population.graph[name].x.double()
    kernel[owner[:, None], owner] = rbf_kernel(x, width=population.widths[name])
    present = torch.zeros(len(population.ids), dtype=torch.bool)
    present[owner] = True
    return kernel, (present, present)


@pytest.mark.parametrize("how", ["margin", "aligned", "equal"])
def test_the_edges_of_a_weighed_population_are_the_combined_kernel(how):
    views, y = toy()
    data = records(views, y, b=[0, 1, 20], c=[1, 30], a=[1])  # subject 1 has nothing
    population = Population.fit(data, stratified_split(y), PopulationConfig(k=None, kernel=True, regime="transductive"))
    found = weigh(population, how)
    assert sum(found.shares.values()) == pytest.approx(1)
    kernels, present = zip(*(kernel_of(population, name) for name in "abc"), strict=True)
    shares = torch.tensor([found.shares[name] for name in "abc"], dtype=torch.float64)
    expected = combine_kernels(kernels, shares, present=present)
    expected.diagonal()[:] = 1
    torch.testing.assert_close(dense(found), expected, atol=1e-6, rtol=1e-5)
    assert not population.shares
    assert torch.equal(dense(population), dense(Population.fit(data, stratified_split(y), population.config)))


def test_shares_are_those_of_the_training_subjects():
    views, y = toy()
    split = stratified_split(y)
    found = weigh(Population.fit(records(views, y), split, ALL_PAIRS))
    kernels = [kernel_of(found, name)[0][split.train][:, split.train].numpy() for name in "abc"]
    np.testing.assert_allclose(list(found.shares.values()), margin_shares(kernels, y[split.train]), atol=0.02)


@pytest.mark.parametrize("how", ["margin", "aligned"])
def test_nothing_outside_training_is_read(how):
    views, y = toy()
    split = stratified_split(y)
    later = np.concatenate([split.val, split.test])
    before = weigh(Population.fit(records(views, y), split, ALL_PAIRS), how)
    views[0][later] += 100
    changed = y.copy()
    changed[later] = 1 - changed[later]
    after = weigh(Population.fit(records(views, changed), split, ALL_PAIRS), how)
    assert before.shares == after.shares
    rows = torch.from_numpy(split.train)
    assert torch.equal(dense(before, rows=rows), dense(after, rows=rows))


def test_who_comes_later_is_joined_by_weighed_edges(tmp_path):
    views, y = toy()
    population = weigh(Population.fit(records(views, y), stratified_split(y), ALL_PAIRS))
    population.save(tmp_path / "p")
    loaded = Population.load(tmp_path / "p")
    assert loaded.shares == population.shares
    modalities = {"a": views[0][:1], "b": np.full((1, 3), np.nan), "c": views[2][:1]}
    larger = loaded.attach(Records(ids=["new"], modalities=modalities))
    shares = torch.tensor([population.shares[name] for name in "abc"], dtype=torch.float64)
    kernels, present = zip(*(kernel_of(larger, name) for name in "abc"), strict=True)
    expected = combine_kernels(kernels, shares, present=present)[-1]
    known = torch.from_numpy(stratified_split(y).train)
    torch.testing.assert_close(dense(larger)[-1, known], expected[known], atol=1e-6, rtol=1e-5)
    assert torch.equal(dense(larger)[:-1, :-1], dense(population))


def test_populations_that_are_no_kernels_are_refused():
    views, y = toy()
    split = stratified_split(y)
    with pytest.raises(ConfigError, match=r"got k=5, edges='similarity', level='anchor', shares=\{\}"):
        weigh(Population.fit(records(views, y), split, PopulationConfig(k=5, kernel=True)))
    with pytest.raises(ConfigError, match="level='modality'"):
        weigh(Population.fit(records(views, y), split, PopulationConfig(k=None, kernel=True, level="modality")))
    once = weigh(Population.fit(records(views, y), split, ALL_PAIRS), "equal")
    with pytest.raises(ConfigError, match=r"shares=\{'a': 0.33"):
        weigh(once)
    with pytest.raises(ConfigError, match="how must be one of .* got 'best'"):
        weigh(once, "best")
    nameless = Records(ids=range(len(y)), modalities={"a": views[0]})
    with pytest.raises(DataError, match="training subjects with labels, got a population without"):
        weigh(Population.fit(nameless, Split(train=range(9), val=[9], test=[10]), ALL_PAIRS))
