"""A run: carried out, opened again, searched; killed and resumed; damaged."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch

import mmgraph as mg
from mmgraph.errors import ArtifactError, ConfigError, DataError
from mmgraph.recipe import load_recipe
from mmgraph.run import Run, default_folder


@pytest.fixture(scope="module")
def recipe():
    return load_recipe("population_wdbc")


@pytest.fixture(scope="module")
def config(recipe):
    return recipe.config({"runs": 1, "fit": {"epochs": 15}})


@pytest.fixture(scope="module")
def folder(recipe, config, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "run"
    Run.execute(recipe, config, path)
    return path


@pytest.fixture
def run(folder: Path) -> Run:
    return Run.open(folder)


def test_opened_run_equals_the_one_that_was_made(run: Run, config) -> None:
    assert asdict(run.config) == asdict(config)
    assert run.recipe.name == "population_wdbc"
    assert run.results.variants[0] == "full"
    assert run.facts["versions"]["mmgraph"] == mg.__version__


def test_model_gives_the_probabilities_that_were_written_down(run: Run) -> None:
    task = mg.NodeClassification(run.schema)
    view = task.view(run.graph, "test")
    with torch.no_grad():
        answers = task.answers(run.model(view), view, "test")
    assert np.allclose(answers.numpy(), run.results.cells[0].probabilities, atol=1e-5)


def test_search_by_id_gives_neighbours_with_subgraphs_in_the_order_of_brute_force(run: Run) -> None:
    hits = run.search(id="patient-007", k=5)
    vectors = run.index.vectors.astype(np.float64)
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    scores = unit @ unit[run.ids.index("patient-007")]
    scores[run.ids.index("patient-007")] = -2
    expected = [run.ids[row] for row in np.argsort(-scores, kind="stable")[:5]]
    assert [hit.id for hit in hits] == expected
    for hit in hits:
        assert hit.metadata["diagnosis"] in ("benign", "malignant")
        members = hit.subgraph["subject"].n_id.tolist()
        assert hit.position in members
        assert "y" not in hit.subgraph["subject"]
        run.schema.check(hit.subgraph)


def test_search_by_features_finds_the_subject_they_were_taken_from(run: Run) -> None:
    records = mg.load_dataset("wdbc")
    row = int(run.graph["subject"].train_mask.nonzero()[3])
    fields = {name: values[row].tolist() for name, values in records.modalities.items()}
    hits = run.search(records=run.query_records(fields), k=20, where={"part": "train"})
    assert records.ids[row] in [hit.id for hit in hits]
    assert all(hit.metadata["part"] == "train" for hit in hits)


def test_a_query_may_lack_modalities(run: Run) -> None:
    fields = {"mean": mg.load_dataset("wdbc").modalities["mean"][0].tolist(), "error": None}
    assert len(run.search(records=run.query_records(fields), k=3)) == 3


def test_query_errors_name_the_value(run: Run) -> None:
    with pytest.raises(DataError, match=r"must be among \['error', 'mean', 'worst'\], got 'sound'"):
        run.query_records({"sound": [1.0]})
    with pytest.raises(DataError, match=r"at least 1 of the modalities \['error', 'mean', 'worst'\], got none"):
        run.query_records({})
    with pytest.raises(DataError, match=r"must have 10 channels, got 2"):
        run.search(records=run.query_records({"mean": [1.0, 2.0]}))
    with pytest.raises(DataError, match="Modality 'mean' must be"):
        run.query_records({"mean": ["tall"] * 10})
    with pytest.raises(DataError, match="Modality 'mean' must be"):
        run.query_records({"mean": 5.0})
    with pytest.raises(ConfigError, match="either id= of a subject or records="):
        run.search()
    with pytest.raises(DataError, match="patient-999"):
        run.search(id="patient-999")


def test_a_finished_run_carried_out_again_trains_nothing(recipe, config, folder: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in (folder / "cells").iterdir()}
    again = Run.execute(recipe, config, folder)
    assert {path: path.stat().st_mtime_ns for path in (folder / "cells").iterdir()} == before
    assert again.results.rows() == Run.open(folder).results.rows()


def test_a_folder_of_other_settings_is_refused(recipe, config, folder: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"holds a run with other settings \(it has another config\); choose another with --out"
    ):
        Run.execute(recipe, replace(config, runs=2), folder)


def test_a_changed_recipe_is_another_run_not_the_old_results(recipe, config, tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_bytes(recipe.path.read_bytes())
    first = load_recipe(path)
    before = default_folder(first, first.config({}))
    small = first.config({"runs": 1, "fit": {"epochs": 2}})
    Run.execute(first, small, tmp_path / "run")
    path.write_text(path.read_text().replace("layers.Mean", "layers.GCN"))
    changed = load_recipe(path)
    with pytest.raises(ConfigError, match="it has another recipe_sha256"):
        Run.execute(changed, changed.config({"runs": 1, "fit": {"epochs": 2}}), tmp_path / "run")
    assert default_folder(changed, changed.config({})) != before


def test_default_folder_names_recipe_and_settings(recipe, config) -> None:
    first, second = default_folder(recipe, config), default_folder(recipe, replace(config, runs=7))
    assert first != second
    assert first.name.startswith("population_wdbc-")
    assert first == default_folder(recipe, config)


@pytest.mark.parametrize(
    "name", ["model.safetensors", "population/graph.safetensors", "population/population.json", "index/meta.json"]
)
@pytest.mark.parametrize("place", [3, -3])
def test_a_damaged_file_is_named(name: str, place: int, folder: Path, tmp_path: Path) -> None:
    import shutil

    copy = tmp_path / "run"
    shutil.copytree(folder, copy)
    path = copy / name
    data = bytearray(path.read_bytes())
    data[place] ^= 0x01
    path.write_bytes(data)
    with pytest.raises(ArtifactError, match=Path(name).name):
        Run.open(copy).search(records=Run.open(copy).query_records({"mean": [0.0] * 10}), k=1)


def test_an_index_of_another_schema_is_refused(folder: Path, tmp_path: Path) -> None:
    import shutil

    from mmgraph.index import Exact

    copy = tmp_path / "run"
    shutil.copytree(folder, copy)
    shutil.rmtree(copy / "index")
    Exact(np.eye(3), ["a", "b", "c"], fingerprint="0" * 64).save(copy / "index")
    with pytest.raises(ArtifactError, match="[Ii]ndex of another schema"):
        Run.open(copy).search(id="a")


def test_an_unfinished_run_is_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"run.json' must exist"):
        Run.open(tmp_path)
    (tmp_path / "run.json").write_bytes((folder / "run.json").read_bytes())
    with pytest.raises(ArtifactError, match=r"results.json' must exist; it does not: was the run finished\?"):
        Run.open(tmp_path)
    (tmp_path / "run.json").write_text(json.dumps({"format": "mmgraph.run/9"}))
    with pytest.raises(ArtifactError, match="of format 'mmgraph.run/1', got 'mmgraph.run/9'"):
        Run.open(tmp_path)


def test_report_is_written_beside_the_run(run: Run) -> None:
    page = run.write_report().read_text()
    for variant in run.results.variants:
        assert variant in page
    assert f"{run.results.mean('full', 'auroc'):.3f}" in page


def test_a_graph_that_is_no_population_runs_too(tmp_path: Path) -> None:
    path = tmp_path / "two_rings.py"
    path.write_text(
        '''"""Two rings.

