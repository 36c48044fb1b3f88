import io
import math

import numpy as np
import pytest
import torch
from PIL import Image
from torch_geometric.data import HeteroData

from mmgraph.decoders import Generative, Translation
from mmgraph.errors import DataError, SchemaError
from mmgraph.functional.frechet import frechet
from mmgraph.schema import EdgeSpec, NodeSpec, Schema, TargetSpec
from mmgraph.tasks import PayloadGeneration
from mmgraph.testing import check_generation
from mmgraph.typing import Sources


def pictures(owners=range(12), *, classes=3, dtype=torch.uint8, shape=(1, 4, 4), seed=0):
    """Twelve samples, four a part; those named have a picture, brighter by their class."""
    generator, owners = torch.Generator().manual_seed(seed), torch.tensor(list(owners))
    graph = HeteroData()
    graph["sample"].num_nodes, graph["image"].num_nodes = 12, len(owners)
    graph["sample"].digit = torch.arange(12) // 3 % classes
    for number, part in enumerate(("train", "val", "test")):
        graph["sample"][f"{part}_mask"] = torch.arange(12) % 3 == number
    level = graph["sample"].digit[owners].view(-1, *[1] * len(shape)) * 50
    graph["image"].pixels = (level + torch.randint(100, (len(owners), *shape), generator=generator)).to(dtype)
    graph["text"].x = torch.randn(12, 3, generator=generator)
    graph["image", "of", "sample"].edge_index = torch.stack([torch.arange(len(owners)), owners])
    graph["text", "of", "sample"].edge_index = torch.arange(12).repeat(2, 1)
    schema = Schema(
        nodes={"sample": NodeSpec(), "image": NodeSpec(attributes=("pixels",)), "text": NodeSpec(channels=3)},
        edges={("image", "of", "sample"): EdgeSpec(), ("text", "of", "sample"): EdgeSpec()},
        targets={
            "digit": TargetSpec(node="sample", attribute="digit", kind="multiclass", classes=("a", "b", "c")),
            "size": TargetSpec(node="sample", attribute="size", kind="regression"),
        },
        anchor="sample",
    )
    return graph, schema


def by_level(values):
    return ((values.flatten(1).double().mean(dim=1) - 25) / 50).long().clamp(0, 2)


def summary(values):
    return values.flatten(1).double()[:, :3]


class Constant(Generative):
    """Makes one level, and finds a payload as unlikely as its sum."""

    attribute, channels = "pixels", 3

    def __init__(self, level):
        super().__init__()
        self.level, self.made = level, 0

    def losses(self, sources, payload):
        return {"total": payload.flatten(1).double().sum(dim=1)}

    def generate(self, sources, *, generator=None):
        self.made += 1
        return torch.full((len(sources.states), 1, 4, 4), self.level, dtype=torch.uint8)


def said(level=7, rows=4):
    return Translation(Constant(level), Sources(torch.zeros(rows, 1, 3), torch.ones(rows, 1).bool()))


def test_it_keeps_the_contract():
    graph, schema = pictures()
    check_generation(PayloadGeneration(schema, "image"), graph, apart={"error": 0, "retrieval@1": 1})
    judged = PayloadGeneration(schema, "image", label="digit", classifier=by_level, features=summary)
    check_generation(judged, graph, noise=lambda pixels: 255 - pixels, apart={"error": 0, "frechet": 0})


def test_metrics_are_those_that_can_be_had():
    _, schema = pictures()
    assert PayloadGeneration(schema, "image").metrics == ("log_loss", "error", "retrieval@1", "retrieval@10")
    assert PayloadGeneration(schema, "image", label="digit").metrics == ("log_loss", "error", "diversity")
    every = PayloadGeneration(schema, "image", label="digit", classifier=by_level, features=summary)
    assert every.metrics == ("log_loss", "error", "accepted", "diversity", "frechet")
    assert every.controls == ("no_source", "shuffled_sources", "nearest", "mean")


def test_log_loss_is_a_mean_over_values_and_makes_nothing():
    graph, schema = pictures()
    task, translation = PayloadGeneration(schema, "image"), said()
    payload, row = task.references(graph, "test")
    assert row.tolist() == [0, 1, 2, 3]
    found = task.evaluate(translation, graph, "test", metrics=["log_loss"])
    assert found["log_loss"] == pytest.approx(payload.double().mean().item())
    assert translation.decoder.made == 0
    assert set(task.evaluate(translation, graph, "test")) == set(task.metrics)
    assert translation.decoder.made == 1
    assert "log_loss" not in task.evaluate(translation.payloads(), graph, "test")
    with pytest.raises(DataError, match="leave log_loss out"):
        task.evaluate(translation.payloads(), graph, "test", metrics=["log_loss"])


