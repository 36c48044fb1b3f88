"""AV-digits: pictures of mnist20k and recordings of fsdd, paired by their digit; no hand or voice is in two parts."""

import hashlib
import io
import random
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
from PIL import Image

from mmgraph import GraphConfig, Source, load_dataset

DIGITS = tuple("0123456789")
NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
MODALITIES = ("image", "audio", "text")
PARTS = ("train", "unlabelled", "val", "test")
WRITTEN = {  # part → first and last picture it draws from; between the parts of the first file 1000 are left out
    "train": ("first-0000", "first-6999"),
    "val": ("first-8000", "first-9999"),
    "test": ("second-0000", "second-9999"),
}
CALLED = (
    "dax",
    "mop",
    "zub",
    "fen",
    "kil",
    "gor",
    "pim",
    "tav",
    "lud",
    "bez",
    "sif",
    "rok",
    "vun",
    "nad",
    "gip",
    "tel",
)
SHOTS, WAYS = (0, 1, 2, 4), 5  # examples of each digit of an episode, in turns; and how many digits it is about
EPISODES = {"train": 1.0, "val": 0.2, "test": 0.5}  # of a part, in shares of those of training
GREY, CONTRAST = 128, 32  # mean and deviation of a picture with noise, in grey levels


def build(
    files: Mapping[str, Path],  # noqa: ARG001
    *,
    seed: int = 0,
    noise: float = 0.0,
    names: float = 1 / 3,
    unlabelled: float = 0.0,
    modalities: Mapping[str, Collection[str]] | None = None,
    episodes: int = 0,
) -> Source:
    """Pairs pictures and recordings, or deals pictures out to episodes.

    Args:
        files: None of its own: mnist20k and fsdd have theirs.
        seed: Of the pairs and the noise. The speakers, sorted by name, take turns: number ``seed`` is the test, the
            next one validation, the other four training.
        noise: Deviation of the Gaussian noise on each pixel, in deviations of its picture. With noise, a picture is
            brought to mean 128 and deviation 32; with 0 it is that of mnist20k.
        names: Share of the samples with the digit's name as text, where a part has text; with 0 the graph has no text.
        unlabelled: Share of the training samples whose digit is not told.
        modalities: Part → which of image, audio and text its samples have, for some of the parts train, unlabelled, val
            and test. By default all have a picture and a recording, and text is in train and unlabelled alone, since
            it tells the answer.
        episodes: Above 0, the pictures of the samples in so many few-shot episodes for training, and others for the
            other parts: of each of five digits 0, 1, 2 or 4 pictures (``shots``), and last one more of one of them.
            Each digit has a made-up name, drawn anew for each episode: ``said`` tells those of the pictures in their
            order, and ``name`` that of the last.
    """
    if not (noise >= 0 and 0 <= names <= 1 and 0 <= unlabelled < 1):
        raise ValueError(
            "noise must be at least 0, names from 0 to 1 and unlabelled from 0 to below 1, "
            f"got {noise}, {names} and {unlabelled}"
        )
    if episodes < 0:
        raise ValueError(f"episodes must be at least 0, got {episodes}")
    has = _modalities(modalities or {})
    written, spoken = load_dataset("mnist20k").tables["pictures"].to_pylist(), load_dataset("fsdd")
    pictures = {row["name"]: row for row in written}
    recordings = spoken.tables["utterances"].to_pylist()
    part_of = _parts(sorted({row["speaker"] for row in recordings}), seed)
    drawn = _draw(written, seed)
    samples = []
    for row in recordings:
        split, name, digit = part_of[row["speaker"]], row["name"], row["digit"]
        hidden = split == "train" and _number(seed, "unlabelled", name) < unlabelled
        here = has["unlabelled" if hidden else split]
        picture = next(drawn[split, digit])
        told = "text" in here and _number(seed, "text", name) < names
        samples.append(
            {
                "name": name,
                "image": _noisy(pictures[picture]["image"], noise, seed, picture) if "image" in here else None,
                "audio": row["recording"] if "audio" in here else None,
                "text": NAMES[int(digit)] if told else None,
                "speaker": row["speaker"],
                "picture": picture,
                "digit": None if hidden else digit,
                "part": split,
            }
        )
    if episodes:
        return _episodes(samples, episodes, random.Random(seed))
    columns = {"image": "image", "audio": "audio", "speaker": "keep", "picture": "keep"}
    config = GraphConfig(
        name="avdigits",
        nodes={"sample": {"table": "samples", "key": "name", "columns": columns | ({"text": "text"} if names else {})}},
        targets={"digit": {"column": "digit", "kind": "multiclass", "classes": DIGITS}},
        split={"by": "column", "column": "part"},
    )
    kinds = [(name, pa.binary() if name == "image" else pa.string()) for name in samples[0]]
    return Source(config, {"samples": pa.Table.from_pylist(samples, schema=pa.schema(kinds))}, root=spoken.root)


