"""Datasets are what their manifests and cards say, and their builders give what the library can use."""

import re
import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_breast_cancer

from mmgraph.builders import Population
from mmgraph.data import Manifest, dataset_names, load_dataset, stratified_split
from mmgraph.schema import Schema

ROOT = Path(__file__).parents[2] / "datasets"
NAMES = sorted(path.name for path in ROOT.iterdir() if path.is_dir() and path.name != "__pycache__")


@pytest.mark.parametrize("name", NAMES)
def test_a_dataset_is_a_manifest_a_builder_and_a_card(name):
    assert name in dataset_names()
    folder = ROOT / name
    manifest = Manifest.read(folder / "manifest.toml")
    assert manifest.name == name
    for said in ("title", "description", "licence", "citation", "source"):
        assert len(getattr(manifest, said)) >= 3, said
    assert re.search(r"\((19|20)\d\d\)", manifest.citation)
    for file in manifest.files:
        assert re.fullmatch("[0-9a-f]{64}", file.sha256)
        assert file.bytes > 0
    assert len({file.path for file in manifest.files}) == len(manifest.files)
    assert "def build(" in (folder / "build.py").read_text(encoding="utf-8")
    card = (folder / "card.md").read_text(encoding="utf-8")
    assert card.startswith(f"# {name}\n")
    assert "licence" in card.lower()
    assert "Traps:" in card


def test_datasets_are_no_package():
    assert list(ROOT.rglob("__init__.py")) == []
    assert dataset_names() == NAMES


def test_manifests_are_toml_alone():
    for name in NAMES:
        tomllib.loads((ROOT / name / "manifest.toml").read_text(encoding="utf-8"))


def test_wdbc():
    records, theirs = load_dataset("wdbc"), load_breast_cancer()
    assert len(records) == 569
    assert records.ids[0] == "patient-000"
    assert records.ids[-1] == "patient-568"
    assert records.classes == ("benign", "malignant")
    assert np.bincount(records.labels).tolist() == [357, 212]
    assert theirs.target_names[theirs.target[0]] == records.classes[records.labels[0]] == "malignant"
    assert all(theirs.target_names[t] == records.classes[y] for t, y in zip(theirs.target, records.labels, strict=True))
    assert list(records.modalities) == ["mean", "error", "worst"]
    np.testing.assert_array_equal(np.hstack(list(records.modalities.values())), theirs.data.astype(np.float32))
    for modality, names in records.names.items():
        assert len(names) == 10
        assert all(modality in name for name in names)
        assert records.present(modality).all()
    assert [n.replace("_", " ") for names in records.names.values() for n in names] == theirs.feature_names.tolist()


def test_wdbc_makes_a_population():
    records = load_dataset("wdbc")
    population = Population.fit(records, stratified_split(records.labels))
    population.schema.check(population.graph)
    assert population.graph["worst"].x.shape == (569, 10)
    assert population.graph["subject", "near_mean", "subject"].edge_index.shape[1] >= 569 * 10


@pytest.mark.data
def test_rosmap(load_or_skip):
    records = load_or_skip("rosmap")
    card = (ROOT / "rosmap" / "card.md").read_text(encoding="utf-8")
    assert len(records) == 351
    assert np.bincount(records.labels).tolist() == [169, 182]
    assert "351 subjects" in card
    assert "(182) against normal control (169)" in card
    assert records.classes == ("control", "alzheimers")
    assert {name: values.shape for name, values in records.modalities.items()} == dict.fromkeys(
        ["mrna", "methylation", "mirna"], (351, 200)
    )
    for name, values in records.modalities.items():
        assert len(set(records.names[name])) == 200
        assert records.present(name).all()
        assert values.min() >= 0
        assert values.max() <= 1
    assert records.ids[244:246] == ("subject-244", "subject-245")
    assert len(stratified_split(records.labels).test) == 106  # as many as the shipped test part


@pytest.mark.data
def test_cora(load_or_skip):
    graph, schema = load_or_skip("cora")
    schema.check(graph)
    paper, index = graph["paper"], graph["paper", "cites", "paper"].edge_index
    assert paper.x.shape == (2708, 1433)
    assert [int(paper[f"{part}_mask"].sum()) for part in ("train", "val", "test")] == [140, 500, 1000]
    assert sum(paper[f"{part}_mask"].int() for part in ("train", "val", "test")).max() == 1
    assert paper.y[paper.train_mask].bincount().tolist() == [20] * 7
    assert index.shape == (2, 2 * 5278)
    assert (index[0] != index[1]).all()
    assert set(map(tuple, index.T.tolist())) == set(map(tuple, index.flip(0).T.tolist()))
    sums = paper.x.sum(dim=1)
    torch.testing.assert_close(sums[sums > 0], torch.ones(int((sums > 0).sum())))
    assert len(schema.targets["subject"].classes) == 7
    inferred = Schema.infer(graph, anchor="paper", modalities={"paper": "text"}, target="subject")
    assert inferred.edges == schema.edges
    assert inferred.nodes["paper"].channels == schema.nodes["paper"].channels