def test_error_is_beside_the_mean_of_training_over_what_is_there():
    graph, schema = pictures(dtype=torch.float32)
    graph["image"].pixels[0, 0, 1] = math.nan  # of training
    graph["image"].pixels[2, 0, 0, :2] = math.nan  # of test
    task = PayloadGeneration(schema, "image")
    mean = np.nanmean(graph["image"].pixels[0::3].numpy(), axis=0)
    real, made = graph["image"].pixels[2::3].numpy(), torch.randn(4, 1, 4, 4) * 50 + 80
    ours, theirs = (np.nansum((one - real) ** 2) for one in (made.numpy(), mean))
    found = task.evaluate(made, graph, "test", metrics=["error"])["error"]
    assert found == pytest.approx(ours / theirs, rel=1e-6)
    as_mean = torch.from_numpy(mean).expand(4, 1, 4, 4)
    assert task.evaluate(as_mean, graph, "test", metrics=["error"])["error"] == pytest.approx(1, rel=1e-5)


def test_without_a_spread_around_the_mean_there_is_no_error_to_compare_with():
    graph, schema = pictures()
    graph["image"].pixels = torch.full_like(graph["image"].pixels, 9)
    made = graph["image"].pixels[2::3]
    assert math.isnan(PayloadGeneration(schema, "image").evaluate(made, graph, metrics=["error"])["error"])


def test_several_references_all_count_and_rows_without_one_do_not():
    graph, schema = pictures(owners=[2, 0, 2, 8, 3, 2])  # of test: row 0 (three times) and row 2
    task = PayloadGeneration(schema, "image", label="digit", classifier=by_level)
    made = torch.zeros(4, 1, 4, 4, dtype=torch.uint8)
    made[1] = made[3] = 255  # not judged
    real = graph["image"].pixels[[0, 2, 5, 3]].double()
    mean = graph["image"].pixels[[1, 4]].double().mean(dim=0)
    found = task.evaluate(made, graph, "test", metrics=["error", "accepted"])
    assert found["error"] == pytest.approx((real.square().sum() / (mean - real).square().sum()).item())
    labels = graph["sample"].digit[[2, 8]]
    assert found["accepted"] == (labels == 0).double().mean().item()


def test_accepted_is_the_share_of_the_anchors_own_class_where_it_is_known():
    graph, schema = pictures()
    task = PayloadGeneration(schema, "image", label="digit", classifier=lambda values: values[:, 0, 0, 0].long())
    labels = graph["sample"].digit[2::3].clone()
    made = torch.zeros(4, 1, 4, 4, dtype=torch.uint8)
    made[:, 0, 0, 0] = labels
    assert task.evaluate(made, graph, metrics=["accepted"]) == {"accepted": 1.0}
    made[0, 0, 0, 0] = (labels[0] + 1) % 3
    assert task.evaluate(made, graph, metrics=["accepted"]) == {"accepted": 0.75}
    graph["sample"].digit[2] = -1
    assert task.evaluate(made, graph, metrics=["accepted"]) == {"accepted": 1.0}


def test_diversity_is_beside_that_of_each_class_and_best_where_it_is_the_same():
    graph, schema = pictures(classes=2)  # of the test rows two a class
    task = PayloadGeneration(schema, "image", label="digit")
    real, labels = graph["image"].pixels[2::3], graph["sample"].digit[2::3]
    assert labels.tolist() == [0, 1, 0, 1]
    made = real.clone().float()
    apart = [float((real[a].double() - real[b].double()).norm()) for a, b in ((0, 2), (1, 3))]
    graph["image"].pixels = graph["image"].pixels.float()
    assert task.evaluate(made, graph, metrics=["diversity"]) == {"diversity": pytest.approx(1)}
    made[2] = made[0] + (made[2] - made[0]) / 4  # less diverse
    made[3] = made[1] + (made[3] - made[1]) * 2  # more
    assert task.evaluate(made, graph, metrics=["diversity"])["diversity"] == pytest.approx((1 / 4 + 1 / 2) / 2)
    made[2] = made[0]
    assert task.evaluate(made, graph, metrics=["diversity"])["diversity"] == pytest.approx((0 + 1 / 2) / 2)
    assert min(apart) > 0
    single, schema = pictures()
    one_each = PayloadGeneration(schema, "image", label="digit")
    single["sample"].digit = torch.arange(12) // 3 % 4 - 1
    assert math.isnan(one_each.evaluate(made.byte(), single, metrics=["diversity"])["diversity"])


def test_frechet_is_of_the_features():
    graph, schema = pictures()
    task = PayloadGeneration(schema, "image", features=summary)
    made, real = torch.randint(255, (4, 1, 4, 4), dtype=torch.uint8), graph["image"].pixels[2::3]
    expected = frechet(summary(made), summary(real)).item()
    assert task.evaluate(made, graph, metrics=["frechet"])["frechet"] == pytest.approx(expected)
    alone, _ = pictures(owners=[0, 2])
    with pytest.raises(DataError, match="at least 2 rows with a payload, got 1"):
        task.evaluate(made, alone, metrics=["frechet"])


