"""What is sent and what comes back."""

from pathlib import Path

import pytest
import torch

from mmgraph.cluster.parcel import Bench, Named, Parcel, by_path, outcome_of
from mmgraph.encoders import Function
from mmgraph.encoders.registry import make_frozen
from mmgraph.errors import ConfigError, DataError


def bench_of(function):
    """A bench whose encoder is a function."""
    bench = Bench(Parcel("title", {}))
    bench.encoder = Function(function, name="f", revision="1", modality="text", channels=1)
    return bench


def test_numbers_come_back_to_the_bit():
    texts = ["a cat", "a dog", "income tax"]
    encoder = make_frozen("hashed_text", texts, channels=8)
    parcel = Parcel.pack("title", "hashed_text", {"channels": 8}, encoder)
    job = dict(enumerate(texts, start=5))
    outcome = outcome_of(parcel, encoder, job, Bench(parcel)(job))
    assert torch.equal(outcome.features, encoder(texts))
    assert outcome.features.dtype == encoder.dtype


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: 9 bytes")])
def test_a_worker_without_memory_says_which_payloads(error):
    def greedy(texts):
        raise error

    bench, job, why = bench_of(greedy), {3: "a", 8: "b"}, str(error) or "no more"
    with pytest.raises(
        ConfigError,
        match=f"memory to encode payloads 3 to 8 of 'title', but it has not \\({why}\\); take fewer",
    ):
        outcome_of(bench.parcel, bench.encoder, job, bench(job))


def test_an_error_keeps_its_kind_and_its_message():
    bench, job = bench_of(lambda texts: [[float("nan")] for _ in texts]), {0: "a"}
    with pytest.raises(DataError, match="must give finite numbers, got nan"):
        outcome_of(bench.parcel, bench.encoder, job, bench(job))
    bench = bench_of(lambda texts: 1 / 0)
    with pytest.raises(RuntimeError, match=r"(?s)payloads 0 to 0 of 'title' failed in a worker:.*ZeroDivisionError"):
        outcome_of(bench.parcel, bench.encoder, job, bench(job))


def test_files_are_sent_by_name_and_read_there(tmp_path):
    (tmp_path / "a.png").write_bytes(b"one")
    jobs = [{0: b"one", 1: b"in the cell"}, {2: b"one"}]
    sent = list(by_path(iter(jobs), tmp_path, {0: "a.png", 2: "a.png"}, 100))
    assert sent[0][1] == b"in the cell"
    assert isinstance(sent[0][0], Named)
    assert sent[1][2].read() == b"one"
    (tmp_path / "a.png").write_bytes(b"two")
    with pytest.raises(DataError, match=r"File 'a.png' must not change while it is read"):
        sent[1][2].read()
    (tmp_path / "a.png").unlink()
    with pytest.raises(ConfigError, match=r"must see the files that the driver sees, but .*a\.png.*; share the folder"):
        sent[1][2].read()


def test_a_file_that_a_worker_can_not_see_ends_the_build():
    bench = bench_of(lambda texts: [[0.0]])
    job = {0: Named(Path("/nowhere"), "a.png", 10, b"")}
    with pytest.raises(ConfigError, match="Worker .* must see the files that the driver sees"):
        outcome_of(bench.parcel, bench.encoder, job, bench(job))
