"""The command: what it prints, how it fails, how it goes on."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mmgraph.cli import main
from mmgraph.cli.main import COMMANDS


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("cli") / "run"
    assert main(["run", "population_wdbc", "--runs", "1", "--fit.epochs", "10", "--out", str(folder)]) == 0
    return folder


def test_help_names_every_command_and_loads_nothing_heavy() -> None:
    code = (
        "import sys; from mmgraph.cli import main; main(['--help']); "
        "heavy = {'torch', 'numpy', 'lightning', 'tyro', 'rich'} & set(sys.modules); assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    for word in ("run", "ls", "search", "report", "examples:", "exit codes:"):
        assert word in done.stdout


@pytest.mark.parametrize("command", ["run", "ls", "search", "explain", "report"])
def test_every_command_has_help_with_an_example(command: str, capsys) -> None:
    with contextlib.suppress(SystemExit):
        assert main([command, "--help"]) == 0
    assert f"mmgraph {command}" in capsys.readouterr().out


def test_a_recipes_config_is_its_flags(capsys) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["run", "population_wdbc", "--help"])
    assert stop.value.code == 0
    shown = capsys.readouterr().out
    for flag in ("--runs", "--population.k", "--population.regime", "--fit.learning-rate", "--out", "--json"):
        assert flag in shown


def test_run_writes_scores_index_and_report(run_folder: Path) -> None:
    for name in ("run.json", "results.json", "facts.json", "report.html", "model.safetensors", "index", "population"):
        assert (run_folder / name).exists(), name


def test_run_prints_json(run_folder: Path, capsys) -> None:
    words = ["run", "population_wdbc", "--runs", "1", "--fit.epochs", "10", "--out", str(run_folder), "--json"]
    assert main(words) == 0
    printed = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)  # no NaN, no Infinity
    assert printed["rows"][1]["difference"]["low"] is None  # one run has no interval
    assert printed["folder"] == str(run_folder)
    assert [row["variant"] for row in printed["rows"]][:2] == ["full", "no_graph"]


def test_search_by_id_features_and_metadata(run_folder: Path, tmp_path: Path, capsys) -> None:
    assert main(["search", str(run_folder), "--id", "patient-007", "-k", "4", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)) == 4
    features = tmp_path / "new.json"
    features.write_text(json.dumps({"mean": [0.0] * 10}))
    words = [
        "search",
        str(run_folder),
        "--features",
        str(features),
        "--where",
        "part=train",
        "diagnosis=benign",
        "--json",
    ]
    assert main(words) == 0
    hits = json.loads(capsys.readouterr().out)
    assert {(hit["part"], hit["diagnosis"]) for hit in hits} == {("train", "benign")}
    assert main(["search", str(run_folder), "--id", "patient-007"]) == 0
    assert "similarity" in capsys.readouterr().out


def test_ls_lists_recipes_datasets_and_runs(run_folder: Path, capsys) -> None:
    assert main(["ls", "--runs", str(run_folder.parent), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert "kipf2017_gcn_cora" in found["recipes"]
    assert {"wdbc", "rosmap", "cora"} <= set(found["datasets"])
    assert found["runs"] == {str(run_folder): "finished"}
    assert main(["ls", "--runs", "/nowhere"]) == 0
    assert "runs: none" in capsys.readouterr().out


def test_report_says_where_the_page_is(run_folder: Path, capsys) -> None:
    assert main(["report", str(run_folder)]) == 0
    assert capsys.readouterr().out.strip() == str(run_folder / "report.html")


def test_explain_prints_what_adds_up_and_writes_a_page(run_folder: Path, tmp_path: Path, capsys) -> None:
    page = tmp_path / "why.html"
    words = ["explain", str(run_folder), "--id", "patient-007", "patient-011", "--html", str(page)]
    assert main([*words, "--json"]) == 0
    printed = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert [case["id"] for case in printed["cases"]] == ["patient-007", "patient-011"]
    for case in printed["cases"]:
        assert case["baseline"] + sum(case["parts"].values()) == pytest.approx(case["score"], abs=1e-6)
    assert "patient-011" in page.read_text()
    assert main(["explain", str(run_folder), "--id", "patient-007"]) == 0
    said = capsys.readouterr().out
    for word in ("patient-007: said ", "shapley", "integrated gradients", "rank correlation", "explain.html"):
        assert word in said
    assert main(["explain", str(run_folder), "--id", "nobody"]) == 3


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (
            ["fly"],
            2,
            f"Command must be one of {list(COMMANDS)}, got 'fly'",
        ),
        (["run", "nothing"], 2, "got 'nothing'"),
        (["run", "population_wdbc", "--population.k", "0"], 2, "k must be at least 1"),
        (["search", "/nowhere", "--id", "x"], 4, "run.json' must exist"),
        (["report", "/nowhere"], 4, "run.json' must exist"),
    ],
)
def test_errors_are_one_line_with_a_code(words: list, code: int, said: str, capsys) -> None:
    try:
        got = main(words)
    except SystemExit as stop:
        got = stop.code
    captured = capsys.readouterr()
    assert got == code
    assert said in captured.err + captured.out
    assert "Traceback" not in captured.err


def test_bad_queries_have_the_code_of_bad_data(run_folder: Path, tmp_path: Path, capsys) -> None:
    assert main(["search", str(run_folder), "--id", "patient-9999"]) == 3
    broken = tmp_path / "broken.json"
    broken.write_text("{")
    assert main(["search", str(run_folder), "--features", str(broken)]) == 3
    assert "broken.json' must be JSON" in capsys.readouterr().err
    broken.write_text("[]")
    assert main(["search", str(run_folder), "--features", str(broken)]) == 3
    assert main(["search", str(run_folder), "--features", str(tmp_path / "none.json")]) == 3
    assert main(["search", str(run_folder), "--id", "patient-007", "--where", "part"]) == 2
    assert "where and payload must be name=value, got 'part'" in capsys.readouterr().err
    assert main(["search", str(run_folder), "--id", "patient-007", "--where", "age=3"]) == 2


def test_verbose_shows_the_traceback(capsys) -> None:
    assert main(["-v", "run", "nothing"]) == 2
    assert "Traceback" in capsys.readouterr().err


def test_a_killed_run_goes_on_and_ends_the_same(tmp_path: Path) -> None:
    env = {**os.environ, "OMP_NUM_THREADS": "1"}

    def start(folder: str) -> subprocess.Popen:
        words = [
            "run",
            "population_wdbc",
            "--runs",
            "1",
            "--fit.epochs",
            "40",
            "--out",
            str(tmp_path / folder),
            "--json",
        ]
        command = [
            sys.executable,
            "-c",
            "import sys; from mmgraph.cli import main; sys.exit(main(sys.argv[1:]))",
            *words,
        ]
        return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)

    process = start("killed")
    deadline = time.monotonic() + 90
    while not list((tmp_path / "killed").glob("cells/*.json")) and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=30)
    assert not (tmp_path / "killed" / "facts.json").exists()
    rows = []
    for folder in ("killed", "alone"):
        out, _ = start(folder).communicate(timeout=120)
        rows.append(json.loads(out)["rows"])
    assert rows[0] == rows[1]


def test_an_interrupted_run_says_that_it_goes_on(tmp_path: Path) -> None:
    words = ["run", "population_wdbc", "--runs", "1", "--fit.epochs", "100000", "--fit.patience", "None"]
    heard = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"  # a shell's job may ignore it
    code = f"{heard}; import sys; from mmgraph.cli import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, *words, "--out", str(tmp_path / "run")]
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 90
    while not list((tmp_path / "run").glob("fits/*/0/*.ckpt")) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted; the same command goes on where this one stopped" in said
    assert "Traceback" not in said