def test_retrieval_finds_the_row_by_any_of_its_references():
    graph, schema = pictures(owners=[2, 0, 5, 2, 8, 11])
    task = PayloadGeneration(schema, "image")
    pixels = graph["image"].pixels
    made = pixels[[3, 2, 4, 5]]  # the second picture of row 0, and each other's own
    assert task.evaluate(made, graph, metrics=["retrieval@1"]) == {"retrieval@1": 1.0}
    made = pixels[[2, 3, 4, 5]]  # two are mixed up
    assert task.evaluate(made, graph, metrics=["retrieval@1", "retrieval@10"]) == {
        "retrieval@1": 0.5,
        "retrieval@10": 1.0,
    }
    same = PayloadGeneration(schema, "image", features=lambda values: torch.zeros(len(values), 2))
    assert same.evaluate(made, graph, metrics=["retrieval@1"]) == {"retrieval@1": 0.0}  # all share the places 1 to 4


def test_codes_are_judged_as_what_they_render():
    graph, schema = pictures(shape=(2,), dtype=torch.int64)

    def render(codes):
        return codes[:, :, None].float().expand(-1, -1, 5) * 2

    plain, rendered = (PayloadGeneration(schema, "image", render=how) for how in (None, render))
    made = torch.randint(150, (4, 2))
    wanted = ["error", "retrieval@1"]
    assert rendered.evaluate(made, graph, metrics=wanted) == pytest.approx(plain.evaluate(made, graph, metrics=wanted))


def test_diversity_is_that_of_rows_with_a_reference():
    graph, schema = pictures(owners=[2, 8, 2, 5], classes=2)  # of test rows 0 and 2, of one class, and row 1
    task = PayloadGeneration(schema, "image", label="digit")
    made = graph["image"].pixels[[0, 3, 1, 3]].clone()
    made[3] = 255 - made[3]
    real = graph["image"].pixels[[0, 1, 2]].double().flatten(1)
    share = float(torch.dist(real[0], real[1])) / float(torch.pdist(real).mean())
    found = task.evaluate(made, graph, metrics=["diversity"])["diversity"]
    assert found == pytest.approx(min(share, 1 / share))


@pytest.mark.parametrize("label", [None, "digit"])
def test_a_sheet_shows_the_first_of_several_references(tmp_path, label):
    sheets = []
    for owners in ([2, 8, 2], [2, 8]):
        graph, schema = pictures(owners=owners)
        graph["image"].pixels = torch.stack([torch.full((1, 4, 4), level) for level in (30, 60, 90)][: len(owners)])
        graph["image"].pixels = graph["image"].pixels.to(torch.uint8)
        task = PayloadGeneration(schema, "image", label=label)
        sheets.append(task.sheet(said(), graph, "test", tmp_path)[0].read_bytes())
    assert sheets[0] == sheets[1]


@pytest.mark.parametrize("label", [None, "digit"])
def test_a_sheet_shows_data_and_what_was_made(tmp_path, label):
    graph, schema = pictures()
    task = PayloadGeneration(schema, "image", label=label)
    (path,) = task.sheet(said(level=7), graph, "test", tmp_path)
    assert path == tmp_path / "image-test.png"
    with Image.open(io.BytesIO(path.read_bytes())) as picture:
        pixels = np.asarray(picture)
    assert (pixels == 7).all(axis=2).sum() >= 4 * 56 * 56  # each of the four, enlarged
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("shape", [(3, 4, 4), (2, 4, 4), (4, 6), (9,)])
def test_a_sheet_shows_any_array(tmp_path, shape):
    graph, schema = pictures(shape=shape, dtype=torch.float32)
    graph["image"].pixels[2].view(-1)[0] = math.nan
    made = torch.randn(4, *shape) * 1e3
    (path,) = PayloadGeneration(schema, "image").sheet(made, graph, "test", tmp_path)
    assert path.read_bytes()[:4] == b"\x89PNG"


def test_what_cannot_be_judged_is_said():
    graph, schema = pictures()
    task = PayloadGeneration(schema, "image")
    made = torch.zeros(4, 1, 4, 4)
    with pytest.raises(SchemaError, match=r"among \['log_loss', 'error', .*\], got \['bleu'\]"):
        task.evaluate(made, graph, metrics=["bleu"])
    with pytest.raises(DataError, match="Predictions for val must have 4 rows, got 3"):
        task.evaluate(made[:3], graph, "val")
    with pytest.raises(DataError, match=r"must be \[rows, 1, 4, 4\], as 'pixels' of 'image' is, got \[4, 2\]"):
        task.evaluate(made[:, 0, 0, :2], graph)
    with pytest.raises(DataError, match="At least 1 'sample' of test must have a 'image' to judge by"):
        task.evaluate(made, pictures(owners=[0, 1])[0])
    with pytest.raises(SchemaError, match="Label 'size' must have classes and be of the anchor 'sample'"):
        PayloadGeneration(schema, "image", label="size")
    with pytest.raises(SchemaError, match="A classifier needs the label"):
        PayloadGeneration(schema, "image", classifier=by_level)
    with pytest.raises(SchemaError, match="got 'mel'"):
        PayloadGeneration(schema, "image", attribute="mel")
