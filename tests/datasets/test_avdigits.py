import io
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from mmgraph import build_graph
from mmgraph.data import load_dataset
from mmgraph.errors import DataError

SPEAKERS = ("george", "jackson", "lucas", "nicolas", "theo", "yweweler")
NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def png(seed):
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (28, 28), dtype=np.uint8)).save(file, "PNG")
    return file.getvalue()


@pytest.fixture(scope="module")
def avdigits(builder):
    """The builder on 20 pictures a digit of each range and five recordings of each digit and speaker."""
    module = builder("avdigits")
    numbers = [*range(200), *range(7000, 7200), *range(8000, 8200)]
    names = [f"first-{n:04d}" for n in numbers] + [f"second-{n:04d}" for n in range(200)]
    pictures = {"name": names, "image": [png(n) for n in range(len(names))], "digit": [name[-1] for name in names]}
    spoken = [f"{digit}_{speaker}_{n}" for digit in range(10) for speaker in SPEAKERS for n in range(5)]
    utterances = {
        "name": spoken,
        "recording": [f"{name}.wav" for name in spoken],
        "speaker": [name.split("_")[1] for name in spoken],
        "digit": [name[0] for name in spoken],
    }
    tables = {"mnist20k": {"pictures": pa.table(pictures)}, "fsdd": {"utterances": pa.table(utterances)}}
    module.load_dataset = lambda name: SimpleNamespace(tables=tables[name], root="/data/raw")
    return module, dict(zip(names, pictures["image"], strict=True))


@pytest.fixture(scope="module")
def build(avdigits):
    def rows(**options):
        return avdigits[0].build({}, **options).tables["samples"].to_pylist()

    return rows


def test_parts_share_no_speaker_and_no_picture(build):
    table = build()
    assert Counter(row["part"] for row in table) == {"train": 200, "val": 50, "test": 50}
    assert len({row["picture"] for row in table}) == len({row["audio"] for row in table}) == 300
    drawn = {
        "train": ("first-0000", "first-6999"),
        "val": ("first-8000", "first-9999"),
        "test": ("second-0", "second-9"),
    }
    for row in table:
        first, last = drawn[row["part"]]
        assert first <= row["picture"] <= last
        assert row["digit"] == row["picture"][-1] == row["name"][0] == row["audio"][0]
        assert row["speaker"] == row["name"].split("_")[1]


@pytest.mark.parametrize("seed", [0, 1, 5, 6])
def test_speakers_take_turns(build, seed):
    parts = {(row["speaker"], row["part"]) for row in build(seed=seed)}
    turn = [SPEAKERS[(seed + place) % 6] for place in range(6)]
    assert parts == set(zip(turn, ["test", "val", *["train"] * 4], strict=True))


def test_the_pairs_depend_on_the_seed_alone(build):
    pairs = [
        [(row["name"], row["picture"]) for row in build(**options)] for options in ({}, {"noise": 1.0}, {"seed": 6})
    ]
    hidden = build(unlabelled=0.5, names=1, modalities={"train": ["audio"]})
    assert pairs[0] == pairs[1] == [(row["name"], row["picture"]) for row in hidden]
    assert pairs[0] != pairs[2]
    assert build(noise=1.5, names=0.5) == build(noise=1.5, names=0.5)


def test_a_picture_without_noise_is_the_same_bytes(avdigits, build):
    assert all(row["image"] == avdigits[1][row["picture"]] for row in build())


def test_noise_is_in_deviations_of_the_picture(avdigits, build):
    noises = []
    for row in build(noise=1.5)[::20]:
        clean, seen = (
            np.asarray(Image.open(io.BytesIO(file)), dtype=float)
            for file in (avdigits[1][row["picture"]], row["image"])
        )
        assert seen.shape == (28, 28)
        assert (seen.mean(), seen.std()) == pytest.approx((128, 32), rel=0.1)
        standard = (clean - clean.mean()) / clean.std()
        noise = (seen - 128) / 32 * np.sqrt(1 + 1.5**2) - standard
        assert noise.std() == pytest.approx(1.5, rel=0.1)
        noises.append(noise.ravel())
        assert abs(np.corrcoef(noise.ravel(), standard.ravel())[0, 1]) < 0.15
    assert np.abs(np.corrcoef(noises) - np.eye(len(noises))).max() < 0.2
    once, again = (build(noise=1.5, seed=seed) for seed in (0, 6))
    shared = {row["picture"]: row["image"] for row in once}
    assert all(shared[row["picture"]] != row["image"] for row in again if row["picture"] in shared)
    assert len({row["image"] for row in once}) == 300


def test_names_are_the_answer_and_in_training_alone(build, avdigits):
    told = [row for row in build(names=0.5) if row["text"] is not None]
    assert {row["part"] for row in told} == {"train"}
    assert len(told) == pytest.approx(100, abs=25)
    assert all(row["text"] == NAMES[int(row["digit"])] for row in told)
    everywhere = build(names=1, modalities={"val": ["text"], "test": ["audio", "text"]})
    assert all(row["text"] == NAMES[int(row["digit"])] for row in everywhere)
    assert Counter((row["part"], row["image"] is None, row["audio"] is None) for row in everywhere) == {
        ("train", False, False): 200,
        ("val", True, True): 50,
        ("test", True, False): 50,
    }
    module, _ = avdigits
    assert set(module.build({}).config.modality_nodes) == {"image", "audio", "text"}
    assert set(module.build({}, names=0).config.modality_nodes) == {"image", "audio"}


