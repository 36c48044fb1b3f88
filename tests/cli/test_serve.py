"""``mmgraph serve``: where it listens, what it says, and how it ends."""

import json
import re
import signal
import socket
import subprocess
import sys
import urllib.request

import pyarrow as pa
import pytest

import mmgraph.serve
from mmgraph.assembly import GraphConfig, Source, build_graph
from mmgraph.cli import main
from mmgraph.encoders import FeatureCache


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    """The folder of a small graph."""
    folder = tmp_path_factory.mktemp("serve")
    config = GraphConfig(nodes={"film": {"table": "films", "key": "id", "columns": {"plot": "text"}}})
    films = pa.table({"id": ["a", "b"], "plot": ["A dog runs in the rain.", "Two thieves meet."]})
    build_graph(Source(config, {"films": films}), cache=FeatureCache(folder / "cache")).write(folder / "films")
    return folder / "films"


@pytest.fixture
def served(monkeypatch):
    """What would be served: application, address, limits."""
    found = []

    def serve(app, listener, *, limits):
        found.append((app, listener.getsockname(), limits))

    monkeypatch.setattr(mmgraph.serve, "serve", serve)
    return found


def test_it_answers_until_it_is_interrupted(films):
    code = f"from mmgraph.cli import main; raise SystemExit(main(['serve', {str(films)!r}, '--port', '0']))"
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", code], **pipes) as run:
        try:
            line = run.stdout.readline()
            url = re.fullmatch(r"films: (http://127\.0\.0\.1:\d+/)  \(Ctrl-C ends it\)\n", line)[1]
            question = urllib.request.Request(
                f"{url}api/v1/search", json.dumps({"text": "the dog"}).encode(), {"Content-Type": "application/json"}
            )
            with urllib.request.urlopen(question, timeout=30) as answer:
                assert json.load(answer)["results"][0]["id"] == "a"
            run.send_signal(signal.SIGINT)
            assert run.wait(20) == 0
        finally:
            run.kill()
        assert run.stderr.read() == ""


def test_it_listens_on_this_machine_alone(films, served, capsys):
    assert main(["serve", str(films), "--port", "0"]) == 0
    ((_, (host, port), limits),) = served
    assert host == "127.0.0.1"
    assert capsys.readouterr() == (f"films: http://127.0.0.1:{port}/  (Ctrl-C ends it)\n", "")
    assert limits == mmgraph.serve.Limits()


def test_it_warns_where_others_reach_it(films, served, capsys):
    words = ["--host", "0.0.0.0", "--port", "0", "--name", "search.example", "--rate", "5", "--max-bytes", "1000"]
    assert main(["serve", str(films), *words]) == 0
    ((app, (host, _), limits),) = served
    assert host == "0.0.0.0"
    assert "warning: 0.0.0.0 is reached from other machines" in capsys.readouterr().err
    assert "search.example" in app.names
    assert (limits.rate, limits.max_bytes) == (5.0, 1000)


def test_ipv6_is_written_in_brackets(films, served, capsys):
    if not socket.has_ipv6:
        pytest.skip("there is no IPv6")
    if main(["serve", str(films), "--host", "::1", "--port", "0"]) == 2:
        pytest.skip("this machine has no address ::1")
    assert re.match(r"films: http://\[::1\]:\d+/", capsys.readouterr().out)


def test_a_port_that_is_taken_is_said(films, served, capsys):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        assert main(["serve", str(films), "--port", str(port)]) == 2
    assert f"127.0.0.1:{port} must be free to listen on, but Address already in use" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--port", "70000"], 2, "port must be between 0 and 65535, got 70000"),
        (["--host", "192.0.2.1", "--port", "0"], 2, "192.0.2.1:0 must be free to listen on, but"),
        (["--rate", "0"], 2, "rate must be a positive number, got 0.0"),
    ],
)
def test_options_that_can_not_work(films, served, capsys, words, code, message):
    assert main(["serve", str(films), *words]) == code
    assert message in capsys.readouterr().err
    assert served == []


def test_a_folder_without_a_graph_is_said(tmp_path, served, capsys):
    assert main(["serve", str(tmp_path)]) == 4
    assert "mmgraph: error: " in capsys.readouterr().err


def test_what_is_not_installed_is_named(films, served, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    assert main(["serve", str(films)]) == 5
    assert "'uvicorn', which is not installed; install it with: pip install 'mmgraph[serve]'" in capsys.readouterr().err
