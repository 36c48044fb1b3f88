import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist, pdist

from mmgraph.builders import near
from mmgraph.builders.near import Group, Rule, join, mean_distance
from mmgraph.errors import ConfigError
from mmgraph.functional import similarity

METRICS = ("euclidean", "cosine", "correlation")


def rule(k=2, metric="euclidean", width=None, thresholds=()):
    return Rule(metric=metric, width=width, thresholds=thresholds, k=k, what="modality 'blood'")


def cohort(rows, channels=4, seed=0):
    return torch.randn(rows, channels, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("elements", [1, 70, 1 << 24])
def test_the_width_is_the_mean_pair_distance(monkeypatch, metric, elements):
    monkeypatch.setattr(near, "BLOCK_ELEMENTS", elements)
    x = cohort(21) + 1
    assert mean_distance(x, metric=metric) == pytest.approx(pdist(x.double(), metric).mean(), rel=1e-6)


def test_two_rows_far_from_the_origin_have_their_own_distance_as_width():
    x = torch.tensor([[30.0, 40.0], [30.0, 40.5]])
    assert mean_distance(x, metric="euclidean") == pytest.approx(0.5, rel=1e-6)


def test_a_row_without_a_direction_is_not_apart_from_itself():
    x = torch.tensor([[1.0, 1.0], [2.0, 1.0], [1.0, 2.0]])  # the first is constant
    assert mean_distance(x, metric="correlation") == pytest.approx((1 + 1 + 2) / 3)


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_rows_that_do_not_differ_have_no_width(metric):
    for x in (torch.tensor([[1.0, 0.0]]).expand(4, -1).contiguous(), cohort(1)):
        with pytest.raises(ConfigError, match=f"got {len(x)} with mean distance 0.0; set kernel=False"):
            mean_distance(x, metric=metric)


def slow_join(x, owner, groups, config, phenotypes=()):
    """Row by row: the best sources of each target, each edge once, sorted by target, then source."""
    found = {}
    for group in groups:
        sources = [row for row, one in enumerate(owner) if one in group.sources]
        for target in [row for row, one in enumerate(owner) if one in group.targets]:
            scores = {}
            for source in sources:
                if source == target:
                    continue
                apart = 0.0 if x is None else cdist(x[[source]], x[[target]], config.metric)[0, 0]
                common = 0
                for values, threshold in zip(phenotypes, config.thresholds, strict=True):
                    a, b = float(values[owner[source]]), float(values[owner[target]])
                    common += (a == b) if threshold is None else abs(a - b) < threshold
                weight = 1.0 if config.width is None else np.exp(-(apart**2) / (2 * config.width**2))
                if phenotypes:
                    weight *= common
                if weight > 0:
                    scores[source] = (weight if phenotypes else -apart, weight)
            best = sorted(scores, key=lambda s: -scores[s][0])[: config.k]
            for source in best:
                found[target, source] = scores[source][1]
                if group.mutual:
                    found[source, target] = scores[source][1]
    return found


def check_join(x, owner, groups, config, phenotypes=()):
    index, weight, _ = join(x, torch.tensor(owner), groups, config, phenotypes)
    expected = slow_join(None if x is None else x.double().numpy(), owner, groups, config, phenotypes)
    assert index.flip(0).T.tolist() == [list(edge) for edge in sorted(expected)]
    np.testing.assert_allclose(weight, [expected[edge] for edge in sorted(expected)], rtol=1e-5)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("width", [None, 1.3])
@pytest.mark.parametrize("k", [1, 4, 11, None])
@pytest.mark.parametrize("elements", [1, 1 << 24])
def test_edges_equal_a_slow_loop(monkeypatch, metric, width, k, elements):
    monkeypatch.setattr(similarity, "BLOCK_ELEMENTS", elements)
    everyone = np.arange(12)
    check_join(cohort(12), [*range(12)], [Group(everyone, everyone, True)], rule(k, metric, width))


@settings(max_examples=60)
@given(data=st.data(), k=st.integers(1, 3) | st.none(), metric=st.sampled_from(METRICS))
def test_groups_and_gaps_equal_a_slow_loop(data, k, metric):
    subjects = 14
    owner = sorted(data.draw(st.sets(st.integers(0, subjects - 1), min_size=1), label="owner"))
    parts = data.draw(st.lists(st.sampled_from([0, 0, 0, 1, 2]), min_size=subjects, max_size=subjects), label="parts")
    known, later, last = (np.flatnonzero(np.array(parts) == part) for part in range(3))
    groups = [Group(known, known, True), Group(later, np.concatenate([known, later]), False), Group(last, known, False)]
    phenotypes = [torch.rand(subjects, dtype=torch.float64), torch.randint(0, 2, (subjects,)).double()]
    phenotypes[0][3] = torch.nan
    x = cohort(len(owner), 4, data.draw(st.integers(0, 99)))
    for config, values in ((rule(k, metric, 1.3), []), (rule(k, metric, 1.3, [0.4, None]), phenotypes)):
        rivals = [
            len(set(owner) & set(g.sources)) - bool(set(owner) & set(g.sources) & set(g.targets))
            for g in groups
            if set(owner) & set(g.targets)
        ]
        if k is not None and min(rivals, default=k) < k:
            with pytest.raises(ConfigError, match=f"k must be at most the .* 'blood' .*got {k}"):
                join(x, torch.tensor(owner), groups, config, values)
        else:
            check_join(x, owner, groups, config, values)


def test_phenotypes_alone_decide_without_a_modality():
    phenotypes = [torch.tensor([1.0, 1.0, 2.0, torch.nan, 2.0]).double()]
    everyone = np.arange(5)
    config = rule(None, None, None, [None])
    check_join(None, [*range(5)], [Group(everyone, everyone, True)], config, phenotypes)
    index, *_ = join(None, everyone_owner(5), [Group(everyone, everyone, True)], config, phenotypes)
    assert index.tolist() == [[1, 0, 4, 2], [0, 1, 2, 4]]


def everyone_owner(rows):
    return torch.arange(rows)


def test_a_kernel_that_vanishes_makes_no_edge():
    x = torch.tensor([[0.0], [1.0], [1e4]])
    everyone = np.arange(3)
    index, weight, _ = join(x, everyone_owner(3), [Group(everyone, everyone, True)], rule(None, width=1.0), [])
    assert index.tolist() == [[1, 0], [0, 1]]
    assert (weight > 0).all()


def test_k_beyond_the_cohort_is_refused_by_value():
    everyone = np.arange(5)
    for k in (5, 9):
        with pytest.raises(
            ConfigError, match=f"k must be at most the 4 other subjects who have modality 'blood'.*got {k}"
        ):
            join(cohort(5), everyone_owner(5), [Group(everyone, everyone, True)], rule(k), [])
    with pytest.raises(ConfigError, match="at most the 3 other .*got 4"):
        join(cohort(5), everyone_owner(5), [Group(np.array([3, 4]), np.array([0, 1, 2]), False)], rule(4), [])
    index, *_ = join(cohort(5), everyone_owner(5), [Group(np.array([3, 4]), np.array([0, 1, 2]), False)], rule(3), [])
    assert index.tolist() == [[0, 1, 2, 0, 1, 2], [3, 3, 3, 4, 4, 4]]


def test_nobody_to_join_needs_nobody():
    none, everyone = np.array([], dtype=int), np.arange(3)
    index, weight, _ = join(cohort(3), everyone_owner(3), [Group(none, everyone, False)], rule(10), [])
    assert index.shape == (2, 0)
    assert weight.shape == (0,)


def test_all_pairs_of_a_large_cohort_are_refused(monkeypatch):
    monkeypatch.setattr(near, "MOST_PAIRS", 24)
    everyone = np.arange(5)
    with pytest.raises(ConfigError, match="25 pairs, more than 24; give k"):
        join(cohort(5), everyone_owner(5), [Group(everyone, everyone, True)], rule(None, width=1.0), [])
    join(cohort(5), everyone_owner(5), [Group(everyone, everyone, True)], rule(2, width=1.0), [])


def test_the_blocks_bound_the_memory():
    code = """
        import resource
        import numpy as np, torch
        from mmgraph.builders.near import Group, Rule, join
        torch.set_num_threads(1)
        rows = 20_000
        x, everyone = torch.randn(rows, 32), np.arange(rows)
        rule = Rule(metric="euclidean", width=None, thresholds=(), k=10, what="")
        join(x[:100], torch.arange(100), [Group(everyone[:100], everyone[:100], True)], rule, [])
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        index, *_ = join(x, torch.arange(rows), [Group(everyone, everyone, True)], rule, [])
        assert rows * 10 <= index.shape[1] <= rows * 20
        print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 500  # MiB; the matrix of all distances would be 1526
