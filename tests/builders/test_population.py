import math

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist

from mmgraph.builders import Population, PopulationConfig
from mmgraph.data import Records, Split, stratified_split
from mmgraph.errors import ConfigError, DataError
from mmgraph.schema import EdgeSpec, NodeSpec, TargetSpec

NAN = float("nan")
METRICS = ("euclidean", "cosine", "correlation")
PHENOTYPES = {"age": 2.0, "site": None}

# The five subjects, by hand. Blood is 0, 1, 2, 3, 4: its distances, in deviations, are |i - j| / sqrt(2), their mean
# over the ten pairs is sqrt(2), so that the kernel is exp(-(i - j)^2 / 8). Scan puts subjects 0, 1, 3 and 4 on the
# corners of a square of side 2; subject 2 has none. Four of its six pairs are 2 apart, two (0-4 and 1-3) are
# 2 sqrt(2): sigma = (4 + 2 sqrt(2)) / 3, so that a side weighs exp(-2 / sigma^2), a diagonal exp(-4 / sigma^2).
BLOOD = {1: 0.8824969, 2: 0.6065307, 3: 0.3246525, 4: 0.1353353}
SIDE, DIAGONAL = 0.6797440, 0.4620520
# Ages 60, 61, 62, 61.5, unknown agree where they differ by less than 2 (0 and 2 differ by 2); sites are a, b, a, b, a.
COMMON = {(0, 1): 1, (0, 2): 1, (0, 3): 1, (0, 4): 1, (1, 2): 1, (1, 3): 2, (2, 3): 1, (2, 4): 1}
SQUARE = {(0, 1): SIDE, (0, 3): SIDE, (1, 4): SIDE, (3, 4): SIDE, (0, 4): DIAGONAL, (1, 3): DIAGONAL}


@pytest.fixture
def five():
    return Records(
        ids=["ann", "bob", "cat", "dan", "eve"],
        modalities={
            "blood": [[0.0], [1.0], [2.0], [3.0], [4.0]],
            "scan": [[0, 0], [2, 0], [NAN, NAN], [0, 2], [2, 2]],
        },
        labels=[0, 1, 0, 1, -1],
        classes=["healthy", "ill"],
        phenotypes={"age": [60, 61, 62, 61.5, NAN], "site": ["a", "b", "a", "b", "a"]},
        target="diagnosis",
    )


def edges(population, relation, node="subject"):
    """(source, target) → weight; an edge given twice would be lost, so their number is checked."""
    store = population.graph[node, relation, node]
    weight = store.get("edge_weight", torch.ones(store.edge_index.shape[1]))
    found = dict(zip(map(tuple, store.edge_index.T.tolist()), weight.tolist(), strict=True))
    assert len(found) == store.edge_index.shape[1]
    return found


def both_ways(pairs):
    return {**pairs, **{(b, a): weight for (a, b), weight in pairs.items()}}


def check(found, expected):
    assert sorted(found) == sorted(expected)
    for edge, weight in expected.items():
        assert found[edge] == pytest.approx(weight, abs=2e-7), edge


def test_the_numbers_above():
    for steps, weight in BLOOD.items():
        assert weight == pytest.approx(math.exp(-(steps**2) / 8), abs=1e-7)
    sigma = (4 * 2 + 2 * 2 * math.sqrt(2)) / 6
    assert pytest.approx(math.exp(-(2**2) / (2 * sigma**2)), abs=1e-7) == SIDE
    assert pytest.approx(math.exp(-8 / (2 * sigma**2)), abs=1e-7) == DIAGONAL


def test_the_nearest_two(five):
    population = Population.fit(five, config=PopulationConfig(k=2))
    near = [(0, 1), (0, 2), (1, 2), (2, 3), (2, 4), (3, 4)]
    check(edges(population, "near_blood"), both_ways(dict.fromkeys(near, 1.0)))
    check(edges(population, "near_scan"), both_ways(dict.fromkeys([(0, 1), (0, 3), (1, 4), (3, 4)], 1.0)))
    assert "edge_weight" not in population.graph["subject", "near_scan", "subject"]
    assert population.widths == {}


def test_the_nearest_two_weighted_by_the_kernel(five):
    population = Population.fit(five, config=PopulationConfig(k=2, kernel=True))
    near = [(0, 1), (0, 2), (1, 2), (2, 3), (2, 4), (3, 4)]
    check(edges(population, "near_blood"), both_ways({(a, b): BLOOD[b - a] for a, b in near}))
    check(edges(population, "near_scan"), both_ways({pair: w for pair, w in SQUARE.items() if w == SIDE}))