def test_unlabelled_samples_have_modalities_of_their_own(build):
    table = build(unlabelled=0.5, names=0, modalities={"train": ["audio"], "val": ["audio"], "test": ["image"]})
    found = {(row["part"], row["digit"] is None, row["image"] is None, row["audio"] is None) for row in table}
    assert found == {
        ("train", True, False, False),
        ("train", False, True, False),
        ("val", False, True, False),
        ("test", False, False, True),
    }
    hidden = sum(row["digit"] is None for row in table)
    assert hidden == pytest.approx(100, abs=25)
    fewer = {row["name"] for row in build(unlabelled=0.2) if row["digit"] is None}
    assert fewer < {row["name"] for row in table if row["digit"] is None}


@pytest.mark.parametrize(
    ("options", "got"),
    [
        ({"noise": -1}, "got -1, 0.3"),
        ({"noise": float("nan")}, "got nan, "),
        ({"names": 1.5}, "got 0.0, 1.5 and"),
        ({"unlabelled": 1}, "and 1$"),
        ({"modalities": {"valid": ["image"]}}, "got 'valid' with"),
        ({"modalities": {"test": ["video"]}}, r"got 'test' with \['video'\]"),
        ({"modalities": {"test": "image"}}, "got 'test' with 'image'"),
    ],
)
def test_wrong_options_are_named(build, options, got):
    with pytest.raises(ValueError, match=got):
        build(**options)


@pytest.mark.data
def test_avdigits(load_or_skip):
    source = load_or_skip("avdigits")
    table = source.tables["samples"].to_pylist()
    assert Counter(row["part"] for row in table) == {"train": 2000, "val": 500, "test": 500}
    assert len({row["picture"] for row in table}) == len({row["name"] for row in table}) == 3000
    assert Counter(row["digit"] for row in table) == dict.fromkeys("0123456789", 300)
    told = {row["part"] for row in table if row["text"]}
    assert (told, sum(row["text"] is not None for row in table)) == ({"train"}, 619)


@pytest.mark.data
def test_a_graph_for_co_learning():
    alone = {"train": ["audio"], "val": ["audio"], "test": ["image"]}
    try:
        source = load_dataset("avdigits", names=0, unlabelled=0.5, modalities=alone)
    except DataError as error:
        pytest.skip(f"dataset avdigits is not here: {error}")
    mel = {"kind": "log_mel", "rate_hz": 8000}
    built = build_graph(source.with_encoders(image={"kind": "pixels", "size": 14, "colours": 1}, audio=mel))
    graph, sample = built.graph, built.graph["sample"]
    has = {name: np.zeros(3000, dtype=bool) for name in built.schema.modalities}
    for name, mask in has.items():
        mask[graph[name, "of", "sample"].edge_index[1]] = True
    labelled = (sample.y >= 0).numpy()
    train, val, test = (sample[f"{part}_mask"].numpy() for part in ("train", "val", "test"))
    assert (has["image"] == ((train & ~labelled) | test)).all()
    assert (has["audio"] == (train | val)).all()
    assert (labelled | train).all()


def test_episodes_deal_pictures_and_names_out(avdigits):
    module, pictures = avdigits
    source = module.build({}, episodes=40)
    found = source.tables["episodes"].to_pylist()
    assert Counter(row["part"] for row in found) == {"train": 40, "val": 8, "test": 20}
    assert Counter(row["shots"] for row in found if row["part"] == "test") == dict.fromkeys((0, 1, 2, 4), 5)
    digit, ranges = (
        {png: name[-1] for name, png in pictures.items()},
        {"train": "first-", "val": "first-8", "test": "second-"},
    )
    names = {png: name for name, png in pictures.items()}
    for row in found:
        assert len(row["image"]) == len(set(row["image"])) == len(row["said"]) == 5 * row["shots"] + 1
        called = {(digit[image], name) for image, name in zip(row["image"], row["said"], strict=True)}
        assert len(called) == len(dict(called)) == len({name for _, name in called}) == (5 if row["shots"] else 1)
        assert row["said"][-1] == row["name"]
        assert all(names[image].startswith(ranges[row["part"]]) for image in row["image"])
    dealt = {(digit[row["image"][-1]], row["name"]) for row in found}
    assert len(dealt) > 40  # a digit has another name in each
    assert module.build({}, episodes=40).tables["episodes"].equals(source.tables["episodes"])
    assert not module.build({}, episodes=40, seed=1).tables["episodes"].equals(source.tables["episodes"])
    with pytest.raises(ValueError, match="episodes must be at least 0, got -1"):
        module.build({}, episodes=-1)
    with pytest.raises(ValueError, match="more than 4 pictures of each digit in val, got {'0': 0, '1': 0"):
        module.build({}, episodes=40, modalities={"val": ["audio"]})
