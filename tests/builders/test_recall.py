"""Large cohorts, where not all of the nearest need be found."""

import numpy as np
import pytest

from mmgraph.builders import Population, PopulationConfig
from mmgraph.data import Records, Split


@pytest.fixture(scope="module")
def cohort():
    """Seven thousand subjects of sixty overlapping kinds; every tenth has no scan; the last thousand come later."""
    rng = np.random.default_rng(0)
    kind = rng.integers(0, 60, 8000)
    blood = rng.normal(size=(60, 12))[kind] + 0.3 * rng.normal(size=(8000, 12))
    scan = rng.normal(size=(60, 8))[kind] + 0.3 * rng.normal(size=(8000, 8))
    scan[::10] = np.nan
    return Records(ids=[f"s{row}" for row in range(8000)], modalities={"blood": blood, "scan": scan})


def pairs(population, name):
    return set(map(tuple, population.graph["subject", f"near_{name}", "subject"].edge_index.T.tolist()))


def share(found, whole):
    return len(found & whole) / len(whole)


@pytest.mark.parametrize("metric", ["euclidean", "correlation"])
def test_the_promised_share_of_the_edges_is_there(cohort, metric):
    options = {"k": 6, "metric": metric}
    records = cohort.take(range(7000))
    whole = Population.fit(records, config=PopulationConfig(**options))
    found = Population.fit(records, config=PopulationConfig(**options, recall=0.9))
    assert whole.recall == {}
    assert list(found.recall) == ["blood", "scan"]
    for name in ("blood", "scan"):
        assert 0.9 <= found.recall[name] < 1
        edges = pairs(found, name)
        assert 0.9 <= share(edges, pairs(whole, name)) < 1
        assert edges == {(b, a) for a, b in edges}


def test_later_subjects_are_joined_at_the_same_promise(cohort):
    records, later = cohort.take(range(7000)), cohort.take(range(7000, 8000))
    whole = Population.fit(records, config=PopulationConfig(k=6))
    found = Population.fit(records, config=PopulationConfig(k=6, recall=0.9))
    before = dict(found.recall)
    for together in (True, False):
        more, all_ = found.attach(later, together=together), whole.attach(later, together=together)
        for name in ("blood", "scan"):
            ours, theirs = ({edge for edge in pairs(one, name) if edge[1] >= 7000} for one in (more, all_))
            assert share(ours, theirs) >= 0.9
            assert more.recall[name] <= before[name]
    assert found.recall == before


def test_groups_of_a_split_keep_to_their_sources(cohort):
    records, order = cohort.take(range(7000)), np.random.default_rng(1).permutation(7000)
    split = Split(np.sort(order[:6200]), np.sort(order[6200:6600]), np.sort(order[6600:]))
    population = Population.fit(records, split, PopulationConfig(k=4, recall=0.9, regime="single_query"))
    known = set(split.train.tolist())
    for name in ("blood", "scan"):
        assert {source for source, _ in pairs(population, name)} <= known
        targets = [target for _, target in pairs(population, name) if target not in known]
        assert set(np.bincount(targets)) == {0, 4}


def test_a_recall_that_was_kept_is_read_again(cohort, tmp_path):
    population = Population.fit(cohort.take(range(7000)), config=PopulationConfig(k=4, recall=0.8))
    population.save(tmp_path / "population")
    again = Population.load(tmp_path / "population")
    assert again.recall == population.recall
    assert again.config == population.config


def test_a_small_cohort_is_joined_to_all_its_nearest(cohort):
    records = cohort.take(range(300))
    whole = Population.fit(records, config=PopulationConfig(k=3))
    found = Population.fit(records, config=PopulationConfig(k=3, recall=0.5))
    assert found.recall == {"blood": 1.0, "scan": 1.0}
    assert pairs(found, "blood") == pairs(whole, "blood")