def _episodes(samples: list[dict], count: int, rng: random.Random) -> Source:
    """Pictures and what they are called, dealt out; no picture twice in one episode."""
    drawn = []
    for part, share in EPISODES.items():
        rows = [row for row in samples if row["part"] == part and row["image"] is not None]
        pool = [[row["image"] for row in rows if row["digit"] == digit] for digit in DIGITS]
        if few := {digit: len(some) for digit, some in zip(DIGITS, pool, strict=True) if len(some) <= max(SHOTS)}:
            raise ValueError(f"episodes need more than {max(SHOTS)} pictures of each digit in {part}, got {few}")
        for number in range(round(share * count)):
            shots, names = SHOTS[number % len(SHOTS)], rng.sample(CALLED, WAYS)
            found = [rng.sample(some, shots + 1) for some in rng.sample(pool, WAYS)]
            shown = [(one, name) for some, name in zip(found, names, strict=True) for one in some[1:]]
            images, said = zip(*rng.sample(shown, len(shown)), (found[0][0], names[0]), strict=True)
            drawn.append({"image": images, "said": said, "name": names[0], "shots": shots, "part": part})
    columns = {"image": "image", "name": "text", "said": "keep", "shots": "keep"}
    config = GraphConfig(
        name="avdigits",
        nodes={"episode": {"table": "episodes", "columns": columns}},
        split={"by": "column", "column": "part"},
    )
    return Source(config, {"episodes": pa.Table.from_pylist(drawn)})


def _modalities(chosen: Mapping[str, Collection[str]]) -> dict[str, Collection[str]]:
    for part, some in chosen.items():
        if part not in PARTS or isinstance(some, str) or not set(some) <= set(MODALITIES):
            raise ValueError(
                f"modalities must be of the parts {list(PARTS)}, each with some of {list(MODALITIES)}, "
                f"got {part!r} with {some!r}"
            )
    return {"train": MODALITIES, "unlabelled": MODALITIES, "val": MODALITIES[:2], "test": MODALITIES[:2], **chosen}


def _parts(speakers: list[str], seed: int) -> dict[str, str]:
    """Speaker → part."""
    turn = speakers[seed % len(speakers) :] + speakers[: seed % len(speakers)]
    return dict(zip(turn, ["test", "val", *["train"] * (len(speakers) - 2)], strict=True))


def _draw(written: list[dict], seed: int) -> dict[tuple[str, str], Iterator[str]]:
    """Part and digit → names of its pictures, in an order that the seed gives; each comes once."""
    found: dict[tuple[str, str], list[str]] = {(part, digit): [] for part in WRITTEN for digit in DIGITS}
    for row in written:
        for part, (first, last) in WRITTEN.items():
            if first <= row["name"] <= last:
                found[part, row["digit"]].append(row["name"])
    return {key: iter(sorted(some, key=lambda name: _number(seed, "pair", name))) for key, some in found.items()}


def _number(seed: int, what: str, name: str) -> float:
    """A number from 0 to below 1 that is always the same."""
    return int.from_bytes(_digest(seed, what, name)[:6], "big") / 2**48


def _noisy(png: bytes, noise: float, seed: int, name: str) -> bytes:
    """A picture with noise, as BMP."""
    if noise == 0:
        return png
    with Image.open(io.BytesIO(png)) as picture:
        grey = np.asarray(picture).astype(np.float64)  # [height, width]
    drawn = np.random.default_rng(int.from_bytes(_digest(seed, "noise", name), "big")).standard_normal(grey.shape)
    seen = ((grey - grey.mean()) / grey.std() + noise * drawn) / np.sqrt(1 + noise**2)
    file = io.BytesIO()
    Image.fromarray((GREY + CONTRAST * seen).round().clip(0, 255).astype(np.uint8)).save(file, "BMP")
    return file.getvalue()


def _digest(seed: int, what: str, name: str) -> bytes:
    return hashlib.sha256(f"{seed} {what} {name}".encode()).digest()
