"""Two processes learn what one learns; one that is killed ends all, and the same command goes on."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import mmgraph as mg
from mmgraph.cli.main import main
from mmgraph.errors import ArtifactError, ConfigError, DataError
from mmgraph.files import read_json
from mmgraph.objectives import SelfCritical, SkipGram, Supervised, Weighted
from mmgraph.testing import fake_graph
from mmgraph.train import Place, ProcessError, Results, launch
from mmgraph.train.launch import _reason
from mmgraph.train.module import chance
from mmgraph.train.processes import ALONE, PLACE, check_shared, join, watched

TWO = Place(0, 2, 0, 2)


@pytest.fixture(scope="module")
def work():
    """What the processes do; they find it by its name, as they would a user's module."""
    sys.path.insert(0, str(Path(__file__).parent))
    try:
        import in_two

        yield in_two
    finally:
        sys.path.remove(str(Path(__file__).parent))


@pytest.fixture(scope="module")
def alone(work):
    return work.alone()


@pytest.fixture(scope="module")
def killed(work, tmp_path_factory):
    """The folder of two processes that did all of it, until one was killed in the last fit; and what was said."""
    folder = tmp_path_factory.mktemp("two")
    with pytest.raises(ProcessError) as caught:
        launch(work.all_of_it, folder, processes=2)
    return folder, str(caught.value)


@pytest.fixture(scope="module")
def ranks(killed):
    return [torch.load(killed[0] / f"{rank}.pt", weights_only=True) for rank in (0, 1)]


def test_terms_and_gradients_of_every_step_are_those_of_one_process(alone, ranks):
    assert len(alone["steps"]) >= 25
    for name, expected in alone["steps"].items():
        for two in ranks:
            found = two["steps"][name]
            assert len(found) == len(expected), name
            for number, (mine, theirs) in enumerate(zip(expected, found, strict=True)):
                about = f"{name}, step {number}".format
                assert sum(theirs["rows"]) == mine["rows"][0], about()
                torch.testing.assert_close(theirs["terms"], mine["terms"], atol=1e-5, rtol=1e-4, msg=about())
                torch.testing.assert_close(theirs["gradients"], mine["gradients"], atol=1e-5, rtol=1e-4, msg=about())


def test_steps_are_shared_to_the_last_row(ranks):
    shares = {name: [tuple(map(int, step["rows"])) for step in steps] for name, steps in ranks[0]["steps"].items()}
    assert shares["supervised"] == [(4, 4)] * 4 + [(2, 1)]
    assert shares["alone in the last step"] == [(17, 17), (1, 0)]


@pytest.mark.parametrize("name", ["supervised", "contrast", "facts", "rare"])
def test_a_fit_has_the_history_the_weights_and_the_scores_of_one_process(alone, ranks, name):
    expected = alone["fits"][name]
    for two in ranks:
        found = two["fits"][name]
        assert len(found["history"]) == len(expected["history"])
        assert found["best"] == expected["best"]
        for mine, theirs in zip(expected["history"], found["history"], strict=True):
            assert theirs == pytest.approx(mine, abs=1e-4)
        torch.testing.assert_close(found["weights"], expected["weights"], atol=1e-4, rtol=0)
        assert found["test"] == pytest.approx(expected["test"], abs=1e-4, nan_ok=True)


def test_patience_ended_a_fit_in_all_processes_in_the_same_epoch(ranks):
    for two in ranks:
        fitted = two["fits"]["supervised"]
        assert len(fitted["history"]) == fitted["best"] + 1 + 2 < 20


@pytest.mark.parametrize("name", ["supervised", "contrast", "facts", "rare", "sampled", "drawn"])
def test_all_processes_end_with_the_same_weights_and_history_to_the_bit(ranks, name):
    first, second = (two["fits"][name] for two in ranks)
    assert first["history"] == second["history"]
    assert first["weights"].keys() == second["weights"].keys()
    assert all(torch.equal(weight, second["weights"][key]) for key, weight in first["weights"].items())


