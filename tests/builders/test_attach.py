"""Subjects who come later, and populations that are kept."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from mmgraph.builders import Population, PopulationConfig
from mmgraph.data import Records
from mmgraph.errors import ArtifactError, ConfigError, DataError
from mmgraph.files import read_json, seal, write_json

PHENOTYPES = {"age": 9.0, "site": None, "sex": None}
OPTIONS = {
    "similarity": {"k": 3},
    "rank": {"k": 3, "scale": "rank", "select": 2, "kernel": True},
    "level": {"k": 3, "level": "modality", "kernel": True, "metric": "cosine"},
    "product": {"k": None, "edges": "product", "phenotypes": PHENOTYPES, "regime": "single_query"},
    "agreement": {"k": 3, "edges": "agreement", "phenotypes": PHENOTYPES, "regime": "transductive"},
    "recall": {"k": 3, "recall": 0.9},
}
every_option = pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)


@pytest.fixture
def old(records):
    return records.take(range(32))


@pytest.fixture
def new(records):
    return records.take(range(32, 40))


def tensors(graph):
    return {(store._key, key): value for store in graph.stores for key, value in store.items()}


def same(one, other):
    a, b = tensors(one), tensors(other)
    return sorted(map(str, a)) == sorted(map(str, b)) and all(torch.equal(a[key], b[key]) for key in a)


def same_population(one, other):
    assert same(one.graph, other.graph)
    for name in ("schema", "ids", "config", "widths", "recall"):
        assert getattr(one, name) == getattr(other, name)
    assert list(one.schema.edges) == list(other.schema.edges)
    assert torch.equal(one.reference, other.reference)
    for name, scaling in one.scaling.items():
        theirs = other.scaling[name]
        assert scaling.channels == theirs.channels
        for key in ("columns", "mean", "scale", "sorted"):
            np.testing.assert_array_equal(getattr(scaling, key), getattr(theirs, key))


@every_option
@pytest.mark.parametrize("together", [True, False])
def test_edges_lead_only_into_the_new_and_the_old_population_stays(old, new, options, together):
    population = Population.fit(old, config=PopulationConfig(**options))
    before = {key: value.clone() for key, value in tensors(population.graph).items()}
    larger = population.attach(new, together=together)

    assert list(tensors(population.graph)) == list(before)
    assert all(torch.equal(value, before[key]) for key, value in tensors(population.graph).items())
    assert (len(population.ids), population.reference.sum()) == (32, 32)
    assert "s35" not in population.rows
    larger.schema.check(larger.graph)
    assert larger.ids == old.ids + new.ids
    assert larger.rows["s35"] == 35
    assert larger.reference.tolist() == [True] * 32 + [False] * 8
    assert larger.graph["subject"].y.tolist() == [*old.labels, *new.labels]
    for mask in ("train_mask", "val_mask", "test_mask"):
        assert not larger.graph["subject"][mask][32:].any()
    met = False
    for edge_type in population.schema.edges:
        index, first = larger.graph[edge_type].edge_index, population.graph[edge_type].edge_index
        assert torch.equal(index[:, : first.shape[1]], first)
        added = index[:, first.shape[1] :]
        if edge_type[1] != "of":
            old_rows = population.graph[edge_type[0]].num_nodes
            assert (added[1] >= old_rows).all()
            assert added.shape[1] > 0
            met |= bool((added[0] >= old_rows).any())
    assert met == together


def test_attaching_twice_gives_the_same(old, new):
    population = Population.fit(old, config=PopulationConfig(k=3, kernel=True))
    same_population(population.attach(new), population.attach(new))
    stepwise = population.attach(new.take([0, 1, 2])).attach(new.take([3, 4, 5, 6, 7]))
    at_once = population.attach(new)
    assert stepwise.ids == at_once.ids
    for relation in ("near_blood", "near_scan"):
        stores = [p.graph["subject", relation, "subject"] for p in (stepwise, at_once)]
        assert torch.equal(stores[0].edge_index, stores[1].edge_index)
        assert torch.equal(stores[0].edge_weight, stores[1].edge_weight)


def test_a_new_subject_may_lack_a_modality_and_its_label(old, new):
    population = Population.fit(old, config=PopulationConfig(k=3))
    bare = Records(ids=["x"], modalities={"blood": [[0.0] * 5], "scan": [[float("nan")] * 3]})
    larger = population.attach(bare)
    assert larger.graph["subject"].y[-1] == -1
    assert larger.graph["scan"].num_nodes == population.graph["scan"].num_nodes
    index = larger.graph["subject", "near_scan", "subject"].edge_index
    assert torch.equal(index, population.graph["subject", "near_scan", "subject"].edge_index)
    assert (larger.graph["subject", "near_blood", "subject"].edge_index[1] == 32).sum() == 3
    assert population.attach(new.without_labels()).graph["subject"].y[32:].tolist() == [-1] * 8


def test_labels_come_to_a_population_with_labels_alone(old, new):
    population = Population.fit(replace(old, labels=None, classes=()), config=PopulationConfig(k=3))
    assert "y" not in population.attach(new).graph["subject"]


def test_new_subjects_that_do_not_fit_are_refused_by_value(old, new):
    config = PopulationConfig(k=3, edges="product", phenotypes={"age": 9.0, "site": None})
    population = Population.fit(old, config=config)
    blood, scan = new.modalities["blood"], new.modalities["scan"]

    def refused(value, **changes):
        with pytest.raises(DataError, match=value):
            population.attach(replace(new, **{"names": {}, **changes}))

    refused(r"\['blood', 'scan'\], got \['blood'\]; .*NaN", modalities={"blood": blood})
    refused(r"got \['blood', 'gene', 'scan'\]", modalities={"blood": blood, "scan": scan, "gene": blood})
    refused("'scan' of new subjects must have 3 channels, got 5", modalities={"blood": blood, "scan": blood})
    refused("got 's7', which is in the population", ids=[*new.ids[:7], "s7"])
    refused(r"\['age'\], got \['site'\]", phenotypes={"age": new.phenotypes["age"]})
    refused("'age' must be numbers.*'old' .*'s32'", phenotypes={**new.phenotypes, "age": ["old"] * 8})
    refused(r"\('healthy', 'ill'\), got \('ill', 'healthy'\)", classes=["ill", "healthy"])


def test_k_beyond_the_cohort_is_refused_when_subjects_come(split, records):
    population = Population.fit(records.take(range(8)), config=PopulationConfig(k=6))
    # seven of the eight have a scan: for a fitted one there are 6 others, for a new one 7
    assert (population.attach(records.take([9])).graph["subject", "near_scan", "subject"].edge_index[1] == 8).sum() == 6
    with pytest.raises(ConfigError, match="at most the 6 other .*'scan'.*got 7"):
        Population.fit(records.take(range(8)), config=PopulationConfig(k=7))


@every_option
def test_a_population_that_is_kept_is_the_same(tmp_path, old, new, split, options):
    for population in (
        Population.fit(old, config=PopulationConfig(**options)),
        Population.fit(old, config=PopulationConfig(**options)).attach(new.take([0, 1])),
    ):
        population.save(tmp_path / "population")
        again = Population.load(tmp_path / "population")
        same_population(population, again)
        rest = new.take([2, 3, 4, 5, 6, 7])
        same_population(population.attach(rest), again.attach(rest))
        same_population(population.attach(rest, together=True), again.attach(rest, together=True))


def test_phenotypes_of_every_kind_are_kept(tmp_path, old, new):
    def with_kinds(records):
        rows = len(records)
        kinds = {
            "count": np.arange(rows),
            "single": np.linspace(0, 1, rows, dtype=np.float32),
            "mixed": np.array(
                [np.int64(1), None, np.float32(2.5), float("nan"), True, "a"] + ["b"] * (rows - 6), object
            ),
            "text": ["a", float("nan")] * (rows // 2),
        }
        return replace(records, phenotypes=kinds)

    config = PopulationConfig(
        k=None, edges="agreement", phenotypes={"count": 2.0, "single": 0.1, "mixed": None, "text": None}
    )
    population = Population.fit(with_kinds(old), config=config)
    population.save(tmp_path / "population")
    again = Population.load(tmp_path / "population")
    same_population(population.attach(with_kinds(new)), again.attach(with_kinds(new)))


def test_saving_replaces_the_old_folder_whole(tmp_path, old):
    folder = tmp_path / "population"
    Population.fit(old, config=PopulationConfig(k=3)).save(folder)
    (folder / "notes.txt").write_text("mine")
    population = Population.fit(old, config=PopulationConfig(k=2))
    population.save(folder)
    same_population(population, Population.load(folder))
    names = ["graph.safetensors", "population.json", "scaling.safetensors", "sha256.json"]
    assert sorted(path.name for path in folder.iterdir()) == names
    assert [path.name for path in tmp_path.iterdir()] == ["population"]


@pytest.mark.parametrize("name", ["graph.safetensors", "population.json", "scaling.safetensors"])
def test_damage_is_named(tmp_path, old, name):
    Population.fit(old, config=PopulationConfig(k=3)).save(tmp_path)
    data = bytearray((tmp_path / name).read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / name).write_bytes(data)
    with pytest.raises(ArtifactError, match=f"{name}.*is damaged"):
        Population.load(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(ArtifactError, match=f"{name}.*is missing"):
        Population.load(tmp_path)


def test_another_format_is_named(tmp_path, old):
    Population.fit(old, config=PopulationConfig(k=3)).save(tmp_path)
    meta = read_json(tmp_path / "population.json")
    write_json(tmp_path / "population.json", {**meta, "format": "mmgraph.population/2"})
    seal(tmp_path)
    with pytest.raises(ArtifactError, match=r"'mmgraph\.population/1', got 'mmgraph\.population/2'"):
        Population.load(tmp_path)
    with pytest.raises(ArtifactError, match="nowhere.*does not"):
        Population.load(tmp_path / "nowhere")


def test_what_is_kept_can_be_read_without_mmgraph(tmp_path, old):
    Population.fit(old, config=PopulationConfig(k=3)).save(tmp_path)
    meta = json.loads((tmp_path / "population.json").read_text())
    assert meta["ids"] == list(old.ids)
    assert meta["config"]["k"] == 3
