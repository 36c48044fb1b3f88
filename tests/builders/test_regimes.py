"""What may be seen of the subjects outside training: perturb what may not, and nothing moves."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from mmgraph.builders import Population, PopulationConfig
from mmgraph.tasks import NodeClassification

HIDDEN = ("cohort_hidden", "single_query")
REGIMES = ("transductive", *HIDDEN)
PHENOTYPES = {"age": 9.0, "site": None, "sex": None}
OPTIONS = {
    "similarity": {"k": 3},
    "kernel": {"k": 3, "kernel": True},
    "select": {"k": 3, "select": 2, "kernel": True},
    "rank": {"k": 3, "scale": "rank", "select": 2},
    "correlation": {"k": 3, "metric": "correlation", "kernel": True},
    "level": {"k": 3, "level": "modality", "kernel": True},
    "product": {"k": 3, "edges": "product", "phenotypes": PHENOTYPES},
    "all": {"k": None, "edges": "product", "phenotypes": PHENOTYPES},
    "agreement": {"k": 3, "edges": "agreement", "phenotypes": PHENOTYPES},
}
every_option = pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)


def change_labels(records, rows):
    """Other labels for some subjects: the other class, and for every third none."""
    labels = records.labels.copy()
    labels[rows] = 1 - labels[rows]
    labels[rows[::3]] = -1
    return replace(records, labels=labels)


def change_subjects(records, rows, *, gaps=False):
    """Other features (and, if asked, other gaps), phenotypes and labels for some subjects."""
    rng = np.random.default_rng(7)
    modalities = {name: values.copy() for name, values in records.modalities.items()}
    for values in modalities.values():
        noise = rng.normal(size=(len(rows), values.shape[1])) * 10
        values[rows] = noise if gaps else np.where(np.isnan(values[rows]), np.nan, noise)
    if gaps:
        modalities["scan"][rows[1]] = np.nan
    phenotypes = {name: values.copy() for name, values in records.phenotypes.items()}
    phenotypes["age"][rows] = rng.uniform(50, 80, len(rows))
    phenotypes["site"][rows] = "new"
    return replace(change_labels(records, rows), modalities=modalities, phenotypes=phenotypes)


def tensors(graph):
    return {(store._key, key): value for store in graph.stores for key, value in store.items()}


def same(one, other, skip=()):
    """Whether two graphs are bit-equal, but for some keys."""
    a, b = (tensors(graph) for graph in (one, other))
    return list(a) == list(b) and all(torch.equal(a[key], b[key]) for key in a if key[1] not in skip)


def same_fit(one, other):
    """Whether scalings and widths are bit-equal."""
    keys = ("columns", "mean", "scale", "sorted")
    scalings = zip(one.scaling.values(), other.scaling.values(), strict=True)
    return one.widths == other.widths and all(
        np.array_equal(getattr(a, key), getattr(b, key)) for a, b in scalings for key in keys
    )


def parts_of_edges(population, split):
    """(relation, part of the source, part of the target) of every edge between subjects."""
    part_of = {row: part for part in ("train", "val", "test") for row in getattr(split, part)}
    found = set()
    for source, relation, target in population.schema.edges:
        if relation == "of":
            continue
        index = population.graph[source, relation, target].edge_index
        if source != "subject":
            index = population.graph[source, "of", "subject"].edge_index[1][index]
        found |= {(relation, *(part_of.get(row, "none") for row in pair)) for pair in index.T.tolist()}
    return found


def into(population, subject):
    """Relation → {id of the source: weight} of the edges into one subject."""
    row, out = population.rows[subject], {}
    for source, relation, target in population.schema.edges:
        if relation == "of":
            continue
        store = population.graph[source, relation, target]
        index = store.edge_index
        if source != "subject":
            index = population.graph[source, "of", "subject"].edge_index[1][index]
        at = index[1] == row
        weight = store.get("edge_weight", torch.ones(len(at)))[at].tolist()
        out[relation, source] = dict(zip([population.ids[i] for i in index[0][at].tolist()], weight, strict=True))
    return out


@every_option
@pytest.mark.parametrize("regime", REGIMES)
def test_labels_outside_training_change_nothing(records, split, options, regime):
    config = PopulationConfig(regime=regime, **options)
    population = Population.fit(records, split, config)
    other = Population.fit(change_labels(records, np.r_[split.test, split.val]), split, config)
    assert same(population.graph, other.graph, skip={"y"})
    assert not same(population.graph, other.graph)
    assert same_fit(population, other)
    assert population.schema == other.schema


@every_option
@pytest.mark.parametrize("gaps", [False, True])
@pytest.mark.parametrize("regime", HIDDEN)
def test_training_is_blind_to_those_who_are_hidden(records, split, options, gaps, regime):
    config = PopulationConfig(regime=regime, **options)
    population = Population.fit(records, split, config)
    other = Population.fit(change_subjects(records, np.r_[split.test, split.val], gaps=gaps), split, config)
    views = [NodeClassification(p.schema).view(p.graph, "train") for p in (population, other)]
    assert same(*views, skip={"n_id"} if gaps else ())  # with other gaps a scan has another number
    assert same_fit(population, other)
    assert views[0]["subject"].num_nodes == 26  # training, and those in no part
    assert sum(views[0]["subject"].y >= 0) == 24
    assert not same(population.graph, other.graph)


@every_option
@pytest.mark.parametrize("part", ["val", "test"])
@pytest.mark.parametrize("regime", HIDDEN)
def test_one_part_is_blind_to_the_other(records, split, options, regime, part):
    config = PopulationConfig(regime=regime, **options)
    population = Population.fit(records, split, config)
    unseen = split.test if part == "val" else split.val
    other = Population.fit(change_subjects(records, unseen), split, config)
    assert same(*(NodeClassification(p.schema).view(p.graph, part) for p in (population, other)))


@every_option
def test_who_may_be_whose_neighbour(records, split, options):
    relations = set()
    allowed = {
        "single_query": {"train": {"train", "none"}, "val": {"train", "none"}, "test": {"train", "none"}},
        "cohort_hidden": {
            "train": {"train", "none"},
            "val": {"train", "none", "val"},
            "test": {"train", "none", "test"},
        },
    }
    for regime, sources in allowed.items():
        found = parts_of_edges(Population.fit(records, split, PopulationConfig(regime=regime, **options)), split)
        relations |= {relation for relation, _, _ in found}
        sources["none"] = sources["train"]
        wrong = {edge for edge in found if edge[1] not in sources[edge[2]]}
        assert wrong == set()
        for part, others in sources.items():  # and each part is joined to training, and to itself where it may be
            assert others & {"train", part} - {"none"} <= {edge[1] for edge in found if edge[2] == part}
    open_ = parts_of_edges(Population.fit(records, split, PopulationConfig(regime="transductive", **options)), split)
    assert {("train", "test"), ("test", "train"), ("val", "test"), ("test", "val")} <= {edge[1:] for edge in open_}
    assert relations


@every_option
def test_one_query_is_blind_to_the_others(records, split, options):
    config = PopulationConfig(regime="single_query", **options)
    population = Population.fit(records, split, config)
    for asked in split.test[:3]:
        others = np.setdiff1d(np.r_[split.test, split.val], [asked])
        other = Population.fit(change_subjects(records, others, gaps=True), split, config)
        assert into(population, records.ids[asked]) == into(other, records.ids[asked])


@every_option
@pytest.mark.parametrize("alone", [True, False])
def test_a_fit_with_the_test_equals_attaching_it(records, split, options, alone):
    regime = "single_query" if alone else "cohort_hidden"
    config = PopulationConfig(regime=regime, **options)
    population = Population.fit(records, split, config)
    known = np.setdiff1d(np.arange(40), np.r_[split.val, split.test])
    if "select" in options:  # selected by the labels of training alone
        labels = records.labels.copy()
        labels[np.setdiff1d(known, split.train)] = -1
        records = replace(records, labels=labels)
    rest = Population.fit(records.take(known), None, config)
    assert same_fit(population, rest)
    together = rest.attach(records.take(split.test), together=not alone)
    for row in split.test:
        subject = records.ids[row]
        one = rest.attach(records.take([row])) if alone else together
        assert into(together, subject) == into(one, subject)
        if options.get("edges") == "agreement" and not alone:  # with others between, other ones among equals
            edges = [into(p, subject)["agrees", "subject"].values() for p in (population, one)]
            assert sorted(edges[0]) == sorted(edges[1])
        else:
            assert into(population, subject) == into(one, subject)
        for name in records.modalities:
            at = [p.graph[name, "of", "subject"].edge_index[1] == p.rows[subject] for p in (population, one)]
            features = [p.graph[name].x[mask] for p, mask in zip((population, one), at, strict=True)]
            assert torch.equal(*features)


@every_option
def test_with_all_in_sight_features_are_seen_and_labels_are_not(records, split, options):
    config = PopulationConfig(regime="transductive", **options)
    population = Population.fit(records, split, config)
    other = Population.fit(change_subjects(records, split.test), split, config)
    views = [NodeClassification(p.schema).view(p.graph, "train") for p in (population, other)]
    assert not same(*views)
    assert all(torch.equal(view["subject"].y, views[0]["subject"].y) for view in views)
    assert sum(views[0]["subject"].y >= 0) == 24
    for name in records.modalities:
        everyone = records.modalities[name][records.present(name)]
        columns = population.scaling[name].columns
        if config.scale == "standard":
            np.testing.assert_allclose(population.scaling[name].mean, everyone[:, columns].mean(0), rtol=1e-4)


@pytest.mark.parametrize("regime", REGIMES)
def test_columns_are_selected_by_the_labels_of_training_alone(records, split, regime):
    telling = records.modalities["blood"].copy()
    telling[:, 0] = np.random.default_rng(3).normal(size=40)
    telling[:, 1] = records.labels + np.random.default_rng(4).normal(size=40) * 0.05
    outside = np.setdiff1d(np.arange(40), split.train)
    telling[outside, 0] = records.labels[outside] * 100  # tells the classes apart, but not in training
    records = replace(records, modalities={"blood": telling, "scan": records.modalities["scan"]})
    population = Population.fit(records, split, PopulationConfig(k=3, select=1, regime=regime))
    assert population.scaling["blood"].columns.tolist() == [1]