def test_processes_draw_each_its_own_chance(ranks, alone):
    """With dropout, what two draw for a step is not what one draws, nor are two alike: each has its own seed."""
    assert chance(0, 1, 2, 0).initial_seed() != chance(0, 1, 2, 1).initial_seed()
    assert ranks[0]["fits"]["drawn"]["history"] != alone["fits"]["drawn"]["history"]
    assert {"alone_scan", "step_scan", "gradient_scan"} <= ranks[0]["fits"]["drawn"]["history"][0].keys()


def test_one_that_is_killed_ends_the_others_and_is_named(killed):
    folder, said = killed
    assert "process 1 was killed by SIGKILL, so the others were ended; start them again" in said
    for rank in (0, 1):
        with pytest.raises(ProcessLookupError):
            os.kill(int((folder / f"pid-{rank}").read_text()), 0)


def test_the_killed_fit_goes_on_and_ends_as_if_it_had_not_been(work, killed, ranks, tmp_path):
    folder, _ = killed
    shutil.copytree(folder / "killed", tmp_path / "killed")
    assert (folder / "killed" / "dead").exists()
    found = launch(work.the_rest, folder, processes=2)
    expected = ranks[0]["fits"]["drawn"]
    assert found["drawn"]["history"] == expected["history"]
    assert all(torch.equal(weight, found["drawn"]["weights"][key]) for key, weight in expected["weights"].items())
    in_one = work.fits(tmp_path / "killed", ["drawn"])["drawn"]["history"]  # it goes on in one process, too
    assert len(in_one) == len(expected["history"])
    assert in_one[0] == expected["history"][0]
    assert "All 2 processes of a fit must answer within 1 s, but another one than process 0 has ended" in found["said"]


def test_an_error_of_ours_in_one_process_comes_as_it_is(work):
    with pytest.raises(DataError, match="^only process 1 has met this$"):
        launch(work.one_fails, 1, processes=2)


def test_torchrun_carries_a_recipe_out_and_one_process_writes(tmp_path, capfd):
    words = [
        "run",
        "population_wdbc",
        "--runs=1",
        "--dropout=0",
        "--fit.epochs=3",
        "--fit.batch-size=64",
        "--fit.hops=1",
    ]
    start = "torch.distributed.run --nproc-per-node 2 --rdzv-backend c10d --rdzv-endpoint 127.0.0.1:0 -m mmgraph.cli"
    done = subprocess.run(
        [sys.executable, "-m", *start.split(), *words, "--json", "--out", str(tmp_path / "two")],
        env={**os.environ, "OMP_NUM_THREADS": "1", "TORCH_CPP_LOG_LEVEL": "ERROR", "GLOO_SOCKET_IFNAME": "lo"},
        capture_output=True, text=True, timeout=250, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert main([*words, "--json", "--out", str(tmp_path / "one")]) == 0
    for name, said in (("two", done.stdout), ("one", capfd.readouterr().out)):
        (line,) = said.splitlines()  # of one process
        assert json.loads(line)["folder"] == str(tmp_path / name)
        assert (tmp_path / name / "report.html").exists()
    two, one = (Results.from_json(read_json(tmp_path / name / "results.json")) for name in ("two", "one"))
    assert [cell.variant for cell in two.cells] == [cell.variant for cell in one.cells]
    for mine, theirs in zip(one.cells, two.cells, strict=True):
        assert theirs.metrics == pytest.approx(mine.metrics, abs=1e-4), mine.variant


def test_one_process_is_called_as_it_is():
    assert launch(lambda word: word * 2, "ab", processes=1) == "abab"


@pytest.mark.parametrize(
    ("given", "processes", "message"),
    [
        (max, 0, "processes must be at least 1, got 0"),
        (lambda: None, 2, "What launch is given is sent to other processes, but Can't pickle .*lambda"),
    ],
)
def test_what_cannot_be_launched_is_named(given, processes, message):
    with pytest.raises(ConfigError, match=message):
        launch(given, processes=processes)


def test_a_launch_within_a_launch_is_refused(monkeypatch):
    for name, value in (("RANK", "1"), ("WORLD_SIZE", "2"), ("LOCAL_RANK", "1"), ("LOCAL_WORLD_SIZE", "2")):
        monkeypatch.setenv(name, value)
    assert Place.here() == Place(1, 2, 1, 2)
    assert not Place.here().leads
    with pytest.raises(ConfigError, match="within a process that was launched, with processes=2; in a script, put"):
        launch(max, 1, 2, processes=2)


@pytest.mark.parametrize(("rank", "local"), [("2", "0"), ("-1", "0"), ("0", "2"), ("0", "x")])
def test_a_place_that_cannot_be_is_named(monkeypatch, rank, local):
    for name, value in (("RANK", rank), ("WORLD_SIZE", "2"), ("LOCAL_RANK", local), ("LOCAL_WORLD_SIZE", "2")):
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=f"as torchrun does, got {rank}, 2, {local}, 2; unset them"):
        Place.here()