def test_all_pairs_weighted_by_the_kernel(five):
    population = Population.fit(five, config=PopulationConfig(k=None, kernel=True))
    everyone = {(a, b): BLOOD[b - a] for a in range(5) for b in range(a + 1, 5)}
    check(edges(population, "near_blood"), both_ways(everyone))
    check(edges(population, "near_scan"), both_ways(SQUARE))
    assert population.widths["blood"] == pytest.approx(math.sqrt(2), rel=1e-6)
    assert population.widths["scan"] == pytest.approx((4 + 2 * math.sqrt(2)) / 3, rel=1e-6)


@pytest.mark.parametrize("k", [None, 4])
def test_all_who_agree(five, k):
    config = PopulationConfig(k=k, edges="agreement", phenotypes=PHENOTYPES)
    population = Population.fit(five, config=config)
    check(edges(population, "agrees"), both_ways({pair: float(count) for pair, count in COMMON.items()}))
    assert population.schema.relations("subject") == (("subject", "agrees", "subject"),)


def test_the_one_who_agrees_most(five):
    alike = five.take([0, 2, 3, 1])  # cat agrees with ann, dan and bob; dan and bob agree twice
    config = PopulationConfig(k=1, edges="agreement", phenotypes={"age": 1.5, "site": None})
    found = edges(Population.fit(alike, config=config), "agrees")
    assert found[2, 3] == found[3, 2] == 2
    assert {target for _, target in found} == {0, 1, 2, 3}


def test_parisot_equation_2(five):
    population = Population.fit(five, config=PopulationConfig(k=None, edges="product", phenotypes=PHENOTYPES))
    check(edges(population, "near_blood"), both_ways({(a, b): BLOOD[b - a] * n for (a, b), n in COMMON.items()}))
    scan = {pair: weight * COMMON[pair] for pair, weight in SQUARE.items() if pair in COMMON}
    assert len(scan) == 4
    assert scan[1, 3] == pytest.approx(0.9241039)
    check(edges(population, "near_scan"), both_ways(scan))


def test_between_modality_nodes(five):
    population = Population.fit(five, config=PopulationConfig(k=None, kernel=True, level="modality"))
    rows = {0: 0, 1: 1, 3: 2, 4: 3}  # subject → row of its scan
    check(edges(population, "near", "scan"), both_ways({(rows[a], rows[b]): w for (a, b), w in SQUARE.items()}))
    assert population.schema.relations("subject") == ()
    assert population.schema.relations("scan") == (("scan", "near", "scan"),)


def test_a_subject_without_a_modality_has_neither_node_nor_edge_there(five):
    population = Population.fit(five, config=PopulationConfig(k=2))
    assert population.graph["scan", "of", "subject"].edge_index.tolist() == [[0, 1, 2, 3], [0, 1, 3, 4]]
    assert population.graph["scan"].x.tolist() == [[-1, -1], [1, -1], [-1, 1], [1, 1]]
    assert not (population.graph["subject", "near_scan", "subject"].edge_index == 2).any()


def test_what_a_population_says_of_itself(five):
    config = PopulationConfig(k=2, kernel=True, regime="single_query", anchor="patient")
    population = Population.fit(five, config=config)
    schema = population.schema
    schema.check(population.graph)
    assert (schema.anchor, schema.regime, schema.modalities) == ("patient", "single_query", ("blood", "scan"))
    assert schema.nodes["scan"] == NodeSpec(modality="tabular", channels=2, unit="z-score")
    assert schema.edges["patient", "near_scan", "patient"] == EdgeSpec(weighted=True)
    assert schema.targets == {"diagnosis": TargetSpec(node="patient", kind="binary", classes=("healthy", "ill"))}
    assert population.ids == five.ids
    assert population.rows["dan"] == 3
    assert population.reference.all()
    assert population.graph["patient"].y.tolist() == [0, 1, 0, 1, -1]


def test_the_names_of_selected_columns_come_along(records):
    population = Population.fit(records, config=PopulationConfig(k=2, select=2))
    kept = population.scaling["scan"].columns
    assert population.schema.nodes["scan"].names == tuple(np.array(["one", "two", "three"])[kept])
    assert population.schema.nodes["blood"].names == ()
    assert population.graph["blood"].x.shape == (40, 2)


def test_records_without_labels_have_no_target(five):
    unlabelled = Records(ids=five.ids, modalities=five.modalities)
    population = Population.fit(unlabelled, config=PopulationConfig(k=2))
    assert population.schema.targets == {}
    assert "y" not in population.graph["subject"]


