"""Actors of a Ray cluster: the bits of one process, whatever dies."""

import os
import signal
import sys

import pytest
import ray

from mmgraph.assembly import GraphConfig, Source
from mmgraph.cli import main
from mmgraph.cluster import open_workers, ray_data
from mmgraph.cluster.parcel import Parcel
from mmgraph.cluster.ray_data import RayActors
from mmgraph.encoders.registry import make_frozen
from mmgraph.errors import ConfigError, MissingPackageError

pytestmark = pytest.mark.usefixtures("cluster")

WORDS = [f"word{number} and {number % 4}" for number in range(30)]
JOBS = [{3 * place + row: WORDS[3 * place + row] for row in range(3)} for place in range(10)]


@pytest.fixture(scope="module")
def encoder():
    """An encoder that is fitted."""
    return make_frozen("hashed_text", WORDS, channels=8)


@pytest.fixture(scope="module")
def sent(encoder):
    """The encoder as it is sent."""
    return Parcel.pack("title", "hashed_text", {"channels": 8}, encoder)


def deadly(monkeypatch, number, letters, most):
    """Kills the actor that is to encode a payload, so often; a letter in the file for each."""
    pid, kill, actor = os.getpid, os.kill, ray_data._Actor

    class Deadly(actor):
        def __init__(self, ledger):
            super().__init__(ledger)
            inner = self.bench

            def bench(job):
                deaths = letters.stat().st_size if letters.exists() else 0
                if number in job and deaths < most:
                    with letters.open("a") as file:
                        file.write("x")
                    kill(pid(), signal.SIGKILL)
                return inner(job)

            self.bench = bench

    monkeypatch.setattr(ray_data, "_Actor", Deadly)


def test_a_graph_has_the_same_bytes_whoever_encodes_it(build, shop, small_chunks):
    table = {**shop.config.model_dump()["nodes"]["thing"], "columns": {"photo": "image", "sku": "symbol"}}
    source = Source(GraphConfig(nodes={"thing": table}, limits={"rejected": 0.5}), shop.tables, shop.root)
    alone = build("alone", source)
    assert len(alone[1]) == 2
    assert build("actors", source, engine="ray", workers=2, shared=True) == alone
    assert ray.is_initialized()  # it was not started by the build


def test_what_a_dead_actor_had_to_do_is_done_again(sent, encoder, monkeypatch, tmp_path):
    deadly(monkeypatch, 7, tmp_path / "letters", 2)
    monkeypatch.setattr(ray_data, "WAVE", 1000)  # two waves
    read = []
    with open_workers("ray", 2) as actors:
        outcomes = actors.encode(sent, encoder, (read.append(len(job)) or job for job in JOBS))
        first = next(outcomes)
        assert 3 <= len(read) < 10
        found = [one.features.tolist() for one in (first, *outcomes)]
    assert found == [encoder(list(job.values())).tolist() for job in JOBS]
    assert (tmp_path / "letters").stat().st_size == 2


def test_a_job_that_kills_three_actors_is_given_up(sent, encoder, monkeypatch, tmp_path):
    deadly(monkeypatch, 4, tmp_path / "letters", 9)
    with (
        open_workers("ray", 1) as actors,
        pytest.raises(ConfigError, match="encode payloads 3 to 5 of 'title', but 3 have died of it"),
    ):
        list(actors.encode(sent, encoder, iter(JOBS)))
    assert (tmp_path / "letters").stat().st_size == 3


def test_other_versions_are_told(sent, encoder):
    other = Parcel("title", sent.files, 1, {**sent.versions, "torch": "1.0", "python": "3.9"})
    with (
        open_workers("ray", 1) as actors,
        pytest.raises(
            ConfigError,
            match=r"the same versions, got python 3.9, torch 1.0 in the driver and python 3\.\d+.*, torch .* on worker",
        ),
    ):
        list(actors.encode(other, encoder, iter(JOBS)))


def test_more_workers_than_processors_are_refused():
    with pytest.raises(ConfigError, match="at most the processors of the Ray cluster, 2, got 3"):
        RayActors(3)


def test_without_ray_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingPackageError, match=r"'ray', which is not installed; install it with: .*\[distributed\]"):
        RayActors(1)


def test_a_cluster_that_is_not_there_is_told(monkeypatch):
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    asked = []

    def init(**options):
        asked.append(options)
        raise ConnectionError("nobody answers ")

    monkeypatch.setattr(ray, "init", init)
    with pytest.raises(
        ConfigError, match=r"cluster of the same versions must run at '127\.0\.0\.1:9', but nobody answers; start"
    ):
        RayActors(1, "127.0.0.1:9")
    assert asked[0]["address"] == "127.0.0.1:9"
    assert "num_cpus" not in asked[0]


def test_the_command_says_what_is_wrong(tmp_path, capsys):
    (tmp_path / "films.csv").write_text("id,plot\na,One dog\nb,Two cats\n")
    (tmp_path / "graph.toml").write_text('[nodes.film]\ntable = "films.csv"\ncolumns = { plot = "text" }\n')
    words = ["build", str(tmp_path / "graph.toml"), "-o", str(tmp_path / "out")]
    assert main([*words, "--engine", "ray", "--workers", "5"]) == 2
    assert "at most the processors of the Ray cluster, 2, got 5" in capsys.readouterr().err
    assert main([*words, "--workers", "0"]) == 2
    assert "workers must be at least 1, got 0" in capsys.readouterr().err
    assert main([*words, "--address", "auto"]) == 2
    assert "address is of a Ray cluster, got 'auto' with engine 'local'" in capsys.readouterr().err