Which ring is a node on?
"""
from dataclasses import dataclass
import torch
from torch_geometric.data import HeteroData
import mmgraph as mg

DATA, METRIC = "none", "accuracy"

@dataclass(frozen=True)
class Config:
    runs: int = 1
    fit: mg.FitConfig = mg.FitConfig(epochs=3)

def build(config, run, fold):
    graph = HeteroData()
    generator = torch.Generator().manual_seed(run)
    graph["dot"].x = torch.randn(24, 2, generator=generator)
    graph["dot"].y = torch.arange(24) % 2
    for number, part in enumerate(("train", "val", "test")):
        graph["dot"][f"{part}_mask"] = torch.arange(24) // 8 == number
    ring = torch.arange(24)
    graph["dot", "next", "dot"].edge_index = torch.stack([ring, (ring + 2) % 24])
    return graph, mg.Schema.infer(graph, anchor="dot")

def make_model(config, schema):
    return mg.classifier(schema)
'''
    )
    recipe = load_recipe(path)
    Run.execute(recipe, recipe.config({}), tmp_path / "run")
    run = Run.open(tmp_path / "run")
    hits = run.search(id="dot-3", k=2)
    assert hits[0].subgraph["dot"].num_nodes == 2
    assert run.write_report().exists()
    with pytest.raises(ConfigError, match="two_rings has a graph of its own"):
        run.query_records({"dot": [1.0, 2.0]})


def test_predictions_are_explained_on_the_view_that_they_were_made_on(run: Run) -> None:
    ids = run._exemplary()
    cell = run.results.cells[0]
    test = [name for name, part in zip(run.ids, run.graph["subject"].test_mask.tolist(), strict=True) if part]
    said = np.array(cell.probabilities).argmax(axis=1)
    right = [said[test.index(name)] == cell.labels[test.index(name)] for name in ids]
    assert right in ([True, True, False], [True, True])
    cases = run.explain(ids)
    for case in cases.cases:
        probabilities = cell.probabilities[test.index(case.id)]
        chance = probabilities[run.schema.targets["diagnosis"].classes.index(case.said)]
        assert chance == max(probabilities)
        assert case.shares.score == pytest.approx(
            np.log(chance / (1 - chance)), abs=0.02 * abs(case.shares.score) + 0.01
        )
        assert case.shares.residual == pytest.approx(0, abs=1e-9)
        assert set(case.shares.parts) == {"mean", "error", "worst", "near_mean", "near_error", "near_worst"}
    assert "Why the model said what it said" in run.write_report().read_text()


def test_explanations_name_a_wrong_id_or_class(run: Run) -> None:
    with pytest.raises(DataError, match="subjects that are seen, got 'patient-999'"):
        run.explain(["patient-999"])
    with pytest.raises(ConfigError, match="got 'purple'"):
        run.explain(["patient-007"], output="purple")


def test_a_page_says_why_nothing_is_explained(run: Run, monkeypatch) -> None:
    def refuse(*args: object, **options: object) -> None:
        raise ConfigError("too many players")

    monkeypatch.setattr("mmgraph.run.explain_cases", refuse)
    page = run.write_report().read_text()
    assert "No explanation of predictions: too many players." in page