def slow(records, split, config):
    """Relation → {(source, target): weight}, subject by subject."""
    rows = range(len(records))
    parts = {row: part for part in ("train", "val", "test") for row in (getattr(split, part) if split else ())}
    hidden = split is not None and config.regime != "transductive"
    known = [row for row in rows if not hidden or parts.get(row) not in ("val", "test")]

    def may_see(target):
        if target in known or config.regime == "single_query":
            return known
        return known + [row for row in rows if parts.get(row) == parts[target]]

    def common(a, b):
        total = 0
        for name, threshold in config.phenotypes.items():
            one, other = records.phenotypes[name][a], records.phenotypes[name][b]
            if threshold is None:
                total += one == other and one is not None
            else:
                total += abs(one - other) < threshold
        return total

    out = {}
    for name, values in records.modalities.items():
        here = [row for row in rows if records.present(name)[row]]
        fitted = values[[row for row in known if row in here]].astype(np.float64)
        z = (values - fitted.mean(axis=0)) / fitted.std(axis=0)
        apart = {row: dict(zip(here, cdist(z[[row]], z[here], config.metric)[0], strict=True)) for row in here}
        pairs = [apart[a][b] for a in here for b in here if a < b and a in known and b in known]
        sigma = sum(pairs) / len(pairs)
        found = {}
        for target in here:
            weights = {}
            for source in may_see(target):
                if source == target or source not in here:
                    continue
                weight = math.exp(-(apart[target][source] ** 2) / (2 * sigma**2))
                if config.edges == "product":
                    weight *= common(source, target)
                if weight > 0:
                    weights[source] = weight
            for source in sorted(weights, key=lambda s: -weights[s])[: config.k]:
                weight = weights[source] if config.weighted else 1.0
                found[source, target] = weight
                if target in known:
                    found[target, source] = weight
        out[f"near_{name}"] = (found, sigma)
    return out


CONFIGS = {
    "similarity": {"k": 3},
    "kernel": {"k": 3, "kernel": True},
    "all": {"k": None, "kernel": True},
    "product": {"k": 3, "edges": "product", "phenotypes": {"age": 9.0, "site": None, "sex": None}},
    "all products": {"k": None, "edges": "product", "phenotypes": {"age": 9.0, "site": None, "sex": None}},
}


@pytest.mark.parametrize("options", CONFIGS.values(), ids=CONFIGS)
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("regime", ["transductive", "cohort_hidden", "single_query"])
def test_edges_and_widths_equal_a_slow_loop(records, split, options, metric, regime):
    config = PopulationConfig(metric=metric, regime=regime, **options)
    for parts in (split, None):
        population = Population.fit(records, parts, config)
        for relation, (expected, sigma) in slow(records, parts, config).items():
            found = edges(population, relation)
            assert sorted(found) == sorted(expected)
            np.testing.assert_allclose([found[e] for e in expected], list(expected.values()), rtol=2e-5)
            if config.weighted:
                assert population.widths[relation.removeprefix("near_")] == pytest.approx(sigma, rel=1e-5)


@pytest.mark.parametrize("options", CONFIGS.values(), ids=CONFIGS)
def test_the_fitted_cohort_is_joined_symmetrically(records, split, options):
    population = Population.fit(records, split, PopulationConfig(**options))
    known = population.reference.nonzero().flatten().tolist()
    assert known == sorted({*range(40)} - {*split.val, *split.test})
    for relation in ("near_blood", "near_scan"):
        found = {edge: w for edge, w in edges(population, relation).items() if edge[1] in known}
        assert all(found[b, a] == weight for (a, b), weight in found.items())  # to the last bit
        assert all(a != b for a, b in found)


def test_agreement_keeps_those_with_most_in_common(records, split):
    config = PopulationConfig(k=3, edges="agreement", phenotypes={"age": 9.0, "site": None, "sex": None})
    whole = edges(Population.fit(records, None, PopulationConfig(**{**vars(config), "k": None})), "agrees")
    found = edges(Population.fit(records, split, config), "agrees")
    assert all(weight == whole[edge] for edge, weight in found.items())
    for target in split.test:
        seen = [row for row in range(40) if row not in split.val and row != target]
        best = sorted((whole.get((row, target), 0.0) for row in seen), reverse=True)[:3]
        assert sorted((w for (_, b), w in found.items() if b == target), reverse=True) == best