def test_what_two_processes_cannot_share_is_named():
    _, schema = fake_graph()
    supervised = Supervised(schema.target("diagnosis"))
    check_shared(supervised, mg.FitConfig(batch_size=4), TWO)
    check_shared(SkipGram(schema), mg.FitConfig(), ALONE)
    for objective, options, message in (
        (supervised, {}, "A step on the whole graph can't be shared by 2 processes; set batch_size, or start one"),
        (supervised, {"batch_size": 5}, "batch_size must be a multiple of the 2 processes that share it, got 5"),
        (SkipGram(schema), {"batch_size": 4}, "SkipGram as it is can't be shared by 2 processes"),
        (Weighted({"a": supervised, "b": SkipGram(schema)}), {"batch_size": 4}, "Weighted as it is can't be shared"),
    ):
        with pytest.raises(ConfigError, match=message):
            check_shared(objective, mg.FitConfig(**options), TWO)
    assert not SelfCritical.shared


@pytest.mark.parametrize("timeout_s", [0.0, -1.0, float("inf"), float("nan")])
def test_a_timeout_that_cannot_be_is_named(timeout_s):
    with pytest.raises(ConfigError, match=f"timeout_s must be above 0 and finite, got {timeout_s}"):
        mg.FitConfig(timeout_s=timeout_s)


def test_only_errors_of_the_network_are_said_anew():
    message = r"within 7 s, but another one than process 0 .*\(Connection closed by peer\)"
    with pytest.raises(ProcessError, match=message), watched(TWO, 7.0):
        raise RuntimeError("Connection closed by peer")
    others = [(ALONE, RuntimeError("gloo")), (TWO, RuntimeError("shapes differ")), (TWO, ConfigError("gloo"))]
    for place, error in others:
        with pytest.raises(type(error), match=str(error)), watched(place, 7.0):
            raise error


def test_an_error_that_is_not_ours_comes_with_its_traceback():
    said = _reason(1, 2, ("KeyError", "'x'", "Traceback: line 3"), None)
    assert isinstance(said, ProcessError)
    assert str(said) == "Process 1 of 2 failed:\nTraceback: line 3"
    assert "ended with exit code 3 and no result; its error is above" in str(_reason(0, 2, ("", "", ""), 3))
    assert isinstance(_reason(0, 2, ("ArtifactError", "damaged", ""), None), ArtifactError)


def test_each_process_needs_a_gpu_where_there_are_any(monkeypatch):
    for name, value in zip(PLACE, TWO, strict=True):
        monkeypatch.setenv(name, str(value))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(ConfigError, match="2 processes on this machine need a GPU each, got 1; start 1, or hide them"):
        join(1.0)
