"""The model of cost is what its page says, and its arithmetic is what its parts say."""

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from mmgraph.files import read_json

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def scale():
    """benchmarks/scale.py, which finds its neighbours as a script does."""
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        spec = importlib.util.spec_from_file_location("scale_benchmark", ROOT / "benchmarks" / "scale.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        yield module
    finally:
        sys.path.remove(str(ROOT / "benchmarks"))


@pytest.fixture(scope="module")
def model(scale):
    return sys.modules["scale_model"]


@pytest.fixture
def ones(model):
    return model.Constants(
        encode_s=1e-3,
        write_byte_s=1e-9,
        sort_edge_s=1e-7,
        seed_s=1e-4,
        far_seed_s=1e-4,
        cut_byte_s=1e-8,
        metis_edge_s=1e-6,
        metis_edge_bytes=100.0,
        base_bytes=5e8,
        far_seed_bytes=1000.0,
    )


def test_the_page_is_what_the_model_says_of_the_constants(scale):
    kept = read_json(ROOT / "docs" / "scale.json")
    page = (ROOT / "docs" / "scale.md").read_text(encoding="utf-8")
    shown = page.partition(scale.START)[2].partition(scale.END)[0].strip()
    assert shown == scale.tables(scale.Constants(**kept["constants"]), kept["check"])


def test_what_was_predicted_was_within_two_times_of_what_was_measured(scale):
    kept = read_json(ROOT / "docs" / "scale.json")
    assert len(kept["check"]) == 8
    for one in kept["check"]:
        assert one["ratio"] == round(one["predicted"] / one["measured"], 2)
        assert 1 / scale.WITHIN <= one["ratio"] <= scale.WITHIN
    assert scale.CHECK not in [point["edges"] for point in kept["points"]]
    assert scale.constants_of(*kept["points"], kept["constants"]["encode_s"]) == scale.Constants(**kept["constants"])
    says = scale.predicted(scale.Constants(**kept["constants"]), kept["points"][0], scale.CHECK)
    assert says == {one["what"]: one["predicted"] for one in kept["check"]}


def test_bytes_and_seconds_are_sums_of_their_parts(model, ones):
    edges = 1_000_000  # 100,000 nodes, 50,000 seeds
    assert model.disk_bytes(edges) == 8e6 + 1e5 * 512 + 5e4 * 8
    assert model.sorted_bytes(edges) == 8e6 + 1e5 * 12
    assert model.encode_s(edges, ones, cores=4) == pytest.approx(25)
    assert model.build_s(edges, ones) == pytest.approx(59.6e6 * 1e-9 + 0.1)
    assert model.cut_s(edges, ones, metis=True) - model.cut_s(edges, ones, metis=False) == pytest.approx(1)
    memory, mapped, ddp = (model.cost(edges, way, ones) for way in ("memory", "mapped", "ddp"))
    assert memory.memory_bytes == pytest.approx(5e8 + 4e5 + 9.2e6 + 59.6e6)
    assert mapped.memory_bytes == pytest.approx(5e8 + 4e5 + 9.2e6 + 22e6)
    assert memory.epoch_s == mapped.epoch_s == pytest.approx(5)
    assert ddp.epoch_s == pytest.approx(5 / 16)
    assert ddp.memory_bytes == pytest.approx(9.2e6 + 16 * 5.004e8)


def test_parts_are_as_many_as_hold_the_graph(model, ones):
    edges = 10**10  # a node more takes 12 + 512 bytes, its ten edges 160
    found = model.cost(edges, "parts", ones)
    process, book = 5e8 + 4e9, 4e9
    assert found.processes == 7
    left = 64e9 - 7 * process - book
    whole = 1e9 * (160 + 12 + 512)
    assert found.machines == -(-whole // left)
    assert found.fits
    assert found.memory_bytes <= 64e9
    assert found.epoch_s == pytest.approx(5e8 * (1e-4 + 1e-4 * 0.6) / (found.machines * 7))
    assert found.network_bytes == pytest.approx(5e8 * 1000 * 0.6)
    assert model.cost(edges, "parts", ones, far=0.0).network_bytes == 0
    assert model.cost(100_000, "parts", ones).machines == 2
    assert not model.cost(edges, "mapped", ones).fits
    assert not model.cost(edges, "parts", ones, machine=model.Machine(memory_bytes=4e9, cores=1)).fits


def test_tables_say_what_does_not_fit(model, ones):
    shown = model.table(ones)
    assert shown.count("\n| 10") == 12
    assert "| 10¹⁰ |" in shown
    assert "too large (" in shown
    assert model.table(replace(ones, encode_s=2e-3)) != shown
    assert [model._time(s) for s in (0.5, 90, 7200, 86400 * 3)] == ["0.5 s", "1.5 min", "2 h", "3 days"]
    assert [model._bytes(b) for b in (5e5, 1.5e9, 2e12)] == ["0.5 MB", "1.5 GB", "2 TB"]


def test_another_way_is_no_way(model, ones):
    with pytest.raises(ValueError, match=r"way must be one of .*got 'cloud'"):
        model.cost(10, "cloud", ones)