@pytest.mark.parametrize(
    ("options", "value"),
    [
        ({"k": 0}, "k must be at least 1, or None for all pairs, got 0"),
        ({"k": -3}, "got -3"),
        ({"metric": "manhattan"}, "metric must be one of .*got 'manhattan'"),
        ({"edges": "all"}, "edges must be one of .*got 'all'"),
        ({"level": "leaf"}, "level .*got 'leaf'"),
        ({"scale": "log"}, "scale .*got 'log'"),
        ({"regime": "open"}, "regime .*got 'open'"),
        ({"k": None}, "k=None .*kernel=True"),
        ({"edges": "product"}, "edges='product' needs phenotypes"),
        ({"edges": "agreement"}, "edges='agreement' needs phenotypes"),
        ({"phenotypes": {"age": 2.0}}, "phenotypes need .*got 'similarity'"),
        ({"edges": "agreement", "phenotypes": {"age": 2.0}, "level": "modality"}, "level must be 'anchor'"),
        ({"edges": "product", "phenotypes": {"age": 0}}, r"phenotypes\['age'\] must be a positive threshold.*got 0"),
        ({"edges": "product", "phenotypes": {"age": -1.5}}, "got -1.5"),
        ({"edges": "product", "phenotypes": {"age": NAN}}, "got nan"),
        ({"recall": 1.0}, "recall must be above 0 and below 1, or None to find all, got 1.0"),
        ({"recall": 0.0}, "got 0.0"),
        ({"recall": NAN}, "got nan"),
        ({"recall": 0.9, "k": None, "kernel": True}, "recall=0.9 needs the k nearest .*got k=None"),
        ({"recall": 0.9, "edges": "product", "phenotypes": {"age": 1.0}}, "got k=10 and edges='product'"),
    ],
)
def test_options_that_can_not_work_are_refused_by_value(options, value):
    with pytest.raises(ConfigError, match=value):
        PopulationConfig(**options)


@pytest.mark.parametrize(
    ("config", "error", "value"),
    [
        ({"k": 5}, ConfigError, "at most the 4 other subjects who have modality 'blood'.*got 5"),
        ({"k": 4}, ConfigError, "at most the 3 other subjects who have modality 'scan'.*got 4"),
        (
            {"k": 5, "edges": "agreement", "phenotypes": PHENOTYPES},
            ConfigError,
            "at most the 4 other .*population.*got 5",
        ),
        (
            {"k": 1, "edges": "agreement", "phenotypes": {"wealth": 1.0}},
            DataError,
            r"\['age', 'site'\], got \['wealth'\]",
        ),
        (
            {"k": 1, "edges": "agreement", "phenotypes": {"site": 1.0}},
            DataError,
            "'site' must be numbers.*got 'a' .*'ann'",
        ),
        ({"k": 1, "anchor": "scan"}, ConfigError, "anchor must not be the name of a modality, got 'scan'"),
        ({"k": 1, "select": 2}, ConfigError, "1 columns of 'blood', got 2"),
    ],
)
def test_a_cohort_that_can_not_be_joined_is_refused_by_value(five, config, error, value):
    with pytest.raises(error, match=value):
        Population.fit(five, config=PopulationConfig(**config))


def test_k_counts_only_those_who_may_be_seen(records, split):
    config = PopulationConfig(k=24, regime="single_query")
    with pytest.raises(ConfigError, match=r"at most the \d+ other subjects who have modality 'scan'.*got 24"):
        Population.fit(records, split, config)


def test_bad_records_are_refused_by_value(five):
    with pytest.raises(DataError, match="at least 2 subjects, got 1"):
        Population.fit(five.take([0]))
    with pytest.raises(DataError, match="between 0 and 4, got 7"):
        Population.fit(five, Split([0, 1], [2], [7]))
    nobody = Records(ids=five.ids, modalities={"blood": five.modalities["blood"], "gene": np.full((5, 2), NAN)})
    with pytest.raises(DataError, match="'gene' must be present in at least 1 subject"):
        Population.fit(nobody, config=PopulationConfig(k=1))
    later = Records(ids=five.ids, modalities={"gene": [[NAN], [NAN], [NAN], [1.0], [2.0]]})
    with pytest.raises(DataError, match="'gene' must be present in at least 1 subject of the fitted cohort"):
        Population.fit(later, Split([0, 1], [2], [3, 4]), PopulationConfig(k=1))
    with pytest.raises(DataError, match="'blood' .*1 constant columns of 1"):
        Population.fit(Records(ids="ab", modalities={"blood": [[1.0], [1.0]]}), config=PopulationConfig(k=1))


def test_the_defaults_are_blind_to_those_who_are_not_in_training(records):
    population = Population.fit(records, stratified_split(records.labels))
    assert population.schema.regime == "cohort_hidden"
    assert population.config == PopulationConfig()
